package stonetown

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/stonetown/stonetown/clients/go/v1"
)

// A Decision is the answer to "may this subject do this?".
type Decision struct {
	// Allowed is whether it is a yes. An answer that depends on values that were not given is none.
	Allowed bool
	// Reason is the answer in a few words, for people and logs.
	Reason string
	// MissingContext names the values that the answer depends on. With them it may be a yes.
	MissingContext []string
	// Requestable is, where it is a no, what the caller could ask for, to be allowed it. See [AskFor].
	Requestable []*v1.Requestable
	// Until is when (exclusively) a yes ends if nothing is written; zero if never, or if it is no yes.
	Until time.Time
	// JudgedAt is the moment at which what begins and expires was judged.
	JudgedAt time.Time
	// ZedToken is the state that the answer rests on.
	ZedToken string
}

// A Detail says more of a question.
type Detail func(*v1.CheckRequest) error

// Given has values for conditions: texts, numbers, booleans, nil, and lists and maps of these.
func Given(values map[string]any) Detail {
	return func(request *v1.CheckRequest) (err error) {
		request.Context, err = structpb.NewStruct(values)
		return err
	}
}

// At asks how it was at an earlier moment, which must still be kept.
func At(moment time.Time) Detail {
	return func(request *v1.CheckRequest) error {
		request.Freshness = &v1.Freshness{Requirement: &v1.Freshness_At{At: timestamppb.New(moment)}}
		return nil
	}
}

// Through names those who act for the subject, the nearest first (`agent:planner`): a yes is one for each of them, and each may act for
// the one before.
func Through(actors ...string) Detail {
	return func(request *v1.CheckRequest) error {
		for _, actor := range actors {
			object, err := Object(actor)
			if err != nil {
				return err
			}
			request.Chain = append(request.Chain, object)
		}
		return nil
	}
}

// May answers whether a subject (`agent:fixer`, `group:eng#member`) has a permission on a resource (`cluster:staging-1`). Where
// it returns an error there is no answer; that is no "no", and still less a yes.
func (c *Client) May(ctx context.Context, subject, permission, resource string, details ...Detail) (Decision, error) {
	request := &v1.CheckRequest{Permission: permission}
	var err error
	if request.Subject, err = Subject(subject); err != nil {
		return Decision{}, err
	}
	if request.Resource, err = Object(resource); err != nil {
		return Decision{}, err
	}
	for _, detail := range details {
		if err := detail(request); err != nil {
			return Decision{}, err
		}
	}
	answer, err := c.Decision.Check(ctx, request)
	if err != nil {
		return Decision{}, err
	}
	return decisionOf(answer), nil
}

// decisionOf is what the server said. Only an outright yes is one.
func decisionOf(answer *v1.CheckResponse) Decision {
	return Decision{
		Allowed:        answer.GetOutcome() == v1.Outcome_OUTCOME_ALLOWED,
		Reason:         reasonOf(answer),
		MissingContext: answer.GetMissingContext(),
		Requestable:    answer.GetRequestable(),
		Until:          moment(answer.GetUntil()),
		JudgedAt:       moment(answer.GetJudgedAt()),
		ZedToken:       answer.GetToken(),
	}
}

func reasonOf(answer *v1.CheckResponse) string {
	switch {
	case answer.GetOutcome() == v1.Outcome_OUTCOME_ALLOWED:
		return "allowed"
	case answer.GetOutcome() == v1.Outcome_OUTCOME_CONDITIONAL:
		return "depends on " + strings.Join(answer.GetMissingContext(), ", ")
	case len(answer.GetRequestable()) == 0:
		return "denied"
	}
	var offers []string
	for _, offer := range answer.GetRequestable() {
		var values []string
		for _, name := range slices.Sorted(maps.Keys(offer.GetParameters())) {
			values = append(values, name+"="+offer.GetParameters()[name])
		}
		offers = append(offers, fmt.Sprintf("%s(%s)", offer.GetTemplate(), strings.Join(values, ", ")))
	}
	return "denied; can be asked for: " + strings.Join(offers, ", ")
}

func moment(of *timestamppb.Timestamp) time.Time {
	if of == nil {
		return time.Time{}
	}
	return of.AsTime()
}
