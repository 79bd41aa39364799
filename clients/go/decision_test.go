package stonetown

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/stonetown/stonetown/clients/go/v1"
)

func TestOnlyAnOutrightYesIsOne(t *testing.T) {
	until := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	offer := &v1.Requestable{Template: "scale", Parameters: map[string]string{"cluster": "staging-1", "by": "one"}}
	for _, one := range []struct {
		answer  *v1.CheckResponse
		allowed bool
		reason  string
	}{
		{&v1.CheckResponse{Outcome: v1.Outcome_OUTCOME_ALLOWED, Until: timestamppb.New(until)}, true, "allowed"},
		{&v1.CheckResponse{Outcome: v1.Outcome_OUTCOME_DENIED}, false, "denied"},
		{&v1.CheckResponse{}, false, "denied"},
		{&v1.CheckResponse{Outcome: 77}, false, "denied"},
		{
			&v1.CheckResponse{Outcome: v1.Outcome_OUTCOME_CONDITIONAL, MissingContext: []string{"budget", "spent"}}, false,
			"depends on budget, spent",
		},
		{
			&v1.CheckResponse{Outcome: v1.Outcome_OUTCOME_DENIED, Requestable: []*v1.Requestable{offer}}, false,
			"denied; can be asked for: scale(by=one, cluster=staging-1)",
		},
	} {
		fake, client := serve(t)
		fake.answers["Check"] = one.answer
		decision := must[Decision](t)(may(t, client))
		if decision.Allowed != one.allowed || decision.Reason != one.reason {
			t.Errorf("%+v, want %q", decision, one.reason)
		}
		if one.allowed != decision.Until.Equal(until) || !decision.JudgedAt.IsZero() {
			t.Errorf("%+v", decision)
		}
	}
}

func TestAQuestionNamesEverything(t *testing.T) {
	fake, client := serve(t)
	fake.answers["Check"] = yes
	values := Given(map[string]any{"hour": 12, "tags": []any{"a", nil}})
	must[Decision](t)(client.May(t.Context(), "group:eng#member", "scale", "cluster:staging-1", values))
	asked := fake.calls[0].request.(*v1.CheckRequest)
	if asked.GetSubject().GetType() != "group" || asked.GetSubject().GetId() != "eng" || asked.GetSubject().GetRelation() != "member" ||
		asked.GetResource().GetType() != "cluster" || asked.GetResource().GetId() != "staging-1" || asked.GetPermission() != "scale" ||
		asked.GetContext().AsMap()["hour"] != 12.0 {
		t.Errorf("%+v", asked)
	}
	if _, err := may(t, client, Given(map[string]any{"what": struct{}{}})); err == nil || len(fake.calls) != 1 {
		t.Error(err)
	}
}

func TestAChainNamesWhoActsTheNearestFirst(t *testing.T) {
	fake, client := serve(t)
	fake.answers["Check"] = yes
	must[Decision](t)(may(t, client, Through("agent:planner", "agent:fixer")))
	must[Decision](t)(may(t, client))
	first, second := fake.calls[0].request.(*v1.CheckRequest).GetChain(), fake.calls[1].request.(*v1.CheckRequest).GetChain()
	if len(first) != 2 || first[0].GetId() != "planner" || first[1].GetType() != "agent" || first[1].GetId() != "fixer" || len(second) != 0 {
		t.Errorf("%v, %v", first, second)
	}
	if _, err := may(t, client, Through("group:eng#member")); err == nil || len(fake.calls) != 2 {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	if object, err := Object("document:a/b|c=d"); err != nil || object.GetId() != "a/b|c=d" {
		t.Error(object, err)
	}
	bad := []string{"", "user", "user:", ":ann", "user:ann#member"}
	for _, text := range bad {
		if _, err := Object(text); err == nil {
			t.Error(text)
		}
	}
	for _, text := range slices.Concat(bad[:4], []string{"user:ann#", "user:ann#a#b", "#a"}) {
		if _, err := Subject(text); err == nil {
			t.Error(text)
		}
	}
}
