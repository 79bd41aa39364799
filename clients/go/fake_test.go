package stonetown

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/stonetown/stonetown/clients/go/v1"
)

// A fake is a server that answers what a test says and remembers what it was asked.
type fake struct {
	v1.UnimplementedDecisionServiceServer
	v1.UnimplementedGrantServiceServer
	v1.UnimplementedPrincipalServiceServer

	address string
	// What is answered, by the name of the call: those of turns first, one a call.
	turns   map[string][]any
	answers map[string]any

	mutex sync.Mutex
	calls []call
}

type call struct {
	name        string
	request     proto.Message
	token       string
	store       []string
	secondsLeft float64
}

var unavailable = status.Error(codes.Unavailable, "away")

func refusal(code codes.Code, message, reason string, values map[string]string) error {
	detailed, err := status.New(code, message).WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "authzed.com", Metadata: values})
	if err != nil {
		panic(err)
	}
	return detailed.Err()
}

// serve starts a fake; its client has the token "secret-0815".
func serve(t *testing.T, options ...Option) (*fake, *Client) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	found := &fake{
		address: listener.Addr().String(),
		turns:   map[string][]any{},
		answers: map[string]any{"CompleteTask": &v1.CompleteTaskResponse{Ended: 1}},
	}
	server := grpc.NewServer()
	v1.RegisterDecisionServiceServer(server, found)
	v1.RegisterGrantServiceServer(server, found)
	v1.RegisterPrincipalServiceServer(server, found)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	client, err := New(found.address, append([]Option{WithToken("secret-0815")}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return found, client
}

func answer[A any](f *fake, ctx context.Context, name string, request proto.Message) (*A, error) {
	f.mutex.Lock()
	of := call{name: name, request: request}
	if deadline, ok := ctx.Deadline(); ok {
		of.secondsLeft = time.Until(deadline).Seconds()
	}
	if incoming, ok := metadata.FromIncomingContext(ctx); ok && len(incoming.Get("authorization")) > 0 {
		of.token = incoming.Get("authorization")[0]
	}
	of.store = metadata.ValueFromIncomingContext(ctx, "stonetown-store")
	f.calls = append(f.calls, of)
	found := f.answers[name]
	if turns := f.turns[name]; len(turns) > 0 {
		found, f.turns[name] = turns[0], turns[1:]
	}
	f.mutex.Unlock()
	switch found := found.(type) {
	case error:
		grpc.SetTrailer(ctx, metadata.Pairs("x-request-id", "request-7"))
		return nil, found
	case time.Duration:
		time.Sleep(found)
		return new(A), nil
	case *A:
		return found, nil
	}
	return nil, status.Error(codes.Unimplemented, "no answer")
}

func (f *fake) names() []string {
	var names []string
	for _, call := range f.calls {
		names = append(names, call.name)
	}
	return names
}

func (f *fake) Check(ctx context.Context, request *v1.CheckRequest) (*v1.CheckResponse, error) {
	return answer[v1.CheckResponse](f, ctx, "Check", request)
}

func (f *fake) RequestGrant(ctx context.Context, request *v1.RequestGrantRequest) (*v1.RequestGrantResponse, error) {
	return answer[v1.RequestGrantResponse](f, ctx, "RequestGrant", request)
}

func (f *fake) GetGrant(ctx context.Context, request *v1.GetGrantRequest) (*v1.GetGrantResponse, error) {
	return answer[v1.GetGrantResponse](f, ctx, "GetGrant", request)
}

func (f *fake) CompleteTask(ctx context.Context, request *v1.CompleteTaskRequest) (*v1.CompleteTaskResponse, error) {
	return answer[v1.CompleteTaskResponse](f, ctx, "CompleteTask", request)
}

func (f *fake) PutTemplate(ctx context.Context, request *v1.PutTemplateRequest) (*v1.PutTemplateResponse, error) {
	return answer[v1.PutTemplateResponse](f, ctx, "PutTemplate", request)
}

func (f *fake) IssueCredential(ctx context.Context, request *v1.IssueCredentialRequest) (*v1.IssueCredentialResponse, error) {
	return answer[v1.IssueCredentialResponse](f, ctx, "IssueCredential", request)
}

func (f *fake) WatchGrants(request *v1.WatchGrantsRequest, stream v1.GrantService_WatchGrantsServer) error {
	told, err := answer[v1.WatchGrantsResponse](f, stream.Context(), "WatchGrants", request)
	if err != nil {
		return err
	}
	return stream.Send(told)
}
