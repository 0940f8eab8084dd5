package maps

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"edged/edge"
)

// sample is a small map with everything in it: measured and place rows, a row
// of an unknown place, exceptions, and a v4 resolver table of its own.
func sample() *Contents {
	t4 := parseTrie(32, map[string]uint32{"0.0.0.0/0": 0, "10.0.0.0/8": 1, "10.1.0.0/16": 2, "10.1.2.128/25": 3})
	res := parseTrie(32, map[string]uint32{"0.0.0.0/0": 1, "192.0.2.1/32": 2})
	t6 := parseTrie(128, map[string]uint32{"::/0": 0, "2001:db8::/32": 1, "2001:db8::1:0/112": 2, "ffff::/16": 3})
	ecs := Table{t4.ranges4(), t6.ranges6()}
	return &Contents{
		PoPs: []edge.PoP{
			{Name: "fra", Lat: 50.11, Lon: 8.68, Continent: "EU", Capacity: 100000},
			{Name: "nyc", Lat: 40.71, Lon: -74.01, Continent: "NA"},
			{Name: "sin", Lat: 1.35, Lon: 103.82, Continent: "AS"},
		},
		Inputs:  []Input{{"nets.csv", "sha256:00ff"}, {"built-in countries", "2026061719"}},
		Created: time.Date(2026, 6, 17, 19, 0, 0, 0, time.UTC),
		Orders:  [][]uint16{{0, 1, 2}, {2, 0, 1}},
		Rankings: []Ranking{
			{Order: NoOrder},
			{Order: 1},
			{Hops: []Hop{{1, 25}, {0, 0}}, Order: 0},
			{Hops: []Hop{{2, 3}}, Order: NoOrder},
		},
		ECS:      ecs,
		Resolver: Table{res.ranges4(), ecs.V6},
	}
}

func encode(t testing.TB, c *Contents) []byte {
	t.Helper()
	b, err := Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMapSurvivesTheFile(t *testing.T) {
	want := sample()
	b := encode(t, want)
	path := filepath.Join(t.TempDir(), "default.edmap")
	if err := WriteFile(path, b); err != nil {
		t.Fatal(err)
	}
	opened, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	shifted := append(make([]byte, 1, len(b)+1), b...)[1:] // no array is aligned: all are copied
	copied, err := Parse(shifted)
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]*Map{"opened": opened, "copied": copied} {
		t.Run(name, func(t *testing.T) { checkContents(t, m, want) })
	}
	if opened.ECS().V6 != opened.Resolver().V6 || opened.ECS().V4 == opened.Resolver().V4 {
		t.Error("want the v6 ranges shared between the tables, the v4 ranges not")
	}
	if opened.Size() != len(b) {
		t.Errorf("size %d, want %d", opened.Size(), len(b))
	}
}

func checkContents(t *testing.T, m *Map, want *Contents) {
	if !slices.Equal(m.PoPs(), want.PoPs) || !slices.Equal(m.Inputs(), want.Inputs) || !m.Created().Equal(want.Created) {
		t.Errorf("pops %v, inputs %v, created %v", m.PoPs(), m.Inputs(), m.Created())
	}
	if m.Orders() != len(want.Orders) || m.Rankings() != len(want.Rankings) {
		t.Fatalf("%d orders and %d rankings, want %d and %d", m.Orders(), m.Rankings(), len(want.Orders), len(want.Rankings))
	}
	for id, order := range want.Orders {
		if got := m.Order(uint32(id)); !slices.Equal(got, order) {
			t.Errorf("order %d is %v, want %v", id, got, order)
		}
	}
	for id, ranking := range want.Rankings {
		if got := m.Ranking(uint32(id)); !slices.Equal(got.Hops, ranking.Hops) || got.Order != ranking.Order {
			t.Errorf("ranking %d is %v, want %v", id, got, ranking)
		}
	}
	for _, tables := range [][2]*Table{{m.ECS(), &want.ECS}, {m.Resolver(), &want.Resolver}} {
		got, want := *tables[0].V4, *tables[1].V4
		got.memory, want.memory = nil, nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("v4 ranges differ")
		}
		got6, want6 := *tables[0].V6, *tables[1].V6
		got6.memory, want6.memory = nil, nil
		if !reflect.DeepEqual(got6, want6) {
			t.Errorf("v6 ranges differ")
		}
	}
}

func TestTableLookup(t *testing.T) {
	m, err := Parse(encode(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		addr, from, to, block string
		ranking               uint32
		first                 int // PoP, -1: none
	}{
		{"10.2.3.4", "10.2.0.0", "10.255.255.255", "10.2.0.0/15", 1, 2},
		{"::ffff:10.1.2.200", "10.1.2.128", "10.1.2.255", "10.1.2.128/25", 3, 2},
		{"10.1.3.0", "10.1.3.0", "10.1.255.255", "10.1.3.0/24", 2, 1},
		{"9.9.9.9", "0.0.0.0", "9.255.255.255", "8.0.0.0/7", 0, -1},
		{"255.0.0.1", "11.0.0.0", "255.255.255.255", "128.0.0.0/1", 0, -1},
		{"2001:db8::1:9", "2001:db8::1:0", "2001:db8::1:ffff", "2001:db8::1:0/112", 2, 1},
		{"2001:db8::2:9", "2001:db8::2:0", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::2:0/111", 1, 2},
		{"2001:db8:1::", "2001:db8::2:0", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8:1::/48", 1, 2},
		{"ffff::1", "ffff::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff::/16", 3, 2},
	} {
		addr := netip.MustParseAddr(tt.addr)
		row, from, to := m.ECS().Lookup(addr)
		block := m.ECS().Block(addr)
		if row.Ranking() != tt.ranking || from.String() != tt.from || to.String() != tt.to || block.String() != tt.block {
			t.Errorf("%s: ranking %d, %s-%s, block %s, want %d, %s-%s, %s", tt.addr, row.Ranking(), from, to, block, tt.ranking, tt.from, tt.to, tt.block)
		}
		first := -1
		if pop, ok := m.First(row); ok {
			first = int(pop)
		}
		if first != tt.first {
			t.Errorf("%s: first PoP %d, want %d", tt.addr, first, tt.first)
		}
	}
	if row, _, _ := m.Resolver().Lookup(netip.MustParseAddr("192.0.2.1")); row.Ranking() != 2 {
		t.Errorf("resolver 192.0.2.1 has ranking %d, want 2", row.Ranking())
	}
}

// A hundred thousand random addresses in a map from a file get the rows that
// the plain trie gives.
func TestMapMatchesTrie(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	slow4, slow6 := randomTrie(rng, 32, 3000), randomTrie(rng, 128, 3000)
	c := sample()
	c.ECS = Table{slow4.ranges4(), slow6.ranges6()}
	c.Resolver = c.ECS
	m, err := Parse(encode(t, c))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100_000 {
		slow, bits := slow4, 32
		if i%2 == 1 {
			slow, bits = slow6, 128
		}
		addr := randomAddr(rng, bits)
		if got, _, _ := m.Resolver().Lookup(addr); got != slow.lookup(addr) {
			t.Fatalf("%s has row %#x, want %#x", addr, got, slow.lookup(addr))
		}
	}
}

func TestVersionIgnoresTime(t *testing.T) {
	first := encode(t, sample())
	if !bytes.Equal(first, encode(t, sample())) {
		t.Error("the same contents gave other bytes")
	}
	later := sample()
	later.Created = later.Created.Add(time.Hour)
	other := sample()
	other.Rankings[1].Order = 0
	version := func(b []byte) string {
		m, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		return m.Version()
	}
	want := version(first)
	if got := version(encode(t, later)); got != want || len(got) != 12 {
		t.Errorf("built an hour later, version %q, want %q", got, want)
	}
	if got := version(encode(t, other)); got == want {
		t.Errorf("another content has the same version %q", got)
	}
}

func TestUnknownSections(t *testing.T) {
	b := encode(t, sample())
	rename := func(from, to string, flags uint64) []byte {
		b := slices.Clone(b)
		i := bytes.Index(b, []byte(from+"\x00"))
		copy(b[i:i+nameSize], append([]byte(to), make([]byte, nameSize)...))
		binary.LittleEndian.PutUint64(b[i+8:], flags)
		seal(b)
		return b
	}
	m, err := Parse(rename("inputs", "weather", 0))
	if err != nil || len(m.Inputs()) != 0 {
		t.Errorf("unknown optional section: %v", err)
	}
	_, err = Parse(rename("inputs", "weather", flagRequired))
	if want := `section "weather" is not known: was the map built by a newer edged?`; err == nil || err.Error() != want {
		t.Errorf("unknown required section: error %v, want %q", err, want)
	}
}

// put overwrites bytes of a section and seals the file again.
func put(b []byte, section string, at int, value ...byte) []byte {
	b = slices.Clone(b)
	name := append([]byte(section), make([]byte, nameSize-len(section))...)
	entry := b[bytes.Index(b, name):]
	offset := int(binary.LittleEndian.Uint64(entry[16:]))
	copy(b[offset+at:], value)
	seal(b)
	return b
}

func TestParseRefuses(t *testing.T) {
	good := encode(t, sample())
	raw := func(at int, value ...byte) []byte {
		b := slices.Clone(good)
		copy(b[at:], value)
		return b
	}
	rows4 := 4 + 4*(buckets4+1) // offset of the v4 rows in their section
	for _, tt := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "0 bytes are too few for a header of 104: is it a map, or was the copy cut short?"},
		{"text", []byte(strings.Repeat("prefix,ranking\n", 20)), `begins with "prefix,r", want "edgedmap": is it a map?`},
		{"newer", raw(8, 3), "format version 3, want 2: was it built by another edged? Build it again"},
		{"header damaged", raw(24, 1, 2, 3), "hash of the header differs: the file is damaged"},
		{"cut short", good[:len(good)-100], "copy was cut short: "},
		{"longer", append(slices.Clone(good), 0), "1 bytes after the end of the map"},
		{"content damaged", raw(len(good)-20, 0xaa), "checksum of the content differs: the file is damaged"},
		{"no pops", put(good, "pops", 0, 0, 0), `section "pops", before byte 4: map has 0 pops, want 1 to 4096`},
		{"many pops", put(good, "pops", 0, 4), `section "pops", before byte `},
		{"order of others", put(good, "orders", 4, 4), `section "orders", before byte 8: orders are of 4 pops, but the map has 3`},
		{"order twice", put(good, "orders", 8, 2), `section "orders", before byte 20: order 0 is not a permutation of the pops: look at pop 2`},
		{"order of none", put(good, "orders", 8, 9), `section "orders", before byte 20: order 0 is not a permutation of the pops: look at pop 9`},
		{"ranking order", put(good, "rankings", 16, 2), `ranking 1 has order 2 of 2`},
		{"ranking hops", put(good, "rankings", 12, 9), `ranking 0 has hops 0 to 9 of 3, want at most 8 in order`},
		{"ranking pop", put(good, "rankings", 8+4*8, 7), `ranking 2 has pop 7 of 3`},
		{"ranking pop twice", put(good, "rankings", 8+4*8+4, 1), `ranking 2 has pop "nyc" twice`},
		{"index", put(good, "ecs4", 4, 1), `section "ecs4", before byte `},
		{"empty bucket", put(good, "ecs4", 8, 0), `bucket 0x0000 has entries 0 to 0 of `},
		{"row of no ranking", put(good, "ecs4", rows4, 4), `entry 0: row 0x80000004 is not one of 4 rankings`},
		{"flag in v4", put(good, "res4", rows4+3, 0x40), `entry 0: row 0x40000001 is not one of 4 rankings`},
		{"v6 does not begin at 0", put(good, "ecs6", 8, 1), `section "ecs6", before byte `},
		{"v6 row", put(good, "ecs6", 8+5*8+3*16, 9), `entry 0: row 0x80000009 is not one of 4 rankings`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse(tt.file); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

// A file whose checksum is right is still not the map that it says to be when
// its hash is of another one.
func TestHashOfAnotherMap(t *testing.T) {
	b := encode(t, sample())
	b[contentHash]++
	header := sha256.Sum256(b[:headerHash])
	copy(b[headerHash:], header[:])
	path := filepath.Join(t.TempDir(), "default.edmap")
	if err := WriteFile(path, b); err != nil {
		t.Fatal(err)
	}
	const want = "hash of the content differs: this is not the map that its version names"
	if _, err := Parse(b); err == nil || err.Error() != want {
		t.Errorf("Parse: error %v, want %q", err, want)
	}
	if _, err := Open(path); err == nil || !strings.HasSuffix(err.Error(), `default.edmap": `+want) {
		t.Errorf("Open: error %v, want %q at its end", err, want)
	}
	m, err := OpenUnhashed(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.CheckHash(); err == nil || err.Error() != want {
		t.Errorf("CheckHash: error %v, want %q", err, want)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for want, change := range map[string]func(*Contents){
		"map has 0 pops, want 1 to 4096":             func(c *Contents) { c.PoPs = nil },
		`pop "fra" lies at 91, 8.68: no such place`:  func(c *Contents) { c.PoPs[0].Lat = 91 },
		`pop "fra" has no name of its own`:           func(c *Contents) { c.PoPs[1].Name = "fra" },
		"seconds after 1970, want one from 1970 to ": func(c *Contents) { c.Created = time.Time{} },
		"order 1 is not a permutation of the pops":   func(c *Contents) { c.Orders[1] = []uint16{0, 0, 1} },
		"row 0x80000003 is not one of 3 rankings":    func(c *Contents) { c.Rankings = c.Rankings[:3] },
	} {
		c := sample()
		change(c)
		if _, err := Encode(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}

func TestOpenNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	short := filepath.Join(dir, "short.edmap")
	b := encode(t, sample())
	if err := os.WriteFile(short, b[:1000], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		short:                         `map "` + short + `": copy was cut short: 1000 of `,
		filepath.Join(dir, "missing"): "no such file",
		filepath.Join(dir, "empty"):   "0 bytes are too few",
		dir:                           "not a regular file",
	} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q): error %v, want %q in it", path, err, want)
		}
	}
}

// What an open map reads from must not change when somebody writes over the
// file in place, and must not go away while only a table's ranges are held.
func TestOpenMapOutlivesFileAndMap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "default.edmap")
	if err := WriteFile(path, encode(t, sample())); err != nil {
		t.Fatal(err)
	}
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	ranges := m.ECS().V4
	m = nil
	for range 5 {
		runtime.GC()
	}
	if row := ranges.Rows[ranges.Find(0x0a010000)]; row.Ranking() != 2 {
		t.Errorf("10.1.0.0 has ranking %d after the file was cut, want 2", row.Ranking())
	}
	runtime.KeepAlive(ranges)
}

func TestWriteFileReplacesWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "default.edmap")
	for _, data := range []string{"old and long", "new"} {
		if err := WriteFile(path, []byte(data)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); string(got) != data {
			t.Errorf("file holds %q (%v), want %q", got, err, data)
		}
	}
	if err := WriteFile(filepath.Join(dir, "none", "x"), nil); err == nil {
		t.Error("wrote into a folder that does not exist")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("folder holds %v, want the map alone", entries)
	}
}

func TestViewInPlaceAndCopied(t *testing.T) {
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(i)
	}
	at := 0
	for uintptr(unsafe.Pointer(&b[at]))%8 != 0 {
		at++
	}
	placed, _ := view[uint64](b[at:], 1)
	copied, rest := view[uint64](slices.Concat([]byte{0}, b[at:])[1:], 1)
	if placed[0] != copied[0] || placed[0]&0xff != uint64(at) || len(rest) != len(b)-at-8 {
		t.Errorf("in place %#x, copied %#x", placed[0], copied[0])
	}
}

// FuzzParse changes a map and seals it again, so that the hashes do not hide
// the rest. What Parse takes, every lookup must survive.
func FuzzParse(f *testing.F) {
	small := sample()
	f.Add(encode(f, small), uint16(0), uint64(0), false)
	f.Add(encode(f, small), uint16(100), uint64(1)<<63, true)
	f.Add(encode(f, priced()), uint16(0), uint64(9), false)
	f.Add(encode(f, explained()), uint16(0), uint64(0), true)
	f.Add([]byte("edgedmap"), uint16(0), uint64(0), true)
	f.Add(bytes.Repeat([]byte{0xff}, 200), uint16(12), uint64(70), true)
	f.Fuzz(func(t *testing.T, b []byte, at uint16, value uint64, sealed bool) {
		b = slices.Clone(b)
		if sealed && len(b) >= headerSize {
			copy(b, magic)
			binary.LittleEndian.PutUint32(b[8:], formatVersion)
			binary.LittleEndian.PutUint64(b[16:], uint64(len(b)))
			if i := headerSize + int(at)*4; i+8 <= len(b) {
				binary.LittleEndian.PutUint64(b[i:], value)
			}
			seal(b)
		}
		m, err := Parse(b)
		if err != nil {
			return
		}
		exercise(m)
	})
}

// exercise makes every kind of lookup at every edge.
func exercise(m *Map) {
	for _, table := range []*Table{m.ECS(), m.Resolver()} {
		for start, row := range table.V4.All() {
			m.First(row)
			table.Lookup(address4(start))
			table.Block(address4(start - 1))
		}
		for start, row := range table.V6.All() {
			m.First(row)
			table.Lookup(start.Addr())
			table.Block(start.Addr())
			table.V6.FindBlock(start.Hi - 1)
		}
	}
	for id := range m.Rankings() {
		m.Ranking(uint32(id))
		m.HopOrigins(uint32(id))
	}
	m.UnitOrigin(netip.AddrFrom4([4]byte{10, 1, 2, 3}))
	m.UnitOrigin(netip.MustParseAddr("2001:db8::1"))
	for id := range m.Orders() {
		m.Order(uint32(id))
	}
}
