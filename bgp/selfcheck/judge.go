package selfcheck

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

const identity = "id.server."

// clientCookie asks for a server cookie. It need not be secret: what it is sent
// to is this node.
const clientCookie = "6564676564766970"

// questions returns the queries of one round, each with an ID of its own.
func (r *round) questions() []*dns.Msg {
	who := new(dns.Msg).SetQuestion(identity, dns.TypeTXT)
	who.Question[0].Qclass = dns.ClassCHAOS
	all := []*dns.Msg{who}
	if r.zone != "" {
		all = append(all, new(dns.Msg).SetQuestion(r.zone, dns.TypeSOA))
	}
	for i, m := range all {
		m.Id = who.Id + uint16(i) // each its own
		m.RecursionDesired = false
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{
			&dns.EDNS0_NSID{Code: dns.EDNS0NSID},
			&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: clientCookie + r.cookie},
		}
	}
	return all
}

// answers says whether a message is the answer to a query.
func answers(m, q *dns.Msg) bool {
	return m.Response && m.Id == q.Id && len(m.Question) == 1 &&
		m.Question[0].Qtype == q.Question[0].Qtype && m.Question[0].Qclass == q.Question[0].Qclass &&
		strings.EqualFold(m.Question[0].Name, q.Question[0].Name)
}

// judge errs when an answer is not what this node should give.
func (r *round) judge(m, q *dns.Msg) error {
	name, kind := q.Question[0].Name, dns.TypeToString[q.Question[0].Qtype]
	fault := func(format string, args ...any) error {
		return fmt.Errorf("%s %s: %w", name, kind, fmt.Errorf(format, args...))
	}
	r.keep(m)
	switch {
	case m.Rcode != dns.RcodeSuccess:
		return fault("answered %s", rcode(m.Rcode))
	case m.Truncated:
		return fault("answered truncated")
	case kind == "TXT":
		if err := r.ours(text(m)); err != nil {
			return fault("%w", err)
		}
		return nil
	case !m.Authoritative:
		return fault("answered without authority")
	case len(m.Answer) != 1 || m.Answer[0].Header().Rrtype != dns.TypeSOA || !strings.EqualFold(m.Answer[0].Header().Name, name):
		return fault("answered without the SOA")
	}
	if err := r.ours(nsid(m)); err != nil {
		return fault("nsid: %w", err)
	}
	return nil
}

// ours errs unless a node's own text begins with this node's name.
func (r *round) ours(text string) error {
	node, _, _ := strings.Cut(text, " ")
	switch {
	case text == "":
		return errors.New("the node does not say who it is")
	case node != r.node:
		return fmt.Errorf("%.64q answered, not %q", node, r.node)
	}
	return nil
}

// keep keeps the server's cookie, for the questions after.
func (r *round) keep(m *dns.Msg) {
	for _, o := range options(m) {
		if c, ok := o.(*dns.EDNS0_COOKIE); ok && len(c.Cookie) <= 80 && strings.HasPrefix(c.Cookie, clientCookie) {
			r.cookie = c.Cookie[len(clientCookie):]
		}
	}
}

func options(m *dns.Msg) []dns.EDNS0 {
	if opt := m.IsEdns0(); opt != nil {
		return opt.Option
	}
	return nil
}

// nsid returns the text of the NSID option; empty: there is none.
func nsid(m *dns.Msg) string {
	for _, o := range options(m) {
		if n, ok := o.(*dns.EDNS0_NSID); ok {
			text, _ := hex.DecodeString(n.Nsid) // the library has encoded it
			return string(text)
		}
	}
	return ""
}

// text returns the text of the one TXT record of an answer; empty: there is none.
func text(m *dns.Msg) string {
	if len(m.Answer) == 1 {
		if t, ok := m.Answer[0].(*dns.TXT); ok && len(t.Txt) > 0 {
			return t.Txt[0]
		}
	}
	return ""
}

func rcode(code int) string {
	if s, ok := dns.RcodeToString[code]; ok {
		return s
	}
	return fmt.Sprintf("rcode %d", code)
}
