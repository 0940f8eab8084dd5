package estimate

import (
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

// Limits of learned trust. A level's weight against the one above is n/(n+m):
// m is the spread within groups over the spread between them, squared.
const (
	minPrior = 0.25
	maxPrior = 4
)

// correction is what a level adds for one PoP.
type correction struct {
	pop    uint16
	units  int        // that measured it
	weight float64    // of their words
	mean   float64    // of what they had above the levels before, ms
	add    float64    // of that which is believed, ms
	all    []evidence // of which the mean is, kept while few units have a say each
}

// without returns what a level adds, and of how many units, when one unit is not
// heard: a unit must not confirm itself.
func (r *rung) without(c correction, unit int) (add float64, units int) {
	if unit == nobody || len(c.all) == 0 {
		return c.add, c.units
	}
	var values []weighted
	total := 0.0
	for _, e := range c.all {
		if e.unit != unit {
			values = append(values, weighted{e.residual, e.weight * e.size})
			total += e.weight
		}
	}
	if len(values) == 0 {
		return 0, 0
	}
	return middle(values) * total / (total + r.prior), len(values)
}

// nobody is no unit.
const nobody = -1

// fewUnits is how many units of a group have a say each.
const fewUnits = 64

// rung is one level with all its groups.
type rung struct {
	groups map[group][]correction // by PoP
	prior  float64                // m
}

// find returns a group's correction for a PoP.
func (r *rung) find(g group, pop uint16) (correction, bool) {
	for _, c := range r.groups[g] { // a group has tens of PoPs at most
		if c.pop == pop {
			return c, true
		}
	}
	return correction{}, false
}

// evidence is one unit's word on one PoP.
type evidence struct {
	unit     int
	group    group
	pop      uint16
	residual float64 // above the levels before, ms
	weight   float64 // 1 for a usual cell
	size     float64 // of the path: longer ones tell more about what paths have in common
}

// learn makes a rung. The evidence comes sorted by group and PoP.
func learn(all []evidence) *rung {
	r := &rung{groups: map[group][]correction{}}
	var within, between, pairs, groups, inverse float64
	for i := 0; i < len(all); {
		j := i
		var values []weighted
		total := 0.0
		for j < len(all) && all[j].group == all[i].group && all[j].pop == all[i].pop {
			values = append(values, weighted{all[j].residual, all[j].weight * all[j].size})
			total += all[j].weight
			j++
		}
		mean := middle(values)
		if n := float64(j - i); n > 1 {
			for _, v := range values {
				within += math.Abs(v.value - mean)
			}
			pairs += n - 1
			between += math.Abs(mean)
			groups++
			inverse += 1 / n
		}
		c := correction{pop: all[i].pop, units: j - i, weight: total, mean: mean}
		if j-i <= fewUnits {
			c.all = slices.Clone(all[i:j])
		}
		r.groups[all[i].group] = append(r.groups[all[i].group], c)
		i = j
	}
	if groups > 0 {
		r.prior = prior(within/pairs, between/groups, inverse/groups)
	} else {
		r.prior = noPrior
	}
	for _, list := range r.groups {
		for i, c := range list {
			list[i].add = c.mean * c.weight / (c.weight + r.prior)
		}
	}
	return r
}

// noPrior is the prior where nothing tells it.
const noPrior = 1

// prior returns m from the mean distances within groups and of groups from what
// is above them. Of the latter a part is chance: the mean of 1/n of the former,
// as variances.
func prior(within, between, chance float64) float64 {
	real := between*between - chance*within*within
	switch {
	case within == 0 && between == 0:
		return noPrior
	case real*maxPrior <= within*within:
		return maxPrior
	}
	return max(within*within/real, minPrior)
}
