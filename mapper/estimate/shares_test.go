package estimate

import (
	"math"
	"testing"

	"edged/edge"
	"edged/geo/place"
)

func TestNetworksAreLimited(t *testing.T) {
	asns := []uint32{1, 1, 1, 2, 3, 9}
	const g, other = 0, 1
	all := []evidence{
		{unit: 0, group: g, column: 4, weight: 2},
		{unit: 1, group: g, column: 4, weight: 2},
		{unit: 3, group: g, column: 4, weight: 1},
		{unit: 4, group: g, column: 4, weight: 1},
		{unit: 0, group: g, column: 5, weight: 1},
		{unit: 3, group: g, column: 5, weight: 1},
		{unit: 5, group: other, column: 4, weight: 7}, // alone: there is nobody else to hear
	}
	limited := limitNetworks(all, func(unit int) uint32 { return asns[unit] })
	want := []float64{1, 1, 1, 1, 1, 1, 7}
	for i, e := range all {
		if math.Abs(e.weight-want[i]) > 1e-12 {
			t.Errorf("evidence %d weighs %v, want %v", i, e.weight, want[i])
		}
	}
	if len(limited) != 1 || !limited[1] {
		t.Errorf("limited: %v, want network 1", limited)
	}
}

// TestServersTeachNobody: what servers measured does not move what a country says
// to people there, and does move what their own network says.
func TestServersTeachNobody(t *testing.T) {
	pops := []edge.PoP{{Name: "a", Lat: 50, Lon: 8}, {Name: "b", Lat: 51, Lon: 9}, {Name: "c", Lat: 52, Lon: 10}}
	berlin := place.Place{Country: "DE", Lat: 52.5, Lon: 13.4, HasCoord: true}
	model := func(servers bool) *Model {
		var units []Unit
		for i := range 20 {
			p, rtt := berlin, []float64{20, 30, 40}
			if p.ASN = 1; i%2 == 1 {
				p.ASN, rtt = 2, []float64{40, 30, 20}
			}
			u := Unit{Place: p, Servers: servers && p.ASN == 2}
			for pop, ms := range rtt {
				u.Cells = append(u.Cells, Cell{PoP: uint16(pop), RTT: ms, Weight: 20, Samples: 20, Sources: 9})
			}
			units = append(units, u)
		}
		return Fit(pops, units)
	}
	ask := func(m *Model, asn uint32) uint16 {
		p := berlin
		p.ASN = asn
		return m.At(p)[0].PoP
	}
	m := model(true)
	if got := []uint16{ask(m, 0), ask(m, 1), ask(m, 2)}; got[0] != 0 || got[1] != 0 || got[2] != 2 {
		t.Errorf("first choices of somebody, of people and of servers: %v, want 0, 0 and 2", got)
	}
	if got := ask(model(false), 2); got != 2 {
		t.Errorf("as people, network 2 goes to %d, want 2", got)
	}
}
