package zone

import (
	"slices"

	"github.com/miekg/dns"
)

// maxChain is how many CNAME and DNAME redirections one answer follows in the
// zone. The resolver asks again for the rest, so a longer chain still resolves.
const maxChain = 16

// anyTTL is the TTL of the HINFO that answers ANY, in seconds.
const anyTTL = 3600

// Result is the zone's answer to one question. Its records are shared and must
// not be changed.
type Result struct {
	Rcode         int // dns.RcodeSuccess, NameError, YXDomain, or Refused outside the zone
	Authoritative bool
	Answer        []dns.RR
	Ns            []dns.RR
	Extra         []dns.RR

	// Dynamic is the dynamic owner name that the question matched, exactly or as
	// a wildcard: the sections then hold the zone's own data of that type only
	// (or NODATA), and whoever knows the addresses overrides them. Else "".
	Dynamic string
	// Source is the owner name that gave the last part of the answer, for traces:
	// a name, wildcard, cut or DNAME owner; the apex for negative answers.
	Source string
}

// Lookup answers one question from the zone.
//
// It follows CNAME and DNAME inside the zone until the chain ends, loops, is 16
// long, leaves the zone, or meets a dynamic name: a dynamic target is never
// followed, so that its answer keeps a scope of its own (RFC 7871 §7.2.1).
// Additional addresses go with NS records only, in answers and referrals; MX,
// SRV and SVCB targets get none, as from NSD with minimal responses.
func (z *Zone) Lookup(qname string, qtype uint16) Result {
	key, ok := canonical(qname)
	if !ok || !dns.IsSubDomain(z.origin, key) {
		return Result{Rcode: dns.RcodeRefused}
	}
	r := Result{Authoritative: true}
	name := dns.Fqdn(qname)
	for seen := []string{}; ; {
		target := z.step(&r, name, key, qtype)
		if target == "" {
			return r
		}
		seen = append(seen, key)
		key, _ = canonical(target)
		if len(seen) == maxChain || slices.Contains(seen, key) || !dns.IsSubDomain(z.origin, key) {
			return r
		}
		if m := z.match(key); m.cut == nil && m.node != nil && m.node.dynamic {
			return r
		}
		name = target
	}
}

// step adds what one name gives to the result, and returns the name to go on
// with, or "" when the answer is complete.
func (z *Zone) step(r *Result, name, key string, qtype uint16) string {
	m := z.match(key)
	if m.cut != nil && !(m.node != nil && qtype == dns.TypeDS) { // DS: RFC 4035 §3.1.4.1
		z.refer(r, m.cut)
		return ""
	}
	if m.dname != nil {
		return z.redirect(r, name, m.dname, qtype)
	}
	if m.node == nil {
		r.Rcode = dns.RcodeNameError // also at the end of a chain: RFC 6604 §3
		z.deny(r)
		return ""
	}
	r.Source = m.node.name
	if m.node.dynamic {
		r.Dynamic = m.node.name
	}
	if rrs := m.node.set(qtype); rrs != nil {
		r.Answer = appendAs(r.Answer, name, rrs)
		if qtype == dns.TypeNS {
			r.Extra = z.addresses(rrs)
		}
		return ""
	}
	if rrs := m.node.set(dns.TypeCNAME); rrs != nil {
		r.Answer = appendAs(r.Answer, name, rrs)
		if qtype == dns.TypeANY { // RFC 8482 §4.2: a CNAME is the answer to ANY
			return ""
		}
		return rrs[0].(*dns.CNAME).Target
	}
	if qtype == dns.TypeANY && (len(m.node.sets) > 0 || m.node.dynamic) {
		r.Answer = append(r.Answer, &dns.HINFO{
			Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeHINFO, Class: dns.ClassINET, Ttl: anyTTL},
			Cpu: "RFC8482",
		})
		return ""
	}
	z.deny(r)
	return ""
}

// match is where a name leads: to a cut at or above it, or to a DNAME above it,
// or to the node that answers, itself or a wildcard.
type match struct {
	node  *node // nil: NXDOMAIN, or below cut or dname; with cut, the cut itself
	cut   *node
	dname *node
}

// match walks down from the apex to a canonical name of the zone
// (RFC 1034 §4.3.2 step 3), so that the highest cut or DNAME wins.
func (z *Zone) match(key string) match {
	n := z.order[0]
	labels := dns.Split(key)
	for i := len(labels) - dns.CountLabel(z.origin); ; i-- {
		switch {
		case n.kind == Cut && i == 0:
			return match{node: n, cut: n}
		case n.kind == Cut:
			return match{cut: n}
		case i == 0:
			return match{node: n}
		case n.set(dns.TypeDNAME) != nil:
			return match{dname: n}
		}
		child := z.nodes[key[labels[i-1]:]]
		if child == nil {
			return match{node: n.wild} // n is the closest encloser, RFC 4592 §3.3.1
		}
		n = child
	}
}

// deny adds the SOA of a negative answer (RFC 2308 §2).
func (z *Zone) deny(r *Result) {
	r.Ns = []dns.RR{z.negative}
	r.Source = z.origin
}

// refer makes the result a referral. After a CNAME it stays authoritative: AA
// speaks for the first owner name of the answer (RFC 1035 §4.1.1).
func (z *Zone) refer(r *Result, cut *node) {
	r.Authoritative = len(r.Answer) > 0
	r.Ns = cut.set(dns.TypeNS)
	r.Extra = z.addresses(r.Ns)
	r.Source = cut.name
}

// redirect answers a name below a DNAME with the DNAME and the CNAME made from
// it (RFC 6672 §3.1), and returns the CNAME's target. A target too long for a
// name is YXDOMAIN (§2.2).
func (z *Zone) redirect(r *Result, name string, owner *node, qtype uint16) string {
	dname := owner.set(dns.TypeDNAME)[0].(*dns.DNAME)
	r.Source = owner.name
	if !slices.Contains(r.Answer, dns.RR(dname)) { // a chain can pass it twice
		r.Answer = append(r.Answer, dname)
	}
	target := name // without the owner's labels at its end
	if labels := dns.Split(name); owner.name != "." {
		target = name[:labels[len(labels)-dns.CountLabel(owner.name)]]
	}
	if dname.Target != "." {
		target += dname.Target
	}
	if !isName(target) {
		r.Rcode = dns.RcodeYXDomain
		return ""
	}
	r.Answer = append(r.Answer, &dns.CNAME{
		Hdr:    dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: dname.Hdr.Ttl},
		Target: target,
	})
	if qtype == dns.TypeCNAME || qtype == dns.TypeANY {
		return ""
	}
	return target
}

// addresses returns the A and AAAA records that the zone has for name servers:
// authoritative ones, glue and sibling glue (RFC 9471).
func (z *Zone) addresses(servers []dns.RR) []dns.RR {
	var out []dns.RR
	for _, rr := range servers {
		target := rr.(*dns.NS).Ns
		key, ok := canonical(target)
		if !ok || !dns.IsSubDomain(z.origin, key) {
			continue
		}
		if n := z.glue(key); n != nil {
			out = appendAs(out, target, n.set(dns.TypeA))
			out = appendAs(out, target, n.set(dns.TypeAAAA))
		}
	}
	return out
}

// glue returns the node whose addresses serve for a canonical name of the zone,
// nil when there is none. It looks through cuts, and at wildcards on either side
// of them, as NSD and Knot do.
func (z *Zone) glue(key string) *node {
	if n := z.nodes[key]; n != nil {
		return n
	}
	encloser, _ := z.ClosestEncloser(key)
	return z.nodes[encloser].wild
}

// appendAs appends records under an owner name as it was asked for.
func appendAs(to []dns.RR, name string, rrs []dns.RR) []dns.RR {
	for _, rr := range rrs {
		if rr.Header().Name != name {
			rr = dns.Copy(rr)
			rr.Header().Name = name
		}
		to = append(to, rr)
	}
	return to
}
