package beacon

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"iter"
	"math/bits"
	"runtime"
	"slices"
	"sync"

	"edged/edge"
)

// Embedded is the engine in this process. It holds a sample in 8 octets, needs
// some 9 octets for each in all, and sorts with up to GOMAXPROCS goroutines.
//
// Samples are parted as they come: those of IPv4 into 512 ranges of units, those
// of IPv6, whose units are wide and clustered, by a hash, each part numbering its
// units. So the parts of a day's measurements are small enough to sort in a
// processor's cache, where a radix sort over only the bits in use is fast.
type Embedded struct{}

// Begin starts an aggregation. It never errs.
func (Embedded) Begin(ctx context.Context) (Aggregation, error) {
	e := &embedded{ctx: ctx, lanes: make(chan *lane, runtime.GOMAXPROCS(0)), seed: maphash.MakeSeed()}
	for range cap(e.lanes) {
		e.lanes <- &lane{}
	}
	return e, nil
}

// A packed sample, from the highest bit: the number of its unit within the part,
// PoP, value, weight. The weight is below the bits that are sorted by.
const (
	weightBits = 12
	valueBits  = 16
	popBits    = 12
	valueShift = weightBits
	popShift   = valueShift + valueBits
	unitShift  = popShift + popBits
	unitBits   = 64 - unitShift

	maxPoPs = edge.MaxPoPs

	partBits4   = 9
	parts4      = 1 << partBits4
	localBits4  = 24 - partBits4 // of a unit of IPv4, within its part
	partBits6   = 7
	parts6      = 1 << partBits6
	chunkLength = 1024 // packed samples
)

// The packed fields hold what they must.
var (
	_ [MaxWeight - 1<<weightBits + 1]struct{}
	_ [1<<popBits - maxPoPs]struct{}
	_ [unitBits - localBits4]struct{}
)

// embedded is one aggregation. Each Add fills one lane, so lanes need no lock.
type embedded struct {
	ctx   context.Context
	lanes chan *lane
	seed  maphash.Seed
}

type lane struct {
	v4 [parts4]chunks
	v6 [parts6]part6
}

// part6 is a part of IPv6, which numbers its units.
type part6 struct {
	chunks
	ids   map[Unit]uint32
	units []Unit // by id
}

func (p *part6) id(u Unit) uint32 {
	id, ok := p.ids[u]
	if !ok {
		if p.ids == nil {
			p.ids = map[Unit]uint32{}
		}
		id = uint32(len(p.units))
		p.ids[u] = id
		p.units = append(p.units, u)
	}
	return id
}

// chunks is a list of packed samples that grows without being copied.
type chunks struct {
	full [][]uint64
	last []uint64
	n    int
}

func (c *chunks) add(packed uint64) {
	if len(c.last) == cap(c.last) {
		if c.last != nil {
			c.full = append(c.full, c.last)
		}
		c.last = make([]uint64, 0, chunkLength)
	}
	c.last = append(c.last, packed)
	c.n++
}

// drain appends all to dst and lets go of them.
func (c *chunks) drain(dst []uint64) []uint64 {
	for i, chunk := range c.full {
		dst = append(dst, chunk...)
		c.full[i] = nil
	}
	dst = append(dst, c.last...)
	*c = chunks{}
	return dst
}

func (e *embedded) Add(samples []Sample) error {
	l := <-e.lanes
	defer func() { e.lanes <- l }()
	var (
		unit Unit // of IPv6, the last seen
		part *part6
		id   uint32
	)
	for _, s := range samples {
		if err := s.Err(); err != nil {
			return err
		}
		packed := uint64(s.PoP)<<popShift | uint64(orderly(s.Value))<<valueShift | uint64(s.Weight)
		if s.Unit.Is4() {
			l.v4[s.Unit>>localBits4].add(uint64(s.Unit&(1<<localBits4-1))<<unitShift | packed)
			continue
		}
		if s.Unit != unit { // a session's samples follow each other
			unit, part = s.Unit, &l.v6[e.part6(s.Unit)]
			if id = part.id(unit); id >= 1<<unitBits {
				return fmt.Errorf("more than %d ipv6 units", parts6<<unitBits)
			}
		}
		part.add(uint64(id)<<unitShift | packed)
	}
	return nil
}

// orderly maps values to unsigned numbers in the same order.
func orderly(v int16) uint16    { return uint16(v) ^ 1<<15 }
func disorderly(u uint16) int16 { return int16(u ^ 1<<15) }

func (e *embedded) part6(u Unit) uint64 {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], uint64(u))
	return maphash.Bytes(e.seed, b[:]) >> (64 - partBits6)
}

func (e *embedded) Close() error { return nil }

// Cells sorts the parts in goroutines and yields their cells in order.
func (e *embedded) Cells() iter.Seq2[Cell, error] {
	return func(yield func(Cell, error) bool) {
		var lanes []*lane
		for range cap(e.lanes) {
			lanes = append(lanes, <-e.lanes)
		}
		stop := false
		e.inOrder(parts4, func(s *sorter, part int) []Cell { return s.cells4(lanes, part) }, func(cells []Cell) bool {
			for _, c := range cells {
				if stop = !yield(c, nil); stop {
					break
				}
			}
			return !stop
		})
		if stop {
			return
		}
		var byPart [parts6][]Cell // they are no ranges
		e.inOrder(parts6, func(s *sorter, part int) []Cell {
			cells := s.cells6(lanes, part)
			byPart[part] = slices.Clone(cells)
			return cells
		}, func([]Cell) bool { return true })
		if err := context.Cause(e.ctx); err != nil {
			yield(Cell{}, err)
			return
		}
		merge(byPart[:], yield)
	}
}

// merge yields the cells of parts, each of which is in order and has units of its
// own, in order. The parts are a heap by their first units.
func merge(parts [][]Cell, yield func(Cell, error) bool) {
	parts = slices.DeleteFunc(parts, func(p []Cell) bool { return len(p) == 0 })
	for i := len(parts)/2 - 1; i >= 0; i-- {
		sink(parts, i)
	}
	for len(parts) > 0 {
		part := parts[0]
		for unit := part[0].Unit; len(part) > 0 && part[0].Unit == unit; part = part[1:] {
			if !yield(part[0], nil) {
				return
			}
		}
		if parts[0] = part; len(part) == 0 {
			last := len(parts) - 1
			parts[0], parts = parts[last], parts[:last]
		}
		sink(parts, 0)
	}
}

// sink moves a part of a heap down to where it belongs.
func sink(parts [][]Cell, i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(parts); child++ {
			if parts[child][0].Unit < parts[least][0].Unit {
				least = child
			}
		}
		if least == i {
			return
		}
		parts[i], parts[least] = parts[least], parts[i]
		i = least
	}
}

// inOrder works on parts in several goroutines and takes their results in order,
// until take returns false or the context ends. Few results wait at a time, and
// their memory is used again after take.
func (e *embedded) inOrder(parts int, work func(*sorter, int) []Cell, take func([]Cell) bool) {
	workers := cap(e.lanes)
	results := make([]chan []Cell, parts)
	for i := range results {
		results[i] = make(chan []Cell, 1)
	}
	next, used := make(chan int), make(chan []Cell, 4*workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			s := &sorter{}
			for part := range next {
				select {
				case s.made = <-used:
				default:
					s.made = nil
				}
				results[part] <- work(s, part)
			}
		})
	}
	defer wg.Wait()
	defer close(next)
	given := 0
	for taken := range parts {
		for ; given < min(parts, taken+4*workers); given++ {
			next <- given
		}
		cells := <-results[taken]
		if e.ctx.Err() != nil || !take(cells) {
			return
		}
		select {
		case used <- cells:
		default:
		}
	}
}

// sorter has the memory of one goroutine.
type sorter struct {
	a, b []uint64
	made []Cell
}

func (s *sorter) cells4(lanes []*lane, part int) []Cell {
	n := 0
	for _, l := range lanes {
		n += l.v4[part].n
	}
	s.room(n)
	for _, l := range lanes {
		s.a = l.v4[part].drain(s.a)
	}
	s.sort(localBits4)
	return s.cells(func(local uint64) Unit { return Unit(part)<<localBits4 | Unit(local) })
}

func (s *sorter) cells6(lanes []*lane, part int) []Cell {
	var units []Unit
	n := 0
	for _, l := range lanes {
		n += l.v6[part].n
		units = append(units, l.v6[part].units...)
	}
	slices.Sort(units)
	units = slices.Compact(units)
	s.room(n)
	for _, l := range lanes {
		p := &l.v6[part]
		rank := make([]uint64, len(p.units))
		for id, u := range p.units {
			at, _ := slices.BinarySearch(units, u)
			rank[id] = uint64(at) << unitShift
		}
		from := len(s.a)
		s.a = p.drain(s.a)
		for i, packed := range s.a[from:] {
			s.a[from+i] = packed&(1<<unitShift-1) | rank[packed>>unitShift]
		}
		p.ids, p.units = nil, nil
	}
	s.sort(bits.Len(uint(len(units))))
	return s.cells(func(local uint64) Unit { return units[local] })
}

// room empties the sorter and makes room for n packed samples.
func (s *sorter) room(n int) {
	if cap(s.a) < n {
		s.a, s.b = make([]uint64, 0, n+n/8), nil
	}
	s.a = s.a[:0]
}

// The radix sort looks at up to 11 bits at a time.
const (
	digitBits = 11
	digits    = 1 << digitBits
)

// sort sorts packed samples whose units take some bits: least significant digit
// first, over value, PoP and unit. A digit that is the same in all is skipped.
func (s *sorter) sort(unitBits int) {
	if cap(s.b) < cap(s.a) {
		s.b = make([]uint64, cap(s.a))
	}
	a, b := s.a, s.b[:len(s.a)]
	for shift := valueShift; shift < unitShift+unitBits; shift += digitBits {
		var start [digits]uint32
		for _, packed := range a {
			start[packed>>shift&(digits-1)]++
		}
		if len(a) > 0 && start[a[0]>>shift&(digits-1)] == uint32(len(a)) {
			continue
		}
		sum := uint32(0)
		for i, n := range start {
			start[i] = sum
			sum += n
		}
		for _, packed := range a {
			d := packed >> shift & (digits - 1)
			b[start[d]] = packed
			start[d]++
		}
		a, b = b, a
	}
	s.a, s.b = a, b
}

// cells makes the cells of sorted samples.
func (s *sorter) cells(unit func(local uint64) Unit) []Cell {
	cells := s.made[:0]
	for a := s.a; len(a) > 0; {
		key, n := a[0]>>popShift, 0
		weight, sum := int64(0), int64(0) // of values times weights
		for n < len(a) && a[n]>>popShift == key {
			w := int64(a[n] & (1<<weightBits - 1))
			weight += w
			sum += w * valueOf(a[n])
			n++
		}
		c := Cell{Unit: unit(key >> popBits), PoP: uint16(key & (1<<popBits - 1)), Count: uint32(n), Weight: uint64(weight)}
		i, below, belowSum := 0, int64(0), int64(0) // up to the median, which is included
		for ; 2*below <= weight; i++ {
			w := int64(a[i] & (1<<weightBits - 1))
			below += w
			belowSum += w * valueOf(a[i])
		}
		p50 := valueOf(a[i-1])
		c.P50 = int16(p50)
		// Those below are p50 - v from it, those above v - p50.
		c.Deviation = uint64(p50*below - belowSum + (sum - belowSum) - p50*(weight-below))
		for ; 10*below <= 9*weight; i++ {
			below += int64(a[i] & (1<<weightBits - 1))
		}
		c.P90 = int16(valueOf(a[i-1]))
		cells = append(cells, c)
		a = a[n:]
	}
	return cells
}

func valueOf(packed uint64) int64 { return int64(disorderly(uint16(packed >> valueShift))) }
