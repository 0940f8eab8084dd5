package beacon

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"edged/edge"
)

// Batch is rows that are made durable together.
type Batch struct {
	ID   string   // 1 to 64 letters, digits, '-', '_' and '.'; names these rows for ever
	PoPs []string // what Row.PoP indexes
	Rows []Row
}

// Writer adds batches to a folder of segments. Its methods may be called by
// several goroutines, and several processes may write to one folder.
type Writer struct {
	dir string

	merging sync.Mutex // held by Merge

	mu     sync.Mutex        // guards merged
	merged map[string]header // of the merged segments seen, by file name
}

// NewWriter returns a writer for a folder, which is made when it is not there.
func NewWriter(dir string) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("cannot keep beacons: %w", err)
	}
	return &Writer{dir: dir, merged: map[string]header{}}, nil
}

// Append makes a batch durable: when it returns nil the rows are on disk, and
// readers find them. A batch whose rows are there already changes nothing, and
// added is false. When its id is there without some of the rows of an hour,
// nothing is written and the error is an *OtherRows. After another error the batch
// is there in part or not at all; appending it again with the same rows mends that.
//
// A row's client must be valid, neither client nor resolver may be IPv4-mapped
// or have a zone, the time must not be negative. Append sorts the rows and
// changes their PoPs.
func (w *Writer) Append(b Batch) (added bool, err error) {
	known, err := w.append(b, false)
	return err == nil && known < len(b.Rows), err
}

// append is Append; a batch that goes on has one hour there at least, or is
// another. It returns how many rows were there.
func (w *Writer) append(b Batch, goesOn bool) (known int, err error) {
	if !validBatch.MatchString(b.ID) {
		return 0, fmt.Errorf("bad batch id %q: want 1 to %d letters, digits, '-', '_' and '.'", b.ID, maxName)
	}
	if err := checkRows(b); err != nil {
		return 0, fmt.Errorf("batch %q: %w", b.ID, err)
	}
	hours := hourly(b.Rows)
	there, err := w.compare(b, hours, goesOn)
	if err != nil {
		return 0, err
	}
	for hour, rows := range hours {
		if there[hour] != "" {
			known += len(rows)
			continue
		}
		if err := w.write(header{hour: hour, batches: []string{b.ID}}, segmentName(hour, b.ID), rows, b.PoPs); err != nil {
			return 0, err
		}
	}
	if known < len(b.Rows) {
		err = edge.SyncFolder(w.dir)
	}
	return known, err
}

var validBatch = regexp.MustCompile(`^[0-9A-Za-z_.-]{1,64}$`)

func checkRows(b Batch) error {
	if len(b.Rows) == 0 {
		return errors.New("it has no rows")
	}
	for _, name := range b.PoPs {
		if name == "" || len(name) > maxName {
			return fmt.Errorf("bad name of a pop %q: want 1 to %d octets", name, maxName)
		}
	}
	for _, r := range b.Rows {
		switch {
		case !r.Client.IsValid() || r.Client.Is4In6() || r.Resolver.Is4In6() || r.Client.Zone() != "" || r.Resolver.Zone() != "":
			return fmt.Errorf("a row has client %s and resolver %s: want plain addresses", r.Client, r.Resolver)
		case r.Time < 0 || r.Time/hourLength > maxHour:
			return fmt.Errorf("a row has time %d", r.Time)
		case r.Method >= methods:
			return fmt.Errorf("a row has %s", r.Method)
		case int(r.PoP) >= len(b.PoPs):
			return fmt.Errorf("a row has pop %d, but there are %d", r.PoP, len(b.PoPs))
		}
	}
	return nil
}

// hourly sorts rows and parts them by the hour in which their session began. A
// row more than 18 hours later begins its session anew.
func hourly(rows []Row) map[uint32][]Row {
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Session, b.Session), cmp.Compare(a.Time, b.Time), compareRows(a, b))
	})
	hours := map[uint32][]Row{}
	for i := 0; i < len(rows); {
		hour := rows[i].Time / hourLength
		n := i + 1
		for n < len(rows) && rows[n].Session == rows[i].Session && rows[n].Time-hour*hourLength <= maxSecond {
			n++
		}
		hours[uint32(hour)] = append(hours[uint32(hour)], rows[i:n]...)
		i = n
	}
	return hours
}

// write makes one segment of rows.
func (w *Writer) write(h header, name string, rows []Row, pops []string) error {
	var err error
	if h.pops, err = usedPoPs(rows, pops); err != nil {
		return err
	}
	slices.SortFunc(rows, compareRows)
	b, err := encodeSegment(h, rows)
	if err != nil {
		return err
	}
	return writeBeside(w.dir, name, b)
}

// besideSuffix ends the names of files that are being written.
const besideSuffix = ".new"

// writeBeside puts a file into place whole: it is written beside, synced and
// renamed. The folder is for the caller to sync.
func writeBeside(dir, name string, b []byte) error {
	f, err := os.CreateTemp(dir, name+".*"+besideSuffix)
	if err != nil {
		return fmt.Errorf("cannot keep beacons: %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err == nil {
		return nil
	}
	os.Remove(f.Name()) // what is left of it is not read, and cleared away by Retain
	if roomless(err) {
		return fmt.Errorf("no room for a segment of %d octets in %q: %w: nothing that was accepted is lost; make room, or keep beacons for a shorter time", len(b), dir, err)
	}
	return fmt.Errorf("cannot keep beacons: %w", err)
}

// roomless says whether a disk, a quota or a limit is full.
func roomless(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// hoursOf returns the hours for which the folder has rows of a batch, and the name
// of the segment that holds them: one of their own or a merged one.
func (w *Writer) hoursOf(batch string) (map[uint32]string, error) {
	files, err := listSegments(w.dir)
	if err != nil {
		return nil, err
	}
	hours := map[uint32]string{}
	for _, f := range files {
		if !f.merged {
			if f.name == segmentName(f.hour, batch) {
				hours[f.hour] = f.name
			}
			continue
		}
		h, err := w.mergedHeader(f.name)
		if err != nil {
			return nil, err
		}
		if _, found := slices.BinarySearch(h.batches, batch); found {
			hours[f.hour] = f.name
		}
	}
	return hours, nil
}

func (w *Writer) mergedHeader(name string) (header, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h, ok := w.merged[name]
	if ok {
		return h, nil
	}
	f, err := os.Open(filepath.Join(w.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil // merged into another since
	}
	if err != nil {
		return h, err
	}
	defer f.Close()
	if h, _, err = readHeader(f); err != nil {
		return h, fmt.Errorf("bad segment %q: %w", f.Name(), err)
	}
	w.merged[name] = h
	return h, nil
}

// The names of segments: the hour and the batch, or the hour and a hash of the
// batches of a merged one.
const (
	hourLayout    = "2006010215"
	segmentSuffix = ".beacons"
)

func segmentName(hour uint32, batch string) string {
	return hourTime(hour).Format(hourLayout) + "-" + batch + segmentSuffix
}

func hourTime(hour uint32) time.Time { return time.Unix(int64(hour)*hourLength, 0).UTC() }

// segmentFile is a segment, or a file of sightings, by its name.
type segmentFile struct {
	name   string
	hour   uint32
	merged bool
}

// listSegments returns the segments of a folder, by name. What is not named like
// one is none.
func listSegments(dir string) ([]segmentFile, error) { return listFiles(dir, segmentSuffix) }

// listFiles returns the files of hours whose names end so, by name.
func listFiles(dir, suffix string) ([]segmentFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read beacons: %w", err)
	}
	var list []segmentFile
	for _, e := range entries {
		text, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok || len(text) < len(hourLayout)+2 {
			continue
		}
		at, err := time.Parse(hourLayout, text[:len(hourLayout)])
		if mark := text[len(hourLayout)]; err == nil && (mark == '-' || mark == '+') && at.Unix() >= 0 {
			list = append(list, segmentFile{e.Name(), uint32(at.Unix() / hourLength), mark == '+'})
		}
	}
	return list, nil
}
