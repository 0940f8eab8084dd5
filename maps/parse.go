package maps

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"time"
)

// Parse reads a map file and verifies all of it. The Map uses b where it lies:
// b must not be changed after. An error says which section and what is wrong.
func Parse(b []byte) (*Map, error) {
	m, err := parse(b)
	if err == nil {
		err = m.CheckHash()
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// parse is Parse but for the content's hash.
func parse(b []byte) (*Map, error) {
	sections, err := parseHeader(b)
	if err != nil {
		return nil, err
	}
	m := &Map{
		file:    b,
		hash:    [32]byte(b[contentHash:]),
		created: time.Unix(int64(binary.LittleEndian.Uint64(b[24:])), 0).UTC(),
	}
	// Later sections refer to earlier ones, so the order matters.
	for _, s := range []struct {
		name  string
		parse func(*cursor) error
	}{
		{sectionPoPs, m.parsePoPs},
		{sectionInputs, m.parseInputs},
		{sectionPrices, m.parsePrices},
		{sectionOrders, m.parseOrders},
		{sectionRankings, m.parseRankings},
		{sectionECS4, func(c *cursor) (err error) { m.ecs.V4, err = m.parseRanges4(c); return err }},
		{sectionECS6, func(c *cursor) (err error) { m.ecs.V6, err = m.parseRanges6(c); return err }},
		{sectionRes4, func(c *cursor) (err error) { m.res.V4, err = m.parseRanges4(c); return err }},
		{sectionRes6, func(c *cursor) (err error) { m.res.V6, err = m.parseRanges6(c); return err }},
		{sectionGate, m.parseGate},
		{sectionOrigins, m.parseOrigins},
	} {
		at, ok := sections[s.name]
		switch {
		case !ok && optional[s.name]:
			continue
		case !ok:
			return nil, fmt.Errorf("section %q is missing", s.name)
		case s.name == sectionRes4 && at == sections[sectionECS4]:
			m.res.V4 = m.ecs.V4
			continue
		case s.name == sectionRes6 && at == sections[sectionECS6]:
			m.res.V6 = m.ecs.V6
			continue
		}
		c := &cursor{b: b[at.offset:at.end], size: at.end - at.offset}
		if err := s.parse(c); err != nil {
			return nil, fmt.Errorf("section %q, before byte %d: %w", s.name, c.size-len(c.b), err)
		}
		if len(c.b) > 0 {
			return nil, fmt.Errorf("section %q: %d bytes after its end", s.name, len(c.b))
		}
	}
	return m, nil
}

// extent is where a section lies.
type extent struct{ offset, end int }

// CheckHash holds the content against the SHA-256 that the map's version is
// taken from. It reads all of the file, and is safe for concurrent use.
func (m *Map) CheckHash() error {
	defer runtime.KeepAlive(m)
	if sha256.Sum256(m.file[headerSize:]) != m.hash {
		return errors.New("hash of the content differs: this is not the map that its version names")
	}
	return nil
}

// checksum finds damage in a tenth of the time that the hash takes.
func checksum(content []byte) uint32 { return crc32.Checksum(content, castagnoli) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// parseHeader checks the header, the checksum and the directory, and returns
// where the known sections lie.
func parseHeader(b []byte) (map[string]extent, error) {
	if len(b) < headerSize {
		return nil, tooShort(len(b))
	}
	if got := b[:len(magic)]; string(got) != magic {
		return nil, fmt.Errorf("begins with %q, want %q: is it a map?", got, magic)
	}
	if version := binary.LittleEndian.Uint32(b[8:]); version != formatVersion {
		return nil, fmt.Errorf("format version %d, want %d: was it built by another edged? Build it again", version, formatVersion)
	}
	if sum := sha256.Sum256(b[:headerHash]); !bytes.Equal(sum[:], b[headerHash:headerSize]) {
		return nil, errors.New("hash of the header differs: the file is damaged")
	}
	count, total := binary.LittleEndian.Uint32(b[12:]), binary.LittleEndian.Uint64(b[16:])
	switch {
	case uint64(len(b)) < total:
		return nil, fmt.Errorf("copy was cut short: %d of %d bytes", len(b), total)
	case uint64(len(b)) > total:
		return nil, fmt.Errorf("%d bytes after the end of the map", uint64(len(b))-total)
	case count > maxSections || total < headerSize+entrySize*uint64(count):
		return nil, fmt.Errorf("directory has %d sections, want at most %d that fit the file", count, maxSections)
	}
	if created := binary.LittleEndian.Uint64(b[24:]); created >= endOfTime {
		return nil, fmt.Errorf("creation time is %d seconds after 1970, want one from 1970 to 9999", int64(created))
	}
	if sum := checksum(b[headerSize:]); uint64(sum) != binary.LittleEndian.Uint64(b[contentSum:]) {
		return nil, errors.New("checksum of the content differs: the file is damaged")
	}
	return parseDirectory(b, int(count))
}

func tooShort(size int) error {
	return fmt.Errorf("%d bytes are too few for a header of %d: is it a map, or was the copy cut short?", size, headerSize)
}

// endOfTime is the first second of the year 10000.
const endOfTime = 253402300800

func parseDirectory(b []byte, count int) (map[string]extent, error) {
	sections := map[string]extent{}
	first := uint64(headerSize + entrySize*count)
	for i := range count {
		entry := b[headerSize+entrySize*i:][:entrySize]
		name := string(bytes.TrimRight(entry[:nameSize], "\x00"))
		flags := binary.LittleEndian.Uint64(entry[8:])
		offset, length := binary.LittleEndian.Uint64(entry[16:]), binary.LittleEndian.Uint64(entry[24:])
		if offset%8 != 0 || offset < first || offset > uint64(len(b)) || length > uint64(len(b))-offset {
			return nil, fmt.Errorf("section %q has bytes %d to %d+%d, want them after the directory, in the file, from a multiple of 8", name, offset, offset, length)
		}
		if _, ok := sections[name]; ok {
			return nil, fmt.Errorf("section %q is there twice", name)
		}
		switch name {
		case sectionPoPs, sectionInputs, sectionOrders, sectionRankings, sectionECS4, sectionECS6, sectionRes4, sectionRes6,
			sectionPrices, sectionGate, sectionOrigins:
		default:
			if flags&flagRequired != 0 {
				return nil, fmt.Errorf("section %q is not known: was the map built by a newer edged?", name)
			}
		}
		sections[name] = extent{int(offset), int(offset + length)}
	}
	return sections, nil
}

// cursor reads a section from front to back.
type cursor struct {
	b    []byte // what is left
	size int    // of the whole section
}

var errShort = errors.New("section ends too early")

func (c *cursor) uint16() (uint16, error) {
	if len(c.b) < 2 {
		return 0, errShort
	}
	v := binary.LittleEndian.Uint16(c.b)
	c.b = c.b[2:]
	return v, nil
}

func (c *cursor) uint32() (uint32, error) {
	if len(c.b) < 4 {
		return 0, errShort
	}
	v := binary.LittleEndian.Uint32(c.b)
	c.b = c.b[4:]
	return v, nil
}

func (c *cursor) uint64() (uint64, error) {
	if len(c.b) < 8 {
		return 0, errShort
	}
	v := binary.LittleEndian.Uint64(c.b)
	c.b = c.b[8:]
	return v, nil
}

// text reads a length in two bytes and the text.
func (c *cursor) text() (string, error) {
	n, err := c.uint16()
	if err != nil {
		return "", err
	}
	if len(c.b) < int(n) {
		return "", errShort
	}
	s := string(c.b[:n])
	c.b = c.b[n:]
	return s, nil
}

// array reads n numbers, in place where that is possible.
func array[T number](c *cursor, n uint64) (a []T, err error) {
	var zero T
	if n > uint64(len(c.b))/uint64(binary.Size(zero)) {
		return nil, errShort
	}
	a, c.b = view[T](c.b, int(n))
	return a, nil
}
