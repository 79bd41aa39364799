// Package clients holds what a program that uses the unmodified authzed-go module relies on, against the server in
// STONETOWN_ENDPOINT.
package clients

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	v1 "github.com/authzed/authzed-go/proto/authzed/api/v1"
	"github.com/authzed/authzed-go/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	has         = v1.CheckPermissionResponse_PERMISSIONSHIP_HAS_PERMISSION
	hasNot      = v1.CheckPermissionResponse_PERMISSIONSHIP_NO_PERMISSION
	conditional = v1.CheckPermissionResponse_PERMISSIONSHIP_CONDITIONAL_PERMISSION
	touch       = v1.RelationshipUpdate_OPERATION_TOUCH
	create      = v1.RelationshipUpdate_OPERATION_CREATE
	remove      = v1.RelationshipUpdate_OPERATION_DELETE
)

var full = &v1.Consistency{Requirement: &v1.Consistency_FullyConsistent{FullyConsistent: true}}

// bearer sends a preshared key over plain text, which grpc-go leaves to its user.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}
func (bearer) RequireTransportSecurity() bool { return false }

func dial(t *testing.T, options ...grpc.DialOption) *authzed.ClientWithExperimental {
	t.Helper()
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	client, err := authzed.NewClientWithExperimentalAPIs(os.Getenv("STONETOWN_ENDPOINT"), options...)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func setup(t *testing.T) (context.Context, *authzed.ClientWithExperimental) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	client := dial(t, grpc.WithPerRPCCredentials(bearer(os.Getenv("STONETOWN_TOKEN"))))
	schema, err := os.ReadFile("../schema.zed")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.WriteSchema(ctx, &v1.WriteSchemaRequest{Schema: string(schema)}); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"group", "folder", "document"} {
		if _, err := client.DeleteRelationships(ctx, &v1.DeleteRelationshipsRequest{
			RelationshipFilter: &v1.RelationshipFilter{ResourceType: kind},
		}); err != nil {
			t.Fatal(err)
		}
	}
	return ctx, client
}

func object(kind, id string) *v1.ObjectReference {
	return &v1.ObjectReference{ObjectType: kind, ObjectId: id}
}

func user(id string) *v1.SubjectReference { return &v1.SubjectReference{Object: object("user", id)} }

func owner(document, who string) *v1.Relationship {
	return &v1.Relationship{Resource: object("document", document), Relation: "owner", Subject: user(who)}
}

func updates(operation v1.RelationshipUpdate_Operation, relationships ...*v1.Relationship) *v1.WriteRelationshipsRequest {
	request := &v1.WriteRelationshipsRequest{}
	for _, relationship := range relationships {
		request.Updates = append(request.Updates, &v1.RelationshipUpdate{Operation: operation, Relationship: relationship})
	}
	return request
}

func write(t *testing.T, ctx context.Context, client *authzed.ClientWithExperimental, operation v1.RelationshipUpdate_Operation, relationships ...*v1.Relationship) *v1.ZedToken {
	t.Helper()
	response, err := client.WriteRelationships(ctx, updates(operation, relationships...))
	if err != nil {
		t.Fatal(err)
	}
	return response.WrittenAt
}

func expectCheck(t *testing.T, ctx context.Context, client *authzed.ClientWithExperimental, request *v1.CheckPermissionRequest, want v1.CheckPermissionResponse_Permissionship) *v1.CheckPermissionResponse {
	t.Helper()
	if request.Consistency == nil {
		request.Consistency = full
	}
	response, err := client.CheckPermission(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	if response.Permissionship != want {
		t.Errorf("%v: %v, want %v", request, response.Permissionship, want)
	}
	return response
}

func expectRefused(t *testing.T, err error, code codes.Code, reason v1.ErrorReason) map[string]string {
	t.Helper()
	if status.Code(err) != code {
		t.Fatalf("%v, want code %v", err, code)
	}
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			if info.Reason != reason.String() || info.Domain != "authzed.com" {
				t.Errorf("reason %s of %s, want %s", info.Reason, info.Domain, reason)
			}
			return info.Metadata
		}
	}
	if reason != v1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		t.Errorf("%v has no reason, want %s", err, reason)
	}
	return nil
}

func collect[T any](t *testing.T, stream interface{ Recv() (T, error) }, err error) []T {
	t.Helper()
	var rows []T
	for err == nil {
		var row T
		if row, err = stream.Recv(); err == nil {
			rows = append(rows, row)
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return rows
}

func TestSchemaReadsBackWhatWasWritten(t *testing.T) {
	ctx, client := setup(t)
	read, err := client.ReadSchema(ctx, &v1.ReadSchemaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.WriteSchema(ctx, &v1.WriteSchemaRequest{Schema: read.SchemaText}); err != nil {
		t.Fatal(err)
	}
	again, err := client.ReadSchema(ctx, &v1.ReadSchemaRequest{})
	if err != nil || again.SchemaText != read.SchemaText {
		t.Errorf("%v: read %q, then %q", err, read.SchemaText, again.GetSchemaText())
	}
	reflected, err := client.ReflectSchema(ctx, &v1.ReflectSchemaRequest{Consistency: full})
	if err != nil || len(reflected.Definitions) != 5 || len(reflected.Caveats) != 1 {
		t.Errorf("%v: %v", err, reflected)
	}
}

func TestSchemaErrors(t *testing.T) {
	ctx, client := setup(t)
	_, err := client.WriteSchema(ctx, &v1.WriteSchemaRequest{Schema: "definition user {}\ndefinition ! {}"})
	if metadata := expectRefused(t, err, codes.InvalidArgument, v1.ErrorReason_ERROR_REASON_SCHEMA_PARSE_ERROR); metadata["start_line_number"] != "1" {
		t.Errorf("position: %v", metadata)
	}
	_, err = client.WriteSchema(ctx, &v1.WriteSchemaRequest{Schema: "definition document {\n relation owner: nobody\n}"})
	expectRefused(t, err, codes.FailedPrecondition, v1.ErrorReason_ERROR_REASON_SCHEMA_TYPE_ERROR)
	write(t, ctx, client, touch, owner("d", "anna"))
	_, err = client.WriteSchema(ctx, &v1.WriteSchemaRequest{Schema: "definition user {}"})
	expectRefused(t, err, codes.InvalidArgument, v1.ErrorReason_ERROR_REASON_SCHEMA_TYPE_ERROR)
}

func TestCreateTouchDelete(t *testing.T) {
	ctx, client := setup(t)
	write(t, ctx, client, create, owner("d", "anna"))
	_, err := client.WriteRelationships(ctx, updates(create, owner("e", "anna"), owner("d", "anna")))
	metadata := expectRefused(t, err, codes.AlreadyExists, v1.ErrorReason_ERROR_REASON_ATTEMPT_TO_RECREATE_RELATIONSHIP)
	if metadata["resource_object_id"] != "d" {
		t.Errorf("metadata: %v", metadata)
	}
	write(t, ctx, client, touch, owner("d", "anna"))
	expectCheck(t, ctx, client, &v1.CheckPermissionRequest{Resource: object("document", "e"), Permission: "view", Subject: user("anna")}, hasNot)
	expectCheck(t, ctx, client, &v1.CheckPermissionRequest{Resource: object("document", "d"), Permission: "view", Subject: user("anna")}, has)
	write(t, ctx, client, remove, owner("d", "anna"))
	expectCheck(t, ctx, client, &v1.CheckPermissionRequest{Resource: object("document", "d"), Permission: "view", Subject: user("anna")}, hasNot)
}

func TestPreconditions(t *testing.T) {
	ctx, client := setup(t)
	write(t, ctx, client, touch, owner("d", "anna"))
	filter := func(id string) *v1.RelationshipFilter {
		return &v1.RelationshipFilter{ResourceType: "document", OptionalResourceId: id}
	}
	request := updates(touch, owner("e", "anna"))
	request.OptionalPreconditions = []*v1.Precondition{{Operation: v1.Precondition_OPERATION_MUST_NOT_MATCH, Filter: filter("d")}}
	_, err := client.WriteRelationships(ctx, request)
	expectRefused(t, err, codes.FailedPrecondition, v1.ErrorReason_ERROR_REASON_WRITE_OR_DELETE_PRECONDITION_FAILURE)
	request.OptionalPreconditions = []*v1.Precondition{{Operation: v1.Precondition_OPERATION_MUST_MATCH, Filter: filter("d")}}
	if _, err := client.WriteRelationships(ctx, request); err != nil {
		t.Fatal(err)
	}
	_, err = client.DeleteRelationships(ctx, &v1.DeleteRelationshipsRequest{
		RelationshipFilter: filter("d"),
		OptionalPreconditions: []*v1.Precondition{
			{Operation: v1.Precondition_OPERATION_MUST_MATCH, Filter: filter("nowhere")},
		},
	})
	expectRefused(t, err, codes.FailedPrecondition, v1.ErrorReason_ERROR_REASON_WRITE_OR_DELETE_PRECONDITION_FAILURE)
}

func TestConditionalUntilTheContextIsComplete(t *testing.T) {
	ctx, client := setup(t)
	budget, _ := structpb.NewStruct(map[string]any{"budget": 10})
	write(t, ctx, client, touch, &v1.Relationship{
		Resource: object("document", "d"), Relation: "editor",
		Subject:        &v1.SubjectReference{Object: object("agent", "a")},
		OptionalCaveat: &v1.ContextualizedCaveat{CaveatName: "within_budget", Context: budget},
	})
	ask := func(context map[string]any, want v1.CheckPermissionResponse_Permissionship) *v1.CheckPermissionResponse {
		values, _ := structpb.NewStruct(context)
		return expectCheck(t, ctx, client, &v1.CheckPermissionRequest{
			Resource: object("document", "d"), Permission: "edit",
			Subject: &v1.SubjectReference{Object: object("agent", "a")}, Context: values,
		}, want)
	}
	if missing := ask(nil, conditional).PartialCaveatInfo.GetMissingRequiredContext(); !slices.Equal(missing, []string{"spent"}) {
		t.Errorf("missing: %v", missing)
	}
	ask(map[string]any{"spent": 10}, has)
	ask(map[string]any{"spent": 11}, hasNot)
}

func TestExpiration(t *testing.T) {
	ctx, client := setup(t)
	until := func(who string, when time.Time) *v1.Relationship {
		return &v1.Relationship{Resource: object("document", "d"), Relation: "editor", Subject: user(who), OptionalExpiresAt: timestamppb.New(when)}
	}
	write(t, ctx, client, touch, until("anna", time.Now().Add(time.Hour)), until("bert", time.Now().Add(-time.Hour)))
	expectCheck(t, ctx, client, &v1.CheckPermissionRequest{Resource: object("document", "d"), Permission: "edit", Subject: user("anna")}, has)
	expectCheck(t, ctx, client, &v1.CheckPermissionRequest{Resource: object("document", "d"), Permission: "edit", Subject: user("bert")}, hasNot)
}

func TestBulkCheck(t *testing.T) {
	ctx, client := setup(t)
	write(t, ctx, client, touch, owner("d", "anna"))
	item := func(permission, who string) *v1.CheckBulkPermissionsRequestItem {
		return &v1.CheckBulkPermissionsRequestItem{Resource: object("document", "d"), Permission: permission, Subject: user(who)}
	}
	response, err := client.CheckBulkPermissions(ctx, &v1.CheckBulkPermissionsRequest{
		Consistency: full,
		Items:       []*v1.CheckBulkPermissionsRequestItem{item("view", "anna"), item("nothing", "anna"), item("view", "bert")},
	})
	if err != nil {
		t.Fatal(err)
	}
	pairs := response.Pairs
	if pairs[0].GetItem().GetPermissionship() != has || codes.Code(pairs[1].GetError().GetCode()) != codes.FailedPrecondition ||
		pairs[2].GetItem().GetPermissionship() != hasNot {
		t.Errorf("%v", pairs)
	}
}

func TestExpandAndTrace(t *testing.T) {
	ctx, client := setup(t)
	write(t, ctx, client, touch, owner("d", "anna"))
	expanded, err := client.ExpandPermissionTree(ctx, &v1.ExpandPermissionTreeRequest{
		Consistency: full, Resource: object("document", "d"), Permission: "edit",
	})
	if err != nil || expanded.TreeRoot.GetIntermediate().GetOperation() != v1.AlgebraicSubjectSet_OPERATION_EXCLUSION {
		t.Errorf("%v: %v", err, expanded)
	}
	traced := expectCheck(t, ctx, client, &v1.CheckPermissionRequest{
		Resource: object("document", "d"), Permission: "view", Subject: user("anna"), WithTracing: true,
	}, has)
	if traced.GetDebugTrace().GetCheck().GetPermission() != "view" {
		t.Errorf("trace: %v", traced.GetDebugTrace())
	}
}

func TestLookups(t *testing.T) {
	ctx, client := setup(t)
	var want []string
	for n := range 7 {
		want = append(want, fmt.Sprintf("d%d", n))
		write(t, ctx, client, touch, owner(want[n], "anna"))
	}
	request := &v1.LookupResourcesRequest{
		Consistency: full, ResourceObjectType: "document", Permission: "view", Subject: user("anna"), OptionalLimit: 3,
	}
	var found []string
	for {
		stream, err := client.LookupResources(ctx, request)
		page := collect(t, stream, err)
		for _, row := range page {
			found = append(found, row.ResourceObjectId)
		}
		if len(page) < 3 {
			break
		}
		request.OptionalCursor = page[len(page)-1].AfterResultCursor
	}
	slices.Sort(found)
	if !slices.Equal(found, want) {
		t.Errorf("found %v, want %v", found, want)
	}

	write(t, ctx, client, touch,
		&v1.Relationship{Resource: object("folder", "f"), Relation: "viewer", Subject: user("*")},
		&v1.Relationship{Resource: object("document", "d0"), Relation: "parent", Subject: &v1.SubjectReference{Object: object("folder", "f")}},
		&v1.Relationship{Resource: object("document", "d0"), Relation: "banned", Subject: user("bert")},
	)
	stream, err := client.LookupSubjects(ctx, &v1.LookupSubjectsRequest{
		Consistency: full, Resource: object("document", "d0"), Permission: "view", SubjectObjectType: "user",
	})
	subjects := map[string]int{}
	for _, row := range collect(t, stream, err) {
		subjects[row.Subject.SubjectObjectId] = len(row.ExcludedSubjects)
	}
	if len(subjects) != 2 || subjects["*"] != 1 || subjects["anna"] != 0 {
		t.Errorf("subjects: %v", subjects)
	}
}

func TestReadInPagesImportAndExport(t *testing.T) {
	ctx, client := setup(t)
	load, err := client.ImportBulkRelationships(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for batch := range 4 {
		request := &v1.ImportBulkRelationshipsRequest{}
		for n := range 250 {
			request.Relationships = append(request.Relationships, owner(fmt.Sprintf("d%d-%d", batch, n), "anna"))
		}
		if err := load.Send(request); err != nil {
			t.Fatal(err)
		}
	}
	if loaded, err := load.CloseAndRecv(); err != nil || loaded.NumLoaded != 1000 {
		t.Fatalf("%v: %v", err, loaded)
	}

	seen := map[string]bool{}
	request := &v1.ReadRelationshipsRequest{Consistency: full, RelationshipFilter: &v1.RelationshipFilter{ResourceType: "document"}, OptionalLimit: 300}
	for {
		stream, err := client.ReadRelationships(ctx, request)
		page := collect(t, stream, err)
		for _, row := range page {
			seen[row.Relationship.Resource.ObjectId] = true
		}
		if len(page) < 300 {
			break
		}
		request.OptionalCursor = page[len(page)-1].AfterResultCursor
	}
	stream, err := client.ExportBulkRelationships(ctx, &v1.ExportBulkRelationshipsRequest{Consistency: full})
	exported := 0
	for _, batch := range collect(t, stream, err) {
		exported += len(batch.Relationships)
	}
	if len(seen) != 1000 || exported != 1000 {
		t.Errorf("read %d, exported %d", len(seen), exported)
	}
}

func TestTokens(t *testing.T) {
	ctx, client := setup(t)
	before := write(t, ctx, client, touch, owner("d", "anna"))
	after := write(t, ctx, client, remove, owner("d", "anna"))
	ask := func(consistency *v1.Consistency, want v1.CheckPermissionResponse_Permissionship) {
		expectCheck(t, ctx, client, &v1.CheckPermissionRequest{
			Consistency: consistency, Resource: object("document", "d"), Permission: "view", Subject: user("anna"),
		}, want)
	}
	ask(&v1.Consistency{Requirement: &v1.Consistency_AtLeastAsFresh{AtLeastAsFresh: after}}, hasNot)
	ask(&v1.Consistency{Requirement: &v1.Consistency_AtExactSnapshot{AtExactSnapshot: before}}, has)
	_, err := client.CheckPermission(ctx, &v1.CheckPermissionRequest{
		Consistency: &v1.Consistency{Requirement: &v1.Consistency_AtLeastAsFresh{AtLeastAsFresh: &v1.ZedToken{Token: "unreadable"}}},
		Resource:    object("document", "d"), Permission: "view", Subject: user("anna"),
	})
	expectRefused(t, err, codes.InvalidArgument, v1.ErrorReason_ERROR_REASON_UNSPECIFIED)
}

func TestErrorReasons(t *testing.T) {
	ctx, client := setup(t)
	check := func(kind, permission, who string) error {
		_, err := client.CheckPermission(ctx, &v1.CheckPermissionRequest{
			Consistency: full, Resource: object(kind, "d"), Permission: permission, Subject: user(who),
		})
		return err
	}
	expectRefused(t, check("nothing", "view", "anna"), codes.FailedPrecondition, v1.ErrorReason_ERROR_REASON_UNKNOWN_DEFINITION)
	expectRefused(t, check("document", "nothing", "anna"), codes.FailedPrecondition, v1.ErrorReason_ERROR_REASON_UNKNOWN_RELATION_OR_PERMISSION)
	expectRefused(t, check("document", "view", "*"), codes.InvalidArgument, v1.ErrorReason_ERROR_REASON_WILDCARD_NOT_ALLOWED)
	permission := owner("d", "anna")
	permission.Relation = "view"
	_, err := client.WriteRelationships(ctx, updates(touch, permission))
	expectRefused(t, err, codes.InvalidArgument, v1.ErrorReason_ERROR_REASON_CANNOT_UPDATE_PERMISSION)
	_, err = client.WriteRelationships(ctx, updates(touch, owner("d", "anna"), owner("d", "anna")))
	expectRefused(t, err, codes.InvalidArgument, v1.ErrorReason_ERROR_REASON_UPDATES_ON_SAME_RELATIONSHIP)
}

func TestBearers(t *testing.T) {
	ctx, _ := setup(t)
	_, err := dial(t, grpc.WithPerRPCCredentials(bearer("unknown"))).ReadSchema(ctx, &v1.ReadSchemaRequest{})
	expectRefused(t, err, codes.PermissionDenied, v1.ErrorReason_ERROR_REASON_UNSPECIFIED)
	_, err = dial(t).ReadSchema(ctx, &v1.ReadSchemaRequest{})
	expectRefused(t, err, codes.Unauthenticated, v1.ErrorReason_ERROR_REASON_UNSPECIFIED)
}
