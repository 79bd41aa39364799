package stonetown

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

const timeoutByDefault = 10 * time.Second

// A Client is a connection to a server. Any number of goroutines may share one.
//
// Each call ends within the client's time-out unless its context has a deadline; a stream lasts. Calls that change nothing are
// repeated up to three times while the server is away; so is asking for a grant, which carries a key that makes it one request.
//
// What was written or seen through a client is in all later answers of it, see [Client.ZedToken].
type Client struct {
	Services
	connection *grpc.ClientConn
	endpoint   endpoint
	calls      *calls
}

// An Option says how a client reaches its server.
type Option func(*settings)

type settings struct {
	token       TokenSource
	ca          []byte
	certificate *tls.Certificate
	insecure    bool
	timeout     time.Duration
	store       string
}

// A TokenSource returns the token of the moment; it is asked at each call.
type TokenSource func(context.Context) (string, error)

// WithToken sends a token with each call.
func WithToken(token string) Option {
	return WithTokenFrom(func(context.Context) (string, error) { return token, nil })
}

// WithTokenFrom sends the token of the moment, for credentials that are renewed.
func WithTokenFrom(source TokenSource) Option { return func(s *settings) { s.token = source } }

// WithCA trusts these authorities (PEM) in the place of the system's, and speaks TLS also to this machine.
func WithCA(pem []byte) Option { return func(s *settings) { s.ca = pem } }

// WithCertificate proves who the client is (mutual TLS), and speaks TLS also to this machine.
func WithCertificate(certificate tls.Certificate) Option {
	return func(s *settings) { s.certificate = &certificate }
}

// WithInsecure sends plain text, and the token with it, to whatever machine.
func WithInsecure() Option { return func(s *settings) { s.insecure = true } }

// WithTimeout is how long a call takes at most where its context has no deadline; 10 seconds without it.
func WithTimeout(timeout time.Duration) Option { return func(s *settings) { s.timeout = timeout } }

// WithStore has every call in the store of this name; without it in that of the token, or the default one.
func WithStore(name string) Option { return func(s *settings) { s.store = name } }

// New returns a client of the server at HOST:PORT, which connects when it is used first. A server on this machine is spoken to in
// plain text unless an option says otherwise, all others with TLS.
func New(address string, options ...Option) (*Client, error) {
	chosen := settings{timeout: timeoutByDefault}
	for _, option := range options {
		option(&chosen)
	}
	if chosen.store != "" && !storeForm.MatchString(chosen.store) {
		return nil, fmt.Errorf("%q is no name of a store", chosen.store)
	}
	at, err := endpointOf(address, &chosen)
	if err != nil {
		return nil, err
	}
	client := &Client{endpoint: at, calls: &calls{timeout: chosen.timeout, store: chosen.store}}
	dial := append(at.dialOptions(),
		grpc.WithChainUnaryInterceptor(client.calls.unary),
		grpc.WithChainStreamInterceptor(client.calls.stream),
		grpc.WithDefaultServiceConfig(serviceConfig),
		// Nobody else says what is repeated.
		grpc.WithDisableServiceConfig(),
		// A connection that is dead without saying so ends streams within a minute.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	)
	if chosen.token != nil {
		dial = append(dial, grpc.WithPerRPCCredentials(bearer{chosen.token, at.tls != nil}))
	}
	if client.connection, err = grpc.NewClient(at.address, dial...); err != nil {
		return nil, err
	}
	client.Services = servicesOn(client.connection)
	return client, nil
}

// FromEnv returns a client by the variables that the command line knows: STONETOWN_ENDPOINT (127.0.0.1:50051 where it is not
// set), STONETOWN_TOKEN, STONETOWN_CERTIFICATE_PATH, STONETOWN_INSECURE, STONETOWN_STORE. Options stand over them.
func FromEnv(options ...Option) (*Client, error) {
	address := os.Getenv("STONETOWN_ENDPOINT")
	if address == "" {
		address = "127.0.0.1:50051"
	}
	var found []Option
	if token := os.Getenv("STONETOWN_TOKEN"); token != "" {
		found = append(found, WithToken(token))
	}
	if path := os.Getenv("STONETOWN_CERTIFICATE_PATH"); path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("STONETOWN_CERTIFICATE_PATH: %w", err)
		}
		found = append(found, WithCA(pem))
	}
	if insecure := strings.ToLower(os.Getenv("STONETOWN_INSECURE")); insecure == "1" || insecure == "true" {
		found = append(found, WithInsecure())
	}
	found = append(found, WithStore(os.Getenv("STONETOWN_STORE")))
	return New(address, append(found, options...)...)
}

// ZedToken is the newest state that an answer named; questions are not answered from an older one. Empty before the first
// answer. Of answers that arrive at the same time, the last one counts.
func (c *Client) ZedToken() string { return c.calls.zedToken() }

// SetZedToken has questions answered from no older state than this: the WrittenAt of a write through another client. Empty takes
// the bound away.
func (c *Client) SetZedToken(token string) { c.calls.setZedToken(token) }

// Close closes the connection. Calls that run are cancelled.
func (c *Client) Close() error { return c.connection.Close() }

// String says where the server is, and nothing of what proves the caller.
func (c *Client) String() string { return "stonetown.Client of " + c.endpoint.String() }

// GoString is what String is.
func (c *Client) GoString() string { return c.String() }

// bearer is the token on its way into the metadata of a call.
type bearer struct {
	source    TokenSource
	encrypted bool
}

func (b bearer) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, err := b.source(ctx)
	if err != nil {
		return nil, fmt.Errorf("the token cannot be had: %w", err)
	}
	isOutside := func(char rune) bool { return char < ' ' || char > '~' }
	if token == "" || strings.ContainsFunc(token, isOutside) || strings.TrimSpace(token) != token {
		return nil, errors.New("the token is not printable ASCII without blanks around it")
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return b.encrypted }
