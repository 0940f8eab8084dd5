package zone

import (
	"cmp"
	"slices"

	"github.com/miekg/dns"
)

// record is one record read from a file.
type record struct {
	rr dns.RR
	at position
}

// maxSet is the largest record set, in octets on the wire: what fits a DNS
// message beside a header and the longest question.
const maxSet = 65535 - 12 - 255 - 4

// builder makes a zone out of records, and notes what is wrong with them.
type builder struct {
	z        *Zone
	last     *node  // of the record before: owners come in runs
	lastName string // its owner as written
	errors   problems
	warnings problems
}

// newBuilder starts a zone that holds only its apex.
func newBuilder(origin string) *builder {
	b := &builder{z: &Zone{origin: origin, nodes: map[string]*node{}}}
	b.node(origin)
	return b
}

// node returns the node of a canonical name in the zone, and makes it and the
// empty non-terminals above it when they do not exist.
func (b *builder) node(name string) *node {
	if n := b.z.nodes[name]; n != nil {
		return n
	}
	n := &node{name: name}
	b.z.nodes[name] = n
	b.z.order = append(b.z.order, n)
	if name != b.z.origin {
		above := b.node(parent(name))
		if isWildcard(name) {
			above.wild = n
		}
	}
	return n
}

// add puts one record into the zone, unless its owner does not belong there.
func (b *builder) add(r record) {
	h := r.rr.Header()
	n := b.last
	if n == nil || h.Name != b.lastName {
		name, ok := canonical(h.Name)
		if !ok || !dns.IsSubDomain(b.z.origin, name) {
			b.errors.add(r.at, "%s record of %q is outside the zone %q", dns.Type(h.Rrtype), h.Name, b.z.origin)
			return
		}
		n = b.node(name)
		b.last, b.lastName = n, h.Name
	}
	if n.at == (position{}) {
		n.at = r.at
	}
	if h.Ttl > 1<<31-1 {
		b.errors.add(r.at, "ttl %d of %q %s is out of range 0 to 2147483647 (RFC 2181 section 8)", h.Ttl, h.Name, dns.Type(h.Rrtype))
		return
	}
	for i := range n.sets {
		if n.sets[i].rrtype == h.Rrtype {
			b.extend(n, &n.sets[i], r)
			return
		}
	}
	n.sets = append(n.sets, rrset{rrtype: h.Rrtype, at: r.at, size: dns.Len(r.rr), rrs: []dns.RR{r.rr}})
}

// extend adds a record to a set that already has some: a duplicate is dropped,
// and the lowest TTL holds for all (RFC 2181 §5.2).
func (b *builder) extend(n *node, s *rrset, r record) {
	if s.size > maxSet {
		return // reported when it became too large
	}
	ttl := min(r.rr.Header().Ttl, s.rrs[0].Header().Ttl)
	duplicate := slices.ContainsFunc(s.rrs, func(have dns.RR) bool { return dns.IsDuplicate(have, r.rr) })
	if r.rr.Header().Ttl != s.rrs[0].Header().Ttl {
		if !s.mixed {
			b.warnings.add(r.at, "ttl %d of %q %s differs from the %d before: the lowest of the set is used (RFC 2181 section 5.2)",
				r.rr.Header().Ttl, n.name, dns.Type(s.rrtype), s.rrs[0].Header().Ttl)
		}
		s.mixed = true
		r.rr.Header().Ttl = ttl
		for _, have := range s.rrs {
			have.Header().Ttl = ttl
		}
	}
	if duplicate {
		return
	}
	if s.size += dns.Len(r.rr); s.size > maxSet {
		b.errors.add(r.at, "the %s records of %q do not fit into one DNS message", dns.Type(s.rrtype), n.name)
		return
	}
	s.rrs = append(s.rrs, r.rr)
}

// dynamic marks the owner names that are answered from elsewhere.
func (b *builder) dynamic(names []string) {
	for _, given := range names {
		name, ok := canonical(given)
		if !ok {
			b.errors.add(position{}, "dynamic name %q is not a domain name", given)
			continue
		}
		if !dns.IsSubDomain(b.z.origin, name) {
			b.errors.add(position{}, "dynamic name %q is outside the zone", given)
			continue
		}
		b.node(name).dynamic = true
	}
}

// arrange sorts the nodes and their sets, and finds each node's kind.
func (b *builder) arrange() {
	type keyed struct {
		key  string
		node *node
	}
	keys := make([]keyed, len(b.z.order))
	for i, n := range b.z.order {
		keys[i] = keyed{sortKey(n.name), n}
		slices.SortFunc(n.sets, func(a, b rrset) int { return cmp.Compare(a.rrtype, b.rrtype) })
	}
	slices.SortFunc(keys, func(a, b keyed) int { return cmp.Compare(a.key, b.key) })
	for i := range keys {
		b.z.order[i] = keys[i].node
	}

	var cut *node // the last one; what lies below it follows at once
	for _, n := range b.z.order {
		switch {
		case cut != nil && below(n.name, cut.name):
			n.kind = Occluded
		case n.name != b.z.origin && n.set(dns.TypeNS) != nil:
			n.kind = Cut
			cut = n
		case n.set(dns.TypeDNAME) != nil:
			n.kind = DNAME
		case len(n.sets) == 0 && !n.dynamic:
			n.kind = Empty
		}
	}
}

// finish fills in what depends on the SOA.
func (b *builder) finish() {
	apex := b.z.order[0]
	b.z.soa = apex.set(dns.TypeSOA)[0].(*dns.SOA)
	b.z.negative = dns.Copy(b.z.soa).(*dns.SOA)
	b.z.negative.Hdr.Ttl = min(b.z.soa.Hdr.Ttl, b.z.soa.Minttl)
}
