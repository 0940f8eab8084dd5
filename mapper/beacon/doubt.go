package beacon

import (
	"math"
	"slices"

	"edged/edge"
)

// Point is where something is, in degrees (WGS 84).
type Point struct{ Lat, Lon float64 }

// Nothing is faster than light in fibre: 100 km of distance, there and back, take
// 1 ms.
const kmPerMS = 100

// sourcesToDoubt is how many sources must agree that a place is wrong.
const sourcesToDoubt = 3

// Doubts collects units that answered faster than light could come from where they
// are said to be. That proves nothing against who reports: place databases put a
// few of a hundred units somewhere else. So when several sources of a unit agree,
// its place is doubted; when a single one says so, that source is.
type Doubts struct {
	places []spot // of PoPs, by the index in sessions
	where  func(Unit) spot
	fast   map[Unit]map[Source]bool
}

// spot is a point that may be known, and its direction from the middle of the earth.
type spot struct {
	Point
	known     bool
	direction [3]float64
}

func newSpot(p Point, known bool) spot {
	if !known {
		return spot{}
	}
	sinLat, cosLat := math.Sincos(p.Lat * math.Pi / 180)
	sinLon, cosLon := math.Sincos(p.Lon * math.Pi / 180)
	return spot{p, true, [3]float64{cosLat * cosLon, cosLat * sinLon, sinLat}}
}

// spotOf returns where for spots.
func spotOf(where func(Unit) (Point, bool)) func(Unit) spot {
	return func(u Unit) spot { return newSpot(where(u)) }
}

// farthest is the cosine of the angle that light covers there and back, by the round
// trip in 0.1 ms; in longer ones it gets anywhere. There is a little to spare, for
// what is lost by rounding.
var farthest = func() (list [maxKm / 10]float64) {
	for rtt := range list {
		list[rtt] = math.Cos(float64(rtt)/10*kmPerMS/earthKm) + 1e-12
	}
	return list
}()

const (
	earthKm = 6371.01 // radius, and a little more, so that angles are not too large
	maxKm   = 20_020  // half of the circumference, and a little more
)

// near reports that a round trip of so many tenths of a millisecond is certainly
// possible, by a dot product: working out the distance takes many times as long.
func near(a, b *spot, rtt uint16) bool {
	return int(rtt) >= len(farthest) ||
		a.direction[0]*b.direction[0]+a.direction[1]*b.direction[1]+a.direction[2]*b.direction[2] >= farthest[rtt]
}

// NewDoubts begins to collect. pops says where PoPs are, by name; where says where
// a unit is, as far as that is known.
func NewDoubts(set *Set, pops []edge.PoP, where func(Unit) (Point, bool)) *Doubts {
	return newDoubts(set, pops, spotOf(where))
}

func newDoubts(set *Set, pops []edge.PoP, where func(Unit) spot) *Doubts {
	d := &Doubts{places: make([]spot, len(set.PoPs)), where: where, fast: map[Unit]map[Source]bool{}}
	for _, p := range pops {
		if i, found := slices.BinarySearch(set.PoPs, p.Name); found {
			d.places[i] = newSpot(Point{p.Lat, p.Lon}, true)
		}
	}
	return d
}

// Add looks at the rows of a session of the set.
func (d *Doubts) Add(s Session) {
	var unit Unit
	var at spot
	for i := range s.Rows {
		r := &s.Rows[i]
		if i == 0 || r.Client != s.Rows[i-1].Client {
			unit = UnitOf(r.Client)
			at = d.where(unit)
		}
		pop := &d.places[r.PoP]
		if !pop.known || !at.known || r.Failed() || near(&at, pop, r.RTT) || float64(r.RTT)/10 >= edge.DistanceKm(at.Lat, at.Lon, pop.Lat, pop.Lon)/kmPerMS {
			continue
		}
		if d.fast[unit] == nil {
			d.fast[unit] = map[Source]bool{}
		}
		d.fast[unit][SourceOf(r.Client)] = true
	}
}

// Places returns the units whose places are doubted, in order.
func (d *Doubts) Places() []Unit {
	var list []Unit
	for unit, sources := range d.fast {
		if len(sources) >= sourcesToDoubt {
			list = append(list, unit)
		}
	}
	slices.Sort(list)
	return list
}

// Sources returns the sources that are doubted, in order: each the only one of its
// unit to say what cannot be.
func (d *Doubts) Sources() []Source {
	var list []Source
	for _, sources := range d.fast {
		if len(sources) > 1 {
			continue
		}
		for s := range sources {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, compareSources)
	return list
}

// join adds what another collection, of the same set, has found.
func (d *Doubts) join(other *Doubts) {
	for unit, sources := range other.fast {
		if d.fast[unit] == nil {
			d.fast[unit] = map[Source]bool{}
		}
		for s := range sources {
			d.fast[unit][s] = true
		}
	}
}
