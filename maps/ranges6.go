package maps

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"net/netip"
	"runtime"
	"sort"

	"edged/edge/pages"
)

// Addr6 is an IPv6 address as two numbers.
type Addr6 struct{ Hi, Lo uint64 }

// Addr6From returns an IPv6 address as two numbers; a v4 address becomes its
// v4-mapped form.
func Addr6From(a netip.Addr) Addr6 {
	b := a.As16()
	return Addr6{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// Addr returns the address.
func (a Addr6) Addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.Hi)
	binary.BigEndian.PutUint64(b[8:], a.Lo)
	return netip.AddrFrom16(b)
}

// prev returns the address before a, which is not the first one.
func (a Addr6) prev() Addr6 {
	lo, borrow := bits.Sub64(a.Lo, 1, 0)
	return Addr6{a.Hi - borrow, lo}
}

// next returns the address after a, which is not the last one.
func (a Addr6) next() Addr6 {
	lo, carry := bits.Add64(a.Lo, 1, 0)
	return Addr6{a.Hi + carry, lo}
}

// Less reports whether a comes before b.
func (a Addr6) Less(b Addr6) bool { return a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo }

// Exception is a range that begins inside or at the edge of a /64 which is not
// of one row.
type Exception struct {
	Hi, Lo uint64
	Row    Row
}

// Ranges6 holds sorted disjoint ranges that cover all of IPv6, keyed by the top
// 64 bits. A /64 that is not of one row has an entry of its own, whose row is
// flagged and leads to the exceptions. Builder6 makes one; it must not be
// changed after.
type Ranges6 struct {
	// Starts holds the top half of each entry's first address. The first is 0.
	Starts []uint64
	// Rows holds what each entry says. Neighbours differ.
	Rows []Row
	// Exceptions holds the ranges within the flagged entries, two or more for
	// each, ordered by Hi and Lo; the first one of each has Lo 0.
	Exceptions []Exception

	// index holds, for each of 1<<(61-shift) equal parts of 2000::/3, the entry
	// that holds the part's first address, and at its end the entry that holds
	// the last address of 2000::/3. Above indexEntry, and so in the same cache
	// line, it holds for each part with a crowd of entries how many leading bits
	// its starts have in common: the bits behind them are a guess at where among
	// the entries an address belongs. It is derived, and never in a file.
	index   []uint32
	shift   uint8
	derived *pages.Memory // holds index

	memory *pages.Memory // as in Ranges4
}

// Find returns the entry that holds the addresses with these top 64 bits.
func (r *Ranges6) Find(hi uint64) int {
	lo, end := 0, len(r.Starts)
	if hi>>61 == 1 {
		part := hi << 3 >> 3 >> (r.shift & 63)
		index := r.index[part : part+2]
		lo, end = int(index[0]&indexEntry), int(index[1]&indexEntry)+1
		if n := end - lo; n > crowd {
			// Two comparisons beside a guess are enough as a rule, and touch one
			// or two cache lines; a wrong guess costs no more than them.
			offset, _ := bits.Mul64(hi<<(index[0]>>indexBits), uint64(n))
			if at := lo + int(offset); r.Starts[at] <= hi {
				lo = at
				if at += near; at < end {
					if r.Starts[at] <= hi {
						lo = at
					} else {
						end = at
					}
				}
			} else {
				end = at
				if at -= near; at > lo {
					if r.Starts[at] <= hi {
						lo = at
					} else {
						end = at
					}
				}
			}
		}
	}
	entry := lo + search64(r.Starts[lo:end], hi)
	runtime.KeepAlive(r)
	return entry
}

// search64 returns the last position whose start is at most key; the first
// start is. See search16 for why it branches.
func search64(starts []uint64, key uint64) int {
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

// FindBlock returns the row for the addresses with these top 64 bits and the
// length of the largest aligned block (0..64) around them that has this row
// throughout. When exception is true, the /64 is not of one row: the other
// results mean nothing and FindLong has the answer.
func (r *Ranges6) FindBlock(hi uint64) (row Row, blockLen uint8, exception bool) {
	i := r.Find(hi)
	row = r.Rows[i]
	if row&rowExceptions != 0 {
		return 0, 0, true
	}
	// A neighbour that is an exception may begin with the same row. It is still
	// right to stop there: its /64 as a whole is not of this row.
	if i > 0 {
		blockLen = uint8(bits.LeadingZeros64(hi^(r.Starts[i]-1))) + 1
	}
	if i+1 < len(r.Starts) {
		blockLen = max(blockLen, uint8(bits.LeadingZeros64(hi^r.Starts[i+1]))+1)
	}
	runtime.KeepAlive(r)
	return row, blockLen, false
}

// FindLong returns the row of an address and the length of the largest aligned
// block (0..128) around it that has this row throughout, whether its /64 is of
// one row or not.
func (r *Ranges6) FindLong(a Addr6) (row Row, blockLen uint8) {
	row, blockLen, exception := r.FindBlock(a.Hi)
	if !exception {
		return row, blockLen
	}
	defer runtime.KeepAlive(r)
	group := r.exceptions(r.Find(a.Hi))
	i := searchExceptions(group, a.Lo)
	if i > 0 {
		blockLen = uint8(bits.LeadingZeros64(a.Lo^(group[i].Lo-1))) + 65
	}
	if i+1 < len(group) {
		blockLen = max(blockLen, uint8(bits.LeadingZeros64(a.Lo^group[i+1].Lo))+65)
	}
	return group[i].Row, blockLen
}

// exceptions returns the ranges within a flagged entry, nil for any other.
func (r *Ranges6) exceptions(entry int) []Exception {
	row := r.Rows[entry]
	if row&rowExceptions == 0 {
		return nil
	}
	group := r.Exceptions[row&rowID:]
	n := sort.Search(len(group), func(i int) bool { return group[i].Hi > r.Starts[entry] })
	return group[:n]
}

// searchExceptions returns the last of a flagged entry's ranges that starts at
// or before lo.
func searchExceptions(group []Exception, lo uint64) int {
	return sort.Search(len(group), func(i int) bool { return group[i].Lo > lo }) - 1
}

// All yields the ranges in order: the first address and the row of each. Equal
// neighbours, which stem from the edges of exceptions, come out as one.
func (r *Ranges6) All() iter.Seq2[Addr6, Row] {
	return func(yield func(Addr6, Row) bool) {
		defer runtime.KeepAlive(r)
		last, first := Row(0), true
		emit := func(a Addr6, row Row) bool {
			if !first && row == last {
				return true
			}
			last, first = row, false
			return yield(a, row)
		}
		for i, hi := range r.Starts {
			if r.Rows[i]&rowExceptions == 0 {
				if !emit(Addr6{Hi: hi}, r.Rows[i]) {
					return
				}
				continue
			}
			for _, e := range r.exceptions(i) {
				if !emit(Addr6{e.Hi, e.Lo}, e.Row) {
					return
				}
			}
		}
	}
}

// Len returns the number of entries, exceptions not counted.
func (r *Ranges6) Len() int { return len(r.Rows) }

// Extent returns the first and the last address of the range that an address
// belongs to, and its row. It is for people, not for the query path.
func (r *Ranges6) Extent(a Addr6) (from, to Addr6, row Row) {
	defer runtime.KeepAlive(r)
	entry := r.Find(a.Hi)
	from, to, row = r.span(entry, a.Lo)
	// Only at the edges of exceptions can a neighbour have the same row.
	for left := entry - 1; left >= 0 && from.Lo == 0; left-- {
		start, _, other := r.span(left, ^uint64(0))
		if other != row {
			break
		}
		from = start
	}
	for right := entry + 1; right < len(r.Starts) && to.Lo == ^uint64(0); right++ {
		_, end, other := r.span(right, 0)
		if other != row {
			break
		}
		to = end
	}
	return from, to, row
}

// span returns what an entry says about the addresses with the low half lo, and
// how far that holds without leaving the entry.
func (r *Ranges6) span(entry int, lo uint64) (from, to Addr6, row Row) {
	from, to, row = Addr6{Hi: r.Starts[entry]}, Addr6{^uint64(0), ^uint64(0)}, r.Rows[entry]
	if entry+1 < len(r.Starts) {
		to.Hi = r.Starts[entry+1] - 1
	}
	group := r.exceptions(entry)
	if group == nil {
		return from, to, row
	}
	i := searchExceptions(group, lo)
	from.Lo = group[i].Lo
	if i+1 < len(group) {
		to.Lo = group[i+1].Lo - 1
	}
	return from, to, group[i].Row
}

// The index has a part for every second entry or so, within these bounds: at
// most 4 MiB.
const minIndexBits, maxIndexBits = 8, 20

// A word of the index has an entry in the lower bits.
const (
	indexBits  = 26
	indexEntry = 1<<indexBits - 1
)

// MaxRanges6 is the largest number of entries that a Ranges6 can hold.
const MaxRanges6 = 1 << indexBits

// A part with a crowd of entries, more than that, is searched near a guess.
const crowd, near = 8, 8

// makeIndex derives the index over 2000::/3.
func (r *Ranges6) makeIndex() {
	size := min(max(bits.Len(uint(len(r.Starts)))-1, minIndexBits), maxIndexBits)
	r.shift = uint8(61 - size)
	r.derived = pages.New(4<<size + 4)
	r.derived.Populate()
	r.index = pages.Slice[uint32](r.derived, 0, 1<<size+1)
	// A start counts from the first part on that begins at or behind it.
	lo, hi := search64(r.Starts, 1<<61), search64(r.Starts, 1<<62-1)
	for _, start := range r.Starts[lo+1 : hi+1] {
		r.index[(start-1<<61+1<<r.shift-1)>>r.shift]++
	}
	r.index[1<<size] = uint32(hi)
	next := uint32(lo)
	for part, count := range r.index[:1<<size] {
		entry := next + count
		r.index[part] = entry
		if part > 0 && count >= crowd {
			r.index[part-1] |= r.inCommon(next, entry) << indexBits
		}
		next = entry
	}
	if uint32(hi)-next >= crowd {
		r.index[1<<size-1] |= r.inCommon(next, uint32(hi)) << indexBits
	}
}

// inCommon returns how many leading bits the starts between two entries have in
// common. The one at hi is left out: it often is where a block ends, and not of it.
func (r *Ranges6) inCommon(lo, hi uint32) uint32 {
	return uint32(bits.LeadingZeros64(r.Starts[lo+1] ^ (r.Starts[hi] - 1)))
}
