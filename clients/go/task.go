package stonetown

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/stonetown/stonetown/clients/go/v1"
)

const (
	waitByDefault = 10 * time.Minute
	// Between two looks at a grant that is waited for.
	lookFirst, lookLongest = 200 * time.Millisecond, 5 * time.Second
)

// A Task is what [Client.Task] hands to its function, to ask for access with.
type Task struct {
	// Name ties the grants together; approvers see it.
	Name   string
	client *Client
}

// An Ask says what access is wanted.
type Ask struct {
	// Template is the name of what is asked for.
	Template string
	// Parameters are the values of its holes, by name.
	Parameters map[string]string
	// TTL is how long the access is to last; as long as the template allows where it is zero.
	TTL time.Duration
	// StartsAt is when it is to begin; at once where it is zero.
	StartsAt time.Time
	// Reason and Ticket are for approvers and the log.
	Reason, Ticket string
	// Beneficiary is the principal who is to get it, the caller where empty; Subject is what stands for it in the store.
	Beneficiary, Subject string
	// Emergency asks for access now and a review afterwards.
	Emergency bool
	// Renews is the id of a grant that this one prolongs.
	Renews string
	// Wait is how long to wait until the access is there: 10 minutes where it is zero, one look where it is negative.
	Wait time.Duration
}

// AskFor asks for what a denial offered, see [Decision].
func AskFor(offer *v1.Requestable) Ask {
	return Ask{Template: offer.GetTemplate(), Parameters: offer.GetParameters()}
}

// Task calls a function, within which access is asked for, and gives that access back when it returns, fails or panics: every grant
// and request of the name that the caller may end is ended. So a name is for one run; an empty one stands for a random one.
//
// It returns the function's error, joined with the failure to give the access back if there is one; the access ends by itself in
// any case.
func (c *Client) Task(ctx context.Context, name string, work func(*Task) error) (err error) {
	if name == "" {
		name = "task-" + rand.Text()
	}
	defer func() {
		// It is given back also where the work ended because its context did.
		_, failed := c.Grant.CompleteTask(context.WithoutCancel(ctx), &v1.CompleteTaskRequest{Task: name})
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("the task's access could not be ended early: %w", failed))
		}
	}()
	return work(&Task{Name: name, client: c})
}

// Grant asks for access and returns when it is there. Where somebody or something says no, or nobody decides in time, the error is
// a [NotGiven]. What is still open is taken back at the end of the task.
func (t *Task) Grant(ctx context.Context, ask Ask) (*v1.Grant, error) {
	request := &v1.RequestGrantRequest{
		Template: ask.Template, Parameters: ask.Parameters, Task: t.Name, Reason: ask.Reason, Ticket: ask.Ticket,
		Beneficiary: ask.Beneficiary, Subject: ask.Subject, Emergency: ask.Emergency, Renews: ask.Renews,
	}
	if ask.TTL != 0 {
		request.Ttl = durationpb.New(ask.TTL)
	}
	if !ask.StartsAt.IsZero() {
		request.StartsAt = timestamppb.New(ask.StartsAt)
	}
	answer, err := t.client.Grant.RequestGrant(ctx, request)
	if err != nil {
		return nil, err
	}
	return t.client.waitFor(ctx, answer.GetGrant(), ask.Wait)
}

// WaitForGrant waits until a grant gives access, as [Task.Grant] does for its own.
func (c *Client) WaitForGrant(ctx context.Context, id string, wait time.Duration) (*v1.Grant, error) {
	answer, err := c.Grant.GetGrant(ctx, &v1.GetGrantRequest{Id: id})
	if err != nil {
		return nil, err
	}
	return c.waitFor(ctx, answer.GetGrant(), wait)
}

func (c *Client) waitFor(ctx context.Context, grant *v1.Grant, wait time.Duration) (*v1.Grant, error) {
	if wait == 0 {
		wait = waitByDefault
	}
	end := time.Now().Add(wait)
	for pause := lookFirst; !grant.GetActive(); pause = min(pause*3/2, lookLongest) {
		// Approved and not active: it begins later, or is over and about to be written down as expired.
		state := grant.GetState()
		if state != v1.GrantState_GRANT_STATE_PENDING && state != v1.GrantState_GRANT_STATE_APPROVED {
			return nil, &NotGiven{Grant: grant}
		}
		left := time.Until(end)
		if left <= 0 {
			return nil, &NotGiven{Grant: grant, Pending: true}
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(min(pause, left)):
		}
		answer, err := c.Grant.GetGrant(ctx, &v1.GetGrantRequest{Id: grant.GetId()})
		switch {
		case err == nil:
			grant = answer.GetGrant()
		case status.Code(err) != codes.Unavailable:
			return nil, err
		}
		// Where the server is away for a moment, the wait has its own end.
	}
	return grant, nil
}
