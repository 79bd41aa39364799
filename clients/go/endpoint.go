package stonetown

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// An endpoint is a server, and how it is spoken to: with TLS, or in plain text.
type endpoint struct {
	address string
	tls     *tls.Config
}

var hostForm = regexp.MustCompile(`^([A-Za-z0-9._-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$`)

// endpointOf keeps plain text for where it is asked for, and for this machine unless something says that it is to be TLS.
func endpointOf(address string, chosen *settings) (endpoint, error) {
	host, port, err := net.SplitHostPort(address)
	number, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || number == 0 || !hostForm.MatchString(host) {
		return endpoint{}, fmt.Errorf("%q is no address: expected HOST:PORT", address)
	}
	wantsTLS := chosen.ca != nil || chosen.certificate != nil
	if chosen.insecure && wantsTLS {
		return endpoint{}, errors.New("insecure is plain text: a certificate means nothing there")
	}
	if chosen.insecure || (!wantsTLS && isLoopback(host)) {
		return endpoint{address: address}, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if chosen.ca != nil {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(chosen.ca) {
			return endpoint{}, errors.New("the authority's certificate is not PEM")
		}
	}
	if chosen.certificate != nil {
		config.Certificates = []tls.Certificate{*chosen.certificate}
	}
	return endpoint{address: address, tls: config}, nil
}

func isLoopback(host string) bool {
	found, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && found.Unmap().IsLoopback())
}

func (e endpoint) dialOptions() []grpc.DialOption {
	if e.tls == nil {
		// A proxy would read the token.
		return []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy()}
	}
	return []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(e.tls))}
}

func (e endpoint) String() string {
	if e.tls == nil {
		return e.address + " (plain text)"
	}
	return e.address + " (TLS)"
}
