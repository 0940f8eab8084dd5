package maps

import (
	"encoding/hex"
	"io"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	"edged/edge"
	"edged/edge/pages"
)

// Hop is one measured PoP of a ranking.
type Hop struct {
	PoP uint16 // index into the map's PoPs
	RTT uint16 // round-trip time in half milliseconds; 0 means not known
}

// MaxHops is the largest number of measured PoPs in a ranking.
const MaxHops = 8

// NoOrder is the Order of a ranking whose place is not known.
const NoOrder = ^uint32(0)

// Ranking says which PoPs are closest: the measured ones in order, and then all
// PoPs in the great-circle order of the place. A PoP of the order that is also
// measured counts where it was measured.
type Ranking struct {
	Hops  []Hop  // up to MaxHops, best first
	Order uint32 // index of an order of all PoPs, or NoOrder
}

// Input names one thing a map was built from, for example a list of measured
// networks and its hash.
type Input struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Table finds the row for an address of either family. A map has one for client
// subnets and one for resolver addresses.
type Table struct {
	V4 *Ranges4
	V6 *Ranges6
}

// Lookup returns the row of an address and the range [from, to] of addresses
// around it that have the same row. An IPv4-mapped address is looked up as
// IPv4. The address must be valid.
func (t *Table) Lookup(addr netip.Addr) (row Row, from, to netip.Addr) {
	if addr = addr.Unmap(); addr.Is4() {
		entry := t.V4.Find(number4(addr))
		first, last := t.V4.Extent(entry)
		return t.V4.Rows[entry], address4(first), address4(last)
	}
	first, last, row := t.V6.Extent(Addr6From(addr))
	return row, first.Addr(), last.Addr()
}

// Block returns the largest prefix around an address that has one row
// throughout. The address must be valid.
func (t *Table) Block(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap()
	var length uint8
	if addr.Is4() {
		_, length = t.V4.FindBlock(number4(addr))
	} else {
		_, length = t.V6.FindLong(Addr6From(addr))
	}
	return netip.PrefixFrom(addr, int(length)).Masked()
}

func number4(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func address4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// Map is one verified map. It never changes. Slices that it hands out must not
// be changed, and are valid only while the Map or one of its tables' ranges is
// reachable: the memory under them goes away with the last of these.
type Map struct {
	memory   *pages.Memory // nil when the garbage collector owns the bytes
	file     []byte        // all of it
	hash     [32]byte
	created  time.Time
	pops     []edge.PoP
	inputs   []Input
	prices   []Pricing // by PoP; nil: the map has none
	orders   []uint16  // all orders one after another, each of len(pops)
	rankings []rankingRef
	hops     []Hop
	ecs, res Table
	gate     *Gate
	origins  origins
}

// rankingRef is a ranking as the file holds it.
type rankingRef struct {
	order uint32
	end   uint32 // of its hops; they begin where those of the one before end
}

// PoPs returns the PoPs that the map ranks, in the order of their indexes.
func (m *Map) PoPs() []edge.PoP { return m.pops }

// ECS returns the table keyed by client subnet.
func (m *Map) ECS() *Table { return &m.ecs }

// Resolver returns the table keyed by resolver address. It may be of the same
// ranges as ECS.
func (m *Map) Resolver() *Table { return &m.res }

// Rankings returns the number of rankings: every Row's id is below it.
func (m *Map) Rankings() int { return len(m.rankings) }

// Ranking returns a ranking by its id.
func (m *Map) Ranking(id uint32) Ranking {
	first := uint32(0)
	if id > 0 {
		first = m.rankings[id-1].end
	}
	ref := m.rankings[id]
	return Ranking{Hops: m.hops[first:ref.end:ref.end], Order: ref.order}
}

// Orders returns the number of great-circle orders.
func (m *Map) Orders() int { return len(m.orders) / len(m.pops) }

// Order returns the indexes of all PoPs, nearest first.
func (m *Map) Order(id uint32) []uint16 {
	n := len(m.pops)
	return m.orders[int(id)*n : int(id+1)*n : int(id+1)*n]
}

// First returns the PoP index that a row puts first, and whether there is one:
// a row without a measurement or a known place has none.
func (m *Map) First(row Row) (pop uint16, ok bool) {
	ranking := m.Ranking(row.Ranking())
	switch {
	case len(ranking.Hops) > 0:
		return ranking.Hops[0].PoP, true
	case ranking.Order != NoOrder:
		return m.Order(ranking.Order)[0], true
	}
	return 0, false
}

// Version returns 12 hex digits of the hash over the map's content. Maps of the
// same content have the same version, whenever they were built.
func (m *Map) Version() string { return hex.EncodeToString(m.hash[:6]) }

// Created returns when the map was built, to the second.
func (m *Map) Created() time.Time { return m.created }

// Inputs returns what the map was built from.
func (m *Map) Inputs() []Input { return m.inputs }

// MadeUp begins the name of an input that nobody measured, such as a generator's.
const MadeUp = "made-up "

// IsMadeUp reports whether an input is made up, so that no round trip in the map must
// be taken for a real one.
func (m *Map) IsMadeUp() bool {
	return slices.ContainsFunc(m.inputs, func(in Input) bool { return strings.HasPrefix(in.Name, MadeUp) })
}

// Gate returns what the map was held against before it was written; nil when
// it was held against nothing.
func (m *Map) Gate() *Gate { return m.gate }

// Size returns the length of the file in bytes.
func (m *Map) Size() int { return len(m.file) }

// WriteTo writes the file that the map was read from, octet for octet, whatever
// has become of that file since.
func (m *Map) WriteTo(w io.Writer) (int64, error) {
	defer runtime.KeepAlive(m)
	n, err := w.Write(m.file)
	return int64(n), err
}
