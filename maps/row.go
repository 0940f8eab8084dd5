package maps

// Row is what a range holds: the id of a ranking, and whether that ranking was
// measured. A ranking that was not measured comes from place data. The zero
// value is ranking 0, not measured.
type Row uint32

const (
	rowMeasured   Row = 1 << 31
	rowExceptions Row = 1 << 30 // only inside Ranges6: the low bits index its exceptions
	rowID         Row = rowExceptions - 1
)

// MaxRankings is the largest number of rankings a map can hold.
const MaxRankings = int(rowID) + 1

// MakeRow returns the row for a ranking id below MaxRankings.
func MakeRow(ranking uint32, measured bool) Row {
	row := Row(ranking) & rowID
	if measured {
		row |= rowMeasured
	}
	return row
}

// Ranking returns the id of the row's ranking.
func (r Row) Ranking() uint32 { return uint32(r & rowID) }

// Measured reports whether the ranking comes from measurements.
func (r Row) Measured() bool { return r&rowMeasured != 0 }
