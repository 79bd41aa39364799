package stonetown

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stonetown/stonetown/clients/go/v1"
)

const (
	pending  = v1.GrantState_GRANT_STATE_PENDING
	approved = v1.GrantState_GRANT_STATE_APPROVED
)

func grantIn(state v1.GrantState, active bool) *v1.Grant {
	return &v1.Grant{Id: "g1", Template: "scale", State: state, Active: active, Because: "too wide"}
}

func asked(state v1.GrantState, active bool) *v1.RequestGrantResponse {
	return &v1.RequestGrantResponse{Grant: grantIn(state, active)}
}

func looked(state v1.GrantState, active bool) *v1.GetGrantResponse {
	return &v1.GetGrantResponse{Grant: grantIn(state, active)}
}

// inTask asks for one grant within a task.
func inTask(t *testing.T, client *Client, ask Ask) error {
	t.Helper()
	return client.Task(t.Context(), "deploy-81", func(task *Task) error {
		grant, err := task.Grant(t.Context(), ask)
		if err == nil && !grant.GetActive() {
			t.Error("a grant that is not active was returned")
		}
		return err
	})
}

func TestATaskAsksWaitsAndGivesBack(t *testing.T) {
	fake, client := serve(t)
	fake.answers["RequestGrant"] = asked(pending, false)
	fake.turns["GetGrant"] = []any{looked(pending, false), looked(approved, false), looked(approved, true)}
	starts := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	offer := &v1.Requestable{Template: "scale", Parameters: map[string]string{"cluster": "staging-1"}}
	ask := AskFor(offer)
	ask.Reason, ask.TTL, ask.StartsAt = "queue is full", 30*time.Minute, starts
	if err := inTask(t, client, ask); err != nil {
		t.Fatal(err)
	}
	if want := []string{"RequestGrant", "GetGrant", "GetGrant", "GetGrant", "CompleteTask"}; !slices.Equal(fake.names(), want) {
		t.Error(fake.names())
	}
	request := fake.calls[0].request.(*v1.RequestGrantRequest)
	if request.GetTemplate() != "scale" || request.GetParameters()["cluster"] != "staging-1" || request.GetTask() != "deploy-81" ||
		request.GetTtl().AsDuration() != 30*time.Minute || !request.GetStartsAt().AsTime().Equal(starts) {
		t.Errorf("%+v", request)
	}
	if done := fake.calls[4].request.(*v1.CompleteTaskRequest); done.GetTask() != "deploy-81" {
		t.Error(done)
	}
}

func TestANoEndsTheWaitAndTheTask(t *testing.T) {
	for _, name := range []string{"DENIED", "CANCELLED", "EXPIRED", "REVOKED", "FAILED", "UNSPECIFIED"} {
		state := v1.GrantState(v1.GrantState_value["GRANT_STATE_"+name])
		fake, client := serve(t)
		fake.answers["RequestGrant"], fake.answers["GetGrant"] = asked(pending, false), looked(state, false)
		var not *NotGiven
		err := inTask(t, client, Ask{Template: "scale"})
		if !errors.As(err, &not) || not.Pending || not.Grant.GetState() != state || !strings.Contains(err.Error(), "too wide") {
			t.Error(err)
		}
		if last := fake.names()[len(fake.calls)-1]; last != "CompleteTask" {
			t.Error(last)
		}
	}
}

func TestAWaitHasAnEnd(t *testing.T) {
	fake, client := serve(t)
	fake.answers["RequestGrant"], fake.answers["GetGrant"] = asked(pending, false), looked(pending, false)
	for _, wait := range []time.Duration{300 * time.Millisecond, -1} {
		var not *NotGiven
		if err := inTask(t, client, Ask{Template: "scale", Wait: wait}); !errors.As(err, &not) || !not.Pending {
			t.Error(err)
		}
	}
	if len(fake.calls) > 8 {
		t.Error(fake.names())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := client.WaitForGrant(ctx, "g1", time.Minute); !errors.Is(err, context.DeadlineExceeded) &&
		status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
}

func TestAWaitGoesOnWhileTheServerIsAway(t *testing.T) {
	fake, client := serve(t)
	fake.answers["RequestGrant"], fake.answers["GetGrant"] = asked(pending, false), looked(approved, true)
	fake.turns["GetGrant"] = []any{unavailable, unavailable, unavailable, unavailable, unavailable}
	if err := inTask(t, client, Ask{Template: "scale"}); err != nil {
		t.Error(err)
	}
}

func TestATaskIsGivenBackHoweverItEnds(t *testing.T) {
	fake, client := serve(t)
	mine := errors.New("mine")
	ctx, cancel := context.WithCancel(t.Context())
	err := client.Task(ctx, "", func(task *Task) error {
		cancel()
		return mine
	})
	if err != mine {
		t.Error(err)
	}
	func() {
		defer func() { recover() }()
		client.Task(t.Context(), "", func(*Task) error { panic("mine") })
	}()
	names := map[string]bool{}
	for _, call := range fake.calls {
		names[call.request.(*v1.CompleteTaskRequest).GetTask()] = true
	}
	if len(names) != 2 {
		t.Error(names)
	}
	fake.answers["CompleteTask"] = status.Error(codes.Internal, "broken")
	err = client.Task(t.Context(), "", func(*Task) error { return mine })
	if !errors.Is(err, mine) || status.Code(err) != codes.Internal && !strings.Contains(err.Error(), "broken") {
		t.Error(err)
	}
}
