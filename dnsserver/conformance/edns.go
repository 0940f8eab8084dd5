package conformance

import (
	"bytes"
	"fmt"

	"github.com/miekg/dns"
)

// ednsChecks ask what RFC 8906 §8.2 asks of a server that knows EDNS, and for
// extended errors (RFC 8914).
var ednsChecks = []check{
	{"edns-absent", "RFC 6891 §7", "no OPT record in the reply to a query without one", func(s *session) outcome {
		return s.expect(s.query(s.Name, dns.TypeA), dns.RcodeSuccess, func(r *reply) string {
			if r.opt != nil {
				return "the reply holds an OPT record"
			}
			return ""
		})
	}},
	{"edns-present", "RFC 8906 §8.2.1", "an OPT record of version 0 in the reply to a query with one", func(s *session) outcome {
		return s.expect(s.edns(s.Name, dns.TypeA), dns.RcodeSuccess, wantOPT)
	}},
	{"edns-size", "RFC 6891 §6.2.3", "the server's own payload size is at least 512 and not above 4096", func(s *session) outcome {
		r, err := s.udp(s.edns(s.Name, dns.TypeA))
		if err != nil {
			return fail("%v", err)
		}
		if r.opt == nil {
			return skip("no OPT record")
		}
		switch size := r.opt.size; {
		case size < 512:
			return fail("%d octets", size)
		case size > 1432:
			return warn("%d octets invites fragments: RFC 9715 advises 1400 or less", size)
		default:
			return pass("%d octets", size)
		}
	}},
	{"edns-version", "RFC 8906 §8.2.2", "an unknown EDNS version is BADVERS with version 0", func(s *session) outcome {
		p := s.edns(s.Name, dns.TypeA)
		p.opts[0].version = 1
		return s.expect(p, dns.RcodeBadVers, func(r *reply) string {
			if r.opt == nil || r.opt.version != 0 {
				return "the reply does not say version 0"
			}
			if len(r.msg.Answer) > 0 {
				return "the reply holds an answer"
			}
			return ""
		})
	}},
	{"edns-option", "RFC 8906 §8.2.3", "an unknown option is ignored and not sent back", func(s *session) outcome {
		p := s.edns(s.Name, dns.TypeA, option{optUnknown, []byte("hello")})
		return s.expect(p, dns.RcodeSuccess, func(r *reply) string {
			if _, ok := r.option(optUnknown); ok {
				return "the unknown option came back"
			}
			return wantOPT(r)
		})
	}},
	{"edns-emptyoption", "RFC 8906 §8.2.3", "an unknown option without data is ignored", func(s *session) outcome {
		return s.expect(s.edns(s.Name, dns.TypeA, option{optUnknown, nil}), dns.RcodeSuccess, wantOPT)
	}},
	{"edns-flags", "RFC 8906 §8.2.4", "unknown EDNS flags are ignored and clear in the reply", func(s *session) outcome {
		p := s.edns(s.Name, dns.TypeA)
		p.opts[0].flags = 0x40
		return s.expect(p, dns.RcodeSuccess, func(r *reply) string {
			if r.opt != nil && r.opt.flags&0x7fff != 0 {
				return fmt.Sprintf("flags 0x%04x in the reply", r.opt.flags)
			}
			return wantOPT(r)
		})
	}},
	{"edns-version-flags", "RFC 8906 §8.2.5", "an unknown version with unknown flags is BADVERS, flags clear", func(s *session) outcome {
		p := s.edns(s.Name, dns.TypeA)
		p.opts[0].version, p.opts[0].flags = 1, 0x40
		return s.expect(p, dns.RcodeBadVers, func(r *reply) string {
			if r.opt.flags&0x7fff != 0 {
				return fmt.Sprintf("flags 0x%04x in the reply", r.opt.flags)
			}
			return ""
		})
	}},
	{"edns-version-do", "RFC 8906 §8.2.9", "an unknown version with DO set is BADVERS", func(s *session) outcome {
		p := s.edns(s.Name, dns.TypeA)
		p.opts[0].version, p.opts[0].flags = 1, flagDO
		return s.expect(p, dns.RcodeBadVers, nil)
	}},
	{"edns-many", "RFC 8906 §8.2.10", "cookie, NSID, EXPIRE and client subnet in one query do no harm", func(s *session) outcome {
		p := s.edns(s.Name, dns.TypeA, option{optCookie, clientCookie}, option{optNSID, nil}, option{optExpire, nil}, rawSubnet(1, 0, 0))
		r, err := s.udp(p)
		if err != nil {
			return fail("%v", err)
		}
		// A server may ask for its cookie to be sent back first (RFC 7873 §5.2.3).
		if fault := wantOPT(r); fault != "" || r.rcode != dns.RcodeSuccess && r.rcode != dns.RcodeBadCookie {
			return fail("%s %s", r.summary(), fault)
		}
		return pass("%s", r.summary())
	}},
	{"edns-version-option", "RFC 8906 §8.2.6", "an unknown version with an unknown option is BADVERS, option not sent back", func(s *session) outcome {
		p := s.edns(s.Name, dns.TypeA, option{optUnknown, []byte("hello")})
		p.opts[0].version = 1
		return s.expect(p, dns.RcodeBadVers, func(r *reply) string {
			if _, ok := r.option(optUnknown); ok {
				return "the unknown option came back"
			}
			return ""
		})
	}},
	{"edns-do", "RFC 8906 §8.2.8", "the DO bit is copied", func(s *session) outcome {
		p := s.edns(s.Name, dns.TypeA)
		p.opts[0].flags = flagDO
		return s.expect(p, dns.RcodeSuccess, func(r *reply) string {
			if r.opt == nil || r.opt.flags&flagDO == 0 {
				return "DO is clear in the reply"
			}
			return ""
		})
	}},
	{"edns-tcp", "RFC 7766 §5", "EDNS works over TCP", func(s *session) outcome {
		r, err := s.tcp(s.edns(s.Name, dns.TypeA))
		if err != nil {
			return fail("%v", err)
		}
		if fault := wantOPT(r); fault != "" || r.rcode != dns.RcodeSuccess {
			return fail("%s %s", r.summary(), fault)
		}
		return pass("%s", r.summary())
	}},
	{"edns-smallsize", "RFC 6891 §6.2.3", "a payload size below 512 is read as 512", func(s *session) outcome {
		p := s.edns(s.Zone, dns.TypeSOA)
		p.opts[0].size = 10
		return s.expect(p, dns.RcodeSuccess, func(r *reply) string {
			if r.flags&flagTC != 0 {
				return fmt.Sprintf("TC is set at %d octets", len(r.raw))
			}
			return wantOPT(r)
		})
	}},
	{"edns-tc", "RFC 8906 §8.2.7", "an answer above the payload size comes with TC and OPT, and whole over TCP", checkTruncation},
	{"ede-refused", "RFC 8914 §4.21", "a name that is not served here is REFUSED, without AA, with EDE 20", func(s *session) outcome {
		p := s.edns("not-served-here.invalid.", dns.TypeA)
		r, err := s.udp(p)
		if err != nil {
			return fail("%v", err)
		}
		if r.rcode != dns.RcodeRefused {
			return fail("want REFUSED, got %s", r.summary())
		}
		if r.flags&flagAA != 0 {
			return fail("AA is set on a refusal")
		}
		data, ok := r.option(optEDE)
		if !ok || len(data) < 2 {
			return warn("REFUSED without an extended error: the asker cannot tell why")
		}
		code := int(data[0])<<8 | int(data[1])
		text := string(bytes.TrimRight(data[2:], "\x00"))
		if code != int(dns.ExtendedErrorCodeNotAuthoritative) {
			return warn("REFUSED with EDE %d %q, 20 (not authoritative) says more", code, text)
		}
		return pass("REFUSED with EDE 20 %q", text)
	}},
	{"ede-unasked", "RFC 8914 §3", "no extended error, and no OPT record, to a query without EDNS", func(s *session) outcome {
		return s.expect(s.query("not-served-here.invalid.", dns.TypeA), dns.RcodeRefused, func(r *reply) string {
			if r.opt != nil {
				return "the reply holds an OPT record"
			}
			return ""
		})
	}},
}

func wantOPT(r *reply) string {
	if r.opt == nil {
		return "no OPT record in the reply"
	}
	if r.opt.version != 0 {
		return fmt.Sprintf("version %d in the reply", r.opt.version)
	}
	return ""
}

func checkTruncation(s *session) outcome {
	if s.Large == "" {
		return skip("no name with a large TXT RRset was given (--large)")
	}
	p := s.edns(dns.Fqdn(s.Large), dns.TypeTXT)
	p.opts[0].size = 512
	udp, err := s.udp(p)
	if err != nil {
		return fail("%v", err)
	}
	tcp, err := s.tcp(s.edns(dns.Fqdn(s.Large), dns.TypeTXT))
	if err != nil {
		return fail("tcp: %v", err)
	}
	switch {
	case len(tcp.raw) <= 512:
		return skip("%s TXT is only %d octets", s.Large, len(tcp.raw))
	case len(udp.raw) > 512:
		return fail("%d octets for an asker that takes 512", len(udp.raw))
	case udp.flags&flagTC == 0:
		return fail("TC is clear although %d octets do not fit", len(tcp.raw))
	case udp.opt == nil:
		return fail("the truncated reply has no OPT record (RFC 6891 §7)")
	case tcp.flags&flagTC != 0 || len(tcp.msg.Answer) == 0:
		return fail("over tcp: %s", tcp.summary())
	}
	return pass("TC at 512 octets, %d octets over tcp", len(tcp.raw))
}
