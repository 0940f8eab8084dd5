package maps

import (
	"fmt"
	"math"
	"unsafe"

	"edged/edge"
)

// The sections, each read and verified in one go. What these functions let
// pass, no lookup checks again.

func (m *Map) parsePoPs(c *cursor) error {
	n, err := c.uint32()
	if err != nil {
		return err
	}
	if n == 0 || n > edge.MaxPoPs {
		return fmt.Errorf("map has %d pops, want 1 to %d", n, edge.MaxPoPs)
	}
	seen := map[string]bool{}
	for range n {
		p, err := c.pop()
		if err != nil {
			return err
		}
		switch {
		case p.Name == "" || seen[p.Name]:
			return fmt.Errorf("pop %q has no name of its own", p.Name)
		case !(math.Abs(p.Lat) <= 90 && math.Abs(p.Lon) <= 180): // also when not a number
			return fmt.Errorf("pop %q lies at %v, %v: no such place", p.Name, p.Lat, p.Lon)
		}
		seen[p.Name] = true
		m.pops = append(m.pops, p)
	}
	return nil
}

func (c *cursor) pop() (p edge.PoP, err error) {
	if p.Name, err = c.text(); err != nil {
		return p, err
	}
	if p.Continent, err = c.text(); err != nil {
		return p, err
	}
	var bits [3]uint64
	for i := range bits {
		if bits[i], err = c.uint64(); err != nil {
			return p, err
		}
	}
	p.Lat, p.Lon, p.Capacity = math.Float64frombits(bits[0]), math.Float64frombits(bits[1]), int64(bits[2])
	return p, nil
}

func (m *Map) parseInputs(c *cursor) error {
	n, err := c.uint32()
	if err != nil {
		return err
	}
	for range n {
		var in Input
		if in.Name, err = c.text(); err != nil {
			return err
		}
		if in.Version, err = c.text(); err != nil {
			return err
		}
		m.inputs = append(m.inputs, in)
	}
	return nil
}

func (m *Map) parseOrders(c *cursor) error {
	n, err := c.uint32()
	if err != nil {
		return err
	}
	width, err := c.uint32()
	if err != nil {
		return err
	}
	if int(width) != len(m.pops) {
		return fmt.Errorf("orders are of %d pops, but the map has %d", width, len(m.pops))
	}
	if m.orders, err = array[uint16](c, uint64(n)*uint64(width)); err != nil {
		return err
	}
	seen := make([]uint32, width) // by pop: 1 + the last order that had it
	for id := range n {
		for _, pop := range m.Order(id) {
			if int(pop) >= len(seen) || seen[pop] == id+1 {
				return fmt.Errorf("order %d is not a permutation of the pops: look at pop %d", id, pop)
			}
			seen[pop] = id + 1
		}
	}
	return nil
}

func (m *Map) parseRankings(c *cursor) error {
	n, err := c.uint32()
	if err != nil {
		return err
	}
	hops, err := c.uint32()
	if err != nil {
		return err
	}
	if n > uint32(MaxRankings) {
		return fmt.Errorf("map has %d rankings, want at most %d", n, MaxRankings)
	}
	refs, err := array[uint32](c, 2*uint64(n))
	if err != nil {
		return err
	}
	pairs, err := array[uint16](c, 2*uint64(hops))
	if err != nil {
		return err
	}
	// Both are pairs of one width, which lie like the fields of the structs.
	m.rankings = unsafe.Slice((*rankingRef)(unsafe.Pointer(unsafe.SliceData(refs))), n)
	m.hops = unsafe.Slice((*Hop)(unsafe.Pointer(unsafe.SliceData(pairs))), hops)

	first := uint32(0)
	for id, ref := range m.rankings {
		if ref.end < first || ref.end > hops || ref.end-first > MaxHops {
			return fmt.Errorf("ranking %d has hops %d to %d of %d, want at most %d in order", id, first, ref.end, hops, MaxHops)
		}
		if ref.order != NoOrder && int(ref.order) >= m.Orders() {
			return fmt.Errorf("ranking %d has order %d of %d", id, ref.order, m.Orders())
		}
		own := m.hops[first:ref.end]
		for i, hop := range own {
			if int(hop.PoP) >= len(m.pops) {
				return fmt.Errorf("ranking %d has pop %d of %d", id, hop.PoP, len(m.pops))
			}
			for _, before := range own[:i] {
				if before.PoP == hop.PoP {
					return fmt.Errorf("ranking %d has pop %q twice", id, m.pops[hop.PoP].Name)
				}
			}
		}
		first = ref.end
	}
	if first != hops {
		return fmt.Errorf("%d hops belong to no ranking", hops-first)
	}
	return nil
}

func (m *Map) parseRanges4(c *cursor) (*Ranges4, error) {
	n, err := c.uint32()
	if err != nil {
		return nil, err
	}
	r := new(Ranges4)
	if r.Index, err = array[uint32](c, buckets4+1); err != nil {
		return nil, err
	}
	if r.Rows, err = array[Row](c, uint64(n)); err != nil {
		return nil, err
	}
	if r.Starts, err = array[uint16](c, uint64(n)); err != nil {
		return nil, err
	}
	if !m.sound4(r) {
		if err := m.verifyRanges4(r); err != nil {
			return nil, err
		}
	}
	r.short = r.shortBlocks()
	return r, nil
}

// sound4 says whether ranges are right: what verifyRanges4 does, without words
// for what is wrong and, since a node waits for it, without branches that a
// processor would guess wrong.
func (m *Map) sound4(r *Ranges4) bool {
	n := len(r.Rows)
	index := (*[buckets4 + 1]uint32)(r.Index)
	if index[0] != 0 || index[buckets4] != uint32(n) {
		return false
	}
	for b := range buckets4 {
		lo := index[b]
		if lo >= index[b+1] || lo >= uint32(n) || r.Starts[lo] != 0 {
			return false
		}
	}
	// No start but the first one of a bucket may be 0, so that where one is, a
	// bucket begins; behind it, starts ascend and rows differ.
	var zeros, bad uint32
	var most Row
	start, row := uint32(0), Row(0)
	starts := r.Starts[:n]
	for i, next := range r.Rows {
		nextStart := uint32(starts[i])
		// Of these, the top bit tells.
		within, descends, differs := -nextStart, nextStart-start-1, uint32(row^next)
		same := (differs - 1) &^ differs
		bad |= within & (descends | same)
		zeros += 1 - within>>31
		most = max(most, next&^rowMeasured)
		start, row = nextStart, next
	}
	return bad>>31 == 0 && zeros == buckets4 && int(most) < len(m.rankings)
}

// verifyRanges4 checks ranges one by one.
func (m *Map) verifyRanges4(r *Ranges4) error {
	n := uint32(len(r.Rows))
	if r.Index[0] != 0 || r.Index[buckets4] != n {
		return fmt.Errorf("index goes from %d to %d, want 0 to %d", r.Index[0], r.Index[buckets4], n)
	}
	for b := range buckets4 {
		lo, hi := r.Index[b], r.Index[b+1]
		if lo >= hi || hi > n {
			return fmt.Errorf("bucket %#04x has entries %d to %d of %d, want one or more", b, lo, hi, n)
		}
		if r.Starts[lo] != 0 {
			return fmt.Errorf("bucket %#04x begins at %#04x, want 0", b, r.Starts[lo])
		}
		starts, rows := r.Starts[lo:hi], r.Rows[lo:hi]
		for i, row := range rows {
			if err := m.verifyRow(row); err != nil {
				return fmt.Errorf("entry %d: %w", int(lo)+i, err)
			}
			if i > 0 && (starts[i] <= starts[i-1] || row == rows[i-1]) {
				return fmt.Errorf("entry %d is out of order or says what the one before it says", int(lo)+i)
			}
		}
	}
	return nil
}

// verifyRow errs when a row names no ranking.
func (m *Map) verifyRow(row Row) error {
	if row&rowExceptions != 0 || int(row.Ranking()) >= len(m.rankings) {
		return fmt.Errorf("row %#x is not one of %d rankings", uint32(row), len(m.rankings))
	}
	return nil
}

func (m *Map) parseRanges6(c *cursor) (*Ranges6, error) {
	n, err := c.uint32()
	if err != nil {
		return nil, err
	}
	exceptions, err := c.uint32()
	if err != nil {
		return nil, err
	}
	r := new(Ranges6)
	if r.Starts, err = array[uint64](c, uint64(n)); err != nil {
		return nil, err
	}
	edges, err := array[uint64](c, 2*uint64(exceptions))
	if err != nil {
		return nil, err
	}
	if r.Rows, err = array[Row](c, uint64(n)); err != nil {
		return nil, err
	}
	rows, err := array[Row](c, uint64(exceptions))
	if err != nil {
		return nil, err
	}
	for i, row := range rows {
		r.Exceptions = append(r.Exceptions, Exception{edges[2*i], edges[2*i+1], row})
	}
	if n > MaxRanges6 {
		return nil, fmt.Errorf("%d ranges, want at most %d", n, MaxRanges6)
	}
	if n == 0 || r.Starts[0] != 0 {
		return nil, fmt.Errorf("%d ranges, want the first to start at 0", n)
	}
	next := 0 // the exception that no entry has claimed yet
	for i, row := range r.Rows {
		if i > 0 && (r.Starts[i] <= r.Starts[i-1] || row == r.Rows[i-1]) {
			return nil, fmt.Errorf("entry %d is out of order or says what the one before it says", i)
		}
		if row&rowExceptions == 0 {
			if err := m.verifyRow(row); err != nil {
				return nil, fmt.Errorf("entry %d: %w", i, err)
			}
			continue
		}
		if next, err = m.verifyExceptions(r, i, next); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
	}
	if next != len(r.Exceptions) {
		return nil, fmt.Errorf("%d exceptions belong to no entry", len(r.Exceptions)-next)
	}
	r.makeIndex()
	return r, nil
}

// verifyExceptions checks those of a flagged entry, which begin at first, and
// returns where they end.
func (m *Map) verifyExceptions(r *Ranges6, entry, first int) (end int, err error) {
	hi := r.Starts[entry]
	if r.Rows[entry] != rowExceptions|Row(first) {
		return 0, fmt.Errorf("row %#x does not lead to exception %d", uint32(r.Rows[entry]), first)
	}
	switch {
	case entry+1 < len(r.Starts) && r.Starts[entry+1] != hi+1, entry+1 == len(r.Starts) && hi != math.MaxUint64:
		return 0, fmt.Errorf("exceptions within %#x go on after it", hi)
	}
	for end = first; end < len(r.Exceptions) && r.Exceptions[end].Hi == hi; end++ {
		e := r.Exceptions[end]
		if err := m.verifyRow(e.Row); err != nil {
			return 0, fmt.Errorf("exception %d: %w", end, err)
		}
		if end == first && e.Lo != 0 {
			return 0, fmt.Errorf("exception %d begins at %#x, want 0", end, e.Lo)
		}
		if end > first && (e.Lo <= r.Exceptions[end-1].Lo || e.Row == r.Exceptions[end-1].Row) {
			return 0, fmt.Errorf("exception %d is out of order or says what the one before it says", end)
		}
	}
	if end-first < 2 {
		return 0, fmt.Errorf("%d exceptions within %#x, want two or more", end-first, hi)
	}
	return end, nil
}
