package beacon

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"edged/edge"
)

// Keep says how much a folder may hold. The zero value bounds nothing.
type Keep struct {
	Age    time.Duration // hours that ended longer ago are removed
	Octets int64         // on disk; whole hours are removed, the oldest first, until no more are left
}

// strayAge is after how long a file that was being written is taken for what a
// crash left.
const strayAge = time.Hour

// Retain removes what a folder need not keep at a time, and returns how many
// segments went. Files that a crash left behind go too. It may run while others
// read and write.
func Retain(dir string, keep Keep, now time.Time) (removed int, err error) {
	if err := removeStrays(dir, now); err != nil {
		return 0, err
	}
	files, err := listSegments(dir)
	if err != nil {
		return 0, err
	}
	seen, err := listFiles(dir, resolverSuffix)
	if err != nil {
		return 0, err
	}
	files = append(files, seen...)
	slices.SortStableFunc(files, func(a, b segmentFile) int { return cmp.Compare(a.hour, b.hour) })
	total, size := int64(0), make([]int64, len(files))
	for i, f := range files {
		info, err := os.Stat(filepath.Join(dir, f.name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		size[i] = roomOf(info)
		total += size[i]
	}
	last := uint32(0) // hour that was removed for its size
	for i, f := range files {
		end := hourTime(f.hour + 1)
		old := keep.Age > 0 && end.Before(now.Add(-keep.Age))
		large := keep.Octets > 0 && total > keep.Octets || removed > 0 && f.hour == last
		if !old && !large {
			continue
		}
		if err := remove(filepath.Join(dir, f.name)); err != nil {
			return removed, err
		}
		removed++
		total, last = total-size[i], f.hour
	}
	return removed, edge.SyncFolder(dir)
}

// roomOf is how much room a file takes up: most file systems give it in pages.
func roomOf(info fs.FileInfo) int64 {
	const page = 4096
	return (info.Size() + page - 1) / page * page
}

func removeStrays(dir string, now time.Time) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot read beacons: %w", err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), besideSuffix) {
			continue
		}
		info, err := e.Info()
		if err == nil && info.ModTime().Before(now.Add(-strayAge)) {
			err = remove(filepath.Join(dir, e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// remove removes a file that may be gone already.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove beacons: %w", err)
	}
	return nil
}

// maxMerged is how many rows a merged segment has at most: some 100 MB of memory
// while it is made.
const maxMerged = 1 << 20

// Merge makes one segment of the small segments of each hour that ended before a
// time, and returns how many segments went into others. Readers find every row
// once at every moment, also after a crash: a merged segment names the batches it
// holds, and those it came from do not count beside it. While another process
// merges the folder, Merge does nothing.
func (w *Writer) Merge(before time.Time) (merged int, err error) {
	w.merging.Lock()
	defer w.merging.Unlock()
	lock, err := lockMerging(w.dir)
	if err != nil {
		return 0, fmt.Errorf("cannot merge beacons: %w", err)
	}
	if lock == nil {
		return 0, nil
	}
	defer lock.Close()
	files, err := listSegments(w.dir)
	if err != nil {
		return 0, err
	}
	for len(files) > 0 {
		hour, n := files[0].hour, 1
		for n < len(files) && files[n].hour == hour {
			n++
		}
		if n > 1 && !hourTime(hour+1).After(before) {
			done, err := w.mergeHour(files[:n])
			if merged += done; err != nil {
				return merged, err
			}
		}
		files = files[n:]
	}
	return merged, w.mergeSightings(before)
}

// mergeSightings makes one file of the sightings of each hour that ended before a
// time. A crash in between leaves some twice, which is the same as once.
func (w *Writer) mergeSightings(before time.Time) error {
	files, err := listFiles(w.dir, resolverSuffix)
	if err != nil {
		return err
	}
	for len(files) > 0 {
		hour, n := files[0].hour, 1
		for n < len(files) && files[n].hour == hour {
			n++
		}
		if n > 1 && !hourTime(hour+1).After(before) {
			if err := w.mergeSightingsOf(hour, files[:n]); err != nil {
				return err
			}
		}
		files = files[n:]
	}
	return nil
}

func (w *Writer) mergeSightingsOf(hour uint32, files []segmentFile) error {
	var all []Sighting
	sum := sha256.New()
	for _, file := range files {
		f, err := os.Open(filepath.Join(w.dir, file.name))
		if err != nil {
			return err
		}
		list, err := readSightings(f, hour)
		f.Close()
		if err != nil {
			return err
		}
		all = append(all, list...)
		fmt.Fprintln(sum, file.name)
	}
	if len(all) > maxSightings {
		return nil // they stay apart
	}
	name := fmt.Sprintf("%s+%x%s", hourTime(hour).Format(hourLayout), sum.Sum(nil)[:8], resolverSuffix)
	if err := w.writeSightings(hour, name, all); err != nil {
		return err
	}
	if err := edge.SyncFolder(w.dir); err != nil {
		return err
	}
	for _, file := range files {
		if err := remove(filepath.Join(w.dir, file.name)); err != nil {
			return err
		}
	}
	return nil
}

// mergeHour merges the segments of one hour.
func (w *Writer) mergeHour(files []segmentFile) (merged int, err error) {
	start := hourTime(files[0].hour)
	set, err := openWith(listFiles, w.dir, start, start.Add(time.Hour))
	if err != nil {
		return 0, err
	}
	defer set.Close()
	if len(set.Hours) == 0 {
		return 0, nil
	}
	if err := closeResolvers(set.resolvers); err != nil { // rows are merged as they are
		return 0, err
	}
	set.resolvers = nil
	hour := &set.Hours[0]
	names := map[string]bool{}
	for _, seg := range hour.segments {
		names[filepath.Base(seg.file.Name())] = true
	}
	for _, f := range files {
		if !names[f.name] { // in another one since a crash
			if err := remove(filepath.Join(w.dir, f.name)); err != nil {
				return 0, err
			}
		}
	}
	var group []*segment
	rows := 0
	finish := func() error {
		defer func() { group, rows = nil, 0 }()
		if len(group) < 2 {
			return nil
		}
		merged += len(group)
		return w.mergeSegments(&Hour{Start: hour.Start, set: set, segments: group})
	}
	for _, seg := range hour.segments {
		n := int(seg.rows)
		if n > maxMerged/2 {
			continue
		}
		if rows+n > maxMerged {
			if err := finish(); err != nil {
				return merged, err
			}
		}
		group, rows = append(group, seg), rows+n
	}
	return merged, finish()
}

// mergeSegments makes one segment of those of h, and removes them.
func (w *Writer) mergeSegments(h *Hour) error {
	var merged header
	for _, seg := range h.segments {
		merged.hour = seg.hour
		merged.batches = append(merged.batches, seg.batches...)
	}
	slices.Sort(merged.batches)
	var rows []Row
	for s, err := range h.Sessions() {
		if err != nil {
			return err
		}
		rows = append(rows, s.Rows...)
	}
	sum := sha256.Sum256([]byte(strings.Join(merged.batches, "\n")))
	name := fmt.Sprintf("%s+%x%s", h.Start.Format(hourLayout), sum[:8], segmentSuffix)
	if err := w.write(merged, name, rows, h.set.PoPs); err != nil {
		return err
	}
	if err := edge.SyncFolder(w.dir); err != nil {
		return err
	}
	for _, seg := range h.segments {
		if err := remove(seg.file.Name()); err != nil {
			return err
		}
	}
	return nil
}
