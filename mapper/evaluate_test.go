package mapper

import (
	"math"
	"net/netip"
	"strings"
	"testing"

	"edged/geo/place"
	"edged/mapper/beacon"
	"edged/mapper/estimate"
	"edged/mapper/simulate"
	"edged/maps/mapstest"
)

// TestEvaluate has four blocks in Berlin, nearest to fra, with sessions and round
// trips of their own.
func TestEvaluate(t *testing.T) {
	nets, err := ReadNets(strings.NewReader("203.0.1.0/24,ams:10\n203.0.2.0/24,nyc:10\n"), "n", pops)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := mustBuild(t, Input{
		PoPs: pops, Nets: nets,
		Place: sequence([]located{{netip.MustParsePrefix("203.0.0.0/16"), berlin}}),
	})
	unit := func(i byte, sessions int, rtts ...float64) MeasuredUnit {
		u := MeasuredUnit{Unit: beacon.UnitOf(netip.AddrFrom4([4]byte{203, 0, i, 0})), Sessions: sessions}
		for pop, rtt := range rtts {
			if rtt > 0 {
				u.Cells = append(u.Cells, estimate.Cell{PoP: uint16(pop), RTT: rtt})
			}
		}
		return u
	}
	measured := &Measurements{Units: []MeasuredUnit{
		unit(1, 60, 14, 12),     // first ams, the best; fra is 2 worse
		unit(2, 28, 10, 0, 40),  // first nyc, 30 worse; fra is best
		unit(3, 12, 20, 8),      // first fra, 12 worse
		unit(4, 100, 0, 9, 100), // first fra, which it did not measure
	}}
	e := Evaluate(m, measured, nil)
	if e.Units != 3 || e.Unheard != 1 || e.Sessions != 100 || e.Demand != 100 {
		t.Errorf("counts %+v", e)
	}
	near := func(what string, got, want Score) {
		t.Helper()
		got.Interval = [2]float64{}
		for _, pair := range [][2]float64{
			{got.Exact, want.Exact},
			{got.Within5, want.Within5},
			{got.Within10, want.Within10},
			{got.Within25, want.Within25},
			{got.Mean, want.Mean},
			{got.P50, want.P50},
			{got.P90, want.P90},
			{got.P95, want.P95},
			{got.P99, want.P99},
			{got.RTT, want.RTT},
		} {
			if math.Abs(pair[0]-pair[1]) > 1e-9 || got.Units != want.Units {
				t.Errorf("%s: %+v, want %+v", what, got, want)
				return
			}
		}
	}
	near("map by demand", e.ByDemand.Map, Score{3, 0.6, 0.6, 0.6, 0.72, 0.28*30 + 0.12*12, [2]float64{}, 0, 30, 30, 30, 0.6*12 + 0.28*40 + 0.12*20})
	near("nearest by demand", e.ByDemand.Nearest, Score{3, 0.28, 0.88, 0.88, 1, 0.6*2 + 0.12*12, [2]float64{}, 2, 12, 12, 12, 0.6*14 + 0.28*10 + 0.12*20})
	near("oracle by demand", e.ByDemand.Oracle, Score{3, 1, 1, 1, 1, 0, [2]float64{}, 0, 0, 0, 0, 0.6*12 + 0.28*10 + 0.12*8})
	near("map by unit", e.ByUnit.Map, Score{3, 1 / 3., 1 / 3., 1 / 3., 2 / 3., 14, [2]float64{}, 12, 30, 30, 30, 24})
	if i := e.ByUnit.Map.Interval; i[0] != 0 || i[1] != 30 {
		t.Errorf("interval %v, want 0 to 30: three units drawn again are all the same in one of 27 cases each", i)
	}
	if again := Evaluate(m, measured, nil); again != e {
		t.Errorf("the same evaluation gave %+v, want %+v", again, e)
	}

	demand := UnitDemand([]simulate.Demand{{Prefix: netip.MustParsePrefix("203.0.0.0/22"), Requests: 40}, {Prefix: netip.MustParsePrefix("203.0.3.128/25"), Requests: 50}})
	e = Evaluate(m, measured, demand)
	if want := (10*30 + 60*12) / 80.0; e.Demand != 80 || math.Abs(e.ByDemand.Map.Mean-want) > 1e-9 {
		t.Errorf("by requests: mean %v of %v requests, want %v of 80", e.ByDemand.Map.Mean, e.Demand, want)
	}
	if empty := Evaluate(m, &Measurements{}, nil); empty.Units != 0 || empty.ByDemand.Map != (Score{}) {
		t.Errorf("of nothing: %+v", empty)
	}
}

// A block outside of every place has no nearest PoP.
func TestEvaluateWithoutPlaces(t *testing.T) {
	nets, _ := ReadNets(strings.NewReader("203.0.1.0/24,ams:10\n"), "n", pops)
	contents, _, _ := Build(Input{PoPs: pops, Nets: nets, Created: created, Place: sequence([]located{{netip.MustParsePrefix("9.0.0.0/8"), place.Place{}}})})
	m := mapstest.Map(t, contents)
	e := Evaluate(m, &Measurements{Units: []MeasuredUnit{{
		Unit: beacon.UnitOf(netip.MustParseAddr("203.0.1.0")), Sessions: 5, Cells: []estimate.Cell{{PoP: 1, RTT: 7}},
	}}}, nil)
	if e.Units != 1 || e.ByDemand.Map.RTT != 7 || e.ByDemand.Nearest.Units != 0 {
		t.Errorf("got %+v", e)
	}
}

func TestUnitDemand(t *testing.T) {
	var list []simulate.Demand
	for _, d := range []struct {
		prefix   string
		requests float64
	}{{"0.0.0.0/0", 1 << 24}, {"10.0.0.0/8", 1 << 17}, {"10.1.1.0/24", 5}, {"10.1.1.7/32", 0.5}, {"2001:db8::/32", 1 << 16}, {"2001:db8::/64", 3}} {
		list = append(list, simulate.Demand{Prefix: netip.MustParsePrefix(d.prefix), Requests: d.requests})
	}
	demand := UnitDemand(list)
	for addr, want := range map[string]float64{"10.1.1.1": 1 + 2 + 5.5, "10.1.2.1": 3, "11.0.0.1": 1, "2001:db8::1": 4, "2001:db8:1::": 1, "2001:db9::": 0} {
		if got := demand(beacon.UnitOf(netip.MustParseAddr(addr))); got != want {
			t.Errorf("%s: %v requests/s, want %v", addr, got, want)
		}
	}
}
