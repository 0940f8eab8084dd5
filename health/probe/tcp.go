package probe

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"edged/health"
)

// maxExpect bounds what is read of a TCP answer in search of Check.Expect.
const maxExpect = 4 << 10

// stream checks that a TCP port accepts, with a TLS handshake if the check has
// TLS, and that it answers what is expected. It connects anew each time, for
// that is what it checks.
type stream struct {
	peer         peer
	send, expect []byte
}

func newStream(t health.Target, o Options) way {
	s := &stream{
		peer:   peer{dial: o.Dial, address: endpoint(t)},
		send:   []byte(t.Check.Send),
		expect: []byte(t.Check.Expect),
	}
	if t.Check.TLS {
		s.peer.tls = tlsConfig(t, o)
	}
	return s
}

func (s *stream) attempt(ctx context.Context) error {
	l, err := s.peer.connect(ctx)
	if err != nil {
		return err
	}
	defer l.drop()
	defer l.until(ctx)()
	if len(s.send) > 0 {
		if _, err := l.Write(s.send); err != nil {
			return err
		}
	}
	if len(s.expect) == 0 {
		return nil
	}
	return s.await(l)
}

var answers = sync.Pool{New: func() any { return new([maxExpect]byte) }}

// await reads until what is expected has come.
func (s *stream) await(r io.Reader) error {
	b := answers.Get().(*[maxExpect]byte)
	defer answers.Put(b)
	for n := 0; ; {
		k, err := r.Read(b[n:])
		n += k
		switch {
		case bytes.Contains(b[:n], s.expect):
			return nil
		case errors.Is(err, io.EOF) && n > 0, n == len(b):
			return wrong("answer lacks %q", s.expect)
		case err != nil && n > 0:
			return partialError{err}
		case err != nil:
			return err
		}
	}
}

func (s *stream) close() {}
