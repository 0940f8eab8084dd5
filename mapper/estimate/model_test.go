package estimate

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"edged/edge"
	"edged/geo/place"
)

var pops = []edge.PoP{
	{Name: "fra", Lat: 50.1, Lon: 8.7},
	{Name: "ams", Lat: 52.4, Lon: 4.9},
	{Name: "waw", Lat: 52.2, Lon: 21.0},
	{Name: "nyc", Lat: 40.7, Lon: -74.0},
}

func at(lat, lon float64, country string, asn uint32) place.Place {
	return place.Place{Lat: lat, Lon: lon, HasCoord: true, Country: country, ASN: asn}
}

// measured is a unit where each PoP takes what distance says, 10 ms of access,
// and an extra.
func measured(p place.Place, extra ...float64) Unit {
	u := Unit{Place: p}
	for i := range pops {
		v := 10 + Line(pops, p)(uint16(i))
		if i < len(extra) {
			v += extra[i]
		}
		u.Cells = append(u.Cells, Cell{PoP: uint16(i), RTT: v, Weight: 10, Samples: 10, Sources: 10, High: v, Spread: 1})
	}
	return u
}

func find(t *testing.T, list []Estimate, pop uint16) Estimate {
	t.Helper()
	for _, e := range list {
		if e.PoP == pop {
			return e
		}
	}
	t.Fatalf("no estimate for pop %d", pop)
	return Estimate{}
}

// A place without measurements takes over what its network in the metro, or else
// its neighbours across the border, measured.
func TestPlacesLearnFromTheNearestLevel(t *testing.T) {
	units := []Unit{
		measured(at(50.08, 14.44, "CZ", 1), 80),
		measured(at(50.09, 14.45, "CZ", 1), 80),
		measured(at(50.07, 14.43, "CZ", 2)),
		measured(at(50.06, 14.42, "CZ", 2)),
		measured(at(40.40, -3.70, "ES", 3)),
		measured(at(41.40, 2.20, "ES", 3)),
		measured(at(59.30, 18.10, "SE", 4)),
		measured(at(45.40, 9.20, "IT", 5)),
	}
	m := Fit(pops, units)
	slow, fast := m.At(at(50.05, 14.40, "CZ", 1)), m.At(at(50.05, 14.40, "CZ", 2))
	if slow[0].PoP == 0 || fast[0].PoP != 0 {
		t.Errorf("first choices %d and %d, want another one than 0, and 0", slow[0].PoP, fast[0].PoP)
	}
	if e := find(t, slow, 0); e.Level != NetMetro || e.Samples != 2 {
		t.Errorf("comes from %v with %d units, want network in metro with 2", e.Level, e.Samples)
	}
	if e := find(t, m.At(at(49.2, 16.6, "AT", 9)), 0); e.Level != Near {
		t.Errorf("across the border comes from %v, want near", e.Level)
	}
	if e := find(t, m.At(at(-33.9, 151.2, "AU", 9)), 0); e.Level != World {
		t.Errorf("on the other side of the world comes from %v, want world", e.Level)
	}
	if m.Knows(9) || !m.Knows(2) {
		t.Error("networks known: want 2 and not 9")
	}
}

// What a unit measured itself goes before all others.
func TestUnitsGoByThemselves(t *testing.T) {
	units := []Unit{
		measured(at(50.08, 14.44, "CZ", 1)),
		measured(at(50.09, 14.45, "CZ", 1)),
		measured(at(50.07, 14.43, "CZ", 1), 90),
	}
	m := Fit(pops, units)
	if first := m.Unit(0)[0]; first.PoP != 0 || first.Level != Own || first.Samples != 10 {
		t.Errorf("first choice of unit 0 is %+v, want pop 0 of its own", first)
	}
	if first := m.Unit(2)[0]; first.PoP == 0 {
		t.Errorf("first choice of unit 2 is pop 0, which takes 90 ms longer there")
	}
}

// Two sources alone cannot make a PoP first, whatever they report.
func TestTwoSourcesCaptureNothing(t *testing.T) {
	units := []Unit{
		measured(at(50.08, 14.44, "CZ", 1)),
		measured(at(50.09, 14.45, "CZ", 1)),
	}
	units[0].Cells[3] = Cell{PoP: 3, RTT: 1, Weight: 2, Samples: 100, Sources: 2, High: math.Inf(1)}
	for i := range units {
		if first := Fit(pops, units).Unit(i)[0]; first.PoP != 0 {
			t.Errorf("first choice of unit %d is pop %d, want 0", i, first.PoP)
		}
	}
}

func TestPlaceUnknown(t *testing.T) {
	units := []Unit{measured(at(50.08, 14.44, "CZ", 1)), {Place: place.Place{}, Cells: []Cell{{PoP: 3, RTT: 5, Weight: 9, Samples: 9, Sources: 9, High: 5}}}}
	m := Fit(pops, units)
	if list := m.Unit(1); len(list) != 1 || list[0].PoP != 3 {
		t.Errorf("estimates %+v, want pop 3 only", list)
	}
	if list := m.At(place.Place{}); len(list) != 0 {
		t.Errorf("estimates %+v of an unknown place, want none", list)
	}
	if list := Fit(pops, nil).At(at(50, 14, "CZ", 1)); list[0].PoP != 0 || len(list) != 4 {
		t.Errorf("estimates without measurements %+v, want all by distance", list)
	}
}

func TestMargin(t *testing.T) {
	for _, tt := range []struct {
		now, best Estimate
		want      float64
	}{
		{Estimate{RTT: 20}, Estimate{RTT: 10}, 3},
		{Estimate{RTT: 80}, Estimate{RTT: 10}, 8},
		{Estimate{RTT: 20, Error: 3}, Estimate{RTT: 10, Error: 4}, 5 * sure},
		{Estimate{RTT: 80, Error: 3}, Estimate{RTT: 10, Error: 4}, 8},
	} {
		if got := Margin(tt.now, tt.best); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("from %+v to %+v: a margin of %v ms, want %v", tt.now, tt.best, got, tt.want)
		}
	}
}

// The more samples agree, the less a number is in doubt.
func TestErrors(t *testing.T) {
	var units []Unit
	for range 4 {
		units = append(units, measured(at(50.08, 14.44, "CZ", 1)))
	}
	units[1].Cells[0].Samples, units[1].Cells[0].Weight = 2, 2 // few
	units[2].Cells[0].Spread = 8                               // wide
	m := Fit(pops, units)
	usual, few, wide := find(t, m.Unit(0), 0).Error, find(t, m.Unit(1), 0).Error, find(t, m.Unit(2), 0).Error
	none := find(t, m.At(at(50.08, 14.44, "CZ", 1)), 0).Error
	if !(0 < usual && usual < few && few < none && usual < wide) {
		t.Errorf("standard errors: usual %v, of few samples %v, of none %v, of wide ones %v", usual, few, none, wide)
	}
	// Ten samples of weight 1 with a mean distance of 1 ms, as those of all others
	// nearly have.
	if want := math.Pi / 2 * (10 + m.spread) / 11 / math.Sqrt(10+m.own); math.Abs(usual-want) > 1e-9 {
		t.Errorf("standard error %v, want %v", usual, want)
	}
	if e := Fit(pops, nil).At(at(50, 14, "CZ", 1))[0].Error; e != 0 {
		t.Errorf("standard error %v where nothing was measured, want 0", e)
	}
}

func TestPriors(t *testing.T) {
	for _, tt := range []struct{ within, between, want float64 }{
		{0, 0, noPrior},
		{1, 0, maxPrior},
		{1, 1, 1},
		{1, 10, minPrior},
	} {
		if got := prior(tt.within, tt.between); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

// TestNearestMatchesPlain holds dot products to great circles.
func TestNearestMatchesPlain(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, n := range []int{1, 9, 10, 11, 60} {
		var fleet []edge.PoP
		for range n {
			fleet = append(fleet, edge.PoP{Lat: 180*rng.Float64() - 90, Lon: 360*rng.Float64() - 180})
		}
		fleet = append(fleet, fleet[0]) // two in one place: the first goes first
		m := Fit(fleet, nil)
		for range 50 {
			p := at(180*rng.Float64()-90, 360*rng.Float64()-180, "", 0)
			want := make([]uint16, len(fleet))
			for i := range want {
				want[i] = uint16(i)
			}
			slices.SortStableFunc(want, func(a, b uint16) int { return cmp.Compare(distance(p, fleet[a]), distance(p, fleet[b])) })
			if got := m.nearest(&p); !slices.Equal(got, want[:min(len(want), candidateCount)]) {
				t.Fatalf("%d pops, from %v: %v, want %v", n, p, got, want)
			}
		}
	}
}

// TestOrderFirstMatchesOrder: the first are the same, and the others are all there.
func TestOrderFirstMatchesOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for range 300 {
		list := make([]Estimate, rng.IntN(12))
		for i := range list {
			list[i] = Estimate{PoP: uint16(i), RTT: float64(rng.IntN(5))}
		}
		rng.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
		want, first := slices.Clone(list), rng.IntN(14)
		order(want)
		orderFirst(list, first)
		n := min(first, len(list))
		if !slices.Equal(list[:n], want[:n]) {
			t.Fatalf("first %d: %v, want %v", first, list[:n], want[:n])
		}
		if order(list); !slices.Equal(list, want) {
			t.Fatalf("first %d: all are %v, want %v", first, list, want)
		}
	}
}
