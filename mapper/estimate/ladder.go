package estimate

import (
	"slices"

	"edged/geo/place"
)

// Level is a step of the ladder, from which a number comes.
type Level uint8

// The levels, the widest first.
const (
	World Level = iota // all units
	Near               // metros around, across borders, by distance
	Country
	Metro
	NetCountry // the same network (ASN) in the country
	NetMetro   // the same network in the metro
	Own        // the unit itself
)

var levelNames = [...]string{"world", "near", "country", "metro", "network in country", "network in metro", "own"}

// String returns the level in words.
func (l Level) String() string { return levelNames[l] }

// group names the units that a level puts together.
type group struct {
	asn     uint32
	country string
	metro   metro
}

// groupAt returns the group of a place on a level, and whether it has one.
func groupAt(l Level, p *place.Place) (group, bool) {
	m := metroOf(p)
	switch l {
	case World:
		return group{}, true
	case Near: // what each metro says, which those around it hear
		return group{metro: m}, m != noMetro
	case Country:
		return group{country: p.Country}, p.Country != ""
	case Metro:
		return group{metro: m}, m != noMetro
	case NetCountry:
		return group{asn: p.ASN, country: p.Country}, p.ASN != 0 && p.Country != ""
	case NetMetro:
		return group{asn: p.ASN, metro: m}, p.ASN != 0 && m != noMetro
	}
	return group{}, false
}

// groups numbers the groups of a level that have units.
type groups struct {
	id    map[group]int32
	of    []int32 // of each unit; noGroup
	units []int32 // by group, ascending in each
	first []int   // where each group's units begin; one more than groups
}

const noGroup = -1

func numberGroups(l Level, units []Unit) groups {
	g := groups{id: map[group]int32{}, of: make([]int32, len(units)), first: []int{0}}
	for i := range units {
		u := &units[i]
		g.of[i] = noGroup
		key, ok := groupAt(l, &u.Place)
		if !ok || len(u.Cells) == 0 {
			continue
		}
		id, ok := g.id[key]
		if !ok {
			id = int32(len(g.id))
			g.id[key] = id
			g.first = append(g.first, 0)
		}
		g.of[i] = id
		g.first[id+1]++
	}
	for k := 1; k < len(g.first); k++ {
		g.first[k] += g.first[k-1]
	}
	g.units = make([]int32, g.first[len(g.first)-1])
	next := slices.Clone(g.first)
	for i, id := range g.of {
		if id != noGroup {
			g.units[next[id]] = int32(i)
			next[id]++
		}
	}
	return g
}

// at returns the number of a place's group.
func (g *groups) at(l Level, p *place.Place) int32 {
	if key, ok := groupAt(l, p); ok {
		if id, ok := g.id[key]; ok {
			return id
		}
	}
	return noGroup
}

// evidence is one unit's word on one column.
type evidence struct {
	unit     int
	group    int32
	column   uint16
	residual float64 // above the levels before, per size
	apart    float64 // the same above what others say on the levels before
	weight   float64 // 1 for a usual cell
	size     float64 // of the path: longer ones tell more about what paths have in common
}

// word is what a unit said, as it is kept in a correction.
type word struct {
	value        float64
	weight, mass float32 // among units, and of the value
	unit         int32
}

// correction is what a level adds for one column.
type correction struct {
	column uint16
	units  int     // that measured it
	weight float64 // of their words
	mean   float64 // their weighted median, per size
	add    float64 // of that which is believed, per size
	words  []word  // by value, kept while few units have a say each
}

// nobody is no unit.
const nobody = -1

// fewUnits is how many units of a group have a say each.
const fewUnits = 64

// without returns the mean, the weight and the number of the words when one unit
// is not heard: a unit must not confirm itself.
func (c *correction) without(unit int) (mean, weight float64, units int) {
	own := -1
	for i := range c.words {
		if int(c.words[i].unit) == unit {
			own = i
			break
		}
	}
	if own < 0 {
		return c.mean, c.weight, c.units
	}
	if len(c.words) == 1 {
		return 0, 0, 0
	}
	var few [fewUnits]weighted
	values := few[:0]
	for i, w := range c.words {
		if i != own {
			values = append(values, weighted{w.value, float64(w.mass)})
			weight += float64(w.weight)
		}
	}
	return middleSorted(values), weight, c.units - 1
}

// rung is a part of a level with all its groups.
type rung struct {
	rows  [][]correction // of each group, by column
	prior float64        // m
}

// pick returns the correction for a column.
func pick(row []correction, column uint16) *correction {
	at, found := 0, false
	for end := len(row); at < end; {
		switch mid := int(uint(at+end) >> 1); {
		case row[mid].column < column:
			at = mid + 1
		case row[mid].column == column:
			at, end, found = mid, mid, true
		default:
			end = mid
		}
	}
	if !found {
		return nil
	}
	return &row[at]
}

// pickNext is pick for columns that are asked for in ascending order, from what it
// returned before on; others take longer.
func pickNext(row []correction, next int, column uint16) (*correction, int) {
	if next > 0 && row[next-1].column >= column {
		return pick(row, column), next
	}
	for next < len(row) && row[next].column < column {
		next++
	}
	if next < len(row) && row[next].column == column {
		return &row[next], next
	}
	return nil, next
}

// says returns what a correction of the rung adds, as Model.rung does; nil is none.
func (r *rung) says(c *correction, level Level, without int) (add, trust float64, units int) {
	switch {
	case c == nil:
		return 0, 0, 0
	case level == Near:
		return c.add, c.weight / (c.weight + nearPrior), c.units
	case without == nobody:
		return c.add, c.weight / (c.weight + r.prior), c.units
	}
	mean, weight, units := c.without(without)
	trust = weight / (weight + r.prior)
	return mean * trust, trust, units
}

// Limits of the trust that units have in themselves: a unit's weight against the
// ladder is n/(n+m), m is the spread within units over that of units around the
// ladder, squared.
const (
	minPrior = 0.25
	maxPrior = 4
)

// prior returns m from both mean distances.
func prior(within, between float64) float64 {
	switch {
	case within == 0 && between == 0:
		return noPrior
	case between*between*maxPrior <= within*within:
		return maxPrior
	}
	return max(within*within/(between*between), minPrior)
}
