package conformance

import (
	"bytes"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"
)

// ecsChecks ask for RFC 7871, as a resolver that caches by scope needs it. A
// server that never sends a client subnet option back does not do ECS, which is
// its right: all but the first are then skipped.
var ecsChecks = []check{
	{"ecs-unasked", "RFC 7871 §7.2.1", "no client subnet in the reply to a query without one", func(s *session) outcome {
		return s.expect(s.edns(s.Name, dns.TypeA), dns.RcodeSuccess, func(r *reply) string {
			if _, ok := r.ecs(); ok {
				return "a client subnet option that was not asked for"
			}
			return ""
		})
	}},
	{"ecs-echo", "RFC 7871 §7.2.1", "family, source length and address come back as sent (v4)", func(s *session) outcome {
		return s.echo(netip.MustParsePrefix("192.88.100.0/24"))
	}},
	{"ecs-echo6", "RFC 7871 §7.2.1", "family, source length and address come back as sent (v6)", func(s *session) outcome {
		return s.echo(netip.MustParsePrefix("2a02:1234:5600::/56"))
	}},
	{"ecs-odd", "RFC 7871 §6", "a source length that is no whole number of octets comes back as sent", func(s *session) outcome {
		return s.echo(netip.MustParsePrefix("198.41.16.0/21"))
	}},
	{"ecs-tcp", "RFC 7871 §7.2.1", "client subnet works over TCP, with the scope that UDP gives", func(s *session) outcome {
		return s.withECS(func() outcome {
			q := func() packet { return s.edns(s.Name, dns.TypeA, subnet(netip.MustParsePrefix("192.88.100.0/24"))) }
			udp, err := s.udp(q())
			if err != nil {
				return fail("udp: %v", err)
			}
			tcp, err := s.tcp(q())
			if err != nil {
				return fail("tcp: %v", err)
			}
			a, _ := udp.ecs()
			b, ok := tcp.ecs()
			if !ok || a.scope != b.scope {
				return fail("udp: %s; tcp: %s", udp.summary(), tcp.summary())
			}
			return pass("both scope /%d", b.scope)
		})
	}},
	{"ecs-source0", "RFC 7871 §7.1.2", "source /0 (do not locate me) gets scope 0", func(s *session) outcome {
		return s.wantScope0(s.Name, dns.TypeA, dns.RcodeSuccess, rawSubnet(1, 0, 0))
	}},
	{"ecs-family0", "RFC 7871 §7.1.2", "family 0 with source /0 is taken, or FORMERR, with scope 0", func(s *session) outcome {
		return s.withECS(func() outcome {
			r, err := s.udp(s.edns(s.Name, dns.TypeA, rawSubnet(0, 0, 0)))
			if err != nil {
				return fail("%v", err)
			}
			e, ok := r.ecs()
			switch {
			case r.rcode == dns.RcodeFormatError && r.opt != nil:
				return pass("FORMERR with OPT")
			case r.rcode != dns.RcodeSuccess:
				return fail("%s", r.summary())
			case ok && (e.family != 0 || e.scope != 0):
				return fail("%s came back", e)
			}
			return pass("%s", r.summary())
		})
	}},
	{"ecs-family", "RFC 7871 §6", "an unknown family does not locate anybody: FORMERR or scope 0", func(s *session) outcome {
		return s.withECS(func() outcome {
			r, err := s.udp(s.edns(s.Name, dns.TypeA, rawSubnet(3, 24, 0, 20, 2, 3)))
			if err != nil {
				return fail("%v", err)
			}
			switch e, ok := r.ecs(); {
			case r.rcode == dns.RcodeFormatError && r.opt == nil:
				return fail("FORMERR without OPT")
			case r.rcode != dns.RcodeFormatError && r.rcode != dns.RcodeSuccess && r.rcode != dns.RcodeRefused:
				return fail("%s", r.summary())
			case ok && e.scope != 0:
				return fail("%s came back", e)
			}
			return pass("%s", r.summary())
		})
	}},
	malformedECS("ecs-short", "fewer address octets than the source length needs", rawSubnet(1, 24, 0, 20, 2)),
	malformedECS("ecs-long", "more address octets than the source length needs", rawSubnet(1, 24, 0, 20, 2, 3, 0)),
	malformedECS("ecs-hostbits", "address bits beyond the source length", rawSubnet(1, 20, 0, 20, 2, 0x1f)),
	malformedECS("ecs-scope", "a scope length above 0 in a query", rawSubnet(1, 24, 24, 20, 2, 3)),
	malformedECS("ecs-mask4", "a v4 source length above 32", rawSubnet(1, 33, 0, 20, 2, 3, 4, 128)),
	malformedECS("ecs-mask6", "a v6 source length above 128", rawSubnet(2, 129, 0, bytes.Repeat([]byte{0x20}, 17)...)),
	malformedECS("ecs-header", "an option of three octets", option{optECS, []byte{0, 1, 24}}),
	{"ecs-nodata", "RFC 7871 §7.4", "a type that the name does not have: scope 0", func(s *session) outcome {
		// AAAA and TXT as well: where A is dynamic, their absence may be too.
		seen := skip("%s has every type that was tried, or an alias", s.Name)
		for _, qtype := range []uint16{dns.TypeLOC, dns.TypeAAAA, dns.TypeTXT} {
			r, err := s.udp(s.query(s.Name, qtype))
			if err != nil || r.rcode != dns.RcodeSuccess || len(r.msg.Answer) > 0 {
				continue
			}
			seen = s.wantScope0(s.Name, qtype, dns.RcodeSuccess, subnet(sampleSubnet))
			seen.evidence = dns.Type(qtype).String() + ": " + seen.evidence
			if seen.verdict != Pass {
				break
			}
		}
		return seen
	}},
	{"ecs-nxdomain", "RFC 7871 §7.4", "a name that does not exist: scope 0", func(s *session) outcome {
		r, err := s.udp(s.query(s.missing(), dns.TypeA))
		if err == nil && r.rcode == dns.RcodeSuccess {
			return skip("a wildcard answers for %s", s.missing())
		}
		return s.wantScope0(s.missing(), dns.TypeA, dns.RcodeNameError, subnet(sampleSubnet))
	}},
	{"ecs-static", "RFC 7871 §7.2.1", "an answer that does not depend on the client (the SOA record): scope 0", func(s *session) outcome {
		return s.wantScope0(s.Zone, dns.TypeSOA, dns.RcodeSuccess, subnet(sampleSubnet))
	}},
	{"ecs-referral", "RFC 7871 §7.4", "a referral: scope 0", func(s *session) outcome {
		if s.Delegated == "" {
			return skip("no name below a zone cut was given (--delegated)")
		}
		return s.wantScope0(dns.Fqdn(s.Delegated), dns.TypeA, dns.RcodeSuccess, subnet(sampleSubnet))
	}},
	{"ecs-private", "RFC 7871 §10", "an address that is not routable says nothing about a place: scope 0", func(s *session) outcome {
		return s.withECS(func() outcome {
			for _, p := range []string{"10.1.2.0/24", "127.0.0.0/24", "169.254.3.0/24", "192.168.1.0/24", "fd00:1::/56", "fe80::/56"} {
				r, err := s.udp(s.edns(s.Name, dns.TypeA, subnet(netip.MustParsePrefix(p))))
				if err != nil {
					return fail("%s: %v", p, err)
				}
				if e, ok := r.ecs(); ok && e.scope != 0 {
					return warn("%s gets scope /%d: a resolver keeps an entry per such subnet", p, e.scope)
				}
			}
			return pass("scope 0 for loopback, link-local and private subnets")
		})
	}},
	{"ecs-cover4", "RFC 7871 §7.2.1", "no answer's scope covers a subnet that gets another answer (v4)", func(s *session) outcome {
		return s.withECS(func() outcome { return s.cover(false) })
	}},
	{"ecs-cover6", "RFC 7871 §7.2.1", "no answer's scope covers a subnet that gets another answer (v6)", func(s *session) outcome {
		return s.withECS(func() outcome { return s.cover(true) })
	}},
}

// sampleSubnet is a routable subnet for checks that need any.
var sampleSubnet = netip.MustParsePrefix("192.88.100.0/24")

// withECS runs the check when the server sends client subnet options back.
func (s *session) withECS(run func() outcome) outcome {
	if s.scopes == nil {
		s.scopes = s.learnScopes()
	}
	if !s.scopes.supported {
		return skip("the server does not do ECS")
	}
	return run()
}

// echo asks for Name with the subnet and compares what comes back.
func (s *session) echo(p netip.Prefix) outcome {
	return s.withECS(func() outcome {
		sent := subnet(p)
		return s.expect(s.edns(s.Name, dns.TypeA, sent), dns.RcodeSuccess, func(r *reply) string {
			data, ok := r.option(optECS)
			if !ok {
				return "no client subnet option came back"
			}
			if len(data) != len(sent.data) || !bytes.Equal(data[:3], sent.data[:3]) || !bytes.Equal(data[4:], sent.data[4:]) {
				return fmt.Sprintf("sent % x, got % x", sent.data, data)
			}
			return ""
		})
	})
}

// wantScope0 asks with an option and fails unless the reply has the rcode, and
// scope 0 if the option comes back.
func (s *session) wantScope0(name string, qtype uint16, rcode int, o option) outcome {
	return s.withECS(func() outcome {
		r, err := s.udp(s.edns(name, qtype, o))
		if err != nil {
			return fail("%v", err)
		}
		if r.rcode != rcode {
			return fail("want %s, got %s", rcodeText(rcode), r.summary())
		}
		e, ok := r.ecs()
		if !ok {
			return warn("no client subnet option came back: a resolver takes that as no support for ECS")
		}
		if e.scope != 0 {
			return fail("scope /%d", e.scope)
		}
		return pass("%s", r.summary())
	})
}

// malformedECS returns the check that one broken option is FORMERR with OPT.
func malformedECS(id, what string, o option) check {
	return check{id, "RFC 7871 §6", what + ": FORMERR, with OPT", func(s *session) outcome {
		return s.withECS(func() outcome {
			return s.expect(s.edns(s.Name, dns.TypeA, o), dns.RcodeFormatError, wantOPT)
		})
	}}
}
