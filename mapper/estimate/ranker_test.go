package estimate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"edged/edge"
	"edged/geo/place"
)

// scattered draws units of few sites, in towns of one PoP and of several, with cells
// and without.
func scattered(rng *rand.Rand) (pops []edge.PoP, units []Unit) {
	for i := range 30 {
		pops = append(pops, edge.PoP{Name: fmt.Sprint(i), Lat: rng.Float64()*120 - 60, Lon: rng.Float64()*360 - 180})
	}
	for i := range 10 { // neighbours of others
		near := pops[i]
		near.Name, near.Lat = near.Name+"b", near.Lat+0.1
		pops = append(pops, near)
	}
	for i := range 400 {
		at := pops[i%7]
		u := Unit{Servers: i%23 == 0, Place: place.Place{
			Lat: at.Lat + float64(i%3), Lon: at.Lon, HasCoord: i%50 != 0, Country: string(rune('a' + i%2)), ASN: uint32(i % 4),
		}}
		for pop := range pops {
			if i%11 != 0 && rng.IntN(6) == 0 {
				u.Cells = append(u.Cells, Cell{
					PoP: uint16(pop), RTT: 50 + 90*rng.Float64(), Weight: 1 + 3*rng.Float64(), Samples: 1 + rng.IntN(9), Sources: 3, Spread: 2, High: math.Inf(1),
				})
			}
		}
		units = append(units, u)
	}
	return pops, units
}

// TestRanker holds it against Model.Unit and Model.Between, which work out each
// estimate by itself.
func TestRanker(t *testing.T) {
	pops, units := scattered(rand.New(rand.NewPCG(8, 2)))
	m := Fit(pops, units)
	check := func(r *Ranker, i int) {
		want := m.Unit(i)
		got := slices.Clone(r.Best(i, len(want)))
		if !slices.Equal(got, want) {
			t.Errorf("unit %d: %v, want %v", i, got, want)
		}
		for pop := range pops {
			if got, want := r.Between(i, uint16(pop)), m.Between(i, uint16(pop)); got != want {
				t.Errorf("unit %d, pop %d: %v, want %v", i, pop, got, want)
			}
		}
	}
	r := m.NewRanker()
	for i := range units {
		check(r, i)
	}
	var mu sync.Mutex // guards seen
	seen := make([]int, len(units))
	m.EachUnit(func(r *Ranker, i int) {
		check(r, i)
		mu.Lock()
		defer mu.Unlock()
		seen[i]++
	})
	for i, n := range seen {
		if n != 1 {
			t.Errorf("unit %d came %d times", i, n)
		}
	}
}
