package beacon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"net/netip"
	"slices"

	"edged/edge"
)

// The format is drawn in docs/format/beacon-segments.md.
const (
	segmentMagic   = "edbeacon"
	segmentVersion = 2
	segmentOldest  = 1 // that is read: it has no rows of attempts that failed
	fixedHeader    = 32
	groupHeader    = 10
	measureSize    = 7
	trailerSize    = 4

	maxName    = 64             // octets of a batch id or of a PoP's name
	maxHeader  = 16 << 20       // octets; the names of 65535 batches and 4096 PoPs fit
	maxMeasure = math.MaxUint8  // measurements of a group
	maxSecond  = math.MaxUint16 // seconds after the hour
	maxGroup   = groupHeader + 2*16 + maxMeasure*measureSize
	hourLength = 3600                // seconds
	maxHour    = 253402300799 / 3600 // the last of the year 9999
)

// The bits of a group's kind.
const (
	kindClient6   = 1 << 0
	kindResolver4 = 1 << 1
	kindResolver6 = 1 << 2
	kinds         = kindClient6 | kindResolver4 | kindResolver6
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is what a segment says of itself.
type header struct {
	hour    uint32 // Unix time / 3600
	rows    uint32
	groups  uint32
	batches []string // ids of the batches whose rows it holds, ascending
	pops    []string // ascending, each once
}

// encodeSegment makes a segment of rows that are sorted and whose PoPs index
// h.pops. It sets the counts in the header itself.
func encodeSegment(h header, rows []Row) ([]byte, error) {
	if len(rows) > math.MaxUint32 {
		return nil, fmt.Errorf("cannot hold %d rows in one segment", len(rows))
	}
	b := make([]byte, fixedHeader, fixedHeader+64*(len(h.batches)+len(h.pops))+12*len(rows))
	b = appendNames(appendNames(b, h.batches), h.pops)
	names := len(b)
	from := int64(h.hour) * hourLength
	for len(rows) > 0 {
		n := groupLength(rows)
		b = appendGroup(b, from, rows[:n])
		rows = rows[n:]
		h.rows += uint32(n)
		h.groups++
	}
	copy(b, segmentMagic)
	le := binary.LittleEndian
	le.PutUint16(b[8:], segmentVersion)
	le.PutUint32(b[12:], h.hour)
	le.PutUint32(b[16:], h.rows)
	le.PutUint32(b[20:], h.groups)
	le.PutUint32(b[24:], uint32(names))
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// groupLength returns how many rows, of which there must be one, are one group.
func groupLength(rows []Row) int {
	n := 1
	for n < len(rows) && n < maxMeasure && sameGroup(rows[0], rows[n]) {
		n++
	}
	return n
}

func sameGroup(a, b Row) bool {
	return a.Session == b.Session && a.Client == b.Client && a.Resolver == b.Resolver
}

func appendNames(b []byte, names []string) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(names)))
	for _, name := range names {
		b = append(append(b, byte(len(name))), name...)
	}
	return b
}

func appendGroup(b []byte, from int64, rows []Row) []byte {
	le := binary.LittleEndian
	var kind byte
	if rows[0].Client.Is6() {
		kind |= kindClient6
	}
	switch resolver := rows[0].Resolver; {
	case resolver.Is4():
		kind |= kindResolver4
	case resolver.Is6():
		kind |= kindResolver6
	}
	b = append(le.AppendUint64(b, rows[0].Session), byte(len(rows)), kind)
	b = append(b, rows[0].Client.AsSlice()...)
	b = append(b, rows[0].Resolver.AsSlice()...)
	for _, r := range rows {
		b = le.AppendUint16(b, uint16(r.Time-from))
		b = le.AppendUint16(b, r.PoP)
		b = append(le.AppendUint16(b, r.RTT), byte(r.Method))
	}
	return b
}

var errShort = errors.New("it ends too early")

// readHeader reads a header with its names, and returns how many octets it has.
func readHeader(r io.Reader) (h header, size int, err error) {
	fixed := make([]byte, fixedHeader)
	if _, err := io.ReadFull(r, fixed); err != nil {
		return h, 0, short(err)
	}
	le := binary.LittleEndian
	if string(fixed[:8]) != segmentMagic {
		return h, 0, errors.New("it is not a segment of beacon rows")
	}
	if v := le.Uint16(fixed[8:]); v < segmentOldest || v > segmentVersion || le.Uint16(fixed[10:]) != 0 || le.Uint32(fixed[28:]) != 0 {
		return h, 0, fmt.Errorf("it has version %d, want %d: it may be from a newer edged", v, segmentVersion)
	}
	h = header{hour: le.Uint32(fixed[12:]), rows: le.Uint32(fixed[16:]), groups: le.Uint32(fixed[20:])}
	size = int(le.Uint32(fixed[24:]))
	if size < fixedHeader+4 || size > maxHeader || h.hour > maxHour {
		return h, 0, fmt.Errorf("its header claims %d octets and hour %d", size, h.hour)
	}
	names := make([]byte, size-fixedHeader)
	if _, err := io.ReadFull(r, names); err != nil {
		return h, 0, short(err)
	}
	if h.batches, names, err = cutNames(names); err != nil {
		return h, 0, err
	}
	if h.pops, names, err = cutNames(names); err != nil {
		return h, 0, err
	}
	if len(names) != 0 || len(h.pops) > edge.MaxPoPs {
		return h, 0, fmt.Errorf("its header has %d pops and %d octets too many", len(h.pops), len(names))
	}
	return h, size, nil
}

// short says of an end in the middle what it means; other errors stay.
func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errShort
	}
	return err
}

// cutNames reads a list of names, which must ascend, and returns what follows.
func cutNames(b []byte) (names []string, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, errShort
	}
	n := int(binary.LittleEndian.Uint16(b))
	b = b[2:]
	for range n {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return nil, nil, errShort
		}
		name := string(b[1 : 1+b[0]])
		if len(names) > 0 && names[len(names)-1] >= name || name == "" || len(name) > maxName {
			return nil, nil, fmt.Errorf("name %q in its header is out of order, empty or too long", name)
		}
		names, b = append(names, name), b[1+len(name):]
	}
	return names, b, nil
}

// group is some rows of one session, from one client through one resolver, as a
// segment holds them.
type group struct {
	session          uint64
	client, resolver netip.Addr
	measures         []byte // measureSize octets each
}

// groupSize returns how many octets a group has, from its first groupHeader
// octets.
func groupSize(b []byte) (int, error) {
	n, kind := int(b[8]), b[9]
	if n == 0 || kind&^kinds != 0 || kind&kindResolver4 != 0 && kind&kindResolver6 != 0 {
		return 0, fmt.Errorf("a group has %d measurements and kind %#x", n, kind)
	}
	return groupHeader + addressSizes(kind) + n*measureSize, nil
}

func addressSizes(kind byte) int {
	size := 4
	if kind&kindClient6 != 0 {
		size = 16
	}
	switch {
	case kind&kindResolver4 != 0:
		size += 4
	case kind&kindResolver6 != 0:
		size += 16
	}
	return size
}

// parseGroup reads a group of the size that groupSize said.
func parseGroup(b []byte) group {
	g := group{session: binary.LittleEndian.Uint64(b)}
	kind := b[9]
	b = b[groupHeader:]
	if kind&kindClient6 != 0 {
		g.client, b = netip.AddrFrom16([16]byte(b)), b[16:]
	} else {
		g.client, b = netip.AddrFrom4([4]byte(b)), b[4:]
	}
	switch {
	case kind&kindResolver4 != 0:
		g.resolver, b = netip.AddrFrom4([4]byte(b)), b[4:]
	case kind&kindResolver6 != 0:
		g.resolver, b = netip.AddrFrom16([16]byte(b)), b[16:]
	}
	g.measures = b
	return g
}

// first returns when the group's earliest measurement was, in seconds after the
// hour.
func (g group) first() int64 {
	first := uint16(math.MaxUint16)
	for b := g.measures; len(b) > 0; b = b[measureSize:] {
		first = min(first, binary.LittleEndian.Uint16(b))
	}
	return int64(first)
}

// appendRows appends a group's rows. pops translates the segment's PoPs; an index
// beyond it is an error, as is a method that is not known.
func (g group) appendRows(dst []Row, from int64, pops []uint16) ([]Row, error) {
	le := binary.LittleEndian
	for b := g.measures; len(b) > 0; b = b[measureSize:] {
		pop, method := le.Uint16(b[2:]), Method(b[6])
		if int(pop) >= len(pops) || method >= methods {
			return dst, fmt.Errorf("a measurement has pop %d of %d and method %d", pop, len(pops), method)
		}
		dst = append(dst, Row{
			Session: g.session, Time: from + int64(le.Uint16(b)), Client: g.client, Resolver: g.resolver,
			PoP: pops[pop], RTT: le.Uint16(b[4:]), Method: method,
		})
	}
	return dst, nil
}

// usedPoPs returns the names that rows use, ascending, and makes the rows index
// them instead of names.
func usedPoPs(rows []Row, names []string) ([]string, error) {
	used := map[uint16]bool{}
	for _, r := range rows {
		if int(r.PoP) >= len(names) {
			return nil, fmt.Errorf("a row has pop %d, but there are %d", r.PoP, len(names))
		}
		used[r.PoP] = true
	}
	var list []string
	for i := range used {
		list = append(list, names[i])
	}
	slices.Sort(list)
	list = slices.Compact(list)
	index := make([]uint16, len(names))
	for i := range used {
		at, _ := slices.BinarySearch(list, names[i])
		index[i] = uint16(at)
	}
	for i := range rows {
		rows[i].PoP = index[rows[i].PoP]
	}
	return list, nil
}
