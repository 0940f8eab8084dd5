package beacon

import (
	"context"
	"errors"
	"iter"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// plainCells is the slow twin of an engine.
func plainCells(samples []Sample) []Cell {
	type key struct {
		unit Unit
		pop  uint16
	}
	by := map[key][]Sample{}
	for _, s := range samples {
		by[key{s.Unit, s.PoP}] = append(by[key{s.Unit, s.PoP}], s)
	}
	var cells []Cell
	for k, list := range by {
		slices.SortFunc(list, func(a, b Sample) int { return int(a.Value) - int(b.Value) })
		var spread []int16 // each value as often as it weighs
		for _, s := range list {
			for range s.Weight {
				spread = append(spread, s.Value)
			}
		}
		n := len(spread)
		c := Cell{Unit: k.unit, PoP: k.pop, Count: uint32(len(list)), Weight: uint64(n), P50: spread[n/2], P90: spread[n*9/10]}
		for _, v := range spread {
			c.Deviation += uint64(max(int(v)-int(c.P50), int(c.P50)-int(v)))
		}
		cells = append(cells, c)
	}
	slices.SortFunc(cells, func(a, b Cell) int {
		if c := a.Unit.Prefix().Addr().Compare(b.Unit.Prefix().Addr()); c != 0 {
			return c
		}
		return int(a.PoP) - int(b.PoP)
	})
	return cells
}

func collect(t *testing.T, cells iter.Seq2[Cell, error]) []Cell {
	t.Helper()
	var list []Cell
	for c, err := range cells {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

func TestEmbeddedMatchesPlain(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{0, 1, 2, 3, 1000, 30_000} {
		var samples []Sample
		for range n {
			s := Sample{UnitOf(randomAddr(rng)), uint16(rng.IntN(5) * rng.IntN(2) * 800), int16(rng.Uint32()), uint16(1 + rng.IntN(3))}
			switch rng.IntN(10) {
			case 0: // anywhere
				s.Unit, s.PoP = UnitOf(netip.AddrFrom4([4]byte{byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})), uint16(rng.IntN(maxPoPs))
			case 1:
				s.Unit, s.Weight = unit6|Unit(rng.Uint64()>>16), MaxWeight
			case 2:
				s.Value = []int16{math.MinInt16, math.MaxInt16, 0, -1}[rng.IntN(4)]
			}
			samples = append(samples, s)
		}
		want := plainCells(samples)
		agg, err := Embedded{}.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		for part := range slices.Chunk(samples, n/7+1) {
			go func() { done <- agg.Add(part) }()
		}
		for range slices.Collect(slices.Chunk(samples, n/7+1)) {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		if got := collect(t, agg.Cells()); !slices.Equal(got, want) {
			t.Errorf("%d samples: %d cells, want %d, or others", n, len(got), len(want))
		}
	}
}

func TestUpperWeightedMedian(t *testing.T) {
	for _, tt := range []struct {
		values   []int16 // pairs of value and weight
		p50, p90 int16
	}{
		{[]int16{7, 1}, 7, 7},
		{[]int16{-7, 4095}, -7, -7},
		{[]int16{1, 1, 2, 1}, 2, 2},
		{[]int16{1, 1, 2, 1, 3, 1}, 2, 3},
		{[]int16{1, 2, 2, 1, 3, 1}, 2, 3},
		{[]int16{1, 3, 2, 1, 3, 1}, 1, 3},
		{[]int16{5, 1, -5, 1, 0, 9, 9, 9}, 5, 9},
		{[]int16{1, 9, 2, 1}, 1, 2},
		{[]int16{1, 10, 2, 1}, 1, 1},
	} {
		agg, _ := Embedded{}.Begin(t.Context())
		var samples []Sample
		for v := range slices.Chunk(tt.values, 2) {
			samples = append(samples, Sample{Unit: 77, PoP: 3, Value: v[0], Weight: uint16(v[1])})
		}
		if err := agg.Add(samples); err != nil {
			t.Fatal(err)
		}
		got := collect(t, agg.Cells())
		if len(got) != 1 || got[0].P50 != tt.p50 || got[0].P90 != tt.p90 {
			t.Errorf("%v: %+v, want p50 %d and p90 %d", tt.values, got, tt.p50, tt.p90)
		}
	}
}

func TestAddRefuses(t *testing.T) {
	for _, s := range []Sample{{PoP: 1}, {PoP: 4096, Weight: 1}, {Weight: MaxWeight + 1}} {
		agg, _ := Embedded{}.Begin(t.Context())
		if err := agg.Add([]Sample{s}); err == nil || !strings.HasPrefix(err.Error(), "a sample has pop ") {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func TestAggregateSessions(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	dir := t.TempDir()
	w := writer(t, dir)
	for _, id := range []string{"a", "b", "c"} {
		appendRows(t, w, id, fleet, random(rng, 2000, 5))
	}
	from, to := all()
	set, err := Open(dir, from, to)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	planned := []string{"sin", "gru", "ams", "fra"} // not nyc
	plan := Plan{
		PoPs: planned,
		Correct: func(dst []int16, s Session) []int16 {
			for _, r := range s.Rows {
				v := int16(r.RTT) - int16(s.Rows[0].RTT)
				if v == 5 {
					v = Skip
				}
				dst = append(dst, v)
			}
			return dst
		},
		Weight: func(_ Session, r Row) uint16 { return uint16(r.Time % 3) },
	}
	var samples []Sample
	for s, err := range set.Sessions() {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range s.Rows {
			pop, v := slices.Index(planned, s.PoPs[r.PoP]), int16(r.RTT)-int16(s.Rows[0].RTT)
			if pop >= 0 && v != 5 && r.Time%3 > 0 && !r.Failed() {
				samples = append(samples, Sample{UnitOf(r.Client), uint16(pop), v, uint16(r.Time % 3)})
			}
		}
	}
	want := plainCells(samples)
	if got := collect(t, Aggregate(t.Context(), set, plan, Embedded{}, 3)); !slices.Equal(got, want) {
		t.Errorf("%d cells, want %d, or others", len(got), len(want))
	}

	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	var last error
	for _, err := range Aggregate(stopped, set, plan, Embedded{}, 2) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("after the end of its context: %v", last)
	}
	plan.Correct = func(dst []int16, _ Session) []int16 { return dst }
	for _, err := range Aggregate(t.Context(), set, plan, Embedded{}, 2) {
		last = err
	}
	if last == nil || !strings.HasPrefix(last.Error(), "aggregate beacons: the correction gave 0 values for ") {
		t.Errorf("with a wrong correction: %v", last)
	}
}
