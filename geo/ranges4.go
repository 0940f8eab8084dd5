package geo

import (
	"math/bits"
	"unsafe"

	"edged/edge/pages"
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

	// memory holds both. Whoever looks up keeps r alive meanwhile.
	memory *pages.Memory
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

// newRanges4 lays out a map's ranges with classes, by ranking, in the place of
// rows. Equal neighbours merge.
func newRanges4(t *maps.Ranges4, classes []uint32) *ranges4 {
	const quarters = 1 << (bucketLen - 16) // buckets in a /16, as the map's ranges are cut
	n := t.Len()
	// A run has its length and the class it begins with beside its entries, and
	// padding before it. What is not used of this is never touched.
	words := 1<<bucketLen + n + 2*min(n, 1<<bucketLen) + n/2 + 2*lineWords
	r := &ranges4{memory: pages.New(4 * words)}
	r.index = pages.Slice[uint32](r.memory, 0, 1<<bucketLen)
	runs := pages.Slice[uint32](r.memory, 4<<bucketLen, words-1<<bucketLen)
	used, class := 0, uint32(0)
	for top := range 1 << 16 {
		lo, hi := t.Bucket(uint32(top) << 16)
		starts, rows := t.Starts[lo:hi], t.Rows[lo:hi]
		i := 0
		for quarter := range quarters {
			first := quarter << startBits
			if i < len(starts) && int(starts[i]) == first {
				class = classes[rows[i].Ranking()]
				i++
			}
			// The run is written behind its length, as if it had two entries or
			// more; it is there to stay if it has.
			run := runs[used+1:]
			run[0] = class
			length := 1
			for ; i < len(starts) && int(starts[i]) < first+1<<startBits; i++ {
				if next := classes[rows[i].Ranking()]; next != class {
					class = next
					run[length] = uint32(int(starts[i])-first)<<classBits | class
					length++
				}
			}
			if length == 1 {
				r.index[top*quarters+quarter] = uniformFlag | class
				continue
			}
			if free := lineWords - used%lineWords; free < min(1+length, lineWords) {
				used += free
				copy(runs[used+1:], run[:length])
			}
			runs[used] = uint32(length)
			r.index[top*quarters+quarter] = uint32(used)
			used += 1 + length
		}
	}
	r.runs = runs[:used:used]
	r.blocks()
	return r
}

// blocks fills in the block lengths of uniform buckets: what borders the run of
// buckets with the same class decides them.
func (r *ranges4) blocks() {
	index := r.index
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
