package conformance

import "github.com/miekg/dns"

// identityChecks ask which server this is: NSID and the CHAOS names.
var identityChecks = []check{
	{"nsid", "RFC 5001 §2.1", "NSID comes back, with an id, when asked for", func(s *session) outcome {
		r, err := s.udp(s.edns(s.Name, dns.TypeA, option{optNSID, nil}))
		if err != nil {
			return fail("%v", err)
		}
		data, ok := r.option(optNSID)
		if !ok || len(data) == 0 {
			return warn("no NSID: an operator cannot tell which node of an anycast set answered")
		}
		return pass("%q", data)
	}},
	{"nsid-unasked", "RFC 5001 §2.2", "no NSID when it was not asked for", func(s *session) outcome {
		return s.expect(s.edns(s.Name, dns.TypeA), dns.RcodeSuccess, func(r *reply) string {
			if _, ok := r.option(optNSID); ok {
				return "NSID was not asked for"
			}
			return ""
		})
	}},
	{"chaos-version", "RFC 4892 §2", "version.bind is answered or refused", func(s *session) outcome { return s.chaos("version.bind.") }},
	{"chaos-id", "RFC 4892 §2", "id.server is answered or refused", func(s *session) outcome { return s.chaos("id.server.") }},
}

// lastChecks run after all others.
var lastChecks = []check{
	{"alive", "", "the server still answers after all this", func(s *session) outcome {
		if !s.alive() {
			return fail("a plain question gets no answer")
		}
		return pass("it does")
	}},
}

func (s *session) chaos(name string) outcome {
	p := s.query(name, dns.TypeTXT)
	p.questions = [][]byte{question(name, dns.TypeTXT, dns.ClassCHAOS)}
	r, err := s.udp(p)
	if err != nil {
		return warn("%v", err)
	}
	if len(r.msg.Answer) == 0 {
		return pass("%s", r.summary())
	}
	txt, ok := r.msg.Answer[0].(*dns.TXT)
	if !ok || txt.Hdr.Class != dns.ClassCHAOS {
		return fail("the answer is %s", r.msg.Answer[0])
	}
	return pass("%q", txt.Txt)
}
