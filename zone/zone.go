package zone

import (
	"iter"
	"slices"

	"github.com/miekg/dns"
)

// Zone is one zone's data at one moment. It never changes.
type Zone struct {
	origin   string // canonical
	soa      *dns.SOA
	negative *dns.SOA // the SOA as negative answers carry it (RFC 2308 §3)
	nodes    map[string]*node
	order    []*node // in canonical order, the apex first
	files    []string
	warnings []string
}

// node is a name that exists: it has records, or is dynamic, or lies above a
// name that does.
type node struct {
	name    string // canonical
	kind    Kind
	dynamic bool
	at      position // where a record first named it
	sets    []rrset  // by type
	wild    *node    // the child "*", or nil
}

// rrset is the records of one owner and type, in the file's order.
type rrset struct {
	rrtype uint16
	at     position // of the first record
	size   int      // octets of all records on the wire, uncompressed
	mixed  bool     // their TTLs differed in the file
	rrs    []dns.RR
}

// set returns the records of one type, nil when there are none. The slice has no
// room behind it, so that appending to an answer cannot reach into the zone.
func (n *node) set(rrtype uint16) []dns.RR {
	for i := range n.sets {
		if n.sets[i].rrtype == rrtype {
			return slices.Clip(n.sets[i].rrs)
		}
	}
	return nil
}

func (n *node) types() []uint16 {
	types := make([]uint16, len(n.sets))
	for i := range n.sets {
		types[i] = n.sets[i].rrtype
	}
	return types
}

// Origin returns the zone's name: absolute, lower case.
func (z *Zone) Origin() string { return z.origin }

// Serial returns the SOA serial.
func (z *Zone) Serial() uint32 { return z.soa.Serial }

// SOA returns the zone's SOA record, which must not be changed.
func (z *Zone) SOA() *dns.SOA { return z.soa }

// Files returns every file that the zone was read from, the first one first.
func (z *Zone) Files() []string { return slices.Clone(z.files) }

// Warnings returns what is doubtful in the zone but does not keep it from being
// served, as "file:line: text".
func (z *Zone) Warnings() []string { return slices.Clone(z.warnings) }

// Kind says what part a node plays in lookups.
type Kind uint8

// The kinds. A node with several of these properties has the last one.
const (
	Plain    Kind = iota // has records, or is dynamic
	Empty                // an empty non-terminal: only names below it have records
	DNAME                // names below it are redirected (RFC 6672)
	Cut                  // delegated: names from here down belong to another zone
	Occluded             // below a cut: seen only as glue
)

var kindNames = [...]string{"plain", "empty", "dname", "cut", "occluded"}

// String returns the lower-case word for the kind.
func (k Kind) String() string { return kindNames[k] }

// Node is one name of a zone.
type Node struct {
	Name    string   // absolute, lower case; a wildcard as "*.x."
	Types   []uint16 // ascending; of the zone's own records
	Kind    Kind
	Dynamic bool
}

// Nodes yields every name that exists in the zone, empty non-terminals and
// occluded names too, in canonical order (RFC 4034 §6.1), the apex first.
func (z *Zone) Nodes() iter.Seq[Node] {
	return func(yield func(Node) bool) {
		for _, n := range z.order {
			if !yield(Node{Name: n.name, Types: n.types(), Kind: n.kind, Dynamic: n.dynamic}) {
				return
			}
		}
	}
}

// TypesAt returns the types of the zone's own records that a lookup of name
// finds, exactly or through a wildcard, ascending. It is empty but not nil for
// a name that exists without records, and nil where the zone has no answer of
// its own: outside, NXDOMAIN, below a cut or below a DNAME.
func (z *Zone) TypesAt(name string) []uint16 {
	key, ok := canonical(name)
	if !ok || !dns.IsSubDomain(z.origin, key) {
		return nil
	}
	m := z.match(key)
	if m.node == nil || (m.cut != nil && m.cut.name != key) {
		return nil
	}
	if m.cut != nil { // the rest is the child's
		return slices.DeleteFunc(m.node.types(), func(t uint16) bool { return t != dns.TypeNS && t != dns.TypeDS })
	}
	return m.node.types()
}

// ClosestEncloser returns the longest existing name that is name or lies above
// it, and whether it is name itself; "" when name is not in the zone.
// Names that wildcards match do not exist (RFC 4592 §2.2.1).
func (z *Zone) ClosestEncloser(name string) (encloser string, exact bool) {
	key, ok := canonical(name)
	if !ok || !dns.IsSubDomain(z.origin, key) {
		return "", false
	}
	for encloser = key; z.nodes[encloser] == nil; {
		encloser = parent(encloser)
	}
	return encloser, encloser == key
}
