package stonetown

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/stonetown/stonetown/clients/go/v1"
)

// An agent's task against a real server, told with the client alone: who calls, what can be asked for, a vote, and the end.
func TestServerGivesATaskItsAccess(t *testing.T) {
	admin := real(t)
	ctx := t.Context()
	principal := func(of *v1.Principal) {
		must[*v1.CreatePrincipalResponse](t)(admin.Principal.CreatePrincipal(ctx, &v1.CreatePrincipalRequest{Principal: of}))
	}
	principal(&v1.Principal{Id: "ada", Kind: v1.PrincipalKind_PRINCIPAL_KIND_HUMAN})
	principal(&v1.Principal{Id: "sam", Kind: v1.PrincipalKind_PRINCIPAL_KIND_HUMAN})
	principal(&v1.Principal{
		Id: "fixer", Kind: v1.PrincipalKind_PRINCIPAL_KIND_AGENT,
		Owner:    &v1.Holder{Holder: &v1.Holder_Principal{Principal: "ada"}},
		Subjects: []*v1.StandIn{{Subject: &v1.ObjectRef{Type: "agent", Id: "fixer"}}},
	})
	// An agent that asks about itself is told what it could ask for.
	must[*v1.GivePowerResponse](t)(admin.Principal.GivePower(ctx, &v1.GivePowerRequest{
		Holder: &v1.Holder{Holder: &v1.Holder_Principal{Principal: "fixer"}},
		Power:  &v1.Power{Name: "checker", Over: &v1.Power_Store{Store: &v1.PowerOverStore{}}},
	}))
	me := must[*v1.WhoAmIResponse](t)(admin.Principal.WhoAmI(ctx, &v1.WhoAmIRequest{})).GetPrincipal().GetId()
	must[*v1.PutTemplateResponse](t)(admin.Grant.PutTemplate(ctx, &v1.PutTemplateRequest{Template: &v1.Template{
		Name: "scale", Edges: []string{"cluster:${cluster}#scaler@${beneficiary}"}, Answers: []string{"cluster:${cluster}#scale"},
		Parameters: map[string]*v1.TemplateParameter{"cluster": {OneOf: []string{"main"}}},
		TtlMax:     durationpb.New(15 * time.Minute), TotalMax: durationpb.New(15 * time.Minute), Owner: me,
		Stages: []*v1.TemplateStage{
			{Name: "sre", Approvers: []string{"sys/principal:sam"}, Need: 1, Timeout: durationpb.New(time.Minute)},
		},
		Requesters: []string{"sys/principal:fixer"},
	}}))
	caller := func(id string) *Client {
		issued := must[*v1.IssueCredentialResponse](t)(admin.Principal.IssueCredential(ctx, &v1.IssueCredentialRequest{Principal: id}))
		client := must[*Client](t)(New(os.Getenv("STONETOWN_ENDPOINT"), WithToken(issued.GetToken())))
		t.Cleanup(func() { client.Close() })
		return client
	}
	fixer, sam := caller("fixer"), caller("sam")
	ask := func() Decision { return must[Decision](t)(fixer.May(ctx, "agent:fixer", "scale", "cluster:main")) }

	denied := ask()
	if denied.Allowed || denied.Reason != "denied; can be asked for: scale(cluster=main)" {
		t.Fatalf("%+v", denied)
	}
	asking := AskFor(denied.Requestable[0])
	asking.Reason, asking.TTL, asking.Wait = "the queue is full", 5*time.Minute, time.Minute
	voted := vote(ctx, sam, true)
	var given *v1.Grant
	if err := fixer.Task(ctx, "deploy-81", func(task *Task) (err error) {
		given, err = task.Grant(ctx, asking)
		if err == nil && (given.GetState() != approved || !ask().Allowed || ask().Until.IsZero()) {
			t.Error(given)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := <-voted; err != nil {
		t.Error(err)
	}
	ended := must[*v1.GetGrantResponse](t)(fixer.Grant.GetGrant(ctx, &v1.GetGrantRequest{Id: given.GetId()}))
	if ask().Allowed || ended.GetGrant().GetActive() {
		t.Error("the task has ended, and its access has not")
	}

	voted = vote(ctx, sam, false)
	refused := func(client *Client, ask Ask) (err error) {
		return client.Task(ctx, "", func(task *Task) error { _, err = task.Grant(ctx, ask); return err })
	}
	var not *NotGiven
	if err := refused(fixer, asking); !errors.As(err, &not) || not.Grant.GetState() != v1.GrantState_GRANT_STATE_DENIED {
		t.Error(err)
	}
	if err := <-voted; err != nil {
		t.Error(err)
	}

	asking.Wait = 300 * time.Millisecond
	if err := refused(fixer, asking); !errors.As(err, &not) || !not.Pending {
		t.Error(err)
	}
	ended = must[*v1.GetGrantResponse](t)(fixer.Grant.GetGrant(ctx, &v1.GetGrantRequest{Id: not.Grant.GetId()}))
	if ended.GetGrant().GetState() != v1.GrantState_GRANT_STATE_CANCELLED {
		t.Error(ended)
	}

	if code := status.Code(refused(sam, asking)); code != codes.PermissionDenied && code != codes.NotFound {
		t.Error(code)
	}
}

// vote decides on the next request that waits for it.
func vote(ctx context.Context, voter *Client, approve bool) <-chan error {
	done := make(chan error, 1)
	go func() {
		for {
			listed, err := voter.Grant.ListGrants(ctx, &v1.ListGrantsRequest{Inbox: true})
			if err == nil && len(listed.GetGrants()) == 0 {
				time.Sleep(50 * time.Millisecond)
				continue
			}
			if err == nil {
				_, err = voter.Grant.DecideGrant(ctx, &v1.DecideGrantRequest{Id: listed.GetGrants()[0].GetId(), Approve: approve})
			}
			done <- err
			return
		}
	}()
	return done
}
