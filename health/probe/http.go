package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"

	"edged/health"
)

// userAgent is what servers' logs show.
const userAgent = "edged-health"

// page checks an answer over HTTP or HTTPS: its status and what its body holds.
type page struct {
	web
	status []int // accepted; empty: 200 to 299
	body   []byte
}

func newPage(t health.Target, o Options) (way, error) {
	c := t.Check
	request, err := newRequest(t)
	if err != nil {
		return nil, err
	}
	p := &page{
		web:    web{peer: peer{dial: o.Dial, address: endpoint(t)}, keep: o.Keep, request: request},
		status: c.Status,
		body:   []byte(c.Body),
	}
	if c.Kind == health.HTTPS {
		p.peer.tls = tlsConfig(t, o, "h2", "http/1.1")
	}
	p.octets, err = octets(request)
	return p, err
}

// newRequest returns the request of an HTTP check. It errs on a path that is
// not an absolute one and on headers that HTTP does not allow.
func newRequest(t health.Target) (*http.Request, error) {
	c := t.Check
	path, err := url.ParseRequestURI(c.Path)
	if err != nil || !strings.HasPrefix(c.Path, "/") {
		return nil, fmt.Errorf("path %q: want one that starts with \"/\"", c.Path)
	}
	path.Scheme, path.Host = string(c.Kind), c.Host
	if path.Host == "" {
		path.Host = authority(t.Address, c.Port, c.Kind)
	}
	if !httpguts.ValidHostHeader(path.Host) {
		return nil, fmt.Errorf("host %q: not a host", c.Host)
	}
	r := &http.Request{
		Method: http.MethodGet, URL: path, Host: path.Host,
		Header: http.Header{"User-Agent": {userAgent}, "Accept": {"*/*"}},
	}
	for name, value := range c.Headers {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("header %q: %q: not a header of HTTP", name, value)
		}
		r.Header.Set(name, value)
	}
	return r, nil
}

// authority is an address as a URL names it, without a port that is its
// scheme's own.
func authority(a netip.Addr, port uint16, kind health.Kind) string {
	host := a.WithZone("").String()
	if a.Is6() {
		host = "[" + host + "]"
	}
	if kind == health.HTTP && port == 80 || kind == health.HTTPS && port == 443 {
		return host
	}
	return host + ":" + strconv.Itoa(int(port))
}

// octets returns a request as HTTP/1.1 sends it.
func octets(r *http.Request) ([]byte, error) {
	var b bytes.Buffer
	err := r.Write(&b)
	return b.Bytes(), err
}

func (p *page) attempt(ctx context.Context) error { return p.ask(ctx, p.judge) }

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (p *page) judge(r *http.Response) error {
	if !p.accepts(r.StatusCode) {
		return wrong("status %d, want %s", r.StatusCode, p.wanted())
	}
	if len(p.body) == 0 {
		return nil
	}
	b := bodies.Get().(*bytes.Buffer)
	defer func() { b.Reset(); bodies.Put(b) }()
	_, err := io.Copy(b, r.Body)
	switch {
	case bytes.Contains(b.Bytes(), p.body):
		return nil
	case err != nil && !errors.Is(err, errTooLong):
		return err
	}
	return wrong("body lacks %q", p.body)
}

func (p *page) accepts(status int) bool {
	if len(p.status) == 0 {
		return status >= 200 && status <= 299
	}
	return slices.Contains(p.status, status)
}

func (p *page) wanted() string {
	if len(p.status) == 0 {
		return "2xx"
	}
	words := make([]string, len(p.status))
	for i, s := range p.status {
		words[i] = strconv.Itoa(s)
	}
	return strings.Join(words, " or ")
}
