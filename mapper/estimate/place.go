package estimate

import (
	"cmp"
	"math"
	"slices"

	"edged/edge"
	"edged/geo/place"
)

// metroStep is the size of the cells that stand for metros, degrees: some 100
// km, as far as a city's networks reach.
const metroStep = 1

// metro is a cell of the grid, 0 where the place is not known.
type metro uint32

const noMetro metro = 0

func metroOf(p *place.Place) metro {
	if !p.HasCoord {
		return noMetro
	}
	row := math.Floor((p.Lat + 90) / metroStep)
	column := math.Floor((p.Lon + 180) / metroStep)
	return 1 + metro(row)*361/metroStep + metro(column)
}

// spot is a metro with measurements, at the mean of its units.
type spot struct {
	id       int32 // of the group
	metro    metro
	lat, lon float64
	units    int
}

func (s spot) place() place.Place { return place.Place{Lat: s.lat, Lon: s.lon, HasCoord: true} }

// neighbour is a spot as seen from a place.
type neighbour struct {
	id int32
	km float64
}

// Neighbours that count.
const (
	horizonKm     = 3000
	maxNeighbours = 48
)

// neighbours returns the spots around a point, the nearest first, without its
// own metro: what was measured there speaks on a level of its own. The spots are
// sorted by latitude.
func neighbours(spots []spot, own metro, lat, lon float64) []neighbour {
	const kmPerDegree = 111
	const span = horizonKm / kmPerDegree
	var list []neighbour
	first, _ := slices.BinarySearchFunc(spots, lat-span, func(s spot, lat float64) int { return cmp.Compare(s.lat, lat) })
	for _, s := range spots[first:] {
		if s.lat > lat+span {
			break
		}
		if km := edge.DistanceKm(lat, lon, s.lat, s.lon); km < horizonKm && s.metro != own {
			list = append(list, neighbour{s.id, km})
		}
	}
	slices.SortFunc(list, func(a, b neighbour) int { return cmp.Or(cmp.Compare(a.km, b.km), cmp.Compare(a.id, b.id)) })
	return slices.Clone(list[:min(len(list), maxNeighbours)])
}
