package beacon

import (
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
	places map[uint16]Point // of PoPs, by the index in sessions
	where  func(Unit) (Point, bool)
	fast   map[Unit]map[Source]bool
}

// NewDoubts begins to collect. pops says where PoPs are, by name; where says where
// a unit is, as far as that is known.
func NewDoubts(set *Set, pops []edge.PoP, where func(Unit) (Point, bool)) *Doubts {
	d := &Doubts{places: map[uint16]Point{}, where: where, fast: map[Unit]map[Source]bool{}}
	for _, p := range pops {
		if i, found := slices.BinarySearch(set.PoPs, p.Name); found {
			d.places[uint16(i)] = Point{p.Lat, p.Lon}
		}
	}
	return d
}

// Add looks at the rows of a session of the set.
func (d *Doubts) Add(s Session) {
	var unit Unit
	var at Point
	var located bool
	for i := range s.Rows {
		r := &s.Rows[i]
		if i == 0 || r.Client != s.Rows[i-1].Client {
			unit = UnitOf(r.Client)
			at, located = d.where(unit)
		}
		pop, known := d.places[r.PoP]
		if !known || !located || float64(r.RTT)/10 >= edge.DistanceKm(at.Lat, at.Lon, pop.Lat, pop.Lon)/kmPerMS {
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
