package stonetown

import (
	"fmt"
	"strings"

	"github.com/stonetown/stonetown/clients/go/v1"
)

// Object reads `document:plan`. Whether type and id are allowed is for the server to say.
func Object(text string) (*v1.ObjectRef, error) {
	kind, id, _ := strings.Cut(text, ":")
	if kind == "" || id == "" || strings.Contains(text, "#") {
		return nil, fmt.Errorf("%q is no object: expected TYPE:ID", text)
	}
	return &v1.ObjectRef{Type: kind, Id: id}, nil
}

// Subject reads `user:ann` or `group:eng#member`.
func Subject(text string) (*v1.SubjectRef, error) {
	name, relation, isSet := strings.Cut(text, "#")
	object, err := Object(name)
	if err != nil || isSet != (relation != "") || strings.Contains(relation, "#") {
		return nil, fmt.Errorf("%q is no subject: expected TYPE:ID or TYPE:ID#RELATION", text)
	}
	return &v1.SubjectRef{Type: object.GetType(), Id: object.GetId(), Relation: relation}, nil
}
