package conformance

import (
	"bytes"
	"errors"

	"github.com/miekg/dns"
)

// packetChecks send packets that are not messages. A server may answer FORMERR
// or stay silent; it must not answer with data, and it must live.
var packetChecks = []check{
	{"pkt-response", "RFC 1035 §7.3", "a packet with QR set gets no reply (two servers could loop)", func(s *session) outcome {
		p := s.query(s.Name, dns.TypeA)
		p.flags = flagQR
		r, err := s.udp(p)
		if err != nil {
			return s.silent(err)
		}
		return fail("answered %s", r.summary())
	}},
	{"pkt-header", "RFC 8906 §8", "a header without a question is FORMERR, and no crash", func(s *session) outcome {
		return s.survive(packet{id: s.query(s.Name, 1).id, qdcount: -1})
	}},
	{"pkt-short", "RFC 1035 §4.1.1", "a packet shorter than a header does no harm", func(s *session) outcome {
		p := s.query(s.Name, dns.TypeA)
		p.cut = 11
		return s.survive(p)
	}},
	{"pkt-cut", "RFC 1035 §4.1.2", "a question cut in the middle is FORMERR, or silence", func(s *session) outcome {
		p := s.query(s.Name, dns.TypeA)
		p.cut = 12 + 6
		return s.survive(p)
	}},
	{"pkt-loop", "RFC 1035 §4.1.4", "a name that points at itself is FORMERR, or silence", func(s *session) outcome {
		p := s.query(s.Name, dns.TypeA)
		p.questions = [][]byte{{0xc0, 12, 0, 1, 0, 1}}
		return s.survive(p)
	}},
	{"pkt-label", "RFC 6891 §5", "a label of a reserved type is FORMERR, or silence", func(s *session) outcome {
		p := s.query(s.Name, dns.TypeA)
		p.questions = [][]byte{append([]byte{0x41, 'a', 'b', 0}, 0, 1, 0, 1)}
		return s.survive(p)
	}},
	{"pkt-longname", "RFC 1035 §2.3.4", "a name longer than 255 octets is FORMERR, or silence", func(s *session) outcome {
		p := s.query(s.Name, dns.TypeA)
		label := append([]byte{63}, bytes.Repeat([]byte{'x'}, 63)...)
		p.questions = [][]byte{append(bytes.Repeat(label, 5), 0, 0, 1, 0, 1)}
		return s.survive(p)
	}},
	{"pkt-twoquestions", "RFC 9619 §4", "two questions are FORMERR", func(s *session) outcome {
		p := s.query(s.Name, dns.TypeA)
		p.questions = append(p.questions, question(s.Zone, dns.TypeSOA, dns.ClassINET))
		return s.survive(p)
	}},
	{"pkt-qdcount", "RFC 1035 §4.1.1", "a question count above what follows is FORMERR, or silence", func(s *session) outcome {
		p := s.query(s.Name, dns.TypeA)
		p.qdcount = 65535
		return s.survive(p)
	}},
	{"pkt-twoopts", "RFC 6891 §6.1.1", "two OPT records are FORMERR", func(s *session) outcome {
		p := s.edns(s.Name, dns.TypeA)
		p.opts = append(p.opts, p.opts[0])
		return s.expect(p, dns.RcodeFormatError, nil)
	}},
	{"pkt-optlength", "RFC 6891 §6.1.2", "an OPT record that runs past the packet is FORMERR, or silence", func(s *session) outcome {
		p := s.edns(s.Name, dns.TypeA)
		p.opts[0].extra = 40
		return s.survive(p)
	}},
	{"pkt-optionlength", "RFC 6891 §6.1.2", "an option that runs past its OPT record is FORMERR", func(s *session) outcome {
		p := s.edns(s.Name, dns.TypeA)
		p.opts[0].extra = 6 // and the trailer is what RDLENGTH now covers
		p.trailer = []byte{optUnknown >> 8, optUnknown & 0xff, 0, 80, 'x', 'y'}
		return s.survive(p)
	}},
	{"pkt-trailing", "RFC 1035 §4.1", "octets after the message do no harm", func(s *session) outcome {
		p := s.query(s.Name, dns.TypeA)
		p.trailer = []byte("trailing octets")
		r, err := s.udp(p)
		if err != nil {
			return s.silent(err)
		}
		return pass("%s", r.summary())
	}},
}

// survive sends a broken packet. FORMERR passes, and so does silence when the
// server is alive afterwards; NOTIMP and REFUSED are odd, data is a failure.
func (s *session) survive(p packet) outcome {
	r, err := s.udp(p)
	if err != nil {
		return s.silent(err)
	}
	switch {
	case r.rcode == dns.RcodeFormatError:
		return pass("%s", r.summary())
	case len(r.msg.Answer) > 0:
		return fail("answered with data: %s", r.summary())
	case r.rcode == dns.RcodeServerFailure:
		return fail("%s: reads as a fault of the server, not of the packet", r.summary())
	}
	return warn("%s, FORMERR would say more", r.summary())
}

// silent judges no answer to a broken packet: fine, if the server still lives.
// A reply that does not parse is not silence.
func (s *session) silent(err error) outcome {
	if !errors.Is(err, ErrNoAnswer) {
		return fail("the reply: %v", err)
	}
	if !s.alive() {
		return fail("%v, and no answer to a plain question afterwards", err)
	}
	return pass("silence, and the server lives")
}
