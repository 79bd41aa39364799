// Package connect holds what the other examples share.
package connect

// [connect]
import (
	"context"
	"io"
	"log"
	"os"
	"strings"

	v1 "github.com/authzed/authzed-go/proto/authzed/api/v1"
	"github.com/authzed/authzed-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Client connects. With TLS the options are grpcutil.WithSystemCerts and grpcutil.WithBearerToken.
func Client() *authzed.ClientWithExperimental {
	client, err := authzed.NewClientWithExperimentalAPIs(os.Getenv("STONETOWN_ENDPOINT"), Options()...)
	Check(err)
	return client
}

// Options say plain text and the key.
func Options() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(bearer(os.Getenv("STONETOWN_TOKEN"))),
	}
}

type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}
func (bearer) RequireTransportSecurity() bool { return false }

// Check ends the program upon an error.
func Check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Object of a text such as document:plan.
func Object(text string) *v1.ObjectReference {
	kind, name, _ := strings.Cut(text, ":")
	return &v1.ObjectReference{ObjectType: kind, ObjectId: name}
}

// Subject of a text such as user:ann or group:eng#member.
func Subject(text string) *v1.SubjectReference {
	reference, relation, _ := strings.Cut(text, "#")
	return &v1.SubjectReference{Object: Object(reference), OptionalRelation: relation}
}

// Relationship of a text such as document:plan#viewer@user:ann.
func Relationship(text string) *v1.Relationship {
	left, who, _ := strings.Cut(text, "@")
	resource, relation, _ := strings.Cut(left, "#")
	return &v1.Relationship{Resource: Object(resource), Relation: relation, Subject: Subject(who)}
}

// FullyConsistent asks for the newest revision.
var FullyConsistent = &v1.Consistency{Requirement: &v1.Consistency_FullyConsistent{FullyConsistent: true}}

// AtLeastAsFresh asks for the token's revision or a newer one.
func AtLeastAsFresh(token *v1.ZedToken) *v1.Consistency {
	return &v1.Consistency{Requirement: &v1.Consistency_AtLeastAsFresh{AtLeastAsFresh: token}}
}

// All receives a stream to its end.
func All[T any](stream grpc.ServerStreamingClient[T], err error) (answers []*T) {
	Check(err)
	for {
		answer, err := stream.Recv()
		if err == io.EOF {
			return answers
		}
		Check(err)
		answers = append(answers, answer)
	}
}

// Text of a relationship.
func Text(r *v1.Relationship) string {
	text := r.Resource.ObjectType + ":" + r.Resource.ObjectId + "#" + r.Relation +
		"@" + r.Subject.Object.ObjectType + ":" + r.Subject.Object.ObjectId
	if r.Subject.OptionalRelation != "" {
		text += "#" + r.Subject.OptionalRelation
	}
	return text
}

// [/connect]
