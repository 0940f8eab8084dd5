package dnsserver

import (
	"unsafe"

	"edged/geo"
	"edged/geo/prefetch"
)

// node is one name that exists, with its answers.
type node struct {
	name    string // lower case, wire format
	id      uint64 // hash of name
	zone    *zoneData
	kind    nodeKind
	watched bool          // questions that it answers are noted
	wild    *node         // the wildcard right below it, or nil
	dynamic *dynamic      // set for names that a pool answers
	answers []typedAnswer // static answers by type
	other   *blob         // the answer to any other type
	parent  *node         // at a zone's apex: its cut in the zone above, which has the DS
}

type nodeKind uint8

const (
	plainNode nodeKind = iota
	cutNode            // everything at and below is referred
	dnameNode          // everything below is rewritten
)

type typedAnswer struct {
	qtype uint16
	blob  *blob
}

// answer returns the answer to a type. ANY gets a CNAME, or a minimal answer.
func (n *node) answer(qtype uint16) *blob {
	for i := range n.answers {
		if n.answers[i].qtype == qtype {
			return n.answers[i].blob
		}
	}
	if qtype == typeANY && (len(n.answers) > 0 || n.dynamic != nil) {
		return minimalANY
	}
	return n.other
}

// nameTable finds nodes by name: open addressing with linear probing, at most
// half full.
type nameTable struct {
	slots []nameSlot
	mask  uint64
}

// nameID hashes a lower-case name as queries are.
func nameID(name string) uint64 {
	var padded [maxName + 9]byte
	copy(padded[:], name)
	return nameHash(padded[:], len(name))
}

type nameSlot struct {
	hash uint64
	node *node
}

func newNameTable(nodes map[string]*node) nameTable {
	size := uint64(8)
	for size < 2*uint64(len(nodes)) {
		size *= 2
	}
	t := nameTable{slots: make([]nameSlot, size), mask: size - 1}
	for _, n := range nodes {
		i := n.id & t.mask
		for t.slots[i].node != nil {
			i = (i + 1) & t.mask
		}
		t.slots[i] = nameSlot{n.id, n}
	}
	return t
}

func (t *nameTable) find(hash uint64, name []byte) *node {
	for i := hash & t.mask; ; i = (i + 1) & t.mask {
		s := &t.slots[i]
		if s.node == nil {
			return nil
		}
		if s.hash == hash && s.node.name == string(name) {
			return s.node
		}
	}
}

// closest finds the name asked, or the longest existing name above it (RFC 4592
// section 3.3.1). It returns nil when the name is in none of the zones.
func (t *nameTable) closest(q *query) (n *node, exact bool) {
	if n := t.find(q.hash, q.lower[:q.nameLen]); n != nil {
		return n, true
	}
	for at := 0; q.lower[at] != 0; {
		at += 1 + int(q.lower[at])
		suffix := q.lower[at:]
		length := q.nameLen - at
		if n := t.find(nameHash(suffix, length), suffix[:length]); n != nil {
			return n, false
		}
	}
	return nil, false
}

// The three steps below prepare an answer. Each asks for the memory that the
// next one will read, so that a batch of queries waits for memory together
// rather than one after the other.

// touchName asks for the slot of the name.
func (v *View) touchName(q *query) {
	prefetch.Line(unsafe.Pointer(&v.names.slots[q.hash&v.names.mask]))
}

// locate finds the name, and asks for the place of its client in the map.
func (v *View) locate(q *query, client *geo.Client) {
	if q.node = nil; !q.question {
		return
	}
	q.node, q.exact = v.names.closest(q)
	if d := q.dynamic(); d != nil {
		v.geo.Touch(d.pool, client)
	}
}

// touchMap asks for the rest of what the decision will read.
func (v *View) touchMap(q *query, client *geo.Client) {
	if d := q.dynamic(); d != nil {
		v.geo.TouchMore(d.pool, client)
	}
}

// dynamic returns what a pool answers for the name, exactly or by a wildcard.
func (q *query) dynamic() *dynamic {
	n := q.node
	if n != nil && !q.exact {
		n = n.wild
	}
	if n == nil {
		return nil
	}
	return n.dynamic
}
