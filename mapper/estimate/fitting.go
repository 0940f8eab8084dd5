package estimate

// fitting is what learning knows of each cell, in one array for all units, since
// there are millions.
type fitting struct {
	first  []int     // where each unit's cells begin; one more than units
	unit   []uint32  // of each cell
	pops   []uint16  // of each cell
	weight []float64 // Model.confidence
	km     []float64 // to the PoP; 0 where the place is not known
	sizes  []float64 // Model.size
	left   []float64 // what is not explained yet, ms
	access []float64 // of each unit, what is not explained yet, ms

	ballots [parts][Own]*ballot
}

func (m *Model) newFitting() *fitting {
	f := &fitting{first: make([]int, len(m.units)+1), access: make([]float64, len(m.units))}
	for i, u := range m.units {
		f.first[i+1] = f.first[i] + len(u.Cells)
	}
	n := f.first[len(m.units)]
	f.unit, f.pops = make([]uint32, n), make([]uint16, n)
	f.km, f.sizes, f.left, f.weight = make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	m.EachUnit(func(r *Ranker, i int) {
		u := &m.units[i]
		if len(u.Cells) == 0 {
			return
		}
		r.goTo(i)
		for k := range u.Cells {
			pop, at := u.Cells[k].PoP, f.first[i]+k
			f.unit[at], f.pops[at], f.weight[at] = uint32(i), pop, m.confidence(u.Cells[k])
			path := r.path(pop)
			f.km[at], f.sizes[at] = path.km, path.size
		}
	})
	return f
}

// makeBallots says who speaks, when it is known who does.
func (m *Model) makeBallots(f *fitting) {
	inParallel(int(parts)*int(Own), 1, func() func(int) {
		return func(i int) {
			in, level := part(i)%parts, Level(i/int(parts))
			f.ballots[in][level] = m.newBallot(f, level, in)
		}
	})
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
