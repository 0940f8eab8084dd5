package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"edged/health"
)

const (
	// maxText bounds what is read of an external text.
	maxText = 4 << 10
	// leastStale is from which age on a file is not believed, or three
	// intervals if that is longer: who wrote it may be gone.
	leastStale = 5 * time.Minute
)

// newSource returns the way to read what somebody else found out. The text's
// first line is a word and, after it, the reason:
//
//	ok
//	degraded disk is slow
//	failing  no database
//	dead     switched off
//	unknown
//
// Whatever keeps the text from being read says nothing about the target, so
// the probe is skipped then.
func newSource(t health.Target, o Options) (way, error) {
	source := t.Check.Source
	if filepath.IsAbs(source) {
		return &file{path: source, stale: max(leastStale, 3*t.Check.Interval)}, nil
	}
	u, err := url.Parse(source)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("source %q: want an absolute path, or an http or https URL", source)
	}
	return newRemote(u, o)
}

// file is an external text on disk.
type file struct {
	path  string
	stale time.Duration
}

func (f *file) attempt(context.Context) error {
	text, age, err := f.read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return skipped("no file %s", f.path)
	case err != nil:
		return skipped("%v", err)
	case age > f.stale:
		return skipped("not written for more than %v: %s", f.stale, f.path)
	}
	return parseText(text)
}

// read returns the file's first octets. Only a plain file is opened: another
// could block.
func (f *file) read() (text []byte, age time.Duration, err error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is not a plain file", f.path)
	}
	opened, err := os.Open(f.path)
	if err != nil {
		return nil, 0, err
	}
	defer opened.Close()
	text, err = io.ReadAll(io.LimitReader(opened, maxText))
	return text, time.Since(info.ModTime()), err
}

func (f *file) close() {}

// remote is an external text at a URL.
type remote struct{ web }

func newRemote(u *url.URL, o Options) (way, error) {
	port := u.Port()
	r := &remote{web{keep: o.Keep}}
	if u.Scheme == "https" {
		r.peer.tls = &tls.Config{ServerName: u.Hostname(), RootCAs: o.Roots, NextProtos: []string{"h2", "http/1.1"}}
	}
	if port == "" {
		port = u.Scheme
	}
	r.peer.dial, r.peer.address = o.Dial, net.JoinHostPort(u.Hostname(), port)
	r.request = &http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host,
		Header: http.Header{"User-Agent": {userAgent}, "Accept": {"text/plain"}},
	}
	if u.User != nil {
		password, _ := u.User.Password()
		r.request.SetBasicAuth(u.User.Username(), password)
	}
	var err error
	r.octets, err = octets(r.request)
	return r, err
}

func (r *remote) attempt(ctx context.Context) error {
	err := r.ask(ctx, func(resp *http.Response) error {
		if resp.StatusCode != http.StatusOK {
			return skipped("source: status %d, want 200", resp.StatusCode)
		}
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxText))
		if err != nil {
			return err
		}
		return parseText(text)
	})
	if err == nil || errors.As(err, new(*finding)) {
		return err
	}
	return sourceError{err}
}

// sourceError is an error on the way to a text, which is not the target's.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }

// parseText reads an external text. It returns nil when it says ok.
func parseText(text []byte) error {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) == 0 {
		return skipped("source: its first line is empty")
	}
	word, reason := fields[0], clean(strings.Join(fields[1:], " "))
	if reason == "" {
		reason = "the source says " + word
	}
	switch word {
	case "ok":
		return nil
	case "degraded":
		return &finding{health.Passed, reason}
	case "failing":
		return &finding{health.Wrong, reason}
	case "dead":
		return &finding{health.Silent, reason}
	case "unknown":
		return &finding{health.Skipped, reason}
	}
	return skipped("source: unknown word %q, want ok, degraded, failing, dead or unknown", word)
}
