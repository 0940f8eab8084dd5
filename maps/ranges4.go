package maps

import (
	"iter"
	"math/bits"
	"runtime"
	"sort"

	"edged/edge/pages"
)

const buckets4 = 1 << 16

// Ranges4 holds sorted disjoint ranges that cover all of IPv4. The ranges are
// cut at every /16, the bucket, so that a start needs 16 bits and a search
// stays inside one bucket. Builder4 makes one; it must not be changed after.
type Ranges4 struct {
	// Index holds the first entry of each /16, and at its end, 65537th, the
	// number of entries.
	Index []uint32
	// Starts holds the low 16 bits of each entry's first address. The first
	// start of every bucket is 0.
	Starts []uint16
	// Rows holds what each entry says. Neighbours in a bucket differ.
	Rows []Row

	// short holds, for a bucket with a single entry, the length of the block
	// around it (0..16); see FindBlock.
	short *[buckets4]uint8

	// memory holds what the slices lie in, when that is not the Go heap. Each
	// lookup keeps its receiver alive for it.
	memory *pages.Memory
}

// Bucket returns the half-open interval of entries that Find searches for an
// address. It lets a caller touch that memory ahead of the search.
func (r *Ranges4) Bucket(addr uint32) (lo, hi uint32) {
	index := (*[buckets4 + 1]uint32)(r.Index)
	lo, hi = index[addr>>16], index[addr>>16+1]
	runtime.KeepAlive(r)
	return lo, hi
}

// Find returns the entry that holds an address.
func (r *Ranges4) Find(addr uint32) int {
	lo, hi := r.Bucket(addr)
	entry := int(lo) + search16(r.Starts[lo:hi], uint16(addr))
	runtime.KeepAlive(r)
	return entry
}

// search16 returns the last position whose start is at most key; the first
// start is 0. It branches on purpose: a table is larger than the caches, and a
// processor that guesses the branch fetches the next start while it waits for
// this one. Arithmetic in place of the branch took a third longer.
func search16(starts []uint16, key uint16) int {
	base, n := 0, len(starts)
	for n > 1 {
		half := n >> 1
		next := base + half
		if starts[next] <= key {
			base = next
		}
		n -= half
	}
	return base
}

// FindBlock returns the row of an address and the length of the largest aligned
// block (0..32) around the address that has this row throughout. The blocks of
// all addresses neither overlap nor leave a gap, as the scopes of answers must
// (RFC 7871 section 7.2.1).
func (r *Ranges4) FindBlock(addr uint32) (row Row, blockLen uint8) {
	lo, hi := r.Bucket(addr)
	if hi-lo == 1 {
		row = r.Rows[lo]
		runtime.KeepAlive(r)
		return row, r.short[addr>>16]
	}
	// The bucket holds two rows or more, so the block is longer than 16 bits
	// and only neighbours inside the bucket can bound it.
	starts := r.Starts[lo:hi]
	key := uint16(addr)
	i := search16(starts, key)
	if i > 0 {
		blockLen = uint8(bits.LeadingZeros16(key^(starts[i]-1))) + 17
	}
	if i+1 < len(starts) {
		blockLen = max(blockLen, uint8(bits.LeadingZeros16(key^starts[i+1]))+17)
	}
	row = r.Rows[int(lo)+i]
	runtime.KeepAlive(r)
	return row, blockLen
}

// All yields the ranges in order: the first address and the row of each. Equal
// neighbours, which stem from the cuts at the buckets, come out as one.
func (r *Ranges4) All() iter.Seq2[uint32, Row] {
	return func(yield func(uint32, Row) bool) {
		defer runtime.KeepAlive(r)
		for b := range uint32(buckets4) {
			for i := r.Index[b]; i < r.Index[b+1]; i++ {
				if i > 0 && r.Rows[i] == r.Rows[i-1] {
					continue
				}
				if !yield(b<<16|uint32(r.Starts[i]), r.Rows[i]) {
					return
				}
			}
		}
	}
}

// Len returns the number of entries, cuts at the buckets included.
func (r *Ranges4) Len() int { return len(r.Rows) }

// Extent returns the first and the last address of the range that an entry of
// Find belongs to. It may walk over many entries: it is for people, not for
// the query path.
func (r *Ranges4) Extent(entry int) (from, to uint32) {
	defer runtime.KeepAlive(r)
	first, last := entry, entry
	for first > 0 && r.Rows[first-1] == r.Rows[entry] {
		first--
	}
	for last+1 < len(r.Rows) && r.Rows[last+1] == r.Rows[entry] {
		last++
	}
	if last+1 == len(r.Rows) {
		return r.start(first), ^uint32(0)
	}
	return r.start(first), r.start(last+1) - 1
}

// start returns the first address of an entry.
func (r *Ranges4) start(entry int) uint32 {
	bucket := sort.Search(buckets4, func(b int) bool { return int(r.Index[b+1]) > entry })
	return uint32(bucket)<<16 | uint32(r.Starts[entry])
}

// shortBlocks returns the block length around each bucket that holds a single
// entry: how far the bucket's row goes on to either side decides it.
func (r *Ranges4) shortBlocks() *[buckets4]uint8 {
	short := new([buckets4]uint8)
	for b := 0; b < buckets4; {
		if r.Index[b+1]-r.Index[b] > 1 {
			b++
			continue
		}
		// [b, end) is a run of uniform buckets with one row. What borders it,
		// if anything, starts or ends with another row or is not uniform.
		row := r.Rows[r.Index[b]]
		end := b + 1
		for end < buckets4 && r.Index[end+1]-r.Index[end] == 1 && r.Rows[r.Index[end]] == row {
			end++
		}
		for at := b; at < end; at++ {
			var length uint8
			if b > 0 {
				length = commonBits16(at, b-1) + 1
			}
			if end < buckets4 {
				length = max(length, commonBits16(at, end)+1)
			}
			short[at] = length
		}
		b = end
	}
	return short
}

func commonBits16(a, b int) uint8 {
	return uint8(bits.LeadingZeros16(uint16(a ^ b)))
}
