package probe

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
)

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

func (c *http2) drop() {
	c.link.drop()
	c.conn.Close()
}
