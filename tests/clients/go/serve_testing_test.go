package clients

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	v1 "github.com/authzed/authzed-go/proto/authzed/api/v1"
	"github.com/authzed/authzed-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// testingClient connects to the server for test suites, on which each token has a store of its own.
func testingClient(t *testing.T, variable, token string) *authzed.Client {
	t.Helper()
	endpoint := os.Getenv(variable)
	if endpoint == "" {
		t.Skip("no server for test suites")
	}
	client, err := authzed.NewClient(endpoint,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(bearer(token)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func TestServeTestingKeepsTokensApart(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	schema, err := os.ReadFile("../schema.zed")
	if err != nil {
		t.Fatal(err)
	}
	unique := fmt.Sprintf("%d", time.Now().UnixNano())
	one := testingClient(t, "STONETOWN_TESTING_ENDPOINT", "one-"+unique)
	other := testingClient(t, "STONETOWN_TESTING_ENDPOINT", "other-"+unique)
	reader := testingClient(t, "STONETOWN_TESTING_READONLY_ENDPOINT", "one-"+unique)

	if _, err := one.WriteSchema(ctx, &v1.WriteSchemaRequest{Schema: string(schema)}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.ReadSchema(ctx, &v1.ReadSchemaRequest{}); status.Code(err) != codes.NotFound {
		t.Fatalf("another token sees the schema: %v", err)
	}
	write := &v1.WriteRelationshipsRequest{Updates: []*v1.RelationshipUpdate{{
		Operation: create,
		Relationship: &v1.Relationship{
			Resource: object("document", "plan"), Relation: "owner",
			Subject: &v1.SubjectReference{Object: object("user", "anna")},
		},
	}}}
	if _, err := one.WriteRelationships(ctx, write); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.WriteRelationships(ctx, write); status.Code(err) != codes.Unavailable {
		t.Fatalf("the read-only port takes a write: %v", err)
	}
	answer, err := reader.CheckPermission(ctx, &v1.CheckPermissionRequest{
		Consistency: full, Resource: object("document", "plan"), Permission: "view",
		Subject: &v1.SubjectReference{Object: object("user", "anna")},
	})
	if err != nil || answer.Permissionship != has {
		t.Fatalf("%v, %v", answer, err)
	}
}
