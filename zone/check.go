package zone

import (
	"slices"

	"github.com/miekg/dns"
)

// check notes every broken rule in the arranged zone. When some records could
// not be read (not whole), it says nothing of what may only seem to be missing.
func (b *builder) check(whole bool) {
	b.checkApex(whole)
	var dname *node // the last one; what lies below it follows at once
	for _, n := range b.z.order {
		b.checkTypes(n)
		if n.dynamic {
			b.checkDynamic(n, dname)
		}
		switch {
		case dname != nil && below(n.name, dname.name) && n.kind != Empty && !n.dynamic:
			b.errors.add(n.at, "%q lies below the DNAME at %q, where nothing may exist (RFC 6672 section 2.4)", n.name, dname.name)
		case n.kind == Cut:
			b.checkCut(n, whole)
		case n.kind == Occluded:
			b.warnOccluded(n)
		case n.kind == DNAME:
			dname = n
		}
		if n.kind != Cut && n.kind != Occluded {
			b.warnTargets(n, whole)
		}
	}
}

// checkApex wants exactly one SOA, at the apex, and NS records there.
func (b *builder) checkApex(whole bool) {
	for _, n := range b.z.order[1:] {
		for _, s := range n.sets {
			if s.rrtype == dns.TypeSOA {
				b.errors.add(s.at, "SOA at %q, not at the zone's apex %q", n.name, b.z.origin)
			}
		}
	}
	apex := b.z.order[0]
	switch soa := apex.set(dns.TypeSOA); {
	case len(soa) == 0 && whole:
		b.errors.add(position{}, "no SOA record at the apex")
	case len(soa) > 1:
		b.errors.add(position{}, "%d different SOA records at the apex: a zone has one", len(soa))
	}
	if whole && apex.set(dns.TypeNS) == nil {
		b.errors.add(position{}, "no NS record at the apex")
	}
}

// checkTypes refuses sets that may not stand side by side.
func (b *builder) checkTypes(n *node) {
	for _, s := range n.sets {
		switch s.rrtype {
		case dns.TypeCNAME, dns.TypeDNAME:
			if len(s.rrs) > 1 {
				b.errors.add(s.at, "%d %s records at %q: a name has at most one", len(s.rrs), dns.Type(s.rrtype), n.name)
			}
			b.checkAlone(n, s)
		case dns.TypeNS:
			if isWildcard(n.name) {
				b.errors.add(s.at, "NS at the wildcard %q: wildcards cannot be delegated (RFC 4592 section 4.2)", n.name)
			}
		}
		if s.rrtype == dns.TypeDNAME && isWildcard(n.name) {
			b.warnings.add(s.at, "DNAME at the wildcard %q redirects nothing (RFC 6672 section 3.3)", n.name)
		}
	}
}

// checkAlone refuses what may not stand beside a CNAME (anything but DNSSEC's
// own types, RFC 2181 §10.1 and RFC 4034 §2.5) or a DNAME (an NS below the
// apex, RFC 6672 §2.3; other data is allowed there).
func (b *builder) checkAlone(n *node, s rrset) {
	for _, other := range n.sets {
		switch {
		case other.rrtype == s.rrtype:
		case s.rrtype == dns.TypeCNAME:
			switch other.rrtype {
			case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeKEY:
			default:
				b.errors.add(s.at, "CNAME at %q stands beside %s: a CNAME has no other data (RFC 1034 section 3.6.2)",
					n.name, dns.Type(other.rrtype))
			}
		case other.rrtype == dns.TypeNS && n.name != b.z.origin:
			b.errors.add(s.at, "DNAME at %q stands beside NS: a name is redirected or delegated, not both (RFC 6672 section 2.3)", n.name)
		}
	}
}

// checkDynamic refuses a dynamic name that could never be answered, or that the
// zone answers too.
func (b *builder) checkDynamic(n, dname *node) {
	switch {
	case n.kind == Cut:
		b.errors.add(n.at, "dynamic name %q is delegated: remove its NS records or the name", n.name)
	case n.kind == Occluded:
		b.errors.add(n.at, "dynamic name %q lies below a delegation, so it is never answered here", n.name)
	case dname != nil && below(n.name, dname.name):
		b.errors.add(n.at, "dynamic name %q lies below the DNAME at %q, so it is never answered", n.name, dname.name)
	}
	for _, s := range n.sets {
		switch s.rrtype {
		case dns.TypeA, dns.TypeAAAA, dns.TypeCNAME:
			b.errors.add(s.at, "%s at %q, which is answered by a pool: move it into the pool", dns.Type(s.rrtype), n.name)
		}
	}
}

// checkCut wants glue for each name server at or below the cut: without it the
// delegation cannot be followed. It warns about data that the cut hides.
func (b *builder) checkCut(n *node, whole bool) {
	for _, s := range n.sets {
		switch s.rrtype {
		case dns.TypeNS, dns.TypeDS, dns.TypeNSEC, dns.TypeRRSIG:
		case dns.TypeA, dns.TypeAAAA: // perhaps glue
		default:
			b.warnings.add(s.at, "%s at %q is hidden by the delegation there", dns.Type(s.rrtype), n.name)
		}
	}
	if !whole {
		return
	}
	for _, rr := range n.set(dns.TypeNS) {
		target, ok := canonical(rr.(*dns.NS).Ns)
		if ok && dns.IsSubDomain(n.name, target) && !b.hasAddress(target) {
			b.errors.add(n.at, "name server %q of %q lies in what it serves and has no A or AAAA here: add its glue", target, n.name)
		}
	}
}

func (b *builder) warnOccluded(n *node) {
	for _, s := range n.sets {
		if s.rrtype != dns.TypeA && s.rrtype != dns.TypeAAAA {
			b.warnings.add(s.at, "%s at %q is hidden by the delegation above", dns.Type(s.rrtype), n.name)
		}
	}
}

// warnTargets points out NS, MX and SRV targets in the zone that are aliases
// (RFC 2181 §10.3) or have no address.
func (b *builder) warnTargets(n *node, whole bool) {
	for _, s := range n.sets {
		for _, rr := range s.rrs {
			var target string
			switch rr := rr.(type) {
			case *dns.NS:
				target = rr.Ns
			case *dns.MX:
				target = rr.Mx
			case *dns.SRV:
				target = rr.Target
			}
			key, ok := canonical(target)
			if !ok || key == "." || !dns.IsSubDomain(b.z.origin, key) {
				continue
			}
			m := b.z.match(key)
			switch {
			case m.node != nil && m.node.set(dns.TypeCNAME) != nil, m.dname != nil:
				b.warnings.add(s.at, "%s target %q of %q is an alias (RFC 2181 section 10.3)", dns.Type(s.rrtype), key, n.name)
			case whole && m.cut == nil && !b.hasAddress(key):
				b.warnings.add(s.at, "%s target %q of %q has no A or AAAA in the zone", dns.Type(s.rrtype), key, n.name)
			}
		}
	}
}

// hasAddress reports whether a canonical name in the zone has addresses, also
// as glue or through a wildcard; a dynamic name has them elsewhere.
func (b *builder) hasAddress(name string) bool {
	n := b.z.glue(name)
	return n != nil && (n.dynamic || slices.ContainsFunc(n.sets, func(s rrset) bool {
		return s.rrtype == dns.TypeA || s.rrtype == dns.TypeAAAA
	}))
}
