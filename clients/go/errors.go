package stonetown

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/stonetown/stonetown/clients/go/v1"
)

// An Error is a call that the server refused or that did not reach it. None is a "no": whether something is allowed is not known
// then. google.golang.org/grpc/status.Code has its code, too.
type Error struct {
	// Code is gRPC's.
	Code codes.Code
	// Message is the server's.
	Message string
	// Reason says why; empty where the server names none.
	Reason Reason
	// Metadata has the names and numbers that belong to the reason.
	Metadata map[string]string
	// RequestID is the id under which the server's logs know the call.
	RequestID string

	status *status.Status
}

func (e *Error) Error() string {
	if e.Reason != "" {
		return fmt.Sprintf("%s (%s, %s)", e.Message, e.Code, e.Reason)
	}
	return fmt.Sprintf("%s (%s)", e.Message, e.Code)
}

// GRPCStatus is the status that the server sent.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// ReasonOf is the reason that an error carries, or empty.
func ReasonOf(err error) Reason {
	var found *Error
	if errors.As(err, &found) {
		return found.Reason
	}
	return ""
}

// errorOf is the error of a failed call. The end of a stream is none.
func errorOf(err error, trailer metadata.MD) error {
	if err == nil || err == io.EOF {
		return err
	}
	of := status.Convert(err)
	found := &Error{Code: of.Code(), Message: of.Message(), status: of}
	if ids := trailer.Get("x-request-id"); len(ids) > 0 {
		found.RequestID = ids[0]
	}
	for _, detail := range of.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			found.Reason = Reason(strings.TrimPrefix(info.GetReason(), "ERROR_REASON_"))
			found.Metadata = info.GetMetadata()
			break
		}
	}
	return found
}

// NotGiven is the error of a grant that was asked for and gives no access.
type NotGiven struct {
	// Grant is what the server last said of it.
	Grant *v1.Grant
	// Pending is whether the wait was over and no decision made; else somebody or something said no, or it is over.
	Pending bool
}

func (n *NotGiven) Error() string {
	state := strings.ToLower(strings.TrimPrefix(n.Grant.GetState().String(), "GRANT_STATE_"))
	text := fmt.Sprintf("grant %s of %s is %s", n.Grant.GetId(), n.Grant.GetTemplate(), state)
	if n.Grant.GetBecause() != "" {
		text += ": " + n.Grant.GetBecause()
	}
	return text
}
