package maps

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/gaissmai/bart"

	"edged/edge/pages"
)

// trie is the slow twin of both kinds of ranges: prefixes by length, longest
// match by trying every length.
type trie struct {
	rows map[netip.Prefix]Row
	bits int
}

var lowest4 = netip.MustParsePrefix("0.0.0.0/0")

func newTrie(bits int, rows map[netip.Prefix]Row) trie { return trie{rows, bits} }

func (t trie) lookup(a netip.Addr) Row {
	for n := t.bits; n >= 0; n-- {
		p, _ := a.Prefix(n)
		if row, ok := t.rows[p]; ok {
			return row
		}
	}
	panic("no default")
}

// change is an address at which the row can change, and its row.
type change struct {
	netip.Addr
	row Row
}

// changes returns every address at which the row can change, in order.
func (t trie) changes() (list []change) {
	all := []netip.Addr{}
	for p := range t.rows {
		all = append(all, p.Addr())
		if next := lastAddr(p).Next(); next.IsValid() {
			all = append(all, next)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	for _, a := range slices.Compact(all) {
		list = append(list, change{a, t.lookup(a)})
	}
	return list
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// block finds the largest block of one row by asking at its start and at every
// change within.
func (t trie) block(a netip.Addr, changes []change) int {
	row := t.lookup(a)
	for n := range t.bits {
		p, _ := a.Prefix(n)
		uniform := t.lookup(p.Addr()) == row
		last := lastAddr(p)
		i, _ := slices.BinarySearchFunc(changes, p.Addr(), func(c change, a netip.Addr) int { return c.Compare(a) })
		for ; uniform && i < len(changes) && changes[i].Compare(last) <= 0; i++ {
			uniform = changes[i].row == row
		}
		if uniform {
			return n
		}
	}
	return t.bits
}

func (t trie) ranges4() *Ranges4 {
	var b Builder4
	for _, c := range t.changes() {
		b.Add(number4(c.Addr), c.row)
	}
	return b.Finish()
}

func (t trie) ranges6() *Ranges6 {
	var b Builder6
	for _, c := range t.changes() {
		at := Addr6From(c.Addr)
		b.Add(at.Hi, at.Lo, c.row)
	}
	return b.Finish()
}

func parseTrie(bits int, table map[string]uint32) trie {
	rows := map[netip.Prefix]Row{}
	for text, id := range table {
		rows[netip.MustParsePrefix(text)] = MakeRow(id, true)
	}
	return newTrie(bits, rows)
}

// randomTrie draws prefixes that nest and touch: few rows, addresses from a
// small set of bits, so that neighbours are often equal.
func randomTrie(rng *rand.Rand, bits, n int) trie {
	rows := map[netip.Prefix]Row{}
	if bits == 32 {
		rows[netip.MustParsePrefix("0.0.0.0/0")] = MakeRow(0, false)
	} else {
		rows[netip.MustParsePrefix("::/0")] = MakeRow(0, false)
	}
	for range n {
		length := rng.IntN(bits + 1)
		p := netip.PrefixFrom(randomAddr(rng, bits), length).Masked()
		rows[p] = MakeRow(rng.Uint32N(4), rng.IntN(2) == 0)
	}
	return newTrie(bits, rows)
}

// randomAddr draws from the whole space, from its edges, and from a corner that
// the prefixes of a trie share.
func randomAddr(rng *rand.Rand, bits int) netip.Addr {
	hi, lo := rng.Uint64(), rng.Uint64()
	switch rng.IntN(4) {
	case 0:
		hi, lo = 0x20010db8_00000000|hi&3, lo&0xf<<60|lo>>61
	case 1:
		hi, lo = 0x20010db8_00000000|hi&0xff0ff, 0
	case 2:
		hi, lo = -(hi & 1), -(lo & 1)
	}
	if bits == 32 {
		return address4(uint32(hi>>32) ^ uint32(hi)<<8)
	}
	return Addr6{hi, lo}.Addr()
}

func TestRanges4MatchTrieAndBart(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	for _, n := range []int{0, 1, 3, 20, 400} {
		slow := randomTrie(rng, 32, n)
		fast, oracle := slow.ranges4(), new(bart.Table[Row])
		for p, row := range slow.rows {
			oracle.Insert(p, row)
		}
		changes := slow.changes()
		probe := func(a netip.Addr) {
			addr, want := number4(a), slow.lookup(a)
			if got := fast.Rows[fast.Find(addr)]; got != want {
				t.Fatalf("%d prefixes: Find(%s) gives row %#x, want %#x", n, a, got, want)
			}
			if got, _ := oracle.Lookup(a); got != want {
				t.Fatalf("%d prefixes: bart(%s) gives row %#x, want %#x", n, a, got, want)
			}
			row, length := fast.FindBlock(addr)
			if wantLen := slow.block(a, changes); row != want || int(length) != wantLen {
				t.Fatalf("%d prefixes: FindBlock(%s) = %#x, /%d, want %#x, /%d", n, a, row, length, want, wantLen)
			}
			from, to := fast.Extent(fast.Find(addr))
			checkExtent(t, changes, a, want, address4(from), address4(to))
		}
		for _, c := range changes {
			probe(c.Addr)
			if c.Prev().IsValid() {
				probe(c.Prev())
			}
		}
		for range 500 {
			probe(randomAddr(rng, 32))
		}
	}
}

func TestRanges6MatchTrieAndBart(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 6))
	for _, n := range []int{0, 1, 3, 20, 400} {
		slow := randomTrie(rng, 128, n)
		fast, oracle := slow.ranges6(), new(bart.Table[Row])
		for p, row := range slow.rows {
			oracle.Insert(p, row)
		}
		changes := slow.changes()
		probe := func(a netip.Addr) {
			at, want := Addr6From(a), slow.lookup(a)
			if got, _ := oracle.Lookup(a); got != want {
				t.Fatalf("%d prefixes: bart(%s) gives row %#x, want %#x", n, a, got, want)
			}
			row, length := fast.FindLong(at)
			if wantLen := slow.block(a, changes); row != want || int(length) != wantLen {
				t.Fatalf("%d prefixes: FindLong(%s) = %#x, /%d, want %#x, /%d", n, a, row, length, want, wantLen)
			}
			if short, shortLen, exception := fast.FindBlock(at.Hi); exception != (length > 64) ||
				!exception && (short != row || shortLen != length) {
				t.Fatalf("%d prefixes: FindBlock(%s) = %#x, /%d, %v, want %#x, /%d", n, a, short, shortLen, exception, row, length)
			}
			from, to, row := fast.Extent(at)
			if row != want {
				t.Fatalf("%d prefixes: Extent(%s) gives row %#x, want %#x", n, a, row, want)
			}
			checkExtent(t, changes, a, want, from.Addr(), to.Addr())
		}
		for _, c := range changes {
			probe(c.Addr)
			if c.Prev().IsValid() {
				probe(c.Prev())
			}
		}
		for range 500 {
			probe(randomAddr(rng, 128))
		}
	}
}

// Tables that the index and its guesses fit badly, against a plain search.
func TestRanges6FindInSkewedTables(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 6))
	const first, last = uint64(1) << 61, uint64(1)<<62 - 1 // of 2000::/3
	cluster := func(at uint64, n, bits int) (starts []uint64) {
		for range n {
			starts = append(starts, at+rng.Uint64()>>(64-bits))
		}
		return starts
	}
	every := func(at, step uint64, n int) (starts []uint64) {
		for i := range uint64(n) {
			starts = append(starts, at+i*step)
		}
		return starts
	}
	var doubling []uint64
	for bit := range 61 {
		doubling = append(doubling, first+1<<bit, last-1<<bit)
	}
	for name, starts := range map[string][]uint64{
		"nothing else":        nil,
		"a single start":      {0x20010db8_00000000},
		"the ends of IPv6":    {1, ^uint64(0) - 1, ^uint64(0)},
		"edges of 2000::/3":   {first - 1, first, first + 1, last - 1, last, last + 1},
		"all outside":         append(cluster(1<<60, 500, 58), cluster(1<<63, 500, 58)...),
		"one /32":             cluster(0x20010db8_00000000, 5000, 32),
		"one /48":             cluster(0x20010db8_00010000, 5000, 16),
		"neighbours":          every(0x20010db8_00000000, 1, 5000),
		"across parts' edges": every(0x2a000000_00000000-40, 1, 80),
		"every part's edge":   every(first, 1<<(61-minIndexBits), 1<<minIndexBits+1),
		"a /32 and its end":   append(cluster(0x2a001450_00000000, 200, 32), 0x2a001451_00000000),
		"two /32s of a part":  append(cluster(0x2a001450_00000000, 300, 32), cluster(0x2a001460_00000000, 30, 32)...),
		"many and one apart":  append(every(0x2a001450_00000000, 1, 300), 0x2a001450_80000000),
		"one apart and many":  append(every(0x2a001450_80000000, 1, 300), 0x2a001450_00000000),
		"crowds at the edges": append(every(first-9, 1, 20), every(last-9, 1, 20)...),
		"doubling distances":  doubling,
	} {
		t.Run(name, func(t *testing.T) {
			starts = append(starts, 0)
			slices.Sort(starts)
			starts = slices.Compact(starts)
			var b Builder6
			for i, start := range starts {
				b.Add(start, 0, Row(i%2))
			}
			ranges := b.Finish()
			probe := func(hi uint64) {
				want, found := slices.BinarySearch(starts, hi)
				if !found {
					want--
				}
				if got := ranges.Find(hi); got != want {
					t.Fatalf("Find(%#x) = %d, want %d", hi, got, want)
				}
			}
			for _, start := range starts {
				for _, hi := range []uint64{start - 1, start, start + 1} {
					probe(hi)
				}
				for bit := range 64 {
					probe(start ^ 1<<bit)
				}
			}
			for range 2000 {
				probe(rng.Uint64())
				probe(first + rng.Uint64()>>3)
				probe(starts[rng.IntN(len(starts))] + rng.Uint64()>>rng.IntN(64))
			}
			for _, hi := range []uint64{0, first - 1, first, last, last + 1, ^uint64(0)} {
				probe(hi)
			}
		})
	}
}

// checkExtent holds a range against every change of row.
func checkExtent(t *testing.T, changes []change, a netip.Addr, row Row, from, to netip.Addr) {
	t.Helper()
	wantFrom, wantTo := changes[0].Addr, netip.Addr{}
	for i, c := range changes {
		if i > 0 && c.row == changes[i-1].row {
			continue
		}
		if c.Compare(a) <= 0 {
			wantFrom = c.Addr
		} else if !wantTo.IsValid() {
			wantTo = c.Prev()
		}
	}
	if !wantTo.IsValid() {
		wantTo = lastAddr(netip.PrefixFrom(a, 0).Masked())
	}
	if from != wantFrom || to != wantTo {
		t.Fatalf("extent around %s (row %#x) = %s..%s, want %s..%s", a, row, from, to, wantFrom, wantTo)
	}
}

func TestAllYieldsMergedRanges(t *testing.T) {
	var b4 Builder4
	b4.Add(0, 1)
	b4.Add(5, 1)           // equal: goes on
	b4.Add(0x0a00_0000, 2) // at a bucket's edge
	b4.Add(0x0a03_0100, 3) // inside a later bucket
	b4.Add(0x0a03_0200, 2)
	var got []string
	for start, row := range b4.Finish().All() {
		got = append(got, fmt.Sprint(address4(start), "=", row))
	}
	want := []string{"0.0.0.0=1", "10.0.0.0=2", "10.3.1.0=3", "10.3.2.0=2"}
	if !slices.Equal(got, want) {
		t.Errorf("v4 ranges %q, want %q", got, want)
	}

	var b6 Builder6
	b6.Add(0, 0, 1)
	b6.Add(1, 0, 1) // equal: goes on
	b6.Add(7, 0, 2)
	b6.Add(7, 9, 3) // turns the /64 into an exception
	b6.Add(8, 1, 2) // and the next one too
	b6.Add(9, 0, 4)
	ranges := b6.Finish()
	got = nil
	for start, row := range ranges.All() {
		got = append(got, fmt.Sprint(start.Hi, ":", start.Lo, "=", row))
	}
	want = []string{"0:0=1", "7:0=2", "7:9=3", "8:1=2", "9:0=4"}
	if !slices.Equal(got, want) {
		t.Errorf("v6 ranges %q, want %q", got, want)
	}
	if !slices.Equal(ranges.Starts, []uint64{0, 7, 8, 9}) || len(ranges.Exceptions) != 4 {
		t.Errorf("starts %v with %d exceptions, want [0 7 8 9] with 4", ranges.Starts, len(ranges.Exceptions))
	}
	for range ranges.All() {
		break // a caller may stop early
	}
}

// RFC 7871 section 7.2.1: an answer for 10/8 must not hide the one for 10.1/16.
func TestBlockStopsShortOfNeighbour(t *testing.T) {
	ranges := parseTrie(32, map[string]uint32{"0.0.0.0/0": 0, "10.0.0.0/8": 1, "10.1.0.0/16": 2}).ranges4()
	for addr, want := range map[string]uint8{
		"10.2.3.0": 15, "10.0.1.0": 16, "10.1.0.0": 16, "10.128.0.0": 9, "11.0.0.0": 8, "192.0.2.1": 1, "0.0.0.0": 5,
	} {
		if _, got := ranges.FindBlock(number4(netip.MustParseAddr(addr))); got != want {
			t.Errorf("block around %s is /%d, want /%d", addr, got, want)
		}
	}
}

func TestBuildersRefuseWrongOrder(t *testing.T) {
	for name, misuse := range map[string]func(){
		"v4 first not 0":   func() { new(Builder4).Add(1, 0) },
		"v4 equal starts":  func() { var b Builder4; b.Add(0, 0); b.Add(0, 1) },
		"v4 descending":    func() { var b Builder4; b.Add(0, 0); b.Add(9, 1); b.Add(8, 2) },
		"v4 nothing added": func() { new(Builder4).Finish() },
		"v6 first not 0":   func() { new(Builder6).Add(0, 1, 0) },
		"v6 equal starts":  func() { var b Builder6; b.Add(0, 0, 0); b.Add(0, 0, 1) },
		"v6 descending":    func() { var b Builder6; b.Add(0, 0, 0); b.Add(2, 5, 1); b.Add(2, 4, 2) },
		"v6 nothing added": func() { new(Builder6).Finish() },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("did not panic")
				}
			}()
			misuse()
		})
	}
}

func TestLookupsDoNotAllocate(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	r4, r6 := randomTrie(rng, 32, 300).ranges4(), randomTrie(rng, 128, 300).ranges6()
	if len(r6.Exceptions) == 0 {
		t.Fatal("the random trie has no exceptions")
	}
	e := r6.Exceptions[1]
	allocs := testing.AllocsPerRun(100, func() {
		r4.FindBlock(uint32(r4.Find(0x0a000001)))
		r6.FindBlock(uint64(r6.Find(0x20010db8_00000001)))
		r6.FindLong(Addr6{e.Hi, e.Lo})
	})
	if allocs != 0 {
		t.Errorf("%v allocations per lookup, want 0", allocs)
	}
}

func TestRow(t *testing.T) {
	row := MakeRow(0x1234567, true)
	if row.Ranking() != 0x1234567 || !row.Measured() {
		t.Errorf("row %#x holds ranking %#x, measured %v, want 0x1234567, true", row, row.Ranking(), row.Measured())
	}
	if other := MakeRow(0x1234567, false); other.Measured() || other == row {
		t.Errorf("row %#x is measured, want not", other)
	}
}

// Find beside a search of the whole part, in a table of 40,000 /32s with some
// fifty starts each, larger than the caches.
func BenchmarkFind6(b *testing.B) {
	rng := rand.New(rand.NewPCG(5, 6))
	var blocks, starts, keys []uint64
	for range 40_000 {
		blocks = append(blocks, uint64(0x2400_0000+rng.Uint32N(0x0610_0000))<<32)
	}
	starts = append(starts, 0)
	for range 1_000_000 {
		block := blocks[rng.IntN(len(blocks))]
		shift := rng.IntN(33)
		start := (block | uint64(rng.Uint32())) >> shift << shift
		starts = append(starts, start, start+1<<shift)
	}
	slices.Sort(starts)
	starts = slices.Compact(starts)
	memory := pages.New(8 * len(starts))
	r := &Ranges6{Starts: pages.Slice[uint64](memory, 0, len(starts)), memory: memory}
	copy(r.Starts, starts)
	r.makeIndex()
	for range 1 << 20 {
		keys = append(keys, blocks[rng.IntN(len(blocks))]|uint64(rng.Uint32()))
	}
	whole := func(hi uint64) int {
		index := r.index[hi<<3>>3>>r.shift:][:2]
		lo, end := index[0]&indexEntry, index[1]&indexEntry+1
		return int(lo) + search64(r.Starts[lo:end], hi)
	}
	bench := func(name string, find func(uint64) int) {
		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				find(keys[i%len(keys)])
			}
		})
	}
	bench("guess", r.Find)
	bench("whole", whole)
}
