package geo

import (
	"math/rand/v2"
	"slices"
	"testing"

	"edged/maps"
)

// TestRanges4AgainstPlainSearch holds find to a linear search over the ranges,
// and its blocks to their definition.
func TestRanges4AgainstPlainSearch(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for round := range 40 {
		starts := []uint32{0}
		for range rng.IntN(3000) {
			start := rng.Uint32()
			if round%2 == 0 { // crowd some /18s, and hit their edges
				start = start&0x0003ffff | rng.Uint32N(4)<<30
			}
			if rng.IntN(4) == 0 {
				start &= 0xffffc000
			}
			starts = append(starts, start)
		}
		slices.Sort(starts)
		starts = slices.Compact(starts)
		classes := make([]uint32, len(starts))
		for i := range classes {
			classes[i] = rng.Uint32N(3)
		}
		var b maps.Builder4
		for i, s := range starts {
			b.Add(s, maps.MakeRow(classes[i], false))
		}
		r := newRanges4(b.Finish(), []uint32{0, 1, 2})
		plain := func(addr uint32) uint32 {
			i, found := slices.BinarySearch(starts, addr)
			if !found {
				i--
			}
			return classes[i]
		}
		for range 2000 {
			addr := rng.Uint32()
			if rng.IntN(2) == 0 {
				addr = starts[rng.IntN(len(starts))] + rng.Uint32N(3) - 1
			}
			class, block := r.find(addr)
			if class != plain(addr) {
				t.Fatalf("round %d: class of %08x is %d, want %d", round, addr, class, plain(addr))
			}
			if !uniform(starts, classes, addr, block) || block > 0 && uniform(starts, classes, addr, block-1) {
				t.Fatalf("round %d: block of %08x is /%d", round, addr, block)
			}
		}
	}
}

// uniform says whether the block of a length around addr has one class.
func uniform(starts, classes []uint32, addr uint32, length uint8) bool {
	size := uint64(1) << (32 - length)
	first := uint64(addr) &^ (size - 1)
	i, found := slices.BinarySearch(starts, uint32(first))
	if !found {
		i--
	}
	for k := i + 1; k < len(starts) && uint64(starts[k]) < first+size; k++ {
		if classes[k] != classes[i] {
			return false
		}
	}
	return true
}

func TestClassesThatDoNotFitShortenTheOrder(t *testing.T) {
	m := testMap(t, net{"1.0.0.0/8", "a b c"}, net{"2.0.0.0/8", "a c b"})
	v := mustBuild(t, testConfig(m, testPool(t, "www", Closest, "a 192.0.2.1", "b 192.0.2.2", "c 192.0.2.3")))
	c := v.pools[0].cover
	if c.depth != 3 {
		t.Fatalf("depth %d, want 3", c.depth)
	}
	c.depth = 1
	b := &coverBuilder{cover: c}
	if err := b.translate(m.PoPs(), fleet); err != nil {
		t.Fatal(err)
	}
	if !b.build() {
		t.Fatal("one PoP deep, and it does not fit")
	}
	if _, block := c.ecs.v4.find(1 << 24); block != 8 {
		t.Errorf("block /%d around 1.0.0.0", block)
	}
	if got := c.order(0); len(got) != 3 {
		t.Errorf("order %v: want all three PoPs", got)
	}
}
