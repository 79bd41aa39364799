package stonetown

import (
	"context"
	"crypto/rand"
	"regexp"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/stonetown/stonetown/clients/go/v1"
)

// The services whose `token` names a state of the store; in others a token is something else, such as a credential.
var ofState = regexp.MustCompile(`^/stonetown\.v1\.(Attributes|Decision|Relationships)Service/`)

var storeForm = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// calls is what every call has: a deadline, a store, the state that is to be seen, and errors of this package.
type calls struct {
	timeout time.Duration
	store   string

	mutex sync.Mutex
	token string
}

func (c *calls) zedToken() string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.token
}

func (c *calls) setZedToken(token string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.token = token
}

func (c *calls) unary(
	ctx context.Context, method string, request, answer any, connection *grpc.ClientConn, invoke grpc.UnaryInvoker,
	options ...grpc.CallOption,
) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	var trailer metadata.MD
	err := invoke(c.inStore(ctx), method, c.prepared(method, request), answer, connection, append(options, grpc.Trailer(&trailer))...)
	if err != nil {
		return errorOf(err, trailer)
	}
	c.saw(method, request, answer)
	return nil
}

func (c *calls) stream(
	ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn, method string, start grpc.Streamer,
	options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := start(c.inStore(ctx), description, connection, method, options...)
	if err != nil {
		return nil, errorOf(err, nil)
	}
	return &watched{stream, c, method}, nil
}

func (c *calls) inStore(ctx context.Context) context.Context {
	if c.store == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "stonetown-store", c.store)
}

// A watched stream prepares what it sends, and returns errors of this package.
type watched struct {
	grpc.ClientStream
	calls  *calls
	method string
}

func (w *watched) SendMsg(request any) error {
	return errorOf(w.ClientStream.SendMsg(w.calls.prepared(w.method, request)), nil)
}

func (w *watched) RecvMsg(answer any) error {
	if err := w.ClientStream.RecvMsg(answer); err != nil {
		return errorOf(err, w.Trailer())
	}
	return nil
}

// prepared is the request with what the client adds; the caller's own stays as it is.
func (c *calls) prepared(method string, request any) any {
	asked, ok := request.(proto.Message)
	if !ok {
		return request
	}
	message := asked.ProtoReflect()
	fields := message.Descriptor().Fields()
	freshness, key, token := fields.ByName("freshness"), fields.ByName("idempotency_key"), c.zedToken()
	// Pages of a list must be asked for alike, whatever is written in between: their state is the caller's to choose.
	isQuestion := ofState.MatchString(method) && freshness != nil && fields.ByName("page") == nil
	needsState := isQuestion && token != "" && !message.Has(freshness)
	needsKey := key != nil && !message.Has(key)
	if !needsState && !needsKey {
		return request
	}
	copied := proto.Clone(asked)
	if needsState {
		atLeast := &v1.Freshness{Requirement: &v1.Freshness_AtLeast{AtLeast: token}}
		copied.ProtoReflect().Set(freshness, protoreflect.ValueOfMessage(atLeast.ProtoReflect()))
	}
	if needsKey {
		// Such a call is repeated when the server is away; under one key it is one request.
		copied.ProtoReflect().Set(key, protoreflect.ValueOfString(rand.Text()))
	}
	return copied
}

func (c *calls) saw(method string, request, answer any) {
	// What was asked of the past says nothing of the present.
	if asked, ok := request.(interface{ GetFreshness() *v1.Freshness }); ok {
		switch asked.GetFreshness().GetRequirement().(type) {
		case *v1.Freshness_At, *v1.Freshness_AtExactly:
			return
		}
	}
	if told, ok := answer.(interface{ GetToken() string }); ok && ofState.MatchString(method) && told.GetToken() != "" {
		c.setZedToken(told.GetToken())
	}
}
