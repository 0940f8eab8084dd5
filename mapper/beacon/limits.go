package beacon

import (
	"cmp"
	"context"
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"sync"
)

// What one source may bring to a cell: so many samples in each hour, or a share
// of what all bring that is counted so, whichever is more.
const (
	SamplesAnHour = 3
	SourceShare   = 0.05
)

// Source is who sent a row: an address of IPv4, or a /64 of IPv6, which is what
// one household or host has.
type Source struct{ hi, lo uint64 }

// Prefix returns the addresses that are the source: a /32 of IPv4, a /64 of IPv6.
func (s Source) Prefix() netip.Prefix {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], s.hi)
	binary.BigEndian.PutUint64(b[8:], s.lo)
	a := netip.AddrFrom16(b)
	if a.Is4In6() {
		return netip.PrefixFrom(a.Unmap(), 32)
	}
	return netip.PrefixFrom(a, 64)
}

func (s Source) String() string {
	if p := s.Prefix(); p.Bits() == 64 {
		return p.String()
	}
	return s.Prefix().Addr().String()
}

// SourceOf returns the source that an address belongs to.
func SourceOf(a netip.Addr) Source {
	b := a.As16()
	be := func(b []byte) (n uint64) {
		for _, x := range b {
			n = n<<8 | uint64(x)
		}
		return n
	}
	s := Source{hi: be(b[:8])}
	if a.Is4() {
		s.lo = be(b[8:])
	}
	return s
}

// Brought is what one source brings to a cell: the weight of all its samples, and
// that of its first SamplesAnHour in each hour.
type Brought struct{ Weight, Allowed float64 }

// LimitSources returns for each source of a cell by what to multiply its weights,
// so that no source brings more than it may. others is the weight of sources that
// need no limit.
func LimitSources(sources []Brought, others float64) []float64 {
	base := others
	for _, s := range sources {
		base += s.Allowed
	}
	factors := make([]float64, len(sources))
	for i, s := range sources {
		factors[i] = 1
		if limit := max(s.Allowed, SourceShare*base); s.Weight > limit {
			factors[i] = limit / s.Weight
		}
	}
	return factors
}

// LimitShares returns weights of which none is more than a share of their sum, by
// lowering the largest to one level. Where there are too few for that, all become
// equal. The share is above 0 and at most 1; weights are not negative.
func LimitShares(weights []float64, share float64) []float64 {
	sorted := slices.DeleteFunc(slices.Clone(weights), func(w float64) bool { return w == 0 })
	slices.SortFunc(sorted, func(a, b float64) int { return cmp.Compare(b, a) })
	level := shareLevel(sorted, share)
	limited := make([]float64, len(weights))
	for i, w := range weights {
		limited[i] = min(w, level)
	}
	return limited
}

// shareLevel returns the level for weights above 0 that descend.
func shareLevel(sorted []float64, share float64) float64 {
	n, rest := len(sorted), 0.0
	if n == 0 {
		return 0
	}
	if float64(n)*share <= 1 {
		return sorted[n-1]
	}
	for _, w := range sorted {
		rest += w
	}
	if sorted[0] <= share*rest {
		return sorted[0]
	}
	for k := 1; ; k++ {
		// The k largest are lowered: one of them is to be the share of the sum.
		rest -= sorted[k-1]
		room := 1 - share*float64(k)
		if room <= 0 {
			return sorted[k-1]
		}
		if level := share * rest / room; k == n || level >= sorted[k] {
			return level
		}
	}
}

// Limits says which sources bring more to a cell than they may, and by how much.
// The zero value limits nothing.
type Limits struct {
	pops    []string
	factors map[sourceCell]float64 // below 1
}

// sourceCell is a source at a PoP; the unit follows from the source.
type sourceCell struct {
	source Source
	pop    uint16
}

// Sources returns at how many PoPs sources are limited, each source counted for
// each of them.
func (l *Limits) Sources() int { return len(l.factors) }

// Factor returns by what to multiply the weights of a client's rows at a PoP, by
// the set's index: 0 to 1.
func (l *Limits) Factor(client netip.Addr, pop uint16) float64 {
	if f, ok := l.factors[sourceCell{SourceOf(client), pop}]; ok {
		return f
	}
	return 1
}

// cell is a unit and a PoP of a set.
type cell struct {
	unit Unit
	pop  uint16
}

func (c sourceCell) cell() cell { return cell{c.source.unit(), c.pop} }

// FindLimits counts what sources bring to the cells of a set. Weights are those of
// plan; its PoPs and its correction do not count here. It reads all rows three
// times.
func FindLimits(ctx context.Context, set *Set, plan Plan, workers int) (*Limits, error) {
	weight := plan.Weight
	if weight == nil {
		weight = func(Session, Row) uint16 { return 1 }
	}
	all := tally{sources: map[sourceCell]*Brought{}, others: map[cell]float64{}}
	var mu sync.Mutex // guards all
	// First those that have too many samples in any hour.
	err := eachHour(ctx, set, workers, func(h *Hour) error {
		busy, err := busySources(h)
		mu.Lock()
		defer mu.Unlock()
		for _, at := range busy {
			all.sources[at], all.others[at.cell()] = &Brought{}, 0
		}
		return err
	})
	if err != nil || len(all.sources) == 0 {
		return &Limits{}, err
	}
	// Then what they bring in all hours, and others to the same cells. The sums
	// are of whole numbers, so the order of hours does not matter.
	var sums []tally
	err = eachHour(ctx, set, workers, func(h *Hour) error {
		sum, err := all.count(h, weight)
		mu.Lock()
		defer mu.Unlock()
		sums = append(sums, sum)
		return err
	})
	for _, sum := range sums {
		for at, b := range sum.sources {
			all.sources[at].Weight += b.Weight
			all.sources[at].Allowed += b.Allowed
		}
		for c, w := range sum.others {
			all.others[c] += w
		}
	}
	return &Limits{pops: set.PoPs, factors: all.factors()}, err
}

// tally is what some sources bring, and all others to the same cells.
type tally struct {
	sources map[sourceCell]*Brought
	others  map[cell]float64
}

// count counts an hour's rows for the sources and cells of t.
func (t tally) count(h *Hour, weight func(Session, Row) uint16) (tally, error) {
	sum := tally{sources: map[sourceCell]*Brought{}, others: map[cell]float64{}}
	seen := map[sourceCell]int{}
	for s, err := range h.sessions(false) {
		if err != nil {
			return sum, err
		}
		for _, r := range s.Rows {
			at := sourceCell{SourceOf(r.Client), r.PoP}
			if _, wanted := t.others[at.cell()]; !wanted {
				continue
			}
			w := float64(weight(s, r))
			if t.sources[at] == nil {
				sum.others[at.cell()] += w
				continue
			}
			b := sum.sources[at]
			if b == nil {
				b = &Brought{}
				sum.sources[at] = b
			}
			b.Weight += w
			if seen[at]++; seen[at] <= SamplesAnHour {
				b.Allowed += w
			}
		}
	}
	return sum, nil
}

// factors returns the factors below 1.
func (t tally) factors() map[sourceCell]float64 {
	byCell := map[cell][]sourceCell{}
	for at := range t.sources {
		byCell[at.cell()] = append(byCell[at.cell()], at)
	}
	factors := map[sourceCell]float64{}
	for c, sources := range byCell {
		brought := make([]Brought, len(sources))
		for i, at := range sources {
			brought[i] = *t.sources[at]
		}
		for i, f := range LimitSources(brought, t.others[c]) {
			if f < 1 {
				factors[sources[i]] = f
			}
		}
	}
	return factors
}

// unit returns the unit that a source is in.
func (s Source) unit() Unit {
	if s.hi == 0 && s.lo != 0 {
		return Unit(s.lo & (1<<32 - 1) >> 8)
	}
	return unit6 | Unit(s.hi>>16)
}

// busySources returns the sources of an hour with more than SamplesAnHour samples
// at a PoP. Most rows are ruled out by a table of small counters, so that few
// sources are counted one by one.
func busySources(h *Hour) ([]sourceCell, error) {
	size := uint64(1 << 12)
	for size < 4*uint64(h.Rows) && size < 1<<26 {
		size *= 2
	}
	counters := make([]uint8, size)
	err := eachSource(h, func(at sourceCell) {
		c := &counters[at.hash()&(size-1)]
		*c = min(*c, SamplesAnHour) + 1
	})
	if err != nil {
		return nil, err
	}
	count := map[sourceCell]int{}
	err = eachSource(h, func(at sourceCell) {
		if counters[at.hash()&(size-1)] > SamplesAnHour {
			count[at]++
		}
	})
	var busy []sourceCell
	for at, n := range count {
		if n > SamplesAnHour {
			busy = append(busy, at)
		}
	}
	return busy, err
}

func eachSource(h *Hour, do func(sourceCell)) error {
	for s, err := range h.sessions(false) {
		if err != nil {
			return err
		}
		for _, r := range s.Rows {
			do(sourceCell{SourceOf(r.Client), r.PoP})
		}
	}
	return nil
}

// hash mixes; others may share it.
func (c sourceCell) hash() uint64 {
	h := (c.source.hi ^ bits.RotateLeft64(c.source.lo, 32) ^ uint64(c.pop)) * 0x9e3779b97f4a7c15
	return (h ^ h>>29) * 0xbf58476d1ce4e5b9 >> 20
}

// limiting lowers the weights of one hour's rows. What rounding takes from one row
// goes to the next of its source, so that the sum is right.
type limiting struct {
	*Limits
	left map[sourceCell]float64
}

func (l *limiting) weight(r Row, weight uint16) uint16 {
	at := sourceCell{SourceOf(r.Client), r.PoP}
	f, limited := l.factors[at]
	if !limited {
		return weight
	}
	sum := l.left[at] + f*float64(weight)
	whole := math.Floor(sum)
	l.left[at] = sum - whole
	return uint16(whole)
}
