package stonetown

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stonetown/stonetown/clients/go/v1"
)

// What every call of the client has: deadline, token, state, repetition, errors.

var yes = &v1.CheckResponse{Outcome: v1.Outcome_OUTCOME_ALLOWED, Token: "t1"}

func may(t *testing.T, client *Client, details ...Detail) (Decision, error) {
	t.Helper()
	return client.May(t.Context(), "user:ann", "view", "document:plan", details...)
}

func must[A any](t *testing.T) func(A, error) A {
	return func(value A, err error) A {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func TestACallHasTheTokenAndADeadline(t *testing.T) {
	fake, client := serve(t)
	fake.answers["Check"] = yes
	must[Decision](t)(may(t, client))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	must[Decision](t)(client.May(ctx, "user:ann", "view", "document:plan"))
	first, second := fake.calls[0], fake.calls[1]
	if first.token != "Bearer secret-0815" || first.secondsLeft < 5 || first.secondsLeft > 11 || second.secondsLeft > 4 {
		t.Errorf("%+v, %+v", first, second)
	}
}

func TestACallIsInTheStoreOfTheClient(t *testing.T) {
	for _, store := range []string{"tenant-7", ""} {
		fake, client := serve(t, WithStore(store))
		fake.answers["Check"] = yes
		fake.answers["WatchGrants"] = &v1.WatchGrantsResponse{Token: "1"}
		must[Decision](t)(may(t, client))
		stream, err := client.Grant.WatchGrants(t.Context(), &v1.WatchGrantsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Error(err)
		}
		for _, call := range fake.calls {
			if strings.Join(call.store, ",") != store {
				t.Errorf("%q in %q", call.name, call.store)
			}
		}
	}
	for _, name := range []string{"Tenant", "7up", "a b", strings.Repeat("x", 64), "a\n"} {
		if _, err := New("127.0.0.1:1", WithStore(name)); err == nil {
			t.Errorf("%q", name)
		}
	}
}

func TestADeadlineEndsACall(t *testing.T) {
	fake, client := serve(t, WithTimeout(200*time.Millisecond))
	fake.answers["Check"] = time.Second
	if _, err := may(t, client); status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
}

func TestAStreamHasNoDeadlineAndEnds(t *testing.T) {
	fake, client := serve(t)
	fake.answers["WatchGrants"] = &v1.WatchGrantsResponse{Token: "1"}
	stream, err := client.Grant.WatchGrants(t.Context(), &v1.WatchGrantsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if told, err := stream.Recv(); err != nil || told.GetToken() != "1" {
		t.Error(told, err)
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Error(err)
	}
	if fake.calls[0].secondsLeft != 0 {
		t.Error("there is a deadline")
	}
}

func TestTheTokenOfSomethingElseIsNoState(t *testing.T) {
	fake, client := serve(t)
	fake.answers["IssueCredential"] = &v1.IssueCredentialResponse{Token: "secret"}
	must[*v1.IssueCredentialResponse](t)(client.Principal.IssueCredential(t.Context(), &v1.IssueCredentialRequest{}))
	if client.ZedToken() != "" {
		t.Error("a credential became a state")
	}
}

func TestAStreamEndsWithAnErrorOfThePackage(t *testing.T) {
	fake, client := serve(t)
	fake.answers["WatchGrants"] = refusal(codes.InvalidArgument, "no", "ERROR_REASON_INVALID_CURSOR", nil)
	stream, err := client.Grant.WatchGrants(t.Context(), &v1.WatchGrantsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); ReasonOf(err) != ReasonInvalidCursor {
		t.Error(err)
	}
}

func TestATokenMayBeRenewed(t *testing.T) {
	tokens := []string{"one", "two"}
	fake, client := serve(t, WithTokenFrom(func(context.Context) (string, error) {
		token := tokens[0]
		tokens = tokens[1:]
		return token, nil
	}))
	fake.answers["Check"] = yes
	must[Decision](t)(may(t, client))
	must[Decision](t)(may(t, client))
	if fake.calls[0].token != "Bearer one" || fake.calls[1].token != "Bearer two" {
		t.Errorf("%+v", fake.calls)
	}
}

func TestReadsAreRepeatedWhileTheServerIsAway(t *testing.T) {
	fake, client := serve(t)
	fake.answers["Check"] = yes
	fake.turns["Check"] = []any{unavailable, unavailable}
	if decision, err := may(t, client); err != nil || !decision.Allowed || len(fake.calls) != 3 {
		t.Error(decision, err, fake.names())
	}
	fake.turns["Check"] = []any{unavailable, unavailable, unavailable, unavailable}
	if _, err := may(t, client); status.Code(err) != codes.Unavailable || len(fake.calls) != 7 {
		t.Error(err, fake.names())
	}
}

func TestNothingElseIsRepeated(t *testing.T) {
	fake, client := serve(t)
	fake.answers["PutTemplate"] = unavailable
	if _, err := client.Grant.PutTemplate(t.Context(), &v1.PutTemplateRequest{}); status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
	fake.answers["Check"] = status.Error(codes.ResourceExhausted, "busy")
	if _, err := may(t, client); status.Code(err) != codes.ResourceExhausted {
		t.Error(err)
	}
	if len(fake.calls) != 2 {
		t.Error(fake.names())
	}
}

func TestARequestThatIsRepeatedIsOneRequest(t *testing.T) {
	fake, client := serve(t)
	fake.answers["RequestGrant"] = &v1.RequestGrantResponse{}
	fake.turns["RequestGrant"] = []any{unavailable}
	request := &v1.RequestGrantRequest{Template: "scale"}
	for _, asked := range []*v1.RequestGrantRequest{request, request, {IdempotencyKey: "mine"}} {
		must[*v1.RequestGrantResponse](t)(client.Grant.RequestGrant(t.Context(), asked))
	}
	var keys []string
	for _, call := range fake.calls {
		keys = append(keys, call.request.(*v1.RequestGrantRequest).GetIdempotencyKey())
	}
	if len(keys) != 4 || keys[0] == "" || keys[0] != keys[1] || keys[1] == keys[2] || keys[3] != "mine" {
		t.Error(keys)
	}
	if request.GetIdempotencyKey() != "" {
		t.Error("the caller's request was changed")
	}
}

func TestAnswersAreNoOlderThanWhatWasSeen(t *testing.T) {
	fake, client := serve(t)
	fake.answers["Check"] = yes
	must[Decision](t)(may(t, client))
	must[Decision](t)(may(t, client))
	client.SetZedToken("written-elsewhere")
	must[Decision](t)(may(t, client))
	for index, want := range []string{"", "t1", "written-elsewhere"} {
		if got := fake.calls[index].request.(*v1.CheckRequest).GetFreshness().GetAtLeast(); got != want {
			t.Errorf("call %d: %q, want %q", index, got, want)
		}
	}
}

func TestALookAtThePastDoesNotBecomeThePresent(t *testing.T) {
	fake, client := serve(t)
	fake.answers["Check"] = &v1.CheckResponse{Token: "old"}
	client.SetZedToken("new")
	at := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	must[Decision](t)(may(t, client, At(at)))
	if got := fake.calls[0].request.(*v1.CheckRequest).GetFreshness().GetAt().AsTime(); !got.Equal(at) {
		t.Error(got)
	}
	if client.ZedToken() != "new" {
		t.Error(client.ZedToken())
	}
}

func TestAnErrorSaysCodeReasonAndValues(t *testing.T) {
	fake, client := serve(t)
	fake.answers["Check"] = refusal(codes.FailedPrecondition, "object definition `cat` not found",
		"ERROR_REASON_UNKNOWN_DEFINITION", map[string]string{"definition_name": "cat"})
	_, err := may(t, client)
	var found *Error
	if !errors.As(err, &found) {
		t.Fatal(err)
	}
	if found.Code != codes.FailedPrecondition || found.Reason != ReasonUnknownDefinition ||
		found.Metadata["definition_name"] != "cat" || found.RequestID != "request-7" {
		t.Errorf("%+v", found)
	}
	if got := err.Error(); got != "object definition `cat` not found (FailedPrecondition, UNKNOWN_DEFINITION)" {
		t.Error(got)
	}
	if status.Code(fmt.Errorf("wrapped: %w", err)) != codes.FailedPrecondition {
		t.Error("gRPC does not see the code")
	}
	if ReasonOf(io.EOF) != "" {
		t.Error("a reason without an error of the server")
	}
}

func TestNoSecretIsShown(t *testing.T) {
	fake, client := serve(t)
	fake.answers["Check"] = status.Error(codes.Unauthenticated, "who are you?")
	_, err := may(t, client)
	shown := []string{fmt.Sprint(client), fmt.Sprintf("%+v", client), fmt.Sprintf("%#v", client), err.Error(), fmt.Sprintf("%+v", err)}
	for _, token := range []string{"secret-0815\n", " secret-0815", "secret-0815é", ""} {
		fake, client := serve(t, WithToken(token))
		fake.answers["Check"] = yes
		_, err := may(t, client)
		if err == nil {
			t.Errorf("%q was sent", token)
			continue
		}
		shown = append(shown, err.Error())
	}
	for _, text := range shown {
		if strings.Contains(text, "secret-0815") {
			t.Error(text)
		}
	}
	if !strings.Contains(shown[0], fake.address) {
		t.Error(shown[0])
	}
}

func TestTheVariablesOfTheCommandLine(t *testing.T) {
	fake, _ := serve(t)
	fake.answers["Check"] = yes
	t.Setenv("STONETOWN_ENDPOINT", fake.address)
	t.Setenv("STONETOWN_TOKEN", "from-env")
	t.Setenv("STONETOWN_CERTIFICATE_PATH", "")
	client := must[*Client](t)(FromEnv())
	defer client.Close()
	must[Decision](t)(may(t, client))
	if fake.calls[0].token != "Bearer from-env" {
		t.Error(fake.calls[0].token)
	}
}

func TestPlainTextIsForThisMachineAndWhereItIsAskedFor(t *testing.T) {
	plain := func(address string, options ...Option) bool {
		client := must[*Client](t)(New(address, options...))
		defer client.Close()
		return strings.Contains(client.String(), "plain text")
	}
	for _, local := range []string{"localhost:50051", "127.0.0.1:1", "127.8.8.8:1", "[::1]:50051"} {
		if !plain(local) {
			t.Error(local)
		}
	}
	for _, remote := range []string{
		"example.com:50051", "10.0.0.1:50051", "localhost.example.com:1", "127.0.0.1.example.com:1", "128.0.0.1:1",
		"0.0.0.0:1", "[::]:1", "[::ffff:10.0.0.1]:1",
	} {
		if plain(remote) || !plain(remote, WithInsecure()) {
			t.Error(remote)
		}
	}
}

func TestWhatIsNoAddress(t *testing.T) {
	for _, bad := range []string{
		"", "example.com", "example.com:", ":50051", "http://example.com:1", "a:b", "a:0", "a:65536", "dns:///a:1",
		"unix:/tmp/x", "a b:1", "a:1\n",
	} {
		if _, err := New(bad); err == nil {
			t.Errorf("%q", bad)
		}
	}
	for index, options := range [][]Option{{WithCA([]byte("pem")), WithInsecure()}, {WithCA([]byte("no PEM"))}} {
		if _, err := New("example.com:1", options...); err == nil {
			t.Error(index)
		}
	}
}

func TestOnlyReadsAndWhatHasAKeyAreRepeated(t *testing.T) {
	for _, name := range []string{"Checkpoint", "Scrub", "PutTemplate", "DecideGrant", "RevokeGrant", "WatchGrants"} {
		if strings.Contains(serviceConfig, `"`+name+`"`) {
			t.Error(name)
		}
	}
	if !slices.ContainsFunc([]string{"Check"}, func(name string) bool { return strings.Contains(serviceConfig, `"`+name+`"`) }) {
		t.Error("Check is not repeated")
	}
}
