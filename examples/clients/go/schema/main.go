// SchemaService, call by call.
package main

import (
	"context"
	"fmt"
	"strings"

	v1 "github.com/authzed/authzed-go/proto/authzed/api/v1"

	. "stonetown/examples/connect"
)

func main() {
	ctx := context.Background()
	client := Client()

	// [read]
	read, err := client.ReadSchema(ctx, &v1.ReadSchemaRequest{})
	Check(err)
	fmt.Println("read", strings.Count(strings.TrimSpace(read.SchemaText), "\n")+1, "lines")
	// [/read]

	// [diff]
	planned := strings.NewReplacer(
		"viewer + edit", "viewer + edit + guest",
		"relation owner: user", "relation owner: user\n\trelation guest: user",
	).Replace(read.SchemaText)
	diff, err := client.DiffSchema(ctx, &v1.DiffSchemaRequest{Consistency: FullyConsistent, ComparisonSchema: planned})
	Check(err)
	for _, change := range diff.Diffs {
		switch change.Diff.(type) {
		case *v1.ReflectionSchemaDiff_RelationAdded:
			fmt.Println("differs: relation_added")
		case *v1.ReflectionSchemaDiff_PermissionExprChanged:
			fmt.Println("differs: permission_expr_changed")
		}
	}
	// [/diff]

	// [write]
	written, err := client.WriteSchema(ctx, &v1.WriteSchemaRequest{Schema: planned})
	Check(err)
	token := written.WrittenAt
	// [/write]

	// [reflect]
	reflected, err := client.ReflectSchema(ctx, &v1.ReflectSchemaRequest{
		Consistency:     AtLeastAsFresh(token),
		OptionalFilters: []*v1.ReflectionSchemaFilter{{OptionalDefinitionNameFilter: "document"}},
	})
	Check(err)
	for _, definition := range reflected.Definitions {
		fmt.Print(definition.Name, " has relations")
		for _, relation := range definition.Relations {
			fmt.Print(" ", relation.Name)
		}
		fmt.Print("\n", definition.Name, " has permissions")
		for _, permission := range definition.Permissions {
			fmt.Print(" ", permission.Name)
		}
		fmt.Println()
	}
	// [/reflect]

	// [computable]
	computable, err := client.ComputablePermissions(ctx, &v1.ComputablePermissionsRequest{
		Consistency: FullyConsistent, DefinitionName: "document", RelationName: "owner",
	})
	Check(err)
	fmt.Println("owner decides", names(computable.Permissions))
	// [/computable]

	// [dependent]
	dependent, err := client.DependentRelations(ctx, &v1.DependentRelationsRequest{
		Consistency: FullyConsistent, DefinitionName: "document", PermissionName: "edit",
	})
	Check(err)
	fmt.Println("edit depends on", names(dependent.Relations))
	// [/dependent]
}

func names(references []*v1.ReflectionRelationReference) string {
	var names []string
	for _, reference := range references {
		names = append(names, reference.RelationName)
	}
	return strings.Join(names, " ")
}
