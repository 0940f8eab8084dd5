package mapper

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"

	"edged/geo/place"
	"edged/mapper/simulate"
	"edged/maps"
)

// checkerboard are /20s in two places a few km apart, in turn, and now and then one
// on the other side of the world.
func checkerboard(rng *rand.Rand, n int) (list []located) {
	for i := range n {
		at := place.Place{Country: "DE", Lat: 51 + rng.Float64(), Lon: 7 + 4*rng.Float64(), HasCoord: true}
		if rng.IntN(20) == 0 {
			at.Lat, at.Lon = -33+rng.Float64(), 151
		}
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 4), byte(i << 4), 0}), 20)
		list = append(list, located{prefix, at})
	}
	return list
}

// No address gets a PoP that is worse than the best by more than the tolerance, nor
// a second one that is worse by more than five times that; and there are fewer
// ranges.
func TestToleranceHolds(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	places := checkerboard(rng, 2000)
	for _, tolerance := range []float64{0.5, 2, 8} {
		m, r := mustBuild(t, Input{PoPs: pops, Place: sequence(places), Tolerance: tolerance})
		if v4, _ := m.Stats(m.ECS()); v4.Ranges >= r.Leaves4 {
			t.Errorf("within %v ms: %d ranges of %d leaves", tolerance, v4.Ranges, r.Leaves4)
		}
		model := Estimate(&Measurements{}, pops, nil, nil)
		for _, l := range places {
			snapped, _ := model.snap(l.at)
			ms := map[uint16]float64{}
			hops, _ := model.at(snapped)
			for _, h := range hops {
				ms[h.PoP] = float64(h.RTT) / 2
			}
			row, _, _ := m.ECS().Lookup(l.prefix.Addr())
			order := orderOf(m, row)
			first, second := ms[order[0]], ms[order[1]]
			best, next := math.Inf(1), math.Inf(1)
			for pop, v := range ms {
				best = min(best, v)
				if pop != order[0] {
					next = min(next, v)
				}
			}
			if first > best+tolerance {
				t.Fatalf("%v within %v ms: first choice %v takes %v ms, the best %v", l.prefix, tolerance, order[0], first, best)
			}
			// Orders by distance are of cells of half a degree: 1 ms.
			if second > next+secondTolerance*tolerance+1 {
				t.Fatalf("%v within %v ms: second choice %v takes %v ms, the best %v", l.prefix, tolerance, order[1], second, next)
			}
		}
	}
}

// orderOf returns the PoPs of a row in their order.
func orderOf(m *maps.Map, row maps.Row) (list []uint16) {
	r := m.Ranking(row.Ranking())
	seen := map[uint16]bool{}
	for _, h := range r.Hops {
		list, seen[h.PoP] = append(list, h.PoP), true
	}
	for _, pop := range m.Order(r.Order) {
		if !seen[pop] {
			list = append(list, pop)
		}
	}
	return list
}

// What was measured keeps a range of its own among places with the same answer.
func TestMeasuredIsNotMergedAway(t *testing.T) {
	nets := []Net{{Prefix: netip.MustParsePrefix("10.0.1.0/24"), Hops: []maps.Hop{{PoP: 0, RTT: 77}}, Tables: Both}}
	m, _ := mustBuild(t, Input{PoPs: pops, Nets: nets, Tolerance: 5, Place: sequence([]located{{netip.MustParsePrefix("10.0.0.0/8"), berlin}})})
	row, from, to := m.ECS().Lookup(netip.MustParseAddr("10.0.1.5"))
	if from.String() != "10.0.1.0" || to.String() != "10.0.1.255" || !row.Measured() || m.Ranking(row.Ranking()).Hops[0].RTT != 77 {
		t.Errorf("10.0.1.5: %v to %v, measured %v", from, to, row.Measured())
	}
}

// Merging must not pour demand over a PoP that is nearly full: far has room for
// three blocks, and all are within the tolerance of it.
func TestMergingKeepsLimits(t *testing.T) {
	pops := twoPoPs(1000, 5)
	pops[1].Lat, pops[1].Lon = 50, 20
	var places []located
	for i := range 32 {
		at := place.Place{Country: "DE", Lat: 50, Lon: 13.9, HasCoord: true}
		if i%16 == 5 { // these two are nearer to far
			at.Lon = 20
		}
		places = append(places, located{block(i), at})
	}
	_, r := mustBuild(t, Input{PoPs: pops, Place: sequence(places), Demand: demandOf(32, 1), Tolerance: 4})
	if r.PoPs[1].Load != 2 || r.PoPs[0].Load != 30 {
		t.Errorf("loads %+v, want 30 and 2", r.PoPs)
	}
}

// Built again with itself in force, a map moves nobody and grows no ranges, however
// wide the tolerance.
func TestMergingIsStable(t *testing.T) {
	places := checkerboard(rand.New(rand.NewPCG(5, 5)), 2000)
	in := Input{PoPs: pops, Place: sequence(places), Tolerance: 8}
	before, _ := mustBuild(t, in)
	in.InForce = before
	after, r := mustBuild(t, in)
	if r.InForce == 0 || r.Moved != 0 {
		t.Errorf("%v of %v moved, want nothing of something", r.Moved, r.InForce)
	}
	old, _ := before.Stats(before.ECS())
	if now, _ := after.Stats(after.ECS()); now.Ranges > old.Ranges+old.Ranges/10 {
		t.Errorf("%d ranges of %d", now.Ranges, old.Ranges)
	}
}

// Rankings with the same PoPs and nearly the same times become one, the most used.
func TestClasses(t *testing.T) {
	c := newClasses()
	hops := func(rtt ...uint16) (list []maps.Hop) {
		for i, ms := range rtt {
			list = append(list, maps.Hop{PoP: uint16(i), RTT: ms})
		}
		return list
	}
	for _, tt := range []struct {
		ranking maps.Ranking
		uses    int
		level   uint8
	}{
		{maps.Ranking{Hops: hops(20, 40), Order: 7}, 1, 0},
		{maps.Ranking{Hops: hops(21, 41), Order: 7}, 3, 0}, // stands for the others
		{maps.Ranking{Hops: hops(22, 40), Order: 7}, 1, 0},
		{maps.Ranking{Hops: hops(21, 43), Order: 7}, 1, 0}, // 1 ms off
		{maps.Ranking{Hops: hops(21, 41), Order: 8}, 1, 0}, // another place; both have two of three pops
		{maps.Ranking{Hops: hops(21, 0), Order: 7}, 1, 0},  // of one the time is not known
		{maps.Ranking{Hops: hops(50, 60, 70), Order: 1}, 1, 0},
		{maps.Ranking{Hops: hops(50, 60, 71), Order: 2}, 1, 0},            // all pops: the place behind says nothing
		{maps.Ranking{Hops: hops(50, 60, 71), Order: maps.NoOrder}, 1, 0}, // no place
		{maps.Ranking{Order: 3}, 1, 0},
		{maps.Ranking{Order: 4}, 1, 0},
		{maps.Ranking{Hops: hops(20, 40), Order: 7}, 1, 7}, // the same times from another level
		{maps.Ranking{Hops: hops(21, 41), Order: 7}, 1, 7},
	} {
		for range tt.uses {
			c.of(tt.ranking, func(uint16) maps.Origin { return maps.MakeOrigin(tt.level, 9) })
		}
	}
	ids := c.join(3)
	if want := []uint32{0, 0, 0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 8}; !reflect.DeepEqual(ids, want) {
		t.Errorf("ids %v, want %v", ids, want)
	}
	if first := c.list[0]; first.Hops[0].RTT != 21 || len(c.list) != 9 {
		t.Errorf("%d rankings, the first %+v; want 9, the first with 21", len(c.list), first)
	}
	kept := c.orders(make([][]uint16, 9))
	if len(kept) != 5 || c.list[0].Order != 0 || c.list[2].Order != 1 || c.list[5].Order != maps.NoOrder {
		t.Errorf("%d orders, want those 5 that are used", len(kept))
	}
}

// Demand by address is what a sum over all networks says.
func TestFlattenDemand(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for _, bits := range []int{32, 128} {
		var list []simulate.Demand
		for range 300 {
			b := [16]byte{0: 10, 1: byte(rng.IntN(3)), 2: byte(rng.IntN(8)), 3: byte(rng.IntN(4))}
			addr, length := netip.AddrFrom16(b), rng.IntN(33)
			if bits == 32 {
				addr = netip.AddrFrom4([4]byte(b[:4]))
			}
			list = append(list, simulate.Demand{Prefix: netip.PrefixFrom(addr, length).Masked(), Requests: float64(rng.IntN(4))})
		}
		list = append(list, simulate.Demand{Prefix: netip.MustParsePrefix("::/0"), Requests: 1}, simulate.Demand{Prefix: netip.MustParsePrefix("255.255.255.255/32"), Requests: 2})
		flat := flattenDemand(list, bits)
		for range 2000 {
			b := [16]byte{0: 10, 1: byte(rng.IntN(4)), 2: byte(rng.IntN(9)), 3: byte(rng.IntN(5))}
			addr := netip.AddrFrom16(b)
			if bits == 32 {
				addr = netip.AddrFrom4([4]byte(b[:4]))
			}
			want := 0.0
			for _, d := range list {
				if d.Prefix.Contains(addr) {
					want += d.Requests / math.Ldexp(1, bits-d.Prefix.Bits())
				}
			}
			first, _, _ := bounds(netip.PrefixFrom(addr, bits))
			got := density{line: noLine}
			for _, s := range flat {
				if first.Less(s.start) {
					break
				}
				got = s.value
			}
			if math.Abs(got.perAddress-want) > 1e-9*want || got.line == noLine && want > 0 {
				t.Fatalf("%v: demand %v, want %v", addr, got, want)
			}
		}
	}
}
