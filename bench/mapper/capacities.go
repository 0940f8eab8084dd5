package main

import (
	"math"

	"edged/edge"
	"edged/mapper/generate"
)

// Capacities as a fleet has them: every PoP has servers for the demand of the units
// that it is the nearest to, with head room, but one of five did not grow with its
// clients. So some PoPs overflow into their neighbours, and the world fits.
const (
	perServer   = 250 // requests/s
	fewest      = 4   // servers of a PoP
	roomy       = 1.5 // soft limits over the demand nearby
	outgrown    = 0.8
	outgrownOne = 5 // of so many, by the order of the fleet
	softShare   = 0.7
)

// capacities returns what each PoP of a world can do, in requests/s.
func capacities(world *generate.World) []int {
	nearby := make([]float64, len(world.PoPs))
	for _, u := range world.Units {
		nearby[nearestPoP(world.PoPs, u.Place.Lat, u.Place.Lon)] += u.Demand
	}
	list := make([]int, len(nearby))
	for i, demand := range nearby {
		room := roomy
		if i%outgrownOne == outgrownOne-1 {
			room = outgrown
		}
		list[i] = perServer * max(fewest, int(math.Ceil(demand*room/softShare/perServer)))
	}
	return list
}

func nearestPoP(pops []edge.PoP, lat, lon float64) int {
	best, least := 0, math.Inf(1)
	for i, p := range pops {
		if km := edge.DistanceKm(lat, lon, p.Lat, p.Lon); km < least {
			best, least = i, km
		}
	}
	return best
}
