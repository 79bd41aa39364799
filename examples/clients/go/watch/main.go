// WatchService.
package main

import (
	"context"
	"fmt"
	"slices"

	v1 "github.com/authzed/authzed-go/proto/authzed/api/v1"
	"google.golang.org/grpc/metadata"

	. "stonetown/examples/connect"
)

const (
	touch  = v1.RelationshipUpdate_OPERATION_TOUCH
	remove = v1.RelationshipUpdate_OPERATION_DELETE
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client := Client()

	write := func(operation v1.RelationshipUpdate_Operation, what string) *v1.ZedToken {
		answer, err := client.WriteRelationships(ctx, &v1.WriteRelationshipsRequest{
			Updates: []*v1.RelationshipUpdate{{Operation: operation, Relationship: Relationship(what)}},
		})
		Check(err)
		return answer.WrittenAt
	}
	token := write(touch, "document:memo#viewer@user:bert")
	write(touch, "document:memo#viewer@user:dora")
	write(remove, "document:memo#viewer@user:bert")

	// [watch]
	stream, err := client.Watch(ctx, &v1.WatchRequest{
		OptionalStartCursor: token, OptionalObjectTypes: []string{"document"},
	})
	Check(err)
	for { // without an end
		answer, err := stream.Recv()
		Check(err)
		for _, update := range answer.Updates {
			fmt.Println(update.Operation, Text(update.Relationship))
		}
		token = answer.ChangesThrough // store it: here a later watch goes on
		// [/watch]
		if slices.ContainsFunc(answer.Updates, func(u *v1.RelationshipUpdate) bool { return u.Operation == remove }) {
			break
		}
		// [watch]
	}
	// [/watch]

	// [start]
	fromStart := metadata.AppendToOutgoingContext(ctx, "stonetown-watch-from", "start")
	stream, err = client.Watch(fromStart, &v1.WatchRequest{})
	// [/start]
	Check(err)
	answer, err := stream.Recv()
	Check(err)
	var told []string
	for _, update := range answer.Updates {
		told = append(told, Text(update.Relationship))
	}
	fmt.Println("from the start:", slices.Min(told))
}
