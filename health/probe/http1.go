package probe

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"sync"
)

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

func (c *http1) drop() { (*link)(c).drop() }

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
