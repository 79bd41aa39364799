package stonetown

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stonetown/stonetown/clients/go/v1"
)

// The client against a real server: STONETOWN_ENDPOINT and STONETOWN_TOKEN, STONETOWN_BIN for what it has no call for, and
// STONETOWN_TLS_ENDPOINT with STONETOWN_TLS_CA and STONETOWN_TLS_TOKEN for a second one that speaks TLS.

const schema = `
use expiration

caveat within_budget(spent int, budget int) {
  spent < budget
}

definition agent {}
definition container {
  relation restarter: agent
  permission restart = restarter
}
definition cluster {
  relation scaler: agent with expiration | agent with within_budget
  permission scale = scaler
}
`

func run(t *testing.T, arguments ...string) {
	t.Helper()
	if output, err := exec.Command(os.Getenv("STONETOWN_BIN"), arguments...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", arguments, err, output)
	}
}

// real is a client of the server, whose schema is written.
func real(t *testing.T) *Client {
	t.Helper()
	if os.Getenv("STONETOWN_ENDPOINT") == "" {
		t.Skip("no server: STONETOWN_ENDPOINT")
	}
	file := filepath.Join(t.TempDir(), "schema.zed")
	if err := os.WriteFile(file, []byte(schema), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "schema", "write", file)
	run(t, "relationship", "touch", "container:staging-1", "restarter", "agent:fixer")
	client := must[*Client](t)(FromEnv())
	t.Cleanup(func() { client.Close() })
	return client
}

func TestServerAnswers(t *testing.T) {
	client := real(t)
	decision := must[Decision](t)(client.May(t.Context(), "agent:fixer", "restart", "container:staging-1"))
	if !decision.Allowed || time.Since(decision.JudgedAt).Abs() > time.Minute {
		t.Errorf("%+v", decision)
	}
	decision = must[Decision](t)(client.May(t.Context(), "agent:fixer", "restart", "container:production-1"))
	if decision.Allowed {
		t.Errorf("%+v", decision)
	}
}

func TestServerNamesWhatAConditionLacks(t *testing.T) {
	client := real(t)
	run(t, "relationship", "touch", "cluster:c1", "scaler", "agent:fixer", "--caveat", `within_budget:{"budget": 10}`)
	ask := func(values map[string]any) Decision {
		return must[Decision](t)(client.May(t.Context(), "agent:fixer", "scale", "cluster:c1", Given(values)))
	}
	if decision := ask(nil); decision.Allowed || decision.Reason != "depends on spent" {
		t.Errorf("%+v", decision)
	}
	if !ask(map[string]any{"spent": 3}).Allowed || ask(map[string]any{"spent": 11}).Allowed {
		t.Error("the value decides otherwise")
	}
}

func TestServerSeesAWriteElsewhere(t *testing.T) {
	client := real(t)
	ask := func() Decision {
		return must[Decision](t)(client.May(t.Context(), "agent:fixer", "restart", "container:go"))
	}
	before := ask()
	run(t, "relationship", "touch", "container:go", "restarter", "agent:fixer")
	if after := ask(); before.Allowed || !after.Allowed || client.ZedToken() != after.ZedToken || after.ZedToken == before.ZedToken {
		t.Errorf("%+v, %+v", before, after)
	}
}

func TestServerShowsWhatTheClientWrites(t *testing.T) {
	client := real(t)
	written := must[*v1.WriteRelationshipsResponse](t)(client.Relationships.Write(t.Context(), &v1.WriteRelationshipsRequest{
		Updates: []*v1.RelationshipUpdate{{
			Operation: v1.RelationshipUpdate_OPERATION_TOUCH,
			Relationship: &v1.Relationship{
				Resource: &v1.ObjectRef{Type: "container", Id: "go-2"}, Relation: "restarter",
				Subject: &v1.SubjectRef{Type: "agent", Id: "fixer"},
			},
		}},
	}))
	if client.ZedToken() != written.GetToken() {
		t.Error(client.ZedToken())
	}
	if !must[Decision](t)(client.May(t.Context(), "agent:fixer", "restart", "container:go-2")).Allowed {
		t.Error("the write is not seen")
	}
}

func TestServerSaysWhy(t *testing.T) {
	client := real(t)
	_, err := client.May(t.Context(), "agent:fixer", "restart", "cat:tom")
	var found *Error
	if !errors.As(err, &found) || found.Reason != ReasonUnknownDefinition || found.Metadata["definition_name"] != "cat" || found.RequestID == "" {
		t.Errorf("%+v", err)
	}
	_, err = client.May(t.Context(), "agent:fixer", "restart", "container:staging-1", At(time.Now().Add(24*time.Hour)))
	if status.Code(err) != codes.OutOfRange {
		t.Error(err)
	}
	stranger := must[*Client](t)(New(os.Getenv("STONETOWN_ENDPOINT"), WithToken("wrong")))
	defer stranger.Close()
	_, err = stranger.May(t.Context(), "agent:fixer", "restart", "container:staging-1")
	if code := status.Code(err); code != codes.Unauthenticated && code != codes.PermissionDenied {
		t.Error(err)
	}
}

func TestServerStreams(t *testing.T) {
	client := real(t)
	stream, err := client.Admin.Scrub(t.Context(), &v1.ScrubRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var last *v1.ScrubResponse
	for {
		told, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = told
	}
	if last.GetReport() == nil || len(last.GetReport().GetDifferences()) > 0 {
		t.Error(last)
	}
}

func TestServerWithTLS(t *testing.T) {
	real(t)
	ca, err := os.ReadFile(os.Getenv("STONETOWN_TLS_CA"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile("../../tests/fixtures/authority.pem")
	if err != nil {
		t.Fatal(err)
	}
	for index, option := range []Option{WithCA(ca), WithCA(other), WithInsecure()} {
		client := must[*Client](t)(New(os.Getenv("STONETOWN_TLS_ENDPOINT"), WithToken(os.Getenv("STONETOWN_TLS_TOKEN")), option,
			WithTimeout(5*time.Second)))
		_, err := client.Admin.GetInfo(t.Context(), &v1.GetInfoRequest{})
		client.Close()
		if (index == 0) != (err == nil) {
			t.Errorf("%d: %v", index, err)
		}
	}
}

func TestServerRunsTheReadme(t *testing.T) {
	real(t)
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if _, program, _ := strings.Cut(string(example), "package main"); !strings.Contains(string(readme), "```go\npackage main"+program+"```") {
		t.Error("the example of the README is not example/main.go")
	}
	printed, err := exec.Command("go", "run", "./example").CombinedOutput()
	if err != nil || string(printed) != "allowed\n" {
		t.Errorf("%v: %s", err, printed)
	}
}
