package conformance

import (
	"fmt"

	"github.com/miekg/dns"
)

// headerChecks ask about the header and the question: what RFC 8906 §8.1 asks
// of a server that has never heard of EDNS, and case (RFC 4343).
var headerChecks = []check{
	{"hdr-echo", "RFC 1035 §4.1", "id, opcode, RD and the question come back as sent, in the case sent", func(s *session) outcome {
		p := s.query(mixCase(s.Name), dns.TypeA)
		p.flags = flagRD
		r, err := s.udp(p)
		if err != nil {
			return fail("%v", err)
		}
		switch {
		case r.flags&flagQR == 0:
			return fail("QR is clear in the reply")
		case r.flags&flagRD == 0:
			return fail("RD is not copied")
		case len(r.msg.Question) != 1 || r.msg.Question[0].Name != mixCase(s.Name):
			return fail("asked %q, the reply holds %v", mixCase(s.Name), r.msg.Question)
		case r.flags&flagRA != 0:
			return warn("RA is set: an authoritative server should not offer recursion")
		}
		return pass("%s", r.summary())
	}},
	{"hdr-aa", "RFC 1035 §4.1.1", "AA is set on an answer of the zone", func(s *session) outcome {
		return s.expect(s.query(s.Zone, dns.TypeSOA), dns.RcodeSuccess, func(r *reply) string {
			if r.flags&flagAA == 0 {
				return "AA is clear"
			}
			return ""
		})
	}},
	{"hdr-type", "RFC 8906 §8.1.2", "an unknown type at a name that exists is NOERROR", func(s *session) outcome {
		return s.expect(s.query(s.Name, 1000), dns.RcodeSuccess, nil)
	}},
	{"hdr-flag", "RFC 8906 §8.1.3.3", "the reserved header bit is ignored and clear in the reply", func(s *session) outcome {
		p := s.query(s.Name, dns.TypeA)
		p.flags = flagZ
		return s.expect(p, dns.RcodeSuccess, func(r *reply) string {
			if r.flags&flagZ != 0 {
				return "the reserved bit is copied into the reply"
			}
			return ""
		})
	}},
	{"hdr-cd", "RFC 8906 §8.1.3.1", "CD set does no harm", func(s *session) outcome {
		p := s.query(s.Name, dns.TypeA)
		p.flags = flagCD
		return s.expect(p, dns.RcodeSuccess, nil)
	}},
	{"hdr-ad", "RFC 8906 §8.1.3.2", "AD set does no harm", func(s *session) outcome {
		p := s.query(s.Name, dns.TypeA)
		p.flags = flagAD
		return s.expect(p, dns.RcodeSuccess, nil)
	}},
	{"hdr-opcode", "RFC 8906 §8.1.4", "an unknown opcode is NOTIMP", func(s *session) outcome {
		p := packet{id: s.query(s.Name, 0).id, flags: 15 << 11, qdcount: -1}
		return s.expect(p, dns.RcodeNotImplemented, nil)
	}},
	{"hdr-class", "RFC 1035 §3.2.4", "an unknown class gets some answer, not NOERROR with data", func(s *session) outcome {
		p := s.query(s.Name, dns.TypeA)
		p.questions = [][]byte{question(s.Name, dns.TypeA, 777)}
		r, err := s.udp(p)
		if err != nil {
			return warn("%v", err)
		}
		if len(r.msg.Answer) > 0 {
			return fail("data of class IN is given for class 777")
		}
		return pass("%s", r.summary())
	}},
	{"hdr-tcp", "RFC 8906 §8.1.5", "a plain question is answered over TCP, in the same way", func(s *session) outcome {
		udp, err := s.udp(s.query(s.Name, dns.TypeA))
		if err != nil {
			return fail("udp: %v", err)
		}
		tcp, err := s.tcp(s.query(s.Name, dns.TypeA))
		if err != nil {
			return fail("tcp: %v", err)
		}
		if udp.rcode != tcp.rcode || len(udp.msg.Answer) != len(tcp.msg.Answer) {
			return fail("udp says %s, tcp says %s", udp.summary(), tcp.summary())
		}
		return pass("both %s", tcp.summary())
	}},
	{"any-minimal", "RFC 8482 §4", "ANY gets a small answer", func(s *session) outcome {
		r, err := s.udp(s.query(s.Zone, dns.TypeANY))
		if err != nil {
			return fail("%v", err)
		}
		types := map[uint16]bool{}
		for _, rr := range r.msg.Answer {
			types[rr.Header().Rrtype] = true
		}
		if len(types) > 1 {
			return warn("%d types in %d octets: a gift to reflection", len(types), len(r.raw))
		}
		for t := range types {
			return pass("%s, type %s only, %d octets", rcodeText(r.rcode), dns.Type(t), len(r.raw))
		}
		return pass("%s, %d octets", r.summary(), len(r.raw))
	}},
	{"nxdomain", "RFC 2308 §3", "a name that does not exist is NXDOMAIN with the SOA record", func(s *session) outcome {
		r, err := s.udp(s.query(s.missing(), dns.TypeA))
		if err != nil {
			return fail("%v", err)
		}
		if r.rcode == dns.RcodeSuccess {
			return skip("a wildcard answers for %s", s.missing())
		}
		return negative(r, dns.RcodeNameError)
	}},
	{"nodata", "RFC 2308 §3", "a type that a name does not have is NOERROR with the SOA record", func(s *session) outcome {
		r, err := s.udp(s.query(s.Name, dns.TypeLOC))
		if err != nil {
			return fail("%v", err)
		}
		if len(r.msg.Answer) > 0 {
			return skip("%s has a LOC record or an alias", s.Name)
		}
		return negative(r, dns.RcodeSuccess)
	}},
}

// expect sends p over UDP and fails unless the reply has the rcode and judge,
// when given, finds nothing wrong; judge returns the fault in words.
func (s *session) expect(p packet, rcode int, judge func(*reply) string) outcome {
	r, err := s.udp(p)
	if err != nil {
		return fail("%v", err)
	}
	if r.rcode != rcode {
		return fail("want %s, got %s", rcodeText(rcode), r.summary())
	}
	if judge != nil {
		if fault := judge(r); fault != "" {
			return fail("%s", fault)
		}
	}
	return pass("%s", r.summary())
}

// negative judges a negative answer: its rcode, AA, and one SOA record.
func negative(r *reply, rcode int) outcome {
	if r.rcode != rcode {
		return fail("want %s, got %s", rcodeText(rcode), r.summary())
	}
	for _, rr := range r.msg.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			if soa.Hdr.Ttl > soa.Minttl {
				return fail("the SOA record has TTL %d, above its minimum field %d (RFC 2308 §3)", soa.Hdr.Ttl, soa.Minttl)
			}
			return pass("%s, negative TTL %d s", rcodeText(r.rcode), soa.Hdr.Ttl)
		}
	}
	return fail("no SOA record in the authority section")
}

// missing returns a name of the zone that should not exist.
func (s *session) missing() string {
	return fmt.Sprintf("no-such-name-7f3a.%s", s.Zone)
}

// mixCase returns the name with every other letter in upper case.
func mixCase(name string) string {
	b := []byte(name)
	for i := range b {
		if i%2 == 0 && b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 'a' - 'A'
		}
	}
	return string(b)
}
