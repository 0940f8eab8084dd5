package compress

import (
	"fmt"
	"slices"

	"edged/maps"
)

// Leaf is a range of addresses, from Start to the start of the next leaf or the
// end of the space. An IPv4 address is the low 32 bits of its Start.
type Leaf struct {
	Start maps.Addr6
	Best  uint16 // the PoP that is best for it, in Good
	Good  Set    // those that are good enough
}

// Run is a range of addresses that have one PoP, from Start to the start of the
// next run or the end of the space. Neighbours differ.
type Run struct {
	Start maps.Addr6
	PoP   uint16
	// Leaf is the index of the leaf that stands for the run: the one with the
	// largest block in it, of those that have PoP for the best if there are any.
	Leaf int
}

// The families by the length of their addresses.
const (
	V4 = 32
	V6 = 128
)

// Merge returns runs that cover the space of the addresses with so many bits,
// each leaf's addresses with a PoP that is good enough for it. The leaves are in
// ascending order, the first starts at 0, and sets has made their sets. Merge
// panics when that is not so, since the fault is the caller's.
func Merge(bits int, leaves []Leaf, sets *Sets) []Run {
	checkLeaves(bits, leaves, sets)
	m := &merger{bits: bits, leaves: leaves, sets: sets, nodes: make([]Set, 0, 2*len(leaves))}
	m.up(maps.Addr6{}, 0)
	m.at, m.runs = len(leaves)-1, make([]Run, 0, len(leaves)/2)
	m.down(maps.Addr6{}, 0, leaves[0].Best)
	slices.Reverse(m.runs)
	return m.runs
}

func checkLeaves(bits int, leaves []Leaf, sets *Sets) {
	if len(leaves) == 0 || leaves[0].Start != (maps.Addr6{}) {
		panic("compress: the first leaf does not start at 0")
	}
	if last := leaves[len(leaves)-1].Start; bits == V4 && (last.Hi > 0 || last.Lo >= 1<<32) {
		panic(fmt.Sprintf("compress: leaf %d starts after the end of ipv4", len(leaves)-1))
	}
	for i, leaf := range leaves {
		if i > 0 && !leaves[i-1].Start.Less(leaf.Start) {
			panic(fmt.Sprintf("compress: leaf %d does not start after the one before it", i))
		}
		if !sets.has(leaf.Good, leaf.Best) {
			panic(fmt.Sprintf("compress: the best pop of leaf %d is not among the good ones", i))
		}
	}
}

// merger walks the tree twice: up in postorder, left before right, which leaves
// the nodes' sets in a list; and down from the list's end, so right before left.
type merger struct {
	bits   int
	leaves []Leaf
	sets   *Sets
	at     int   // the leaf under the walk
	nodes  []Set // by node that still is to be visited downwards
	runs   []Run // the last first

	// Of the last of the runs.
	depth int  // of the block that the leaf was taken for
	best  bool // the leaf has the PoP for its best
}

// up returns the set of the node that begins at start.
func (m *merger) up(start maps.Addr6, depth int) Set {
	for m.at+1 < len(m.leaves) && !start.Less(m.leaves[m.at+1].Start) {
		m.at++
	}
	set := m.leaves[m.at].Good
	if m.at+1 < len(m.leaves) && !m.end(start, depth).Less(m.leaves[m.at+1].Start) {
		left := m.up(start, depth+1)
		set = m.sets.meet(left, m.up(m.middle(start, depth), depth+1))
	}
	m.nodes = append(m.nodes, set)
	return set
}

// down chooses the PoP of the node that begins at start, under a node that has
// this one.
func (m *merger) down(start maps.Addr6, depth int, above uint16) {
	set := m.nodes[len(m.nodes)-1]
	m.nodes = m.nodes[:len(m.nodes)-1]
	for end := m.end(start, depth); end.Less(m.leaves[m.at].Start); {
		m.at--
	}
	leaf := m.leaves[m.at]
	whole := !start.Less(leaf.Start)
	pop := above
	if !m.sets.has(set, above) {
		pop = m.sets.members[set][0]
		if whole {
			pop = leaf.Best
		}
	}
	if !whole {
		m.down(m.middle(start, depth), depth+1, pop)
		m.down(start, depth+1, pop)
		return
	}
	best := leaf.Best == pop
	if n := len(m.runs); n > 0 && m.runs[n-1].PoP == pop {
		last := &m.runs[n-1]
		last.Start = start
		if best && !m.best || best == m.best && depth < m.depth {
			last.Leaf, m.depth, m.best = m.at, depth, best
		}
		return
	}
	m.runs = append(m.runs, Run{start, pop, m.at})
	m.depth, m.best = depth, best
}

// end returns the last address of a node.
func (m *merger) end(start maps.Addr6, depth int) maps.Addr6 {
	switch host := m.bits - depth; {
	case host > 64:
		return maps.Addr6{Hi: start.Hi | (1<<(host-64) - 1), Lo: ^uint64(0)}
	default:
		return maps.Addr6{Hi: start.Hi, Lo: start.Lo | (1<<host - 1)}
	}
}

// middle returns where the right half of a node begins.
func (m *merger) middle(start maps.Addr6, depth int) maps.Addr6 {
	host := m.bits - depth - 1
	if host >= 64 {
		return maps.Addr6{Hi: start.Hi | 1<<(host-64), Lo: start.Lo}
	}
	return maps.Addr6{Hi: start.Hi, Lo: start.Lo | 1<<host}
}
