package estimate

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"edged/edge"
)

// words draws what units say about columns, two of which share a town.
func words(rng *rand.Rand, n, groups int) (all []evidence) {
	for unit := range n {
		for _, column := range []uint16{0, 1, 7, accessColumn} {
			all = append(all, evidence{
				unit: unit, group: int32(rng.IntN(groups)), column: column,
				residual: math.Round(40 * rng.NormFloat64()), weight: 1 + rng.Float64(), size: 1,
			})
		}
	}
	return all
}

// sortPlain sorts evidence as ballots do.
func sortPlain(all []evidence) {
	slices.SortStableFunc(all, func(a, b evidence) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.column, b.column))
	})
}

// learnAll learns from all evidence in one hearing, with all units as judges.
func learnAll(all []evidence, groups int) *rung {
	hear := func() func(int) []evidence { return func(int) []evidence { return all } }
	return learn(groups, 1, hear, func(int) bool { return true })
}

// TestWithoutMatchesLearningAgain leaves each unit out of what all said and holds
// that to what the others say.
func TestWithoutMatchesLearningAgain(t *testing.T) {
	all := words(rand.New(rand.NewPCG(3, 4)), 40, 5)
	sortPlain(all)
	r := learnAll(all, 5)
	for unit := range 40 {
		others := slices.DeleteFunc(slices.Clone(all), func(e evidence) bool { return e.unit == unit })
		want := learnAll(others, 5)
		for _, e := range all {
			if e.unit != unit {
				continue
			}
			mean, weight, units := pick(r.rows[e.group], e.column).without(unit)
			c := pick(want.rows[e.group], e.column)
			if c == nil {
				c = &correction{}
			}
			if mean != c.mean || math.Abs(weight-c.weight) > 1e-5 || units != c.units {
				t.Fatalf("group %d, column %d without unit %d: %v, %v of %d, want %v, %v of %d",
					e.group, e.column, unit, mean, weight, units, c.mean, c.weight, c.units)
			}
		}
	}
}

// TestTrustIsLearned: groups that are far apart are trusted, groups that only
// differ by chance are not, and few words change little.
func TestTrustIsLearned(t *testing.T) {
	for _, tt := range []struct {
		name          string
		groups, each  int
		apart, spread float64
		least, most   float64
	}{
		{"far apart", 40, 4, 30, 1, 0.25, 0.25},
		{"by chance", 40, 4, 0, 10, 16, 16},
		{"two words", 1, 2, 0, 10, 0.5, 2},
		{"nothing", 0, 0, 0, 0, noPrior, noPrior},
	} {
		rng := rand.New(rand.NewPCG(5, 6))
		var all []evidence
		for g := range tt.groups {
			level := tt.apart * rng.NormFloat64()
			for n := range tt.each {
				v := level + tt.spread*rng.NormFloat64()
				all = append(all, evidence{unit: g*tt.each + n, group: int32(g), residual: v, apart: v, weight: 1, size: 1})
			}
		}
		r := learnAll(all, tt.groups)
		if r.prior < tt.least || r.prior > tt.most {
			t.Errorf("%s: prior %v, want %v to %v", tt.name, r.prior, tt.least, tt.most)
		}
	}
}

// TestPickMatchesPlain asks a row for columns in ascending order and in any.
func TestPickMatchesPlain(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 200 {
		var row []correction
		for column := range uint16(12) {
			if rng.IntN(2) == 0 {
				row = append(row, correction{column: column})
			}
		}
		plain := func(column uint16) *correction {
			if i := slices.IndexFunc(row, func(c correction) bool { return c.column == column }); i >= 0 {
				return &row[i]
			}
			return nil
		}
		next := 0
		var c *correction
		for n := range 24 {
			column := uint16(n)
			if n >= 12 {
				column = uint16(rng.IntN(14))
			}
			if c, next = pickNext(row, next, column); c != plain(column) || pick(row, column) != c {
				t.Fatalf("column %d of %v: %p next, %p, want %p", column, row, c, pick(row, column), plain(column))
			}
		}
	}
}

func TestTowns(t *testing.T) {
	fleet := []edge.PoP{
		{Name: "fra-a", Lat: 50.1, Lon: 8.7},
		{Name: "waw", Lat: 52.2, Lon: 21.0},
		{Name: "fra-b", Lat: 50.0, Lon: 8.6},
		{Name: "fra-c", Lat: 50.2, Lon: 8.8},
	}
	towns := newTowns(fleet)
	for i, want := range []struct{ town, own uint16 }{{4, 0}, {1, noColumn}, {4, 2}, {4, 3}} {
		pop := uint16(i)
		if town, own := towns.column(ofTown, pop), towns.column(inTown, pop); town != want.town || own != want.own {
			t.Errorf("%s: columns %d and %d, want %d and %d", fleet[i].Name, town, own, want.town, want.own)
		}
	}
	if town, own := towns.column(ofTown, accessColumn), towns.column(inTown, accessColumn); town != accessColumn || own != noColumn {
		t.Errorf("access: columns %d and %d", town, own)
	}
	if len(towns.where) != 5 || towns.where[4] != fleet[0] {
		t.Errorf("the town is at %+v, want where its first pop is", towns.where[4:])
	}
	if n := towns.sharing([]Cell{{PoP: 0}, {PoP: 1}, {PoP: 3}}, 4); n != 2 {
		t.Errorf("%d cells share the town, want 2", n)
	}
}
