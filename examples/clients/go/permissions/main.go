// PermissionsService, call by call.
package main

import (
	"context"
	"fmt"
	"strings"

	v1 "github.com/authzed/authzed-go/proto/authzed/api/v1"
	"google.golang.org/protobuf/types/known/structpb"

	. "stonetown/examples/connect"
)

func main() {
	ctx := context.Background()
	client := Client()

	// [check]
	answer, err := client.CheckPermission(ctx, &v1.CheckPermissionRequest{
		Consistency: FullyConsistent,
		Resource:    Object("document:plan"), Permission: "view", Subject: Subject("user:ann"),
	})
	Check(err)
	fmt.Println("ann:", answer.Permissionship)
	// [/check]

	// [check-context]
	values, err := structpb.NewStruct(map[string]any{"hour": 12})
	Check(err)
	answer, err = client.CheckPermission(ctx, &v1.CheckPermissionRequest{
		Consistency: FullyConsistent,
		Resource:    Object("document:plan"), Permission: "view", Subject: Subject("user:carl"),
		Context: values,
	})
	Check(err)
	fmt.Println("carl at 12:", answer.Permissionship)
	// [/check-context]

	// [check-bulk]
	bulk := &v1.CheckBulkPermissionsRequest{Consistency: FullyConsistent}
	for _, who := range []string{"user:ann", "user:bert", "user:carl"} {
		bulk.Items = append(bulk.Items, &v1.CheckBulkPermissionsRequestItem{
			Resource: Object("document:plan"), Permission: "view", Subject: Subject(who),
		})
	}
	answers, err := client.CheckBulkPermissions(ctx, bulk)
	Check(err)
	for _, pair := range answers.Pairs { // in the order of the items; each has an item or an error
		missing := pair.GetItem().GetPartialCaveatInfo().GetMissingRequiredContext()
		fmt.Println(pair.Request.Subject.Object.ObjectId, pair.GetItem().GetPermissionship(), strings.Join(missing, " "))
	}
	// [/check-bulk]

	// [write]
	written, err := client.WriteRelationships(ctx, &v1.WriteRelationshipsRequest{
		Updates: []*v1.RelationshipUpdate{{
			Operation:    v1.RelationshipUpdate_OPERATION_TOUCH,
			Relationship: Relationship("document:plan#viewer@user:bert"),
		}},
		OptionalPreconditions: []*v1.Precondition{{
			Operation: v1.Precondition_OPERATION_MUST_MATCH,
			Filter: &v1.RelationshipFilter{
				ResourceType: "document", OptionalResourceId: "plan", OptionalRelation: "owner",
			},
		}},
	})
	Check(err)
	token := written.WrittenAt // store it beside the document
	// [/write]

	// [read]
	for _, answer := range All(client.ReadRelationships(ctx, &v1.ReadRelationshipsRequest{
		Consistency: AtLeastAsFresh(token),
		RelationshipFilter: &v1.RelationshipFilter{
			ResourceType: "document", OptionalResourceId: "plan", OptionalRelation: "viewer",
		},
		OptionalLimit: 100, // the next page: OptionalCursor: answer.AfterResultCursor
	})) {
		fmt.Println("read", Text(answer.Relationship))
	}
	// [/read]

	// [expand]
	expanded, err := client.ExpandPermissionTree(ctx, &v1.ExpandPermissionTreeRequest{
		Consistency: FullyConsistent, Resource: Object("document:plan"), Permission: "view",
	})
	Check(err)
	root := expanded.TreeRoot
	var children []string
	for _, child := range root.GetIntermediate().Children {
		children = append(children, child.ExpandedRelation)
	}
	fmt.Println("expanded", root.ExpandedRelation, root.GetIntermediate().Operation, strings.Join(children, " "))
	// [/expand]

	// [lookup-resources]
	for _, answer := range All(client.LookupResources(ctx, &v1.LookupResourcesRequest{
		Consistency:        FullyConsistent,
		ResourceObjectType: "document", Permission: "view", Subject: Subject("user:ann"),
		OptionalLimit: 100,
	})) {
		fmt.Println("ann views", answer.ResourceObjectId, answer.Permissionship)
	}
	// [/lookup-resources]

	// [lookup-subjects]
	for _, answer := range All(client.LookupSubjects(ctx, &v1.LookupSubjectsRequest{
		Consistency: FullyConsistent,
		Resource:    Object("document:plan"), Permission: "view", SubjectObjectType: "user",
	})) {
		fmt.Println("plan is viewed by", answer.Subject.SubjectObjectId, answer.Subject.Permissionship)
	}
	// [/lookup-subjects]

	// [delete]
	deleted, err := client.DeleteRelationships(ctx, &v1.DeleteRelationshipsRequest{
		RelationshipFilter: &v1.RelationshipFilter{
			ResourceType: "document", OptionalResourceId: "plan",
			OptionalSubjectFilter: &v1.SubjectFilter{SubjectType: "user", OptionalSubjectId: "bert"},
		},
	})
	Check(err)
	fmt.Println("deletion:", deleted.DeletionProgress)
	// [/delete]

	// [import]
	stream, err := client.ImportBulkRelationships(ctx) // all in one transaction
	Check(err)
	for batch := range 3 {
		var relationships []*v1.Relationship
		for n := range 100 {
			relationships = append(relationships, Relationship(fmt.Sprintf("group:ops#member@user:%d-%d", batch, n)))
		}
		Check(stream.Send(&v1.ImportBulkRelationshipsRequest{Relationships: relationships}))
	}
	imported, err := stream.CloseAndRecv()
	Check(err)
	fmt.Println("imported", imported.NumLoaded)
	// [/import]

	// [export]
	exported := 0
	for _, answer := range All(client.ExportBulkRelationships(ctx, &v1.ExportBulkRelationshipsRequest{
		Consistency:                FullyConsistent,
		OptionalRelationshipFilter: &v1.RelationshipFilter{ResourceType: "group", OptionalResourceId: "ops"},
	})) {
		exported += len(answer.Relationships)
	}
	fmt.Println("exported", exported)
	// [/export]
}
