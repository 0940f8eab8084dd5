package mapper

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"edged/geo/place"
	"edged/mapper/beacon"
	"edged/mapper/estimate"
	"edged/maps"
)

// Neighbours that agree on the first choice only keep the times that they measured.
func TestMeasuredKeepTheirTimes(t *testing.T) {
	times := []string{"fra:10 nyc:20", "fra:10 nyc:200", "fra:10 nyc:20", "fra:80 nyc:100", "fra:10 nyc:11", "fra:11 nyc:200"}
	var list strings.Builder
	for i, hops := range times {
		list.WriteString(block(i).String() + "," + hops + "\n")
	}
	nets, err := ReadNets(strings.NewReader(list.String()), "n", pops)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := mustBuild(t, Input{PoPs: pops, Nets: nets, Tolerance: DefaultTolerance})
	for i, want := range times {
		row, from, to := m.ECS().Lookup(block(i).Addr().Next())
		var hops []string
		for _, h := range m.Ranking(row.Ranking()).Hops {
			hops = append(hops, fmt.Sprintf("%s:%v", pops[h.PoP].Name, float64(h.RTT)/2))
		}
		if got := strings.Join(hops, " "); got != want {
			t.Errorf("block %d has %q, want %q", i, got, want)
		}
		if from != block(i).Addr() || to != block(i+1).Addr().Prev() {
			t.Errorf("block %d is in %v to %v, want a range of its own", i, from, to)
		}
	}
}

// measuredAtRandom are blocks in three places, of which many measured nearly what
// their neighbours did, and some something else. A tenth of their cells are missing.
func measuredAtRandom(rng *rand.Rand, n int) (m *Measurements, places []located) {
	cities := []place.Place{berlin, boston, perth}
	m = &Measurements{Newest: created.Unix()}
	city := 0
	for i := range n {
		if rng.IntN(10) == 0 {
			city = rng.IntN(len(cities))
		}
		at := cities[city]
		places = append(places, located{block(i), at})
		u := MeasuredUnit{Unit: beacon.UnitOf(block(i).Addr()), Sessions: 20, Sources: 20}
		detour := rng.IntN(5) == 0
		for pop, p := range pops {
			rtt := 5 + math.Hypot(p.Lat-at.Lat, p.Lon-at.Lon) + 2*rng.Float64()
			if detour && rng.IntN(3) == 0 {
				rtt += 100 * rng.Float64()
			}
			if rng.IntN(10) > 0 {
				u.Cells = append(u.Cells, estimate.Cell{
					PoP: uint16(pop), RTT: rtt, P90: rtt, Weight: 20, Samples: 20, Sources: 20, Spread: 1, High: rtt,
				})
			}
		}
		m.Units = append(m.Units, u)
	}
	return m, places
}

// Every unit finds its PoPs in the map in the order of its estimates, within 1 ms
// of them, and from the levels that they are from.
func TestMeasuredFindTheirEstimates(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	m, places := measuredAtRandom(rng, 2000)
	locate := func(a netip.Addr) place.Place {
		at := slices.IndexFunc(places, func(l located) bool { return l.prefix.Contains(a) })
		return places[at].at
	}
	e := Estimate(m, pops, locate, nil)
	built, _ := mustBuild(t, Input{PoPs: pops, Place: sequence(places), Measured: e, Tolerance: DefaultTolerance})
	for i, u := range m.Units {
		row, _, _ := built.ECS().Lookup(u.Unit.Prefix().Addr())
		hops, origins := built.Ranking(row.Ranking()).Hops, built.HopOrigins(row.Ranking())
		list := e.model.Unit(i)
		if len(hops) != 8 || len(list) < len(hops) {
			t.Fatalf("%v: %d hops of %d estimates, want 8", u.Unit, len(hops), len(list))
		}
		for k, h := range hops {
			if want := list[k]; h.PoP != want.PoP || math.Abs(float64(h.RTT)/2-want.RTT) > 1 {
				t.Fatalf("%v: hop %d is %s in %v ms, want %s in %v", u.Unit, k, pops[h.PoP].Name, float64(h.RTT)/2, pops[want.PoP].Name, want.RTT)
			}
			if level, ok := LevelOf(origins[k]); !ok || level != list[k].Level {
				t.Fatalf("%v: the time of %s is from %v, want %v", u.Unit, pops[h.PoP].Name, level, list[k].Level)
			}
		}
	}
}

// Guesses that are merged are nearly as good as a range's own: the first choice
// within three times the tolerance, the others within five times of it or a quarter, and
// half a millisecond more where rankings were made one.
func TestMergedGuessesHold(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	places := checkerboard(rng, 2000)
	for i := range places { // some are farther away, with the same PoP first
		if rng.IntN(3) == 0 {
			places[i].at.Lat += 12
		}
	}
	e := Estimate(&Measurements{}, pops, nil, nil)
	for _, tolerance := range []float64{DefaultTolerance, 8} {
		m, r := mustBuild(t, Input{PoPs: pops, Place: sequence(places), Measured: e, Tolerance: tolerance})
		if v4, _ := m.Stats(m.ECS()); v4.Ranges >= r.Leaves4 {
			t.Errorf("within %v ms: %d ranges of %d leaves", tolerance, v4.Ranges, r.Leaves4)
		}
		for _, l := range places {
			at, _ := e.snap(l.at)
			own, _ := e.at(at)
			row, _, _ := m.ECS().Lookup(l.prefix.Addr())
			for k, h := range m.Ranking(row.Ranking()).Hops {
				i := slices.IndexFunc(own, func(o maps.Hop) bool { return o.PoP == h.PoP })
				listed := i >= 0
				if !listed { // it takes no less than the last one
					i = len(own) - 1
				}
				guess := float64(own[i].RTT) / 2
				bound := max(5*tolerance, guess/4) + 0.5
				if k == 0 {
					bound = 3*tolerance + 0.5
				}
				if off := float64(h.RTT)/2 - guess; off < -bound || listed && off > bound {
					t.Fatalf("%v within %v ms: hop %d, %s, is %v ms off its %v", l.prefix, tolerance, k, pops[h.PoP].Name, off, guess)
				}
			}
		}
	}
}

// TestSpentEstimatesMakeTheSameMap also holds the map of one processor to that of
// several.
func TestSpentEstimatesMakeTheSameMap(t *testing.T) {
	m, places := measuredAtRandom(rand.New(rand.NewPCG(6, 7)), 3000)
	locate := func(a netip.Addr) place.Place {
		at := slices.IndexFunc(places, func(l located) bool { return l.prefix.Contains(a) })
		return places[at].at
	}
	e := Estimate(m, pops, locate, nil)
	in := Input{PoPs: pops, Place: sequence(places), Measured: e, Tolerance: DefaultTolerance}
	want, _ := mustBuild(t, in)
	in.Spent = true
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	got, _ := mustBuild(t, in)
	if got.Version() != want.Version() {
		t.Errorf("version %s, want %s", got.Version(), want.Version())
	}
	if e.model != nil || m.Units[0].Cells != nil {
		t.Error("what was spent is kept")
	}
}
