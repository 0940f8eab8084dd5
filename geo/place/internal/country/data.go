package country

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"

	_ "embed"
)

//go:embed builtin.dat
var builtin []byte

// BuiltIn returns the embedded data. It is read and verified at the first call.
var BuiltIn = sync.OnceValues(func() (*Data, error) { return Parse(builtin) })

// Data says which country each address block is in. It covers the whole of both
// address families; parts may be of no known country.
type Data struct {
	Origin
	codes []string      // ascending; the first is "", for "not known"
	v4    table[uint32] // in units of /24
	v6    table[uint64] // in units of /48
}

// Origin says what Data was made from.
type Origin struct {
	Package string // for example "npm:@ip-location-db/geo-whois-asn-country-mmdb"
	Version string // of the package
	File    string // database type, date (YYYY-MM-DD) and hash of the file in it
}

const (
	magic         = "edgplace"
	formatVersion = 1

	v4Cells = 1 << 24
	v6Cells = 1 << 48
)

// table maps cells (blocks of equal size, numbered by their leading bits) to
// countries: start[i] is the first cell of range i, and the range goes on to the
// next start. The first start is 0; starts ascend.
type table[C uint32 | uint64] struct {
	start []C
	code  []uint8 // index into Data.codes; 0 is "not known"
}

// find returns the range that holds a cell.
func (t *table[C]) find(cell C) int {
	i, exact := slices.BinarySearch(t.start, cell)
	if !exact {
		i--
	}
	return i
}

// last returns the last cell of range i.
func (t *table[C]) last(i int, cells C) C {
	if i+1 < len(t.start) {
		return t.start[i+1] - 1
	}
	return cells - 1
}

// Find returns the country of an address ("" if none is known) and the first
// and the last address of the range for which that holds. A v4-mapped address
// is taken as what it is: an IPv6 one.
func (d *Data) Find(addr netip.Addr) (code string, from, to netip.Addr) {
	if addr.Is4() {
		a4 := addr.As4()
		i := d.v4.find(binary.BigEndian.Uint32(a4[:]) >> 8)
		return d.codes[d.v4.code[i]], addr4(d.v4.start[i], 0), addr4(d.v4.last(i, v4Cells), math.MaxUint8)
	}
	a16 := addr.As16()
	i := d.v6.find(binary.BigEndian.Uint64(a16[:]) >> 16)
	return d.codes[d.v6.code[i]], addr6(d.v6.start[i], 0), addr6(d.v6.last(i, v6Cells), 0xff)
}

func addr4(cell uint32, fill byte) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(cell >> 16), byte(cell >> 8), byte(cell), fill})
}

func addr6(cell uint64, fill byte) netip.Addr {
	var a [16]byte
	binary.BigEndian.PutUint64(a[:], cell<<16)
	for i := 6; i < len(a); i++ {
		a[i] = fill
	}
	return netip.AddrFrom16(a)
}

// Ranges returns the number of ranges in both families.
func (d *Data) Ranges() int { return len(d.v4.start) + len(d.v6.start) }

// Codes returns the countries that occur, in ascending order.
func (d *Data) Codes() []string { return slices.Clone(d.codes[1:]) }

// Encode returns the file's bytes: the same for the same data.
func (d *Data) Encode() []byte {
	var body []byte
	for _, s := range []string{d.Package, d.Version, d.File} {
		body = binary.AppendUvarint(body, uint64(len(s)))
		body = append(body, s...)
	}
	body = binary.AppendUvarint(body, uint64(len(d.codes)-1))
	for _, code := range d.codes[1:] {
		body = append(body, code...)
	}
	body = appendTable(body, d.v4)
	body = appendTable(body, d.v6)

	hash := sha256.Sum256(body)
	return slices.Concat([]byte(magic), []byte{formatVersion}, hash[:], body)
}

func appendTable[C uint32 | uint64](b []byte, t table[C]) []byte {
	b = binary.AppendUvarint(b, uint64(len(t.start)))
	var previous C
	for _, start := range t.start {
		b = binary.AppendUvarint(b, uint64(start-previous))
		previous = start
	}
	return append(b, t.code...)
}

// Parse reads what Encode wrote. It errs if the hash does not match or a rule
// of the format is broken.
func Parse(file []byte) (*Data, error) {
	rest, ok := bytes.CutPrefix(file, []byte(magic))
	if !ok {
		return nil, errors.New("country data: not in edged's format")
	}
	if len(rest) < 1+sha256.Size {
		return nil, errors.New("country data: cut short in the header")
	}
	if rest[0] != formatVersion {
		return nil, fmt.Errorf("country data: format version %d, want %d", rest[0], formatVersion)
	}
	hash, body := rest[1:1+sha256.Size], rest[1+sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], hash) {
		return nil, fmt.Errorf("country data: hash is %x, header says %x", got, hash)
	}
	return parseBody(body)
}

func parseBody(body []byte) (*Data, error) {
	r := reader{rest: body}
	d := new(Data)
	for _, s := range []*string{&d.Package, &d.Version, &d.File} {
		*s = string(r.bytes(r.count()))
	}
	d.codes = []string{""}
	for n := r.count(); n > 0 && r.err == nil; n-- {
		code := string(r.bytes(2))
		if r.err == nil && code <= d.codes[len(d.codes)-1] {
			r.err = fmt.Errorf("country %q is out of order", code)
		}
		d.codes = append(d.codes, code)
	}
	d.v4 = readTable[uint32](&r, v4Cells, len(d.codes))
	d.v6 = readTable[uint64](&r, v6Cells, len(d.codes))
	if r.err == nil && len(r.rest) > 0 {
		r.err = fmt.Errorf("%d bytes follow the last table", len(r.rest))
	}
	if r.err != nil {
		return nil, fmt.Errorf("country data: %w", r.err)
	}
	return d, nil
}

func readTable[C uint32 | uint64](r *reader, cells uint64, codes int) table[C] {
	n := r.count()
	t := table[C]{start: make([]C, 0, n)}
	var start uint64
	for i := range n {
		delta := r.uvarint()
		if r.err == nil && (delta == 0) != (i == 0) {
			r.err = fmt.Errorf("range %d begins %d cells after the one before", i, delta)
		}
		if r.err == nil && delta >= cells-start {
			r.err = fmt.Errorf("range %d begins beyond the address space", i)
		}
		if r.err != nil {
			return table[C]{}
		}
		start += delta
		t.start = append(t.start, C(start))
	}
	t.code = r.bytes(n)
	if r.err == nil && n == 0 {
		r.err = errors.New("a table has no range")
	}
	if r.err == nil && int(slices.Max(t.code)) >= codes {
		r.err = fmt.Errorf("a range has country %d of %d", slices.Max(t.code), codes)
	}
	return t
}

// reader takes values off a byte slice. After the first error it returns zero
// values.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) uvarint() uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.err = errors.New("cut short, or a number too large")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// count reads the number of things that follow, each of a byte or more: so a
// number larger than the bytes that are left is an error.
func (r *reader) count() int {
	n := r.uvarint()
	if r.err == nil && n > uint64(len(r.rest)) {
		r.err = fmt.Errorf("%d things announced in %d bytes", n, len(r.rest))
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

func (r *reader) bytes(n int) []byte {
	if r.err == nil && n > len(r.rest) {
		r.err = errors.New("cut short")
	}
	if r.err != nil {
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}
