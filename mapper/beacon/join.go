package beacon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
)

// JoinWindow is how far a session and the question for its name may be apart, in
// seconds: browsers ask at the session's start, and reports come at its end.
const JoinWindow = 120

// resolvers are the open files of one hour's sightings.
type resolvers struct {
	files []*os.File
}

// openResolvers opens the files of sightings of a folder, by hour, as far as they
// may belong to sessions of the hours that are wanted. Each is verified.
func openResolvers(list lister, dir string, wanted func(hour uint32) bool) (_ map[uint32]*resolvers, err error) {
	files, err := list(dir, resolverSuffix)
	if err != nil {
		return nil, err
	}
	byHour := map[uint32]*resolvers{}
	defer func() {
		if err != nil {
			closeResolvers(byHour)
		}
	}()
	for _, f := range files {
		if !wanted(f.hour) && !wanted(f.hour+1) && (f.hour == 0 || !wanted(f.hour-1)) {
			continue
		}
		file, err := os.Open(filepath.Join(dir, f.name))
		if err != nil {
			return nil, err
		}
		if byHour[f.hour] == nil {
			byHour[f.hour] = &resolvers{}
		}
		byHour[f.hour].files = append(byHour[f.hour].files, file)
		if _, err := readSightings(file, f.hour); err != nil {
			return nil, err
		}
	}
	return byHour, nil
}

func closeResolvers(byHour map[uint32]*resolvers) error {
	var all []error
	for _, r := range byHour {
		for _, f := range r.files {
			all = append(all, f.Close())
		}
	}
	return errors.Join(all...)
}

// readSightings reads an open file from its beginning.
func readSightings(f *os.File, hour uint32) ([]Sighting, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > resolverHeader+maxSightings*sightingSize+trailerSize {
		return nil, fmt.Errorf("bad sightings %q: it has %d octets, too many: without it resolvers are missing: move it away, and pull again if it is a copy", f.Name(), info.Size())
	}
	b := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if _, err := b.ReadFrom(io.NewSectionReader(f, 0, info.Size())); err != nil {
		return nil, err
	}
	of, list, err := parseSightings(b.Bytes())
	if err == nil && of != hour {
		err = fmt.Errorf("it holds the hour %s", hourTime(of).Format(hourLayout))
	}
	if err != nil {
		return nil, fmt.Errorf("bad sightings %q: %w: without it resolvers are missing: move it away, and pull again if it is a copy", f.Name(), err)
	}
	return list, nil
}

// sightings are those that sessions of one hour may belong to, ascending.
type sightings []Sighting

// sightings reads those that sessions of the hour may belong to.
func (h *Hour) sightings() (sightings, error) {
	var all sightings
	first := h.Start.Unix()
	from, to := first-JoinWindow, first+hourLength+JoinWindow
	for hour := uint32(max(0, from) / hourLength); int64(hour)*hourLength <= to; hour++ {
		r := h.set.resolvers[hour]
		if r == nil {
			continue
		}
		for _, f := range r.files {
			list, err := readSightings(f, hour)
			if err != nil {
				return nil, err
			}
			for _, s := range list {
				if s.Time >= from && s.Time <= to {
					all = append(all, s)
				}
			}
		}
	}
	slices.SortFunc(all, compareSightings)
	return all, nil
}

// resolver returns who asked first for the name of a session that began at a
// time, within JoinWindow; an invalid address when nobody did.
func (all sightings) resolver(session uint64, began int64) netip.Addr {
	i, _ := slices.BinarySearchFunc(all, Sighting{Session: session, Time: began - JoinWindow}, compareSightings)
	if i < len(all) && all[i].Session == session && all[i].Time <= began+JoinWindow {
		return all[i].Resolver
	}
	return netip.Addr{}
}

// fill gives rows of one session the resolver that they lack, if it was seen.
func (all sightings) fill(rows []Row) {
	if len(all) == 0 {
		return
	}
	known := netip.Addr{}
	for i := range rows {
		if rows[i].Resolver.IsValid() {
			continue
		}
		if !known.IsValid() {
			if known = all.resolver(rows[i].Session, Session{Rows: rows}.Time()); !known.IsValid() {
				return
			}
		}
		rows[i].Resolver = known
	}
}
