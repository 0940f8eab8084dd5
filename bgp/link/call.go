package link

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// CallTimeout bounds a call whose context has no deadline.
const CallTimeout = 10 * time.Second

// RemoteError is what a member answered instead of an answer.
type RemoteError struct {
	Member string
	Path   string
	Text   string // the member's own words
	Busy   bool   // the member takes no more calls of this one just now
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("call %s on %s: it says: %s", e.Path, e.Member, e.Text)
}

// Call calls a member at an address: in goes there as JSON, and the answer is
// read into out, unless that is nil. The path begins with a slash. It errs when
// the member is not known, cannot be reached, is not who it should be, answers by
// an error (a *RemoteError), or not before ctx ends (CallTimeout at most, when
// ctx has no deadline).
func (l *Link) Call(ctx context.Context, member string, addr netip.AddrPort, path string, in, out any) error {
	fail := func(err error) error {
		return fmt.Errorf("call %s on %s at %s: %w", path, member, addr, err)
	}
	body, err := json.Marshal(in)
	if err == nil && len(body) > MaxBody {
		err = fmt.Errorf("the body has %d octets, more than %d", len(body), MaxBody)
	}
	if err != nil {
		return fail(err)
	}
	p, err := l.peer(member)
	if err != nil {
		return fail(err)
	}
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, CallTimeout)
		defer cancel()
	}
	where := url.URL{Scheme: "https", Host: addr.String(), Path: path}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, where.String(), bytes.NewReader(body))
	if err != nil {
		return fail(err)
	}
	request.Header.Set("Content-Type", "application/json")
	var status int
	var text []byte
	err = p.roundTrip(request, addr, func(answer *http.Response) (err error) {
		status = answer.StatusCode
		text, err = io.ReadAll(io.LimitReader(answer.Body, MaxBody+1))
		return err
	})
	switch {
	case err != nil:
		return fail(inWords(ctx, err))
	case len(text) > MaxBody:
		return fail(fmt.Errorf("the answer has more than %d octets", MaxBody))
	case status != http.StatusOK:
		return remoteError(member, path, status, text)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fail(fmt.Errorf("the answer: %w", err))
	}
	return nil
}

// remoteError reads the body of an answer that is an error.
func remoteError(member, path string, status int, text []byte) error {
	var f fault
	if json.Unmarshal(text, &f) != nil || f.Error == "" {
		f.Error = http.StatusText(status)
	}
	return &RemoteError{Member: member, Path: path, Text: f.Error, Busy: status == http.StatusTooManyRequests}
}

// inWords adds to an error of a connection what it may mean.
func inWords(ctx context.Context, err error) error {
	var op *net.OpError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("no answer in time: %w", context.Cause(ctx))
	case errors.As(err, &op) && op.Op == "remote error": // an alert of TLS
		return fmt.Errorf("it refuses this node: %w; does it know this node's key?", err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("it closed the connection: %w", err)
	}
	return err
}
