package beacon

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Set is the segments of a folder within a span of time, as they were when it was
// opened. Its methods may be called by several goroutines.
type Set struct {
	PoPs  []string // all names in the segments, ascending; what Row.PoP of its sessions indexes
	Rows  int
	Hours []Hour // ascending

	resolvers map[uint32]*resolvers // who asked for sessions' names, by hour
}

// Hour is the sessions that began within one hour.
type Hour struct {
	Start time.Time // UTC
	Rows  int

	set      *Set
	segments []*segment
	repeated *repeated // nil: all segments are of one node
}

// index returns which of its set's hours it is.
func (h *Hour) index() int {
	i, _ := slices.BinarySearchFunc(h.set.Hours, h.Start, func(o Hour, at time.Time) int { return o.Start.Compare(at) })
	return i
}

// Segments returns how many files hold the hour.
func (h *Hour) Segments() int { return len(h.segments) }

// segment is an open file; it can be read even when it is removed meanwhile.
type segment struct {
	header
	octets io.ReaderAt
	file   *os.File
	folder string   // a node's files are in one
	body   int64    // where groups begin
	end    int64    // and end
	pops   []uint16 // the set's index of each PoP
}

// Open opens the segments of the hours that overlap the span from (included) to
// to (not included). Every segment is verified whole: a damaged one is an error,
// so a reading is never a part without saying so. The caller closes the set.
//
// Folders in the folder are read, too: copies of what other nodes have (Pull).
func Open(dir string, from, to time.Time) (*Set, error) {
	return openWith(listTree, dir, from, to)
}

// lister finds files of hours in a folder, by name.
type lister func(dir, suffix string) ([]segmentFile, error)

// listTree is listFiles for a folder and those in it, which stand in the names.
func listTree(dir, suffix string) ([]segmentFile, error) {
	all, err := listFiles(dir, suffix)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read beacons: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		list, err := listFiles(filepath.Join(dir, e.Name()), suffix)
		if err != nil {
			return nil, err
		}
		for _, f := range list {
			f.name = filepath.Join(e.Name(), f.name)
			all = append(all, f)
		}
	}
	slices.SortStableFunc(all, func(a, b segmentFile) int { return cmp.Compare(a.hour, b.hour) })
	return all, nil
}

func openWith(list lister, dir string, from, to time.Time) (*Set, error) {
	for {
		s, err := open(list, dir, from, to)
		if !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("cannot read beacons: %w", err)
		}
		// A segment was merged or removed since the folder was listed: list it again.
	}
}

// OpenAll opens all segments of a folder.
func OpenAll(dir string) (*Set, error) { return Open(dir, time.Time{}, hourTime(maxHour+1)) }

func open(list lister, dir string, from, to time.Time) (_ *Set, err error) {
	files, err := list(dir, segmentSuffix)
	if err != nil {
		return nil, err
	}
	s := &Set{}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	for _, f := range files {
		start := hourTime(f.hour)
		if !start.Before(to) || !start.Add(time.Hour).After(from) {
			continue
		}
		seg, err := openSegment(filepath.Join(dir, f.name), f.hour)
		if err != nil {
			return nil, err
		}
		if n := len(s.Hours); n == 0 || !s.Hours[n-1].Start.Equal(start) {
			s.Hours = append(s.Hours, Hour{Start: start, set: s, repeated: &repeated{}})
		}
		hour := &s.Hours[len(s.Hours)-1]
		hour.segments = append(hour.segments, seg)
	}
	for i := range s.Hours {
		h := &s.Hours[i]
		kept, err := notContained(h.segments)
		if err != nil {
			return nil, err
		}
		for _, seg := range h.segments {
			if !slices.Contains(kept, seg) {
				seg.file.Close()
			}
		}
		h.segments = kept
		for _, seg := range h.segments {
			h.Rows += int(seg.rows)
			s.PoPs = append(s.PoPs, seg.header.pops...)
		}
		s.Rows += h.Rows
	}
	slices.Sort(s.PoPs)
	s.PoPs = slices.Compact(s.PoPs)
	s.resolvers, err = openResolvers(list, dir, func(hour uint32) bool {
		return slices.ContainsFunc(s.Hours, func(h Hour) bool { return h.Start.Equal(hourTime(hour)) })
	})
	if err != nil {
		return nil, err
	}
	for _, h := range s.Hours {
		for _, seg := range h.segments {
			for _, name := range seg.header.pops {
				at, _ := slices.BinarySearch(s.PoPs, name)
				seg.pops = append(seg.pops, uint16(at))
			}
		}
	}
	return s, nil
}

// Close closes the segments' files.
func (s *Set) Close() error {
	var all []error
	for _, h := range s.Hours {
		for _, seg := range h.segments {
			all = append(all, seg.file.Close())
		}
	}
	return errors.Join(append(all, closeResolvers(s.resolvers))...)
}

// notContained leaves out the segments of an hour whose batches are all in
// another one of the folder: those that were merged and not removed yet. It errs
// when a batch is then in two segments of a folder still, for its rows would count
// twice. Batches of different nodes are not the same, whatever their names are.
func notContained(segments []*segment) (kept []*segment, err error) {
	type key struct{ folder, batch string }
	holder := map[key]*segment{} // of each batch, the segment with most batches
	for _, seg := range segments {
		for _, batch := range seg.batches {
			at := key{seg.folder, batch}
			if h := holder[at]; h == nil || len(seg.batches) > len(h.batches) {
				holder[at] = seg
			}
		}
	}
	for _, seg := range segments {
		held, other := 0, ""
		for _, batch := range seg.batches {
			if holder[key{seg.folder, batch}] == seg {
				held++
			} else {
				other = batch
			}
		}
		switch held {
		case len(seg.batches):
			kept = append(kept, seg)
		case 0:
		default:
			return nil, fmt.Errorf("segments %q and %q both hold the batch %q", seg.file.Name(), holder[key{seg.folder, other}].file.Name(), other)
		}
	}
	return kept, nil
}

// mendHint says how a damaged file comes back.
const mendHint = "without it its rows are missing: move it away, and then pull again if it is a copy, or import its files again"

// openSegment opens a file and verifies it.
func openSegment(path string, hour uint32) (*segment, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	seg, err := func() (*segment, error) {
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		seg, err := parseSegment(f, info.Size())
		if err == nil && seg.hour != hour {
			err = fmt.Errorf("it holds the hour %s", hourTime(seg.hour).Format(hourLayout))
		}
		return seg, err
	}()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("bad segment %q: %w: %s", path, err, mendHint)
	}
	seg.file, seg.folder = f, filepath.Dir(path)
	return seg, nil
}

// bad says that a segment's rows cannot be read.
func (seg *segment) bad(err error) error {
	return fmt.Errorf("bad segment %q: %w", seg.file.Name(), err)
}

// parseSegment reads a segment's header and verifies its checksum.
func parseSegment(r io.ReaderAt, size int64) (*segment, error) {
	h, body, err := readHeader(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, err
	}
	seg := &segment{header: h, octets: r, body: int64(body), end: size - trailerSize}
	if seg.end < seg.body {
		return nil, errShort
	}
	sum := crc32.New(castagnoli)
	if _, err := io.Copy(sum, io.NewSectionReader(r, 0, seg.end)); err != nil {
		return nil, err
	}
	var trailer [trailerSize]byte
	if _, err := r.ReadAt(trailer[:], seg.end); err != nil {
		return nil, short(err)
	}
	if want := binary.LittleEndian.Uint32(trailer[:]); want != sum.Sum32() {
		return nil, fmt.Errorf("its checksum is %08x, want %08x: it is damaged", sum.Sum32(), want)
	}
	return seg, nil
}

// Sessions yields the sessions of a folder that began within the span from
// (included) to to (not included), ordered by hour and session. After an error,
// which is the last it yields, the reading is not whole.
func Sessions(dir string, from, to time.Time) iter.Seq2[Session, error] {
	return func(yield func(Session, error) bool) {
		set, err := Open(dir, from, to)
		if err != nil {
			yield(Session{}, err)
			return
		}
		defer set.Close()
		for s, err := range set.Sessions() {
			if err != nil {
				yield(s, err)
				return
			}
			if at := time.Unix(s.Time(), 0); at.Before(from) || !at.Before(to) {
				continue
			}
			if !yield(s, nil) {
				return
			}
		}
	}
}

// Sessions yields the sessions of all hours. The first and the last hour are
// whole. After an error, which is the last it yields, the reading is not whole.
func (s *Set) Sessions() iter.Seq2[Session, error] {
	return func(yield func(Session, error) bool) {
		for i := range s.Hours {
			for session, err := range s.Hours[i].Sessions() {
				if !yield(session, err) || err != nil {
					return
				}
			}
		}
	}
}

// Sessions yields the sessions of the hour, by their number. Rows of one session
// that came in several batches are together; of those that came at several nodes
// only the first node's are there (Repeats). Rows without a resolver get the one
// that was seen asking for the session's name within JoinWindow, by any node.
func (h *Hour) Sessions() iter.Seq2[Session, error] { return h.sessions(true) }

// sessions is Sessions; when keep is false, the rows of a session are good only
// until the next one.
func (h *Hour) sessions(keep bool) iter.Seq2[Session, error] {
	return func(yield func(Session, error) bool) {
		seen, err := h.sightings()
		if err != nil {
			yield(Session{}, err)
			return
		}
		cursors := make([]*cursor, 0, len(h.segments))
		for _, seg := range h.segments {
			c := newCursor(seg)
			if err := c.next(); err != nil {
				yield(Session{}, seg.bad(err))
				return
			}
			cursors = append(cursors, c)
		}
		once, err := h.newOnce()
		if err != nil {
			yield(Session{}, err)
			return
		}
		from := h.Start.Unix()
		var arena []Row // rows are cut from it, so that sessions may be kept
		for {
			id, any := uint64(0), false
			for _, c := range cursors {
				if !c.done && (!any || c.group.session < id) {
					id, any = c.group.session, true
				}
			}
			if !any {
				h.end(once)
				return
			}
			if cap(arena)-len(arena) < maxMeasure {
				arena = make([]Row, 0, arenaRows)
			}
			rows, groups := arena[len(arena):], 0
			for _, c := range cursors {
				for !c.done && c.group.session == id {
					var err error
					rows, err = c.group.appendRows(rows, from, c.segment.pops)
					if err == nil {
						err = c.next()
					}
					if err != nil {
						yield(Session{}, c.segment.bad(err))
						return
					}
					once.note(c.segment.folder, len(rows))
					groups++
				}
			}
			if rows = once.drop(id, rows); len(rows) == 0 {
				continue
			}
			seen.fill(rows)
			if groups > 1 {
				slices.SortFunc(rows, compareRows)
			}
			if keep && len(rows) <= cap(arena)-len(arena) {
				arena = arena[:len(arena)+len(rows)]
			}
			if !yield(Session{ID: id, PoPs: h.set.PoPs, Rows: slices.Clip(rows)}, nil) {
				return
			}
		}
	}
}

// arenaRows is how many rows are allocated at a time.
const arenaRows = 4096
