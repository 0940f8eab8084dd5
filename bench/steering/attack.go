package main

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"edged/edge"
	"edged/mapper/beacon"
	"edged/maps"
)

// capture is how many attacks made a map answer what the attacker wanted.
type capture struct {
	N        int     `json:"n"`
	Captured float64 `json:"captured"` // share, 0 to 1
}

// lightPerKm is the least time of a round trip, ms per km of fibre.
const lightPerKm = 0.01

// poisoned is the share of a unit's samples that two sources send.
const poisoned = 0.2

// apart is how many cities are between two that are attacked in one map: so few
// are at a time that each has honest neighbours.
const apart = 12

// attack has two clients in a city make one PoP look best, for each city and each
// of the candidates and one PoP outside, in two ways: with sessions that report the
// least that is possible for it and 400 ms for the PoPs in its way, and with all
// samples on it alone. The map of the honest rows is in force.
func attack(o options, l *lab, list []city, honest []beacon.Row, inForce *maps.Map, first []uint16) (c capture, err error) {
	rng := rand.New(rand.NewPCG(o.seed, 7))
	captured := 0
	for round := range candidates {
		for _, flood := range []bool{false, true} {
			for group := range apart {
				targets := map[int]uint16{}
				rows := slices.Clone(honest)
				for i := group; i < len(list); i += apart {
					near := byDistance(l.pops, list[i].lat, list[i].lon)
					target := near[round]
					if round == candidates-1 {
						target = near[candidates+rng.IntN(len(near)-candidates)]
					}
					if !o.scores(i) || target == first[i] {
						continue
					}
					targets[i] = target
					least := 1 + lightPerKm*edge.DistanceKm(list[i].lat, list[i].lon, l.pops[target].Lat, l.pops[target].Lon)
					rows = append(rows, lies(len(list), i, target, first[i], near, least, flood)...)
				}
				m, err := l.measure(fmt.Sprintf("attack-%d-%v-%d", round, flood, group), rows)
				if err != nil {
					return c, err
				}
				after, err := l.build(m, inForce)
				if err != nil {
					return c, err
				}
				for i, target := range targets {
					c.N++
					if choose(after, host(cityPrefix(i), 1), func(uint16) bool { return true }) == target {
						captured++
					}
				}
			}
		}
	}
	c.Captured = float64(captured) / float64(max(c.N, 1))
	return c, nil
}

// lies are the rows of two sources in a city.
func lies(cities, i int, target, first uint16, near []uint16, least float64, flood bool) (rows []beacon.Row) {
	const honest = sessionsPerCity * popsPerSession
	count := int(poisoned / (1 - poisoned) * honest)
	session := cities*sessionsPerCity + 1 + i*count // no honest one has such a number
	add := func(n int, pop uint16, ms float64) {
		rows = append(rows, row(session+n, start, host(cityPrefix(i), 200+n%2), pop, ms))
	}
	if flood {
		for n := range count {
			add(n, target, least)
		}
		return rows
	}
	inTheWay := append([]uint16{first}, slices.DeleteFunc(slices.Clone(near), func(pop uint16) bool { return pop == first || pop == target })...)
	for n := 0; len(rows) < count; n++ {
		add(n, target, least)
		for k := 0; k < popsPerSession-1 && len(rows) < count; k++ {
			add(n, inTheWay[k], 400)
		}
	}
	return rows
}
