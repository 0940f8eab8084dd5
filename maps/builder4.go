package maps

import "fmt"

// Builder4 makes a Ranges4 from range starts in ascending order. The zero value
// is ready to use.
type Builder4 struct {
	ranges Ranges4
	next   int    // the first bucket without an entry
	last   uint32 // the start added last
}

// Add says that the addresses from start on, up to the next start, have this
// row. The first start is 0 and every other is larger than the one before it;
// Add panics when that is not so, since the fault is the caller's. A row equal
// to the one before it goes on without a new range.
func (b *Builder4) Add(start uint32, row Row) {
	switch {
	case b.next == 0 && start != 0:
		panic(fmt.Sprintf("maps: first range starts at %#x, want 0", start))
	case b.next > 0 && start <= b.last:
		panic(fmt.Sprintf("maps: range starts at %#x after %#x, want ascending starts", start, b.last))
	}
	b.last = start
	bucket, low := int(start>>16), uint16(start)
	if low == 0 {
		b.fill(bucket)
		b.open(row)
		return
	}
	b.fill(bucket + 1)
	if b.ranges.Rows[len(b.ranges.Rows)-1] != row {
		b.append(low, row)
	}
}

// Finish returns the ranges. It panics when nothing was added. The builder must
// not be used again.
func (b *Builder4) Finish() *Ranges4 {
	if b.next == 0 {
		panic("maps: no range was added")
	}
	b.fill(buckets4)
	b.ranges.Index = append(b.ranges.Index, uint32(len(b.ranges.Rows)))
	b.ranges.short = b.ranges.shortBlocks()
	return &b.ranges
}

// fill opens every bucket below end with the row that goes on into it.
func (b *Builder4) fill(end int) {
	for b.next < end {
		b.open(b.ranges.Rows[len(b.ranges.Rows)-1])
	}
}

// open begins the next bucket with a row.
func (b *Builder4) open(row Row) {
	b.ranges.Index = append(b.ranges.Index, uint32(len(b.ranges.Rows)))
	b.append(0, row)
	b.next++
}

func (b *Builder4) append(low uint16, row Row) {
	b.ranges.Starts = append(b.ranges.Starts, low)
	b.ranges.Rows = append(b.ranges.Rows, row)
}
