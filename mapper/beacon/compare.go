package beacon

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
)

// OtherRows is the error when an id is there, but not with the rows that came.
type OtherRows struct {
	Batch   string
	Rows    int // that came
	Missing int // of them on disk
}

func (e *OtherRows) Error() string {
	return fmt.Sprintf("batch %q is here with other rows: %d of the %d that came are not on disk", e.Batch, e.Missing, e.Rows)
}

// compare returns which hours of a batch are there, and errs with *OtherRows unless
// they have all of its rows and, if any hour is there, one of them is among the
// batch's. Fewer rows are no fault: some may have become too old
// since they came first.
func (w *Writer) compare(b Batch, hours map[uint32][]Row, goesOn bool) (there map[uint32]string, err error) {
	for {
		there, err = w.hoursOf(b.ID)
		if err != nil {
			return nil, err
		}
		missing, common := 0, false
		for hour, rows := range hours {
			name := there[hour]
			if name == "" {
				continue
			}
			common = true
			n, e := w.missing(name, hour, rows, b.PoPs)
			if err = e; err != nil {
				break
			}
			missing += n
		}
		switch {
		case errors.Is(err, fs.ErrNotExist): // it was merged or removed since
			continue
		case err != nil:
			return nil, err
		case (goesOn || len(there) > 0) && !common:
			missing = len(b.Rows)
		}
		if missing > 0 {
			return nil, &OtherRows{b.ID, len(b.Rows), missing}
		}
		return there, nil
	}
}

// missing returns how many rows of an hour a segment does not have. A row that came
// twice has to be there twice. A merged segment has rows of other batches, too, which
// are as good: what matters is that each row that came is on disk.
func (w *Writer) missing(name string, hour uint32, rows []Row, pops []string) (n int, err error) {
	seg, err := openSegment(filepath.Join(w.dir, name), hour)
	if err != nil {
		return 0, err
	}
	defer seg.file.Close()
	for i := range seg.header.pops {
		seg.pops = append(seg.pops, uint16(i))
	}
	left := make([]Row, 0, len(rows))
	for _, r := range rows {
		at, found := slices.BinarySearch(seg.header.pops, pops[r.PoP])
		if !found {
			n++
			continue
		}
		r.PoP = uint16(at)
		left = append(left, r)
	}
	slices.SortFunc(left, compareRows)
	h := &Hour{Start: hourTime(hour), set: &Set{PoPs: seg.header.pops}, segments: []*segment{seg}}
	for s, err := range h.sessions(false) {
		if err != nil {
			return 0, err
		}
		for _, r := range s.Rows {
			for len(left) > 0 && compareRows(left[0], r) < 0 {
				n, left = n+1, left[1:]
			}
			if len(left) > 0 && left[0] == r {
				left = left[1:]
			}
		}
	}
	return n + len(left), nil
}
