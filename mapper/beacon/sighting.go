package beacon

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"slices"

	"edged/edge"
)

// Sighting says that a resolver asked for a session's unique name.
type Sighting struct {
	Session  uint64
	Time     int64      // Unix time in seconds
	Resolver netip.Addr // never an IPv4-mapped one
}

func compareSightings(a, b Sighting) int {
	return cmp.Or(cmp.Compare(a.Session, b.Session), cmp.Compare(a.Time, b.Time), a.Resolver.Compare(b.Resolver))
}

// The format is drawn in docs/format/beacon-resolvers.md.
const (
	resolverMagic   = "edresolv"
	resolverVersion = 1
	resolverHeader  = 24
	sightingSize    = 28
	resolverSuffix  = ".resolvers"

	// maxSightings is how many a file has at most: 120 MB.
	maxSightings = 1 << 22
)

// AppendSightings makes sightings durable as files of their hours, under an id
// like that of a batch. A file that is there is written anew: an id must not be
// used for anything else.
func (w *Writer) AppendSightings(id string, list []Sighting) error {
	if !validBatch.MatchString(id) {
		return fmt.Errorf("bad id of sightings %q: want 1 to %d letters, digits, '-', '_' and '.'", id, maxName)
	}
	hours := map[uint32][]Sighting{}
	for _, s := range list {
		if !s.Resolver.IsValid() || s.Resolver.Is4In6() || s.Resolver.Zone() != "" || s.Time < 0 || s.Time/hourLength > maxHour {
			return fmt.Errorf("sightings %q: one has resolver %s and time %d: want a plain address and a time", id, s.Resolver, s.Time)
		}
		hour := uint32(s.Time / hourLength)
		hours[hour] = append(hours[hour], s)
	}
	for hour, list := range hours {
		if err := w.writeSightings(hour, hourTime(hour).Format(hourLayout)+"-"+id+resolverSuffix, list); err != nil {
			return err
		}
	}
	if len(hours) == 0 {
		return nil
	}
	return edge.SyncFolder(w.dir)
}

func (w *Writer) writeSightings(hour uint32, name string, list []Sighting) error {
	slices.SortFunc(list, compareSightings)
	list = slices.Compact(list)
	if len(list) > maxSightings {
		return fmt.Errorf("%d sightings are too many for one file: want at most %d", len(list), maxSightings)
	}
	return writeBeside(w.dir, name, encodeSightings(hour, list))
}

// encodeSightings makes a file of sightings that ascend, all of one hour.
func encodeSightings(hour uint32, list []Sighting) []byte {
	le := binary.LittleEndian
	b := make([]byte, resolverHeader, resolverHeader+len(list)*sightingSize+trailerSize)
	copy(b, resolverMagic)
	le.PutUint16(b[8:], resolverVersion)
	le.PutUint32(b[12:], hour)
	le.PutUint32(b[16:], uint32(len(list)))
	for _, s := range list {
		b = le.AppendUint64(b, s.Session)
		b = le.AppendUint16(b, uint16(s.Time-int64(hour)*hourLength))
		var a [16]byte
		copy(a[:], s.Resolver.AsSlice())
		b = append(b, byte(len(s.Resolver.AsSlice())), 0)
		b = append(b, a[:]...)
	}
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// parseSightings reads a file whole.
func parseSightings(b []byte) (hour uint32, list []Sighting, err error) {
	le := binary.LittleEndian
	if len(b) < resolverHeader+trailerSize {
		return 0, nil, errShort
	}
	if string(b[:8]) != resolverMagic {
		return 0, nil, errors.New("it is not a file of sightings")
	}
	if v := le.Uint16(b[8:]); v != resolverVersion || le.Uint16(b[10:]) != 0 || le.Uint32(b[20:]) != 0 {
		return 0, nil, fmt.Errorf("it has version %d, want %d: it may be from a newer edged", v, resolverVersion)
	}
	body, trailer := b[:len(b)-trailerSize], b[len(b)-trailerSize:]
	if got, want := crc32.Checksum(body, castagnoli), le.Uint32(trailer); got != want {
		return 0, nil, fmt.Errorf("its checksum is %08x, want %08x: it is damaged", got, want)
	}
	hour = le.Uint32(b[12:])
	n, body := le.Uint32(b[16:]), body[resolverHeader:]
	if hour > maxHour || n > maxSightings || len(body) != int(n)*sightingSize {
		return 0, nil, fmt.Errorf("its header claims hour %d and %d sightings in %d octets", hour, n, len(body))
	}
	list = make([]Sighting, 0, n)
	for ; len(body) > 0; body = body[sightingSize:] {
		s := Sighting{Session: le.Uint64(body), Time: int64(hour)*hourLength + int64(le.Uint16(body[8:]))}
		switch body[10] {
		case 4:
			s.Resolver = netip.AddrFrom4([4]byte(body[12:]))
		case 16:
			s.Resolver = netip.AddrFrom16([16]byte(body[12:]))
		}
		ordered := len(list) == 0 || compareSightings(list[len(list)-1], s) < 0
		if !s.Resolver.IsValid() || s.Resolver.Is4In6() || body[11] != 0 || le.Uint16(body[8:]) >= hourLength || !ordered {
			return 0, nil, fmt.Errorf("sighting %d is out of order or has no address", len(list)+1)
		}
		list = append(list, s)
	}
	return hour, list, nil
}
