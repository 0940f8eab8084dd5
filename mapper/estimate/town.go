package estimate

import (
	"math"

	"edged/edge"
)

// Paths to two PoPs in one town have most of their way in common: what differs
// between them is much less, and known to fewer. So each level learns first what
// a town's PoPs have together and then, of those that share a town, what each has
// beyond that, and trusts both as the data says.
//
// A column is what a correction is about: a PoP, a town with several PoPs, or
// access. PoPs have their own numbers, towns those that follow.

// townKm is how far from the first one PoPs are that count as in its town.
const townKm = 50

// Columns that are no PoP and no town.
const (
	accessColumn = math.MaxUint16     // what all round trips of a place have in common
	noColumn     = math.MaxUint16 - 1 // of a PoP that has its town to itself, within it
)

// part is which of both a level learns.
type part uint8

// The parts of a level.
const (
	ofTown part = iota // of towns, of PoPs that have one to themselves, and of access
	inTown             // of PoPs that share one
	parts
)

// towns says which PoPs share a town.
type towns struct {
	of    []uint16   // each PoP's column with part ofTown
	where []edge.PoP // of each column: towns are where their first PoP is
}

func newTowns(pops []edge.PoP) towns {
	t := towns{where: append([]edge.PoP(nil), pops...)}
	for i, p := range pops {
		column := uint16(i)
		for j, q := range pops[:i] {
			if edge.DistanceKm(p.Lat, p.Lon, q.Lat, q.Lon) > townKm {
				continue
			}
			if int(t.of[j]) == j { // the second one makes it a town
				t.of[j] = uint16(len(t.where))
				t.where = append(t.where, q)
			}
			column = t.of[j]
			break
		}
		t.of = append(t.of, column)
	}
	return t
}

// column returns what a PoP is learned as in a part.
func (t towns) column(in part, pop uint16) uint16 {
	switch {
	case pop == accessColumn && in == ofTown:
		return accessColumn
	case pop == accessColumn:
		return noColumn
	case in == ofTown:
		return t.of[pop]
	case t.of[pop] == pop:
		return noColumn
	}
	return pop
}

// sharing returns how many of a unit's cells are of a column's town.
func (t towns) sharing(cells []Cell, column uint16) (n int) {
	for _, c := range cells {
		if t.of[c.PoP] == column {
			n++
		}
	}
	return n
}
