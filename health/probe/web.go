package probe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
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

	kept exchanger // nil: none
}

// exchanger is a connection that requests go over.
type exchanger interface {
	// exchange sends the request and passes the response to read. It returns
	// reusable when another request may follow.
	exchange(ctx context.Context, w *web, read func(*http.Response) error) (reusable bool, err error)
	age() time.Duration
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
		if c.age() >= w.keep {
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

// http1 is a connection that speaks HTTP/1.1 (RFC 9112).
type http1 link

var readers = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

func (c *http1) exchange(ctx context.Context, w *web, read func(*http.Response) error) (bool, error) {
	lift := (*link)(c).until(ctx)
	granted := &granted{conn: c.Conn, left: maxHeader}
	r := readers.Get().(*bufio.Reader)
	r.Reset(granted)
	defer func() { r.Reset(nil); readers.Put(r) }()

	resp, err := c.send(w, r)
	if err != nil {
		lift()
		if granted.err != nil { // the parser may have hidden it
			err = granted.err
		}
		return false, err
	}
	granted.left += maxBody + maxFraming
	whole, err := finish(resp, read)
	return lift() && whole && !resp.Close && r.Buffered() == 0, err
}

// send writes the request and reads the response's head. Interim responses
// (RFC 9110, section 15.2) are skipped; they count against the same bound.
func (c *http1) send(w *web, r *bufio.Reader) (*http.Response, error) {
	if _, err := c.Conn.Write(w.octets); err != nil {
		return nil, err
	}
	for {
		resp, err := http.ReadResponse(r, w.request)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, nil
		}
	}
}

func (c *http1) age() time.Duration { return time.Since(c.opened) }
func (c *http1) drop()              { (*link)(c).drop() }

// granted reads from a connection no more octets than it was granted.
type granted struct {
	conn net.Conn
	left int
	err  error // what ended it
}

func (g *granted) Read(p []byte) (int, error) {
	if g.left <= 0 {
		g.err = errTooLong
		return 0, g.err
	}
	n, err := g.conn.Read(p[:min(len(p), g.left)])
	g.left -= n
	g.err = err
	return n, err
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

// http2 is a connection that speaks HTTP/2 (RFC 9113).
type http2 struct {
	*link
	heard *greeting
	conn  *http.ClientConn
}

// greeting watches what a peer says first: HTTP/2 begins with a SETTINGS frame,
// whose fourth octet is 4 (RFC 9113, sections 3.4 and 6.5). net/http has many
// words, or none, for what else there may be.
type greeting struct {
	net.Conn
	read    int // of the first octets
	foreign atomic.Bool
}

func (g *greeting) Read(p []byte) (int, error) {
	const frameType = 3
	n, err := g.Conn.Read(p)
	if g.read <= frameType && g.read+n > frameType && p[frameType-g.read] != 4 {
		g.foreign.Store(true)
	}
	g.read = min(g.read+n, frameType+1)
	return n, err
}

// greetingKey is under which a context carries the connection that HTTP/2 is
// to be spoken over.
type greetingKey struct{}

// framer speaks HTTP/2 over connections that are there already, with TLS or
// without: what it dials is what the context carries.
var framer = &http.Transport{
	DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return ctx.Value(greetingKey{}).(*greeting), nil
	},
	Protocols: func() *http.Protocols {
		p := new(http.Protocols)
		p.SetUnencryptedHTTP2(true)
		return p
	}(),
	HTTP2: &http.HTTP2Config{
		MaxReadFrameSize:              16 << 10,
		MaxReceiveBufferPerStream:     maxBody,
		MaxReceiveBufferPerConnection: maxBody,
	},
	DisableCompression:     true,
	MaxResponseHeaderBytes: maxHeader,
}

func newHTTP2(ctx context.Context, l *link) (exchanger, error) {
	lift := l.until(ctx)
	defer lift()
	heard := &greeting{Conn: l.Conn}
	conn, err := framer.NewClientConn(context.WithValue(ctx, greetingKey{}, heard), "http", l.RemoteAddr().String())
	if err != nil {
		l.drop()
		return nil, err
	}
	return &http2{link: l, heard: heard, conn: conn}, nil
}

func (c *http2) exchange(ctx context.Context, w *web, read func(*http.Response) error) (bool, error) {
	lift := c.until(ctx)
	req := w.request.WithContext(ctx)
	if w.body != nil {
		req.Body = io.NopCloser(bytes.NewReader(w.body))
	}
	resp, err := c.conn.RoundTrip(req)
	if err != nil {
		lift()
		if c.heard.foreign.Load() {
			err = wrong("the peer speaks no HTTP/2")
		}
		return false, err
	}
	whole, err := finish(resp, read)
	return lift() && whole && c.conn.Err() == nil, err
}

func (c *http2) age() time.Duration { return time.Since(c.opened) }

func (c *http2) drop() {
	c.link.drop()
	c.conn.Close()
}
