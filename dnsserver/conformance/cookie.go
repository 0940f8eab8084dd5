package conformance

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/miekg/dns"
)

// clientCookie is the client's half of a cookie (RFC 7873 §4.1).
var clientCookie = []byte{0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57}

// cookieChecks ask for RFC 7873 and the interoperable algorithm of RFC 9018.
var cookieChecks = []check{
	{"cookie-new", "RFC 7873 §5.2.3", "a client cookie brings back itself and a server cookie of 8 to 32 octets", func(s *session) outcome {
		full, out := s.cookie(clientCookie)
		if full == nil {
			return out
		}
		return pass("server cookie of %d octets", len(full)-8)
	}},
	{"cookie-v1", "RFC 9018 §4", "the server cookie is of version 1: 16 octets, zero reserved, a timestamp of now", func(s *session) outcome {
		full, out := s.cookie(clientCookie)
		if full == nil {
			return out
		}
		server := full[8:]
		if len(server) != 16 || server[0] != 1 {
			return warn("server cookie % x is of the server's own making: nodes of different makes cannot share an anycast address", server)
		}
		if server[1] != 0 || server[2] != 0 || server[3] != 0 {
			return fail("reserved octets are % x", server[1:4])
		}
		stamp := int64(binary.BigEndian.Uint32(server[4:]))
		if age := time.Now().Unix() - stamp; age < -300 || age > 3600 {
			return fail("timestamp is %d s old", age)
		}
		return pass("version 1, timestamp %d", stamp)
	}},
	{"cookie-again", "RFC 7873 §5.2.5", "the cookie that the server gave is accepted", func(s *session) outcome {
		full, out := s.cookie(clientCookie)
		if full == nil {
			return out
		}
		again, out := s.cookie(full)
		if again == nil {
			return out
		}
		return pass("accepted, and a cookie of %d octets came back", len(again))
	}},
	{"cookie-wrong", "RFC 7873 §5.2.4", "a wrong server cookie is BADCOOKIE or answered, always with a good cookie", func(s *session) outcome {
		good, out := s.cookie(clientCookie)
		if good == nil {
			return out
		}
		bad := append([]byte{}, good...)
		bad[len(bad)-1] ^= 0xff
		r, err := s.udp(s.edns(s.Name, dns.TypeA, option{optCookie, bad}))
		if err != nil {
			return fail("%v", err)
		}
		back, ok := r.option(optCookie)
		switch {
		case r.rcode != dns.RcodeSuccess && r.rcode != dns.RcodeBadCookie:
			return fail("%s", r.summary())
		case !ok || !bytes.HasPrefix(back, clientCookie) || len(back) < 16:
			return fail("%s without a fresh cookie", r.summary())
		case bytes.Equal(back, bad):
			return fail("the wrong cookie came back as if it were right")
		}
		return pass("%s with a fresh cookie", rcodeText(r.rcode))
	}},
	{"cookie-length", "RFC 7873 §5.2.2", "a cookie of 0–7, 9–15 or more than 40 octets is FORMERR", func(s *session) outcome {
		if full, out := s.cookie(clientCookie); full == nil {
			return out
		}
		for _, n := range []int{0, 1, 7, 9, 15, 41} {
			r, err := s.udp(s.edns(s.Name, dns.TypeA, option{optCookie, make([]byte, n)}))
			if err != nil {
				return fail("%d octets: %v", n, err)
			}
			if r.rcode != dns.RcodeFormatError {
				return fail("%d octets: want FORMERR, got %s", n, r.summary())
			}
		}
		return pass("FORMERR for 0, 1, 7, 9, 15 and 41 octets")
	}},
	{"cookie-unasked", "RFC 7873 §5.2.1", "no cookie when none was sent", func(s *session) outcome {
		return s.expect(s.edns(s.Name, dns.TypeA), dns.RcodeSuccess, func(r *reply) string {
			if _, ok := r.option(optCookie); ok {
				return "a cookie was sent"
			}
			return ""
		})
	}},
}

// cookie sends a cookie option and returns the one that came back, client part
// checked; nil when there is none to judge, with the outcome to report. A
// BADCOOKIE to a bare client cookie is allowed (RFC 7873 §5.2.3).
func (s *session) cookie(sent []byte) ([]byte, outcome) {
	r, err := s.udp(s.edns(s.Name, dns.TypeA, option{optCookie, sent}))
	if err != nil {
		return nil, fail("%v", err)
	}
	data, ok := r.option(optCookie)
	if !ok {
		return nil, skip("the server does not do cookies")
	}
	allowed := r.rcode == dns.RcodeSuccess || r.rcode == dns.RcodeBadCookie && len(sent) == 8
	switch {
	case !allowed:
		return nil, fail("%s", r.summary())
	case !bytes.HasPrefix(data, clientCookie):
		return nil, fail("the client part came back as % x", data[:min(8, len(data))])
	case len(data) < 16 || len(data) > 40:
		return nil, fail("a cookie of %d octets", len(data))
	}
	return data, outcome{}
}
