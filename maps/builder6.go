package maps

import (
	"fmt"
	"runtime"

	"edged/edge/pages"
)

// Builder6 makes a Ranges6 from range starts in ascending order. The zero value
// is ready to use.
type Builder6 struct {
	ranges Ranges6
	last   Addr6 // the start added last
	row    Row   // the row that holds from there on
	inside bool  // the last entry is flagged: its exceptions are being added
}

// NewBuilder6 returns a builder for n entries or so, whose ranges lie outside the
// Go heap: large tables are made sooner there.
func NewBuilder6(n int) *Builder6 {
	n = max(n, 1)
	b := new(Builder6)
	b.ranges.memory = pages.New(12 * n)
	b.ranges.Starts = pages.Slice[uint64](b.ranges.memory, 0, n)[:0]
	b.ranges.Rows = pages.Slice[Row](b.ranges.memory, 8*n, n)[:0]
	return b
}

// Add says that the addresses from start on, up to the next start, have this
// row. The first start is :: and every other is larger than the one before it;
// Add panics when that is not so, since the fault is the caller's. A row equal
// to the one before it goes on without a new range.
func (b *Builder6) Add(hi, lo uint64, row Row) {
	start := Addr6{hi, lo}
	if len(b.ranges.Rows) == 0 {
		if start != (Addr6{}) {
			panic(fmt.Sprintf("maps: first range starts at %v, want ::", start.Addr()))
		}
		b.append(0, row)
		b.row = row
		return
	}
	if hi < b.last.Hi || hi == b.last.Hi && lo <= b.last.Lo {
		panic(fmt.Sprintf("maps: range starts at %v after %v, want ascending starts", start.Addr(), b.last.Addr()))
	}
	b.last = start
	if row == b.row {
		return
	}
	n := len(b.ranges.Starts)
	if at := b.ranges.Starts[n-1]; b.inside && hi > at {
		b.inside = false
		if lo > 0 || hi > at+1 {
			b.append(at+1, b.row)
			n++
		}
	}
	switch {
	case lo == 0:
		b.append(hi, row)
	case b.inside:
		b.except(hi, lo, row)
	default:
		// The first boundary within this /64: its entry, which may be there
		// already, turns into a flagged one.
		if b.ranges.Starts[n-1] != hi {
			b.append(hi, 0)
			n++
		}
		b.ranges.Rows[n-1] = rowExceptions | Row(len(b.ranges.Exceptions))
		b.except(hi, 0, b.row)
		b.except(hi, lo, row)
		b.inside = true
	}
	b.row = row
}

// Copy adds what r says of the addresses from from on and below after, or of all
// from there on when after is ::. The ranking of each row gives way to the row
// that rows holds for it.
func (b *Builder6) Copy(r *Ranges6, from, after Addr6, rows []Row) {
	defer runtime.KeepAlive(r)
	below := func(a Addr6) bool { return after == Addr6{} || a.Less(after) }
	first, _ := r.FindLong(from)
	b.Add(from.Hi, from.Lo, rows[first.Ranking()])
	entry := r.Find(from.Hi)
	for _, e := range r.exceptions(entry) {
		if at := (Addr6{e.Hi, e.Lo}); from.Less(at) && below(at) {
			b.Add(e.Hi, e.Lo, rows[e.Row.Ranking()])
		}
	}
	end := len(r.Starts)
	if after != (Addr6{}) {
		end = r.Find(after.Hi)
		if below(Addr6{Hi: r.Starts[end]}) {
			end++
		}
	}
	for i := entry + 1; i < end; i++ {
		switch row := r.Rows[i]; {
		case row&rowExceptions != 0:
			for _, e := range r.exceptions(i) {
				if below(Addr6{e.Hi, e.Lo}) {
					b.Add(e.Hi, e.Lo, rows[e.Row.Ranking()])
				}
			}
		case b.inside:
			b.Add(r.Starts[i], 0, rows[row.Ranking()])
		default: // as Add does, for nearly all
			if row = rows[row.Ranking()]; row != b.row {
				b.append(r.Starts[i], row)
				b.row = row
			}
			b.last = Addr6{Hi: r.Starts[i]}
		}
	}
}

// Finish returns the ranges. It panics when nothing was added, or ranges for more
// than MaxRanges6 entries. The builder must not be used again.
func (b *Builder6) Finish() *Ranges6 {
	n := len(b.ranges.Starts)
	if n == 0 {
		panic("maps: no range was added")
	}
	if at := b.ranges.Starts[n-1]; b.inside && at != ^uint64(0) {
		b.append(at+1, b.row)
	}
	if len(b.ranges.Starts) > MaxRanges6 {
		panic("maps: more than MaxRanges6 ranges were added")
	}
	b.ranges.makeIndex()
	return &b.ranges
}

func (b *Builder6) append(hi uint64, row Row) {
	b.ranges.Starts = append(b.ranges.Starts, hi)
	b.ranges.Rows = append(b.ranges.Rows, row)
}

func (b *Builder6) except(hi, lo uint64, row Row) {
	b.ranges.Exceptions = append(b.ranges.Exceptions, Exception{hi, lo, row})
}
