package estimate

import "slices"

// ballot lists who speaks on a level, in one part: the groups in order, the columns of
// each in order, and those who speak about one by their units. It is the same in
// each pass: only what they say changes.
type ballot struct {
	rows  []ballotRow
	cells []uint32 // of the fitting; where the column is access, units
}

// ballotRow is those who speak about one column in one group.
type ballotRow struct {
	group  int32
	column uint16
	from   int // in the ballot's cells; the next row's says where it ends
}

// newBallot sorts by counting, since there are many cells.
func (m *Model) newBallot(f *fitting, level Level, in part) *ballot {
	g := &m.groups[level]
	b := &ballot{}
	if in == ofTown {
		b.cells = make([]uint32, 0, len(f.pops)+len(m.units))
	}
	count := make([]int, len(m.towns.where)) // by column; then where the next cell goes
	var columns []uint16
	each := func(units []int32, do func(column uint16, cell int)) {
		for _, i := range units {
			if !m.speaks(int(i), level) {
				continue
			}
			for k, pop := range f.popsOf(int(i)) {
				if column := m.towns.column(in, pop); column != noColumn {
					do(column, f.first[i]+k)
				}
			}
		}
	}
	for id := range int32(len(g.first) - 1) {
		units := g.units[g.first[id]:g.first[id+1]]
		columns = columns[:0]
		each(units, func(column uint16, _ int) {
			if count[column] == 0 {
				columns = append(columns, column)
			}
			count[column]++
		})
		slices.Sort(columns)
		next := len(b.cells)
		for _, column := range columns {
			b.rows = append(b.rows, ballotRow{id, column, next})
			next, count[column] = next+count[column], next
		}
		b.cells = slices.Grow(b.cells, next-len(b.cells))[:next]
		each(units, func(column uint16, cell int) {
			b.cells[count[column]] = uint32(cell)
			count[column]++
		})
		for _, column := range columns {
			count[column] = 0
		}
		if in == ofTown {
			for _, i := range units {
				if m.speaks(int(i), level) {
					b.cells = append(b.cells, uint32(i))
				}
			}
			if len(b.cells) > next {
				b.rows = append(b.rows, ballotRow{id, accessColumn, next})
			}
		}
	}
	return b
}

// speaks reports whether a unit says anything on a level.
func (m *Model) speaks(i int, level Level) bool {
	return !m.mute[i] && !(m.units[i].Servers && level < NetCountry)
}

// of returns the cells of a row.
func (b *ballot) of(row int) []uint32 {
	to := len(b.cells)
	if row+1 < len(b.rows) {
		to = b.rows[row+1].from
	}
	return b.cells[b.rows[row].from:to]
}

// mostHeard is about how many cells are heard in one go.
const mostHeard = 1 << 16

// hearings returns the first rows of parts of a ballot, and at the end how many rows
// there are.
func (b *ballot) hearings() []int {
	list, from := []int{0}, 0
	for i, row := range b.rows {
		if row.from-from >= mostHeard {
			list, from = append(list, i), row.from
		}
	}
	return append(list, len(b.rows))
}

// testify appends what those of a row say. Of units that judge, apart has what others
// leave of what they measured.
func (m *Model) testify(all []evidence, b *ballot, row int, in part, f *fitting, apart func(unit int) *rest) []evidence {
	group, column := b.rows[row].group, b.rows[row].column
	for _, at := range b.of(row) {
		var e evidence
		if column == accessColumn {
			e = evidence{unit: int(at), group: group, column: column, residual: f.access[at], weight: 1, size: 1}
			if rest := apart(e.unit); rest != nil {
				e.apart = rest.access
			}
			all = append(all, e)
			continue
		}
		e = evidence{unit: int(f.unit[at]), group: group, column: column, weight: f.weight[at], size: f.sizes[at]}
		e.residual = f.left[at] / e.size
		if rest := apart(e.unit); rest != nil {
			e.apart = rest.cells[int(at)-f.first[e.unit]] / e.size
		}
		if in == ofTown && column != f.pops[at] { // a unit has one voice on a town
			e.weight /= float64(m.towns.sharing(m.units[e.unit].Cells, column))
		}
		all = append(all, e)
	}
	return all
}
