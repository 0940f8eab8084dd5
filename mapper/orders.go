package mapper

import (
	"cmp"
	"math"
	"slices"

	"edged/edge"
	"edged/geo/place"
	"edged/maps"
)

// orders interns the great-circle orders of all PoPs. Places are snapped to a
// grid first, so that a map holds few of them: an order is as good a guess for
// a whole cell.
type orders struct {
	pops []edge.PoP
	step float64 // of the grid, degrees
	list [][]uint16
	cell map[[2]int32]uint32
	id   map[string]uint32
}

func newOrders(pops []edge.PoP) *orders {
	return &orders{pops: pops, step: gridStep(len(pops)), cell: map[[2]int32]uint32{}, id: map[string]uint32{}}
}

// gridStep returns the grid's step for a number of PoPs. An order takes two
// bytes for each PoP, and inhabited land has some 20,000 cells of half a
// degree: a larger fleet takes larger cells to keep the orders below 10 MB or
// so.
func gridStep(pops int) float64 {
	switch {
	case pops <= 128:
		return 0.5
	case pops <= 512:
		return 1
	}
	return 2
}

// at returns the order at a place, NoOrder when its coordinates are not known.
func (o *orders) at(p place.Place) uint32 {
	if !p.HasCoord {
		return maps.NoOrder
	}
	cell := [2]int32{int32(math.Floor(p.Lat / o.step)), int32(math.Floor(p.Lon / o.step))}
	if id, ok := o.cell[cell]; ok {
		return id
	}
	order := o.from((float64(cell[0])+0.5)*o.step, (float64(cell[1])+0.5)*o.step)
	key := make([]byte, 0, 2*len(order))
	for _, pop := range order {
		key = append(key, byte(pop), byte(pop>>8))
	}
	id, ok := o.id[string(key)]
	if !ok {
		id = uint32(len(o.list))
		o.list = append(o.list, order)
		o.id[string(key)] = id
	}
	o.cell[cell] = id
	return id
}

// from returns all PoPs by their distance from a point, equals by index.
func (o *orders) from(lat, lon float64) []uint16 {
	distance := make([]float64, len(o.pops))
	order := make([]uint16, len(o.pops))
	for i, p := range o.pops {
		distance[i] = edge.DistanceKm(lat, lon, p.Lat, p.Lon)
		order[i] = uint16(i)
	}
	slices.SortStableFunc(order, func(a, b uint16) int { return cmp.Compare(distance[a], distance[b]) })
	return order
}
