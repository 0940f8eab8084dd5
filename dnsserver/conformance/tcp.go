package conformance

import (
	"errors"
	"io"
	"time"

	"github.com/miekg/dns"
)

// idlePause is how long a connection must be allowed to rest: RFC 7766 §6.2.3
// speaks of a few seconds, so this is the least that deserves the name.
const idlePause = 1500 * time.Millisecond

// tcpChecks ask for RFC 7766.
var tcpChecks = []check{
	{"tcp-pipeline", "RFC 7766 §6.2.1.1", "16 queries in one write are all answered, in any order", func(s *session) outcome {
		conn, err := s.dialTCP()
		if err != nil {
			return fail("%v", err)
		}
		defer conn.Close()
		var batch []byte
		want := map[uint16]bool{}
		for range 16 {
			p := s.edns(s.Name, dns.TypeA)
			want[p.id] = true
			batch = append(batch, frame(p.bytes())...)
		}
		if _, err := conn.Write(batch); err != nil {
			return fail("%v", err)
		}
		for len(want) > 0 {
			r, err := readFrame(conn)
			if err != nil {
				return fail("%d of 16 answered, then: %v", 16-len(want), err)
			}
			if !want[r.id] {
				return fail("a reply with id %d that was not asked, or twice", r.id)
			}
			delete(want, r.id)
		}
		return pass("16 of 16")
	}},
	{"tcp-split", "RFC 7766 §8", "a query that arrives octet by octet is answered", func(s *session) outcome {
		conn, err := s.dialTCP()
		if err != nil {
			return fail("%v", err)
		}
		defer conn.Close()
		for _, b := range frame(s.query(s.Name, dns.TypeA).bytes()) {
			if _, err := conn.Write([]byte{b}); err != nil {
				return fail("%v", err)
			}
		}
		r, err := readFrame(conn)
		if err != nil {
			return fail("%v", err)
		}
		return pass("%s", r.summary())
	}},
	{"tcp-idle", "RFC 7766 §6.2.3", "a connection stays open for some time after an answer", func(s *session) outcome {
		conn, err := s.dialTCP()
		if err != nil {
			return fail("%v", err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(5*s.Timeout + 2*idlePause))
		for i := range 2 {
			if i > 0 {
				time.Sleep(idlePause)
			}
			if _, err := conn.Write(frame(s.query(s.Name, dns.TypeA).bytes())); err != nil {
				return fail("after %v: %v", idlePause, err)
			}
			if _, err := readFrame(conn); err != nil {
				if i > 0 {
					return fail("closed within %v: %v", idlePause, err)
				}
				return fail("%v", err)
			}
		}
		return pass("open after %v", idlePause)
	}},
	{"tcp-empty", "RFC 1035 §4.2.2", "a frame of no octets does no harm", func(s *session) outcome {
		conn, err := s.dialTCP()
		if err != nil {
			return fail("%v", err)
		}
		defer conn.Close()
		if _, err := conn.Write(append([]byte{0, 0}, frame(s.query(s.Name, dns.TypeA).bytes())...)); err != nil {
			return fail("%v", err)
		}
		r, err := readFrame(conn)
		switch {
		case err == nil:
			return pass("the next query was answered %s", r.summary())
		case !s.alive():
			return fail("%v, and no answer to a plain question afterwards", err)
		case errors.Is(err, io.EOF):
			return pass("the connection was closed")
		}
		return pass("the connection was dropped: %v", err)
	}},
	{"tcp-halfclose", "RFC 7766 §6.2.4", "answers are sent to an asker that has closed its sending side", func(s *session) outcome {
		conn, err := s.dialTCP()
		if err != nil {
			return fail("%v", err)
		}
		defer conn.Close()
		if _, err := conn.Write(frame(s.query(s.Name, dns.TypeA).bytes())); err != nil {
			return fail("%v", err)
		}
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			if err := half.CloseWrite(); err != nil {
				return fail("%v", err)
			}
		}
		r, err := readFrame(conn)
		if err != nil {
			return warn("%v", err)
		}
		return pass("%s", r.summary())
	}},
}
