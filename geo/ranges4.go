package geo

import (
	"math/bits"
	"unsafe"

	"edged/geo/prefetch"
	"edged/maps"
)

// ranges4 holds a cover's classes for IPv4, laid out so that a lookup touches
// one word of the index and, where the /18 around the address is not of one
// class, one run of a few words: both can be prefetched.
type ranges4 struct {
	// index has a word for each /18. With uniformFlag set it holds the class
	// and, above it, the length of the block around the /18; else it is where
	// the /18's run begins in runs.
	index []uint32
	// runs are sequences of a length and that many entries, which hold the low
	// 14 bits of a first address, and below them the class from there on. The
	// first entry of a run starts at 0; neighbours differ in class. A run that
	// fits a cache line does not cross one.
	runs []uint32
}

const (
	bucketLen  = 18
	startBits  = 32 - bucketLen
	classBits  = 18
	classMask  = 1<<classBits - 1
	maxClasses = 1 << classBits

	uniformFlag = 1 << 31

	lineWords = 16 // of a cache line
)

// find returns the class of an address and the length of the largest aligned
// block around it that has this class throughout.
func (r *ranges4) find(addr uint32) (class uint32, block uint8) {
	word := r.index[addr>>startBits]
	if word&uniformFlag != 0 {
		return word & classMask, uint8(word >> classBits & 31)
	}
	entries := r.runs[word+1:][:r.runs[word]]
	// Starts stand above classes in an entry, so entries compare by start.
	key := addr & (1<<startBits - 1)
	target := key<<classBits | classMask
	base, n := 0, len(entries)
	for n > 1 {
		half := n >> 1
		if entries[base+half] <= target {
			base += half
		}
		n -= half
	}
	if base > 0 {
		block = uint8(bits.LeadingZeros32(key^(entries[base]>>classBits-1))) + 1
	}
	if base+1 < len(entries) {
		block = max(block, uint8(bits.LeadingZeros32(key^(entries[base+1]>>classBits)))+1)
	}
	return entries[base] & classMask, block
}

// touch asks for the index word of an address, and touchMore, once that is
// there, for the run it leads to.
func (r *ranges4) touch(addr uint32) { prefetch.Line(unsafe.Pointer(&r.index[addr>>startBits])) }

func (r *ranges4) touchMore(addr uint32) {
	if word := r.index[addr>>startBits]; word&uniformFlag == 0 {
		prefetch.Line(unsafe.Pointer(&r.runs[word]))
	}
}

// newRanges4 lays out a map's ranges with classes in the place of rows. Equal
// neighbours merge.
func newRanges4(t *maps.Ranges4, class func(maps.Row) uint32) *ranges4 {
	b := builder4{r: &ranges4{index: make([]uint32, 1<<bucketLen)}}
	n := t.Len()
	// A run has its length and the class it begins with beside its entries, and
	// padding before it. What is not used of this is memory never touched.
	b.r.runs = make([]uint32, 0, n+2*min(n, 1<<bucketLen)+n/2)
	last := maps.Row(0)
	for top := range uint32(1 << 16) {
		lo, hi := t.Bucket(top << 16)
		starts, rows := t.Starts[lo:hi], t.Rows[lo:hi]
		for i, row := range rows {
			// Neighbours with one row, cut at a /16, need no second look.
			if i > 0 || top == 0 || row != last {
				b.add(top<<16|uint32(starts[i]), class(row))
			}
			last = row
		}
	}
	b.flush(1 << bucketLen)
	b.blocks()
	b.r.settle()
	return b.r
}

type builder4 struct {
	r      *ranges4
	bucket uint32   // being filled
	run    []uint32 // its entries
	class  uint32   // from the last start on
}

func (b *builder4) add(start, class uint32) {
	if start > 0 && class == b.class {
		return
	}
	b.flush(start >> startBits)
	low := start & (1<<startBits - 1)
	if low == 0 {
		b.run = b.run[:0]
	}
	b.run = append(b.run, low<<classBits|class)
	b.class = class
}

// flush writes out the buckets before next, and begins that one with the class
// in force.
func (b *builder4) flush(next uint32) {
	for ; b.bucket < next; b.bucket++ {
		if len(b.run) == 1 {
			b.r.index[b.bucket] = uniformFlag | b.run[0]
		} else {
			if free := lineWords - len(b.r.runs)%lineWords; free < min(1+len(b.run), lineWords) {
				b.r.runs = append(b.r.runs, make([]uint32, free)...)
			}
			b.r.index[b.bucket] = uint32(len(b.r.runs))
			b.r.runs = append(append(b.r.runs, uint32(len(b.run))), b.run...)
		}
		b.run = append(b.run[:0], b.class)
	}
}

// blocks fills in the block lengths of uniform buckets: what borders the run of
// buckets with the same class decides them.
func (b *builder4) blocks() {
	index := b.r.index
	for i := 0; i < len(index); {
		end := i + 1
		if index[i]&uniformFlag == 0 {
			i = end
			continue
		}
		for end < len(index) && index[end] == index[i] {
			end++
		}
		word := index[i]
		for at := i; at < end; at++ {
			length := 0
			if i > 0 {
				length = commonBits(at, i-1) + 1
			}
			if end < len(index) {
				length = max(length, commonBits(at, end)+1)
			}
			index[at] = word | uint32(length)<<classBits
		}
		i = end
	}
}

func commonBits(a, b int) int { return bits.LeadingZeros32(uint32(a^b)) - (32 - bucketLen) }
