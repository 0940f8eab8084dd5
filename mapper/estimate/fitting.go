package estimate

// fitting is what learning knows of each cell, in one array for all units, since
// there are millions.
type fitting struct {
	first  []int     // where each unit's cells begin; one more than units
	pops   []uint16  // of each cell
	km     []float64 // to the PoP; 0 where the place is not known
	sizes  []float64 // Model.size
	left   []float64 // what is not explained yet, ms
	access []float64 // of each unit, what is not explained yet, ms
}

func (m *Model) newFitting() *fitting {
	f := &fitting{first: make([]int, len(m.units)+1), access: make([]float64, len(m.units))}
	for i, u := range m.units {
		f.first[i+1] = f.first[i] + len(u.Cells)
	}
	n := f.first[len(m.units)]
	f.pops, f.km, f.sizes, f.left = make([]uint16, n), make([]float64, n), make([]float64, n), make([]float64, n)
	inParallel(len(m.units), unitsAtOnce, func() func(int) {
		return func(i int) {
			u := &m.units[i]
			for k := range u.Cells {
				pop, at := u.Cells[k].PoP, f.first[i]+k
				f.pops[at] = pop
				f.km[at], f.sizes[at] = m.kmAndSize(&u.Place, pop)
			}
		}
	})
	return f
}

// of returns a unit's part of an array of cells.
func (f *fitting) of(cells []float64, unit int) []float64 {
	return cells[f.first[unit]:f.first[unit+1]]
}

func (f *fitting) popsOf(unit int) []uint16 { return f.pops[f.first[unit]:f.first[unit+1]] }

// rest is what of one unit's values is not explained yet.
type rest struct {
	cells  []float64 // ms, by cell
	access float64   // ms
}
