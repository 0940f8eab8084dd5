package maps

import (
	"iter"
	"math"
)

// SpaceStats counts what one family of a table holds. The shares are of the
// addresses, 0 to 1; for IPv6 of those in 2000::/3, the space in use.
type SpaceStats struct {
	Ranges         int     `json:"ranges"`          // merged, whatever the file's cuts
	MeasuredRanges int     `json:"measured_ranges"` // those with a measured ranking
	Measured       float64 `json:"measured"`        // share with a measured ranking
	Unknown        float64 `json:"unknown"`         // share with neither a measurement nor a known place
}

// Stats counts the ranges of one of the map's tables. It reads all of them.
func (m *Map) Stats(t *Table) (v4, v6 SpaceStats) {
	every4 := func(yield func(Addr6, Row) bool) {
		for start, row := range t.V4.All() {
			if !yield(Addr6{Lo: uint64(start)}, row) {
				return
			}
		}
	}
	return m.stats(every4, Addr6{Lo: math.MaxUint32}, blocks4), m.stats(t.V6.All(), Addr6{math.MaxUint64, math.MaxUint64}, blocks6)
}

// Bytes returns what each family of a table takes in the file.
func (t *Table) Bytes() (v4, v6 int) {
	return 4 + 4*len(t.V4.Index) + 6*len(t.V4.Rows), 8 + 12*len(t.V6.Rows) + 20*len(t.V6.Exceptions)
}

func (m *Map) stats(ranges iter.Seq2[Addr6, Row], end Addr6, blocks func(first, last Addr6) float64) SpaceStats {
	var s SpaceStats
	var start Addr6
	var row Row
	add := func(last Addr6) {
		size := blocks(start, last)
		s.Ranges++
		if row.Measured() {
			s.MeasuredRanges++
			s.Measured += size
		}
		if _, ok := m.First(row); !ok {
			s.Unknown += size
		}
	}
	for next, nextRow := range ranges {
		if next != (Addr6{}) {
			add(next.prev())
		}
		start, row = next, nextRow
	}
	add(end)
	total := blocks(Addr6{}, end)
	s.Measured /= total
	s.Unknown /= total
	return s
}
