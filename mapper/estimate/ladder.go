package estimate

import (
	"cmp"
	"math"
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
func groupAt(l Level, p place.Place) (group, bool) {
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
	id map[group]int32
	of []int32 // of each unit; noGroup
}

const noGroup = -1

func numberGroups(l Level, units []Unit) groups {
	g := groups{id: map[group]int32{}, of: make([]int32, len(units))}
	for i, u := range units {
		g.of[i] = noGroup
		key, ok := groupAt(l, u.Place)
		if !ok || len(u.Cells) == 0 {
			continue
		}
		id, ok := g.id[key]
		if !ok {
			id = int32(len(g.id))
			g.id[key] = id
		}
		g.of[i] = id
	}
	return g
}

// at returns the number of a place's group.
func (g groups) at(l Level, p place.Place) int32 {
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

// sortEvidence sorts by group and column; of each group's words on a column the
// order stays. It takes time in proportion, since there are many.
func sortEvidence(all, spare []evidence, groups int) (sorted, other []evidence) {
	spare = slices.Grow(spare[:0], len(all))[:len(all)]
	by := func(from, to []evidence, keys int, key func(*evidence) int) {
		start := make([]int, keys+1)
		for i := range from {
			start[key(&from[i])+1]++
		}
		for k := range keys {
			start[k+1] += start[k]
		}
		for i := range from {
			k := key(&from[i])
			to[start[k]] = from[i]
			start[k]++
		}
	}
	by(all, spare, accessColumn+1, func(e *evidence) int { return int(e.column) })
	by(spare, all, groups, func(e *evidence) int { return int(e.group) })
	return all, spare
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
	for i := range row { // a group has tens of PoPs at most
		if row[i].column == column {
			return &row[i]
		}
	}
	return nil
}

// learn makes a rung of evidence that is sorted. Those units judge how far it is to
// be trusted.
func learn(all []evidence, groups int, judges func(unit int) bool) *rung {
	r := &rung{rows: make([][]correction, groups), prior: noPrior}
	var values []weighted
	var order []int
	for i := 0; i < len(all); {
		j := i
		c := correction{column: all[i].column}
		values = values[:0]
		for ; j < len(all) && all[j].group == all[i].group && all[j].column == all[i].column; j++ {
			values = append(values, weighted{all[j].residual, all[j].weight * all[j].size})
			c.weight += all[j].weight
		}
		if c.units = j - i; c.units <= fewUnits {
			order = order[:0]
			for k := i; k < j; k++ {
				order = append(order, k)
			}
			slices.SortFunc(order, func(a, b int) int {
				return cmp.Or(cmp.Compare(all[a].residual, all[b].residual), cmp.Compare(a, b))
			})
			c.words = make([]word, len(order))
			for n, k := range order {
				e := &all[k]
				c.words[n] = word{e.residual, float32(e.weight), float32(e.weight * e.size), int32(e.unit)}
			}
		}
		c.mean = middle(values)
		r.rows[all[i].group] = append(r.rows[all[i].group], c)
		i = j
	}
	r.prior = r.judge(all, judges)
	for _, row := range r.rows {
		for i, c := range row {
			row[i].add = c.mean * c.weight / (c.weight + r.prior)
		}
	}
	return r
}

// priors are the choices of m: a group's words of weight w are believed to w/(w+m).
var priors = [...]float64{0.25, 0.5, 1, 2, 4, 8, 16}

// noPrior is the prior where nothing tells it.
const noPrior = 1

// judge returns the prior with which the judges' words are foretold best, by the
// others of their groups: the sum of distances, times 1+|log2 m|/n so that few
// words do not move it far from 1.
func (r *rung) judge(all []evidence, judges func(unit int) bool) float64 {
	var loss [len(priors)]float64
	words := 0.0
	for i := range all {
		e := &all[i]
		if !judges(e.unit) {
			continue
		}
		said, weight, units := pick(r.rows[e.group], e.column).without(e.unit)
		if units == 0 {
			continue
		}
		words++
		for p, m := range priors {
			loss[p] += e.weight * math.Abs(e.apart-said*weight/(weight+m))
		}
	}
	best, least := noPrior*1.0, math.Inf(1)
	for p, m := range priors {
		if l := loss[p] * (1 + math.Abs(math.Log2(m))/words); words > 0 && l < least {
			best, least = m, l
		}
	}
	return best
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
