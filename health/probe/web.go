package probe

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

// Bounds on what an HTTP server may send before it is cut off.
const (
	maxHeader  = 8 << 10
	maxBody    = 64 << 10
	maxFraming = 64 << 10 // around the body, when it is chunked
)

// errTooLong says that a peer sent more octets than were granted to it.
var errTooLong = errors.New("more octets than granted")

// web is an HTTP server that is sent one request again and again, over one
// connection that is kept. It speaks HTTP/1.1, and HTTP/2 where TLS's ALPN or
// prior knowledge (h2c) says so.
//
// HTTP/1.1 is read by net/http's parser straight from the connection. That
// costs half of what an http.Transport does, no goroutine, and no buffers
// while the target is idle, which counts when there are ten thousand of them.
type web struct {
	peer  peer
	keep  time.Duration
	prior bool // HTTP/2 with prior knowledge (RFC 9113, section 3.3)
	only2 bool // HTTP/1.1 is of no use

	request *http.Request
	body    []byte // of the request, for HTTP/2
	octets  []byte // the request, as HTTP/1.1 sends it

	kept   exchanger // nil: none
	retire time.Time // when kept is dropped
}

// exchanger is a connection that requests go over.
type exchanger interface {
	// exchange sends the request and passes the response to read. It returns
	// reusable when another request may follow.
	exchange(ctx context.Context, w *web, read func(*http.Response) error) (reusable bool, err error)
	drop()
}

// ask sends the request and lets read judge the response, whose body ends
// after maxBody octets. The body is drained after read, and must be whole in
// time unless read found fault already.
//
// Servers close kept connections when they like. So what goes wrong on one
// says nothing, and is tried once more on a new one; but not when time is up.
func (w *web) ask(ctx context.Context, read func(*http.Response) error) error {
	if c := w.kept; c != nil {
		w.kept = nil
		if !time.Now().Before(w.retire) {
			c.drop()
		} else if reusable, err := c.exchange(ctx, w, read); reusable {
			w.kept = c
			return err
		} else if c.drop(); err == nil || ctx.Err() != nil {
			return err
		}
	}
	c, err := w.connect(ctx)
	if err != nil {
		return err
	}
	reusable, err := c.exchange(ctx, w, read)
	if reusable {
		w.kept = c
	} else {
		c.drop()
	}
	return err
}

func (w *web) connect(ctx context.Context) (exchanger, error) {
	l, err := w.peer.connect(ctx)
	if err != nil {
		return nil, err
	}
	// Many targets are first checked at one time. Their connections must not
	// all be renewed at one time.
	w.retire = time.Now().Add(w.keep/2 + rand.N(w.keep/2+1))
	switch two := w.prior || l.protocol() == "h2"; {
	case two:
		return newHTTP2(ctx, l)
	case w.only2:
		l.drop()
		return nil, wrong("tls: the peer offers no HTTP/2")
	}
	return (*http1)(l), nil
}

func (w *web) close() {
	if w.kept != nil {
		w.kept.drop()
		w.kept = nil
	}
}

// finish has the response read and its body drained up to the bound. It is
// whole when it ended before that.
func finish(resp *http.Response, read func(*http.Response) error) (whole bool, err error) {
	body := resp.Body
	defer body.Close()
	bounded := &io.LimitedReader{R: body, N: maxBody}
	resp.Body = io.NopCloser(bounded)
	err = read(resp)
	if err != nil && !errors.As(err, new(*finding)) {
		return false, partialError{err}
	}
	_, drain := io.Copy(io.Discard, bounded)
	switch {
	case errors.Is(drain, errTooLong): // framing without end: as a body without end
		return false, err
	case drain != nil && err == nil:
		return false, partialError{drain}
	case drain != nil || bounded.N == 0:
		return false, err
	}
	return true, err
}

// partialError is an error from after the head of an answer.
type partialError struct{ error }

func (e partialError) Unwrap() error { return e.error }
