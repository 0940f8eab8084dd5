package maps

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestCopyMatchesAdd holds Copy, of parts of a table with other rows between
// them, to Add of every range there.
func TestCopyMatchesAdd(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 1))
	exceptions := 0
	for round := range 300 {
		r := randomTrie(rng, 128, 1+rng.IntN(200)).ranges6()
		rows := make([]Row, 64)
		for i := range rows {
			rows[i] = MakeRow(rng.Uint32N(3), false)
		}
		between := MakeRow(7, false)
		var edges []Addr6
		for range 2 * rng.IntN(5) {
			e := Addr6From(randomAddr(rng, 128))
			if i := rng.IntN(len(r.Starts)); rng.IntN(2) == 0 {
				e = Addr6{Hi: r.Starts[i] + uint64(rng.IntN(2)), Lo: uint64(rng.IntN(2)) * rng.Uint64()}
			}
			if len(r.Exceptions) > 0 && rng.IntN(3) == 0 {
				at := r.Exceptions[rng.IntN(len(r.Exceptions))]
				e = Addr6{at.Hi, at.Lo + uint64(rng.IntN(2))}
			}
			if e != (Addr6{}) {
				edges = append(edges, e)
			}
		}
		slices.SortFunc(edges, func(a, b Addr6) int { return a.Addr().Compare(b.Addr()) })
		edges = slices.Compact(edges)
		edges = edges[:len(edges)&^1]

		var copied, added Builder6
		from := Addr6{}
		add := func(from, after Addr6) {
			row, _ := r.FindLong(from)
			added.Add(from.Hi, from.Lo, rows[row.Ranking()])
			for start, row := range r.All() {
				if from.Less(start) && (after == Addr6{} || start.Less(after)) {
					added.Add(start.Hi, start.Lo, rows[row.Ranking()])
				}
			}
		}
		for i := 0; i < len(edges); i += 2 {
			copied.Copy(r, from, edges[i], rows)
			add(from, edges[i])
			copied.Add(edges[i].Hi, edges[i].Lo, between)
			added.Add(edges[i].Hi, edges[i].Lo, between)
			from = edges[i+1]
		}
		copied.Copy(r, from, Addr6{}, rows)
		add(from, Addr6{})
		got, want := copied.Finish(), added.Finish()
		if !slices.Equal(got.Starts, want.Starts) || !slices.Equal(got.Rows, want.Rows) || !slices.Equal(got.Exceptions, want.Exceptions) {
			t.Fatalf("round %d, edges %x: got %x %x %x\nwant %x %x %x", round, edges, got.Starts, got.Rows, got.Exceptions, want.Starts, want.Rows, want.Exceptions)
		}
		exceptions += len(got.Exceptions)
	}
	if exceptions == 0 {
		t.Error("no table had exceptions: the test draws nothing that counts")
	}
}

// TestSoundMatchesVerify damages tables at random and holds the fast check to the
// slow one, which names the fault.
func TestSoundMatchesVerify(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 1))
	m, err := Parse(encode(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	verdicts := map[bool]int{}
	for round := range 4000 {
		r := *m.ecs.V4
		r.Index, r.Starts, r.Rows = slices.Clone(r.Index), slices.Clone(r.Starts), slices.Clone(r.Rows)
		for range rng.IntN(3) {
			// Near where the table is not uniform: elsewhere a fault is like any other.
			i := rng.IntN(len(r.Rows))
			switch rng.IntN(4) {
			case 0:
				r.Starts[i] = uint16(rng.Uint32()) >> rng.IntN(17)
			case 1:
				r.Rows[i] ^= 1 << rng.IntN(32)
			case 2:
				r.Rows[i] = r.Rows[max(i-1, 0)]
			case 3:
				r.Index[rng.IntN(len(r.Index))] += rng.Uint32N(3) - 1
			}
		}
		sound, err := m.sound4(&r), m.verifyRanges4(&r)
		if sound != (err == nil) {
			t.Fatalf("round %d: sound is %v, but the fault is: %v", round, sound, err)
		}
		verdicts[sound]++
	}
	if verdicts[true] < 100 || verdicts[false] < 100 {
		t.Errorf("%d sound tables and %d damaged ones: the test draws too few of one kind", verdicts[true], verdicts[false])
	}
}
