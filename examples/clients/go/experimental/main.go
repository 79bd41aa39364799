// ExperimentalService, call by call.
package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/authzed/authzed-go/proto/authzed/api/v1"

	. "stonetown/examples/connect"
)

func main() {
	ctx := context.Background()
	client := Client()

	// [register]
	_, err := client.ExperimentalRegisterRelationshipCounter(ctx, &v1.ExperimentalRegisterRelationshipCounterRequest{
		Name:               "viewers",
		RelationshipFilter: &v1.RelationshipFilter{ResourceType: "document", OptionalRelation: "viewer"},
	})
	Check(err)
	// [/register]

	// [count]
	count := &v1.ExperimentalCountRelationshipsRequest{Name: "viewers"}
	counted, err := client.ExperimentalCountRelationships(ctx, count)
	for err == nil && counted.GetCounterStillCalculating() { // a moment after it was registered
		time.Sleep(100 * time.Millisecond)
		counted, err = client.ExperimentalCountRelationships(ctx, count)
	}
	Check(err)
	fmt.Println("viewers:", counted.GetReadCounterValue().RelationshipCount)
	// [/count]

	// [unregister]
	_, err = client.ExperimentalUnregisterRelationshipCounter(ctx,
		&v1.ExperimentalUnregisterRelationshipCounterRequest{Name: "viewers"})
	Check(err)
	// [/unregister]

	// [bulk-check]
	checked, err := client.BulkCheckPermission(ctx, &v1.BulkCheckPermissionRequest{
		Consistency: FullyConsistent,
		Items: []*v1.BulkCheckPermissionRequestItem{{
			Resource: Object("document:plan"), Permission: "view", Subject: Subject("user:ann"),
		}},
	})
	Check(err)
	fmt.Println("ann:", checked.Pairs[0].GetItem().Permissionship)
	// [/bulk-check]

	// [bulk-import]
	stream, err := client.BulkImportRelationships(ctx)
	Check(err)
	Check(stream.Send(&v1.BulkImportRelationshipsRequest{
		Relationships: []*v1.Relationship{Relationship("group:ops#member@user:bert")},
	}))
	imported, err := stream.CloseAndRecv()
	Check(err)
	fmt.Println("imported", imported.NumLoaded)
	// [/bulk-import]

	// [bulk-export]
	exported := 0
	for _, answer := range All(client.BulkExportRelationships(ctx, &v1.BulkExportRelationshipsRequest{
		Consistency:                FullyConsistent,
		OptionalRelationshipFilter: &v1.RelationshipFilter{ResourceType: "group"},
	})) {
		exported += len(answer.Relationships)
	}
	fmt.Println("exported", exported)
	// [/bulk-export]

	// [reflect]
	reflected, err := client.ExperimentalReflectSchema(ctx,
		&v1.ExperimentalReflectSchemaRequest{Consistency: FullyConsistent})
	Check(err)
	var definitions []string
	for _, definition := range reflected.Definitions {
		definitions = append(definitions, definition.Name)
	}
	slices.Sort(definitions)
	fmt.Println("definitions", strings.Join(definitions, " "))
	// [/reflect]

	// [computable]
	computable, err := client.ExperimentalComputablePermissions(ctx, &v1.ExperimentalComputablePermissionsRequest{
		Consistency: FullyConsistent, DefinitionName: "document", RelationName: "owner",
	})
	Check(err)
	fmt.Println("owner decides", names(computable.Permissions))
	// [/computable]

	// [dependent]
	dependent, err := client.ExperimentalDependentRelations(ctx, &v1.ExperimentalDependentRelationsRequest{
		Consistency: FullyConsistent, DefinitionName: "document", PermissionName: "edit",
	})
	Check(err)
	fmt.Println("edit depends on", names(dependent.Relations))
	// [/dependent]

	// [diff]
	diff, err := client.ExperimentalDiffSchema(ctx, &v1.ExperimentalDiffSchemaRequest{
		Consistency: FullyConsistent, ComparisonSchema: "definition user {}",
	})
	Check(err)
	fmt.Println("differences", len(diff.Diffs))
	// [/diff]
}

func names(references []*v1.ExpRelationReference) string {
	var names []string
	for _, reference := range references {
		names = append(names, reference.RelationName)
	}
	return strings.Join(names, " ")
}
