package compress

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"edged/maps"
)

// draw makes leaves whose cuts fall at prefixes of all lengths, with up to three
// good PoPs of six, near in number where they are near in the space.
func draw(rng *rand.Rand, bits, n int, sets *Sets) []Leaf {
	starts := []maps.Addr6{{}}
	for range n {
		a := maps.Addr6{Hi: rng.Uint64(), Lo: rng.Uint64()}
		length := 1 + rng.IntN(bits)
		m := &merger{bits: bits}
		if bits == V4 {
			a = maps.Addr6{Lo: a.Lo >> 32}
		}
		host := m.end(maps.Addr6{}, length)
		a.Hi &^= host.Hi
		a.Lo &^= host.Lo
		starts = append(starts, a)
	}
	slices.SortFunc(starts, func(a, b maps.Addr6) int {
		switch {
		case a.Less(b):
			return -1
		case b.Less(a):
			return 1
		}
		return 0
	})
	var leaves []Leaf
	for _, start := range slices.Compact(starts) {
		best := uint16(rng.IntN(6))
		good := []uint16{best}
		for range rng.IntN(3) {
			good = append(good, (best+uint16(rng.IntN(3)))%6)
		}
		leaves = append(leaves, Leaf{start, best, sets.Of(good...)})
	}
	return leaves
}

func leafAt(leaves []Leaf, a maps.Addr6) int {
	i, found := slices.BinarySearchFunc(leaves, a, func(l Leaf, a maps.Addr6) int { return order(l.Start, a) })
	if found {
		return i
	}
	return i - 1
}

func runAt(runs []Run, a maps.Addr6) int {
	i, found := slices.BinarySearchFunc(runs, a, func(r Run, a maps.Addr6) int { return order(r.Start, a) })
	if found {
		return i
	}
	return i - 1
}

func order(a, b maps.Addr6) int {
	switch {
	case a.Less(b):
		return -1
	case b.Less(a):
		return 1
	}
	return 0
}

// TestGoodEnough asks both sides for random addresses, and for the edges of all
// leaves and runs.
func TestGoodEnough(t *testing.T) {
	for _, bits := range []int{V4, V6} {
		rng := rand.New(rand.NewPCG(1, uint64(bits)))
		asked := 0
		for asked < 100_000 {
			var sets Sets
			leaves := draw(rng, bits, 1+rng.IntN(2000), &sets)
			runs := Merge(bits, leaves, &sets)
			var addrs []maps.Addr6
			for range 5000 {
				a := maps.Addr6{Hi: rng.Uint64(), Lo: rng.Uint64()}
				if bits == V4 {
					a = maps.Addr6{Lo: a.Lo >> 32}
				}
				addrs = append(addrs, a)
			}
			for _, l := range leaves {
				addrs = append(addrs, l.Start)
			}
			for i, r := range runs {
				addrs = append(addrs, r.Start)
				if i > 0 && runs[i-1].PoP == r.PoP {
					t.Fatalf("runs %d and %d are neighbours with one pop", i-1, i)
				}
			}
			for _, a := range addrs {
				leaf, run := leaves[leafAt(leaves, a)], runs[runAt(runs, a)]
				if !sets.has(leaf.Good, run.PoP) {
					t.Fatalf("address %v has pop %d, want one of %v", a.Addr(), run.PoP, sets.members[leaf.Good])
				}
			}
			for i, r := range runs {
				checkLeaf(t, leaves, runs, i, r)
			}
			asked += len(addrs)
		}
	}
}

// checkLeaf holds that the leaf of a run lies in it, and has its PoP for the best
// if any there has.
func checkLeaf(t *testing.T, leaves []Leaf, runs []Run, i int, r Run) {
	t.Helper()
	first, last := leafAt(leaves, r.Start), len(leaves)-1
	if i+1 < len(runs) {
		if last = leafAt(leaves, runs[i+1].Start); leaves[last].Start == runs[i+1].Start {
			last--
		}
	}
	if r.Leaf < first || r.Leaf > last {
		t.Fatalf("run %d is for leaves %d to %d, but has leaf %d", i, first, last, r.Leaf)
	}
	any := slices.ContainsFunc(leaves[first:last+1], func(l Leaf) bool { return l.Best == r.PoP })
	if any != (leaves[r.Leaf].Best == r.PoP) {
		t.Fatalf("run %d has pop %d, and leaf %d with %d: %v", i, r.PoP, r.Leaf, leaves[r.Leaf].Best, leaves[first:last+1])
	}
}

// prefixes counts the prefixes of the smallest nested list for a space of
// 2^depth addresses, by trying every PoP at every node: the slow twin of what
// Merge's sets say.
func prefixes(good [][]uint16, above uint16) int {
	least := 1 << 30
	for pop := range uint16(6) {
		count := 1
		if pop == above {
			count = 0
		}
		if len(good) == 1 {
			if !slices.Contains(good[0], pop) {
				continue
			}
		} else {
			count += prefixes(good[:len(good)/2], pop) + prefixes(good[len(good)/2:], pop)
		}
		least = min(least, count)
	}
	return least
}

// TestOptimal holds the number of prefixes that Merge goes by to the least
// there can be, in a space of eight blocks.
func TestOptimal(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	for range 60 {
		var sets Sets
		var leaves []Leaf
		var good [][]uint16
		for i := range 4 {
			pops := []uint16{uint16(rng.IntN(6)), uint16(rng.IntN(6))}[:1+rng.IntN(2)]
			leaves = append(leaves, Leaf{maps.Addr6{Lo: uint64(i) << 30}, pops[0], sets.Of(pops...)})
			good = append(good, slices.Clone(sets.members[leaves[i].Good]))
		}
		m := &merger{bits: V4, leaves: leaves, sets: &sets}
		root := m.up(maps.Addr6{}, 0)
		count := 1 // the root's own
		nodes := m.nodes
		var down func(size int, above uint16)
		down = func(size int, above uint16) {
			set := nodes[len(nodes)-1]
			nodes = nodes[:len(nodes)-1]
			pop := above
			if !sets.has(set, above) {
				pop = sets.members[set][0]
				count++
			}
			if size > 1 {
				down(size/2, pop)
				down(size/2, pop)
			}
		}
		if len(nodes) == 7 { // else neighbours are one leaf
			down(4, sets.members[root][0])
			want := 1 << 30
			for pop := range uint16(6) {
				want = min(want, 1+prefixes(good, pop))
			}
			if count != want {
				t.Errorf("%v: %d prefixes, want %d", good, count, want)
			}
		}
	}
}

func TestMerge(t *testing.T) {
	var sets Sets
	a, b, ab, c := sets.Of(0), sets.Of(1), sets.Of(1, 0), sets.Of(2)
	at := func(n uint64) maps.Addr6 { return maps.Addr6{Lo: n << 24} }
	for name, test := range map[string]struct {
		leaves []Leaf
		want   []Run
	}{
		"one leaf":         {[]Leaf{{at(0), 1, b}}, []Run{{at(0), 1, 0}}},
		"all the same":     {[]Leaf{{at(0), 1, b}, {at(64), 1, b}, {at(96), 1, b}}, []Run{{at(0), 1, 2}}},
		"either will do":   {[]Leaf{{at(0), 0, a}, {at(128), 1, ab}}, []Run{{at(0), 0, 0}}},
		"neither":          {[]Leaf{{at(0), 0, a}, {at(128), 1, b}}, []Run{{at(0), 0, 0}, {at(128), 1, 1}}},
		"one in the midst": {[]Leaf{{at(0), 0, a}, {at(64), 2, c}, {at(65), 1, ab}}, []Run{{at(0), 0, 0}, {at(64), 2, 1}, {at(65), 0, 2}}},
	} {
		if got := Merge(V4, test.leaves, &sets); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: runs %v, want %v", name, got, test.want)
		}
	}
}

func TestMergePanics(t *testing.T) {
	var sets Sets
	a := sets.Of(0)
	for want, leaves := range map[string][]Leaf{
		"first leaf":    {{maps.Addr6{Lo: 1}, 0, a}},
		"start after":   {{maps.Addr6{}, 0, a}, {maps.Addr6{}, 0, a}},
		"end of ipv4":   {{maps.Addr6{}, 0, a}, {maps.Addr6{Lo: 1 << 32}, 0, a}},
		"among the goo": {{maps.Addr6{}, 1, a}},
	} {
		func() {
			defer func() {
				if got, _ := recover().(string); !strings.Contains(got, want) {
					t.Errorf("panic %q, want one with %q", got, want)
				}
			}()
			Merge(V4, leaves, &sets)
		}()
	}
}
