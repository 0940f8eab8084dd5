package estimate

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestBallotsMatchPlain hears the units one by one, and sorts what they say.
func TestBallotsMatchPlain(t *testing.T) {
	pops, units := scattered(rand.New(rand.NewPCG(9, 3)))
	m := Fit(pops, units)
	f := m.newFitting()
	m.makeBallots(f)
	rng := rand.New(rand.NewPCG(9, 4))
	for at := range f.left {
		f.left[at] = rng.NormFloat64()
	}
	apart := &rest{cells: make([]float64, len(pops)), access: 7}
	for k := range apart.cells {
		apart.cells[k] = rng.NormFloat64()
	}
	const judge = 3
	ofJudge := func(unit int) *rest {
		if unit == judge {
			return apart
		}
		return nil
	}
	heard := 0
	for level := World; level < Own; level++ {
		for in := range parts {
			var want []evidence
			for i := range units {
				if m.groups[level].of[i] != noGroup {
					want = testifyPlain(want, m, level, in, i, f, ofJudge(i))
				}
			}
			sortPlain(want)
			b := f.ballots[in][level]
			var got []evidence
			hearings := b.hearings()
			for h := range hearings[1:] {
				for row := hearings[h]; row < hearings[h+1]; row++ {
					got = m.testify(got, b, row, in, f, ofJudge)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v, part %d: %d words, want %d: %v, want %v", level, in, len(got), len(want), got, want)
			}
			heard += len(got)
		}
	}
	if heard == 0 {
		t.Error("nobody says anything")
	}
}

// testifyPlain appends what a unit says on a level.
func testifyPlain(all []evidence, m *Model, level Level, in part, i int, f *fitting, apart *rest) []evidence {
	u := &m.units[i]
	if m.mute[i] || u.Servers && level < NetCountry {
		return all
	}
	group := m.groups[level].of[i]
	for k, c := range u.Cells {
		column := m.towns.column(in, c.PoP)
		if column == noColumn {
			continue
		}
		at := f.first[i] + k
		_, size := m.kmAndSize(&u.Place, c.PoP)
		e := evidence{unit: i, group: group, column: column, weight: m.confidence(c), size: size, residual: f.left[at] / size}
		if apart != nil {
			e.apart = apart.cells[k] / size
		}
		if in == ofTown && column != c.PoP {
			e.weight /= float64(m.towns.sharing(u.Cells, column))
		}
		all = append(all, e)
	}
	if in == ofTown {
		e := evidence{unit: i, group: group, column: accessColumn, residual: f.access[i], weight: 1, size: 1}
		if apart != nil {
			e.apart = apart.access
		}
		all = append(all, e)
	}
	return all
}
