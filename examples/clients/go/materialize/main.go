// The services of authzed.api.materialize.v0.
package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"

	materialize "github.com/authzed/authzed-go/proto/authzed/api/materialize/v0"
	v1 "github.com/authzed/authzed-go/proto/authzed/api/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	. "stonetown/examples/connect"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	// [connect]
	connection, err := grpc.NewClient(os.Getenv("STONETOWN_ENDPOINT"), Options()...)
	Check(err)
	sets := materialize.NewWatchPermissionSetsServiceClient(connection)
	permissions := materialize.NewWatchPermissionsServiceClient(connection)
	relationships := materialize.NewRelationshipsServiceClient(connection)
	// [/connect]

	// [lookup]
	var lines []string
	var token *v1.ZedToken
	request := &materialize.LookupPermissionSetsRequest{Limit: 100}
	for _, answer := range All(sets.LookupPermissionSets(ctx, request)) {
		lines = append(lines, describe(answer.Change))
		token = answer.Change.AtRevision // the next page: OptionalStartingAfterCursor
	}
	// [/lookup]
	slices.Sort(lines)
	for _, line := range lines {
		fmt.Println(line)
	}

	// [watch]
	fromStart := metadata.AppendToOutgoingContext(ctx, "stonetown-watch-from", "start") // or OptionalStartingAfter: token
	changes, err := sets.WatchPermissionSets(fromStart, &materialize.WatchPermissionSetsRequest{})
	Check(err)
	for complete := false; !complete; { // a program would go on
		answer, err := changes.Recv()
		Check(err)
		switch response := answer.Response.(type) {
		case *materialize.WatchPermissionSetsResponse_Change:
			// apply response.Change: added or removed
		case *materialize.WatchPermissionSetsResponse_CompletedRevision:
			token = response.CompletedRevision // store it with what was applied
			complete = true
		}
	}
	// [/watch]
	fmt.Println("complete")

	// [watch-permissions]
	watched, err := permissions.WatchPermissions(fromStart, &materialize.WatchPermissionsRequest{
		Permissions: []*materialize.WatchedPermission{{ResourceType: "document", Permission: "view", SubjectType: "user"}},
	})
	Check(err)
	for complete := false; !complete; { // a program would go on
		answer, err := watched.Recv()
		Check(err)
		if change := answer.GetChange(); change != nil {
			// change.Subject has, or has no longer, change.Permission on change.Resource
		}
		complete = answer.GetCompletedRevision() != nil
	}
	// [/watch-permissions]
	fmt.Println("complete")

	// [download]
	download, err := sets.DownloadPermissionSets(ctx, &materialize.DownloadPermissionSetsRequest{OptionalAtRevision: token})
	Check(err)
	file, err := http.Get(download.Files[0].Url)
	Check(err)
	defer file.Body.Close()
	downloaded := 0
	for scanner := bufio.NewScanner(file.Body); scanner.Scan(); {
		downloaded++
	}
	fmt.Println("downloaded", downloaded, "changes")
	// [/download]

	// [count]
	count, err := relationships.ExperimentalCountRelationshipsByFilter(ctx,
		&materialize.ExperimentalCountRelationshipsByFilterRequest{
			RelationshipFilter: &v1.RelationshipFilter{ResourceType: "document"},
		})
	Check(err)
	fmt.Println("relationships", count.RelationshipCount)
	// [/count]
}

func describe(change *materialize.PermissionSetChange) string {
	parent := change.ParentSet
	line := fmt.Sprintf("%s %s:%s#%s has ", change.Operation, parent.ObjectType, parent.ObjectId, parent.PermissionOrRelation)
	if set := change.GetChildSet(); set != nil {
		return line + set.ObjectType + ":" + set.ObjectId + "#" + set.PermissionOrRelation
	}
	member := change.GetChildMember()
	return line + member.ObjectType + ":" + member.ObjectId
}
