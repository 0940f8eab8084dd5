package place

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"go4.org/netipx"

	"edged/geo/place/internal/country"
)

type record = mmdbtype.Map

// written returns a database file with the given records. They may nest: the
// longest prefix wins.
func written(tb testing.TB, o mmdbwriter.Options, networks map[string]record) []byte {
	tb.Helper()
	o.BuildEpoch = 1_700_000_000 // 2023-11-14
	o.IncludeReservedNetworks = true
	tree, err := mmdbwriter.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	var prefixes []netip.Prefix
	for network := range networks {
		prefixes = append(prefixes, netip.MustParsePrefix(network))
	}
	slices.SortFunc(prefixes, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
	for _, p := range prefixes {
		if err := tree.Insert(netipx.PrefixIPNet(p), networks[p.String()]); err != nil {
			tb.Fatalf("%s: %v", p, err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// writtenTo is written, into a file of the test's own directory.
func writtenTo(tb testing.TB, name string, o mmdbwriter.Options, networks map[string]record) string {
	tb.Helper()
	return saved(tb, name, written(tb, o, networks))
}

func saved(tb testing.TB, name string, b []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func nestedRecord(code, continent, city string) record {
	r := record{"country": record{"iso_code": mmdbtype.String(code), "geoname_id": mmdbtype.Uint32(7)}}
	if continent != "" {
		r["continent"] = record{"code": mmdbtype.String(continent)}
	}
	if city != "" {
		r["city"] = record{"names": record{"en": mmdbtype.String(city), "de": mmdbtype.String("anders")}}
	}
	return r
}

func withPoint(r record, lat, lon mmdbtype.DataType) record {
	r["location"] = record{"latitude": lat, "longitude": lon, "time_zone": mmdbtype.String("Europe/Berlin")}
	return r
}

func flatRecord(code, city string, lat, lon mmdbtype.DataType) record {
	r := record{"country_code": mmdbtype.String(code), "city": mmdbtype.String(city), "state1": mmdbtype.String("x")}
	if lat != nil {
		r["latitude"] = lat
	}
	if lon != nil {
		r["longitude"] = lon
	}
	return r
}

func asnRecord(number uint32, name string) record {
	return record{
		"autonomous_system_number":       mmdbtype.Uint32(number),
		"autonomous_system_organization": mmdbtype.String(name),
	}
}

var (
	nestedNetworks = map[string]record{
		"192.0.2.0/24":      withPoint(nestedRecord("DE", "EU", "Berlin"), mmdbtype.Float64(52.5), mmdbtype.Float64(13.4)),
		"198.51.100.0/25":   nestedRecord("FR", "EU", ""),
		"198.51.100.128/25": {"registered_country": record{"iso_code": mmdbtype.String("US")}},
		"203.0.113.0/24":    {"continent": record{"code": mmdbtype.String("AS")}},
		"203.0.112.0/24":    withPoint(nestedRecord("BR", "SA", ""), mmdbtype.Float64(0), mmdbtype.Float64(0)),
		"203.0.114.0/24":    withPoint(nestedRecord("XX", "", "Nowhere"), mmdbtype.Float64(91), mmdbtype.Float64(0)),
		"203.0.115.0/24":    {"traits": record{"is_anycast": mmdbtype.Bool(true)}},
		"2001:db8::/32":     nestedRecord("JP", "AS", "Tokyo"),
	}
	flatNetworks = map[string]record{
		"192.0.2.0/24":    flatRecord("DE", "Berlin", mmdbtype.Float64(52.5), mmdbtype.Float64(13.4)),
		"198.51.100.0/24": flatRecord("FR", "Paris", mmdbtype.String("48.9"), mmdbtype.String("2.4")),
		"198.51.101.0/24": flatRecord("FR", "", mmdbtype.Float32(48.5), mmdbtype.Int32(2)),
		"198.51.102.0/24": flatRecord("FR", "", mmdbtype.String("48.9"), nil),
		"198.51.103.0/24": flatRecord("FR", "", mmdbtype.String("north"), mmdbtype.String("east")),
		"203.0.113.0/24":  flatRecord("ZZ", "", mmdbtype.Float64(0), mmdbtype.Float64(0)),
		"203.0.114.0/24":  {"country_code": mmdbtype.String("us")},
		"2001:db8::/32":   flatRecord("JP", "Tokyo", mmdbtype.Uint16(35), mmdbtype.Float64(139.7)),
	}
	asnNetworks = map[string]record{
		"192.0.2.0/25":  asnRecord(64496, "Example"),
		"198.51.0.0/16": asnRecord(4200000000, "Large"),
		"2001:db8::/33": asnRecord(64497, "Example 6"),
		"100.0.0.0/8":   asnRecord(64498, ""),
	}
)

func TestLookup(t *testing.T) {
	cityNested := writtenTo(t, "n.mmdb", mmdbwriter.Options{DatabaseType: "GeoLite2-City"}, nestedNetworks)
	cityFlat := writtenTo(t, "f.mmdb", mmdbwriter.Options{DatabaseType: "x", RecordSize: 24}, flatNetworks)
	asns := writtenTo(t, "a.mmdb", mmdbwriter.Options{DatabaseType: "GeoLite2-ASN", RecordSize: 32}, asnNetworks)
	over := saved(t, "o.csv", []byte("192.0.2.64/26,FR\n192.0.2.80/28,,1.5,2.5\n198.51.100.7/32,,,,AS64511\n"))

	frPoint := Place{Country: "FR", Continent: "EU", Lat: 48.1, Lon: 2.6, HasCoord: true}
	berlin := Place{Country: "DE", Continent: "EU", City: "Berlin", Lat: 52.5, Lon: 13.4, HasCoord: true}
	withASN := func(p Place, n uint32, org string) Place {
		p.ASN, p.Org = n, org
		return p
	}
	for _, tt := range []struct {
		name, city, asn, overrides, addr string
		want                             Place
		network                          string
	}{
		{"nested: all", cityNested, "", "", "192.0.2.1", berlin, "192.0.2.0/24"},
		{"nested: 6to4", cityNested, "", "", "2002:c000:201::9", berlin, "192.0.2.0/24"},
		{"nested: country only takes the table's point", cityNested, "", "", "198.51.100.1", frPoint, "198.51.100.0/25"},
		{
			"nested: registered country", cityNested, "", "", "198.51.100.200",
			Place{Country: "US", Continent: "NA", Lat: 37.4, Lon: -92, HasCoord: true},
			"198.51.100.128/25",
		},
		{"nested: continent only", cityNested, "", "", "203.0.113.1", Place{Continent: "AS"}, "203.0.113.0/24"},
		{
			"nested: (0,0) is no point", cityNested, "", "", "203.0.112.1",
			Place{Country: "BR", Continent: "SA", Lat: -21, Lon: -46, HasCoord: true},
			"203.0.112.0/24",
		},
		{
			"nested: unknown country, latitude out of range", cityNested, "", "", "203.0.114.1",
			Place{Country: "XX", City: "Nowhere"},
			"203.0.114.0/24",
		},
		{"nested: record about something else", cityNested, "", "", "203.0.115.1", Place{}, "203.0.115.0/24"},
		{"nested: hole", cityNested, "", "", "128.0.0.1", Place{}, "128.0.0.0/2"},
		{
			"nested: IPv6", cityNested, "", "", "2001:db8:1::1",
			Place{Country: "JP", Continent: "AS", City: "Tokyo", Lat: 35.5, Lon: 138.5, HasCoord: true},
			"2001:db8::/32",
		},
		{"nested: IPv6 hole", cityNested, "", "", "4000::1", Place{}, "4000::/2"},
		{"nested: IPv4-compatible", cityNested, "", "", "::192.0.2.1", Place{}, "::/96"},
		{"nested: beside Teredo", cityNested, "", "", "2001:1::", Place{}, "2001:1::/32"},

		{"flat: all", cityFlat, "", "", "192.0.2.1", berlin, "192.0.2.0/24"},
		{
			"flat: strings", cityFlat, "", "", "198.51.100.1",
			Place{Country: "FR", Continent: "EU", City: "Paris", Lat: 48.9, Lon: 2.4, HasCoord: true},
			"198.51.100.0/24",
		},
		{
			"flat: other numbers", cityFlat, "", "", "198.51.101.1",
			Place{Country: "FR", Continent: "EU", Lat: 48.5, Lon: 2, HasCoord: true},
			"198.51.101.0/24",
		},
		{"flat: half a point", cityFlat, "", "", "198.51.102.1", frPoint, "198.51.102.0/24"},
		{"flat: words for a point", cityFlat, "", "", "198.51.103.1", frPoint, "198.51.103.0/24"},
		{"flat: unknown region", cityFlat, "", "", "203.0.113.1", Place{}, "203.0.113.0/24"},
		{
			"flat: lower case", cityFlat, "", "", "203.0.114.1",
			Place{Country: "US", Continent: "NA", Lat: 37.4, Lon: -92, HasCoord: true},
			"203.0.114.0/24",
		},
		{
			"flat: IPv6", cityFlat, "", "", "2001:db8::",
			Place{Country: "JP", Continent: "AS", City: "Tokyo", Lat: 35, Lon: 139.7, HasCoord: true},
			"2001:db8::/32",
		},

		{"ASN: longer than the city's", cityNested, asns, "", "192.0.2.1", withASN(berlin, 64496, "Example"), "192.0.2.0/25"},
		{"ASN: none", cityNested, asns, "", "192.0.2.129", berlin, "192.0.2.128/25"},
		{"ASN: shorter than the city's", cityNested, asns, "", "198.51.100.1", withASN(frPoint, 4200000000, "Large"), "198.51.100.0/25"},
		{"ASN: alone", cityNested, asns, "", "100.1.2.3", Place{ASN: 64498}, "100.0.0.0/8"},

		{"override: country", cityNested, asns, over, "192.0.2.65", withASN(frPoint, 64496, "Example"), "192.0.2.64/28"},
		{
			"override: coordinates keep the country", cityNested, asns, over, "192.0.2.80",
			Place{Country: "DE", Continent: "EU", Lat: 1.5, Lon: 2.5, HasCoord: true, ASN: 64496, Org: "Example"},
			"192.0.2.80/28",
		},
		{"override: beside it", cityNested, asns, over, "192.0.2.1", withASN(berlin, 64496, "Example"), "192.0.2.0/26"},
		{"override: AS number", cityNested, asns, over, "198.51.100.7", withASN(frPoint, 64511, ""), "198.51.100.7/32"},
		{"override: in a hole", cityNested, "", over, "2003::1", Place{}, "2003::/16"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db, err := OpenWith(tt.city, tt.asn, tt.overrides)
			if err != nil {
				t.Fatal(err)
			}
			got, network, ok := db.Lookup(netip.MustParseAddr(tt.addr))
			if got != tt.want || ok != (tt.want != Place{}) {
				t.Errorf("place = %+v, %v, want %+v", got, ok, tt.want)
			}
			if network != netip.MustParsePrefix(tt.network) {
				t.Errorf("network = %s, want %s", network, tt.network)
			}
		})
	}
}

func TestLookupOfNoAddress(t *testing.T) {
	db, err := Open("", "")
	if err != nil {
		t.Fatal(err)
	}
	if p, network, ok := db.Lookup(netip.Addr{}); ok || p != (Place{}) || network.IsValid() {
		t.Errorf("Lookup(zero) = %+v, %s, %v", p, network, ok)
	}
}

// A database of IPv4 alone must neither fail nor answer for IPv6.
func TestIPv4OnlyDatabase(t *testing.T) {
	db, err := Open(writtenTo(t, "4.mmdb", mmdbwriter.Options{IPVersion: 4}, map[string]record{
		"192.0.2.0/24": flatRecord("DE", "Berlin", nil, nil),
	}), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Verify(); err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{
		"192.0.2.1":        "DE 192.0.2.0/24",
		"::ffff:192.0.2.1": "DE 192.0.2.0/24",
		"192.0.3.1":        " 192.0.3.0/24",
		"4000::1":          " 4000::/2",
	} {
		p, network, _ := db.Lookup(netip.MustParseAddr(addr))
		if got := fmt.Sprint(p.Country, " ", network); got != want {
			t.Errorf("Lookup(%s) = %q, want %q", addr, got, want)
		}
	}
}

func TestNetworks(t *testing.T) {
	city := writtenTo(t, "c.mmdb", mmdbwriter.Options{}, map[string]record{
		"192.0.2.0/24":  flatRecord("DE", "Berlin", nil, nil),
		"2001::/16":     flatRecord("FR", "", nil, nil), // holds Teredo
		"2001:db8::/32": flatRecord("JP", "", nil, nil),
	})
	asns := writtenTo(t, "a.mmdb", mmdbwriter.Options{}, map[string]record{
		"192.0.2.0/26":   asnRecord(1, ""),
		"192.0.2.128/25": asnRecord(2, ""),
		"192.0.3.0/24":   asnRecord(3, ""),
	})
	over := saved(t, "o.csv", []byte("2001:db8:8000::/33,,,,4\n"))
	db, err := OpenWith(city, asns, over)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Verify(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for network, p := range db.Networks() {
		if network.Addr().Is4() || network.Bits() >= 32 {
			got = append(got, fmt.Sprintf("%s %s %d", network, p.Country, p.ASN))
		}
	}
	want := []string{
		"192.0.2.0/26 DE 1", "192.0.2.64/26 DE 0", "192.0.2.128/25 DE 2", "192.0.3.0/24  3",
		"2001:1::/32 FR 0", "2001:db8::/33 JP 0", "2001:db8:8000::/33 JP 4", "2001:db9::/32 FR 0",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("networks:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Walking must give what looking up gives, in order and without overlaps, over
// random nested networks in all layers at once.
func TestNetworksAgainstLookup(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		cities, asns := map[string]record{}, map[string]record{}
		var lines strings.Builder
		seen := map[netip.Prefix]bool{}
		for range 40 {
			addr := randomAddr(rng)
			p := netip.PrefixFrom(addr, 16+rng.IntN(addr.BitLen()-15)).Masked()
			if seen[p] || UnwrapPrefix(p) != p || slices.ContainsFunc(carriers[:], func(c carrier) bool { return c.prefix.Overlaps(p) }) {
				continue
			}
			seen[p] = true
			switch rng.IntN(3) {
			case 0:
				cities[p.String()] = flatRecord("DE", p.String(), nil, nil)
			case 1:
				asns[p.String()] = asnRecord(rng.Uint32N(9)+1, p.String())
			default:
				fmt.Fprintf(&lines, "%s,FR,%d,7\n", p, rng.IntN(80)+1)
			}
		}
		cities["10.0.0.0/8"] = flatRecord("DE", "", nil, nil)
		asns["10.0.0.0/8"] = asnRecord(1, "")
		db, err := OpenWith(
			writtenTo(t, "c.mmdb", mmdbwriter.Options{}, cities),
			writtenTo(t, "a.mmdb", mmdbwriter.Options{}, asns),
			saved(t, "o.csv", []byte(lines.String())))
		if err != nil {
			t.Fatal(err)
		}
		known := map[netip.Prefix]Place{}
		var last netip.Prefix
		for network, p := range db.Networks() {
			if last.IsValid() && (last.Overlaps(network) || network.Addr().Less(last.Addr())) {
				t.Fatalf("%s comes after %s", network, last)
			}
			last, known[network] = network, p
		}
		for range 2000 {
			addr := randomAddr(rng)
			want, network, ok := db.Lookup(addr)
			got, walked := known[network]
			if got != want || walked != ok {
				t.Fatalf("%s: walk has %+v, %v for %s, lookup has %+v, %v", addr, got, walked, network, want, ok)
			}
		}
	}
}

func TestSources(t *testing.T) {
	db, err := OpenWith(
		writtenTo(t, "c.mmdb", mmdbwriter.Options{DatabaseType: "My\nCity"}, flatNetworks),
		writtenTo(t, "a.mmdb", mmdbwriter.Options{DatabaseType: "ASN"}, asnNetworks),
		saved(t, "o.csv", []byte("192.0.2.0/24,DE\n")))
	if err != nil {
		t.Fatal(err)
	}
	got := db.Sources()
	want := []Source{
		{"city", `My\nCity 2023-11-14 sha256:`, time.Unix(1_700_000_000, 0)},
		{"asn", "ASN 2023-11-14 sha256:", time.Unix(1_700_000_000, 0)},
		{"overrides", "sha256:", time.Time{}},
	}
	if len(got) != len(want) {
		t.Fatalf("sources %+v", got)
	}
	for i := range want {
		hash, ok := strings.CutPrefix(got[i].Version, want[i].Version)
		if got[i].Name != want[i].Name || !ok || len(hash) != 12 || !got[i].Built.Equal(want[i].Built) {
			t.Errorf("source %d is %+v, want %+v and 12 digits", i, got[i], want[i])
		}
	}
}

// The built-in data are of the day that the database was made which they come from.
func TestBuiltInDate(t *testing.T) {
	db, err := Open("", "")
	if err != nil {
		t.Fatal(err)
	}
	data, err := country.BuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	got := db.Sources()[0].Built
	if want := " " + got.Format(time.DateOnly) + " sha256:"; got.Year() < 2026 || !strings.Contains(data.File, want) {
		t.Errorf("built-in data are of %v, want a day as %q has it", got, data.File)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	city := writtenTo(t, "c.mmdb", mmdbwriter.Options{}, nestedNetworks)
	asns := writtenTo(t, "a.mmdb", mmdbwriter.Options{}, asnNetworks)
	domain := writtenTo(t, "d.mmdb", mmdbwriter.Options{DatabaseType: "GeoIP2-Domain"}, map[string]record{
		"192.0.2.0/24": {"domain": mmdbtype.String("example.com")},
	})
	number := writtenTo(t, "s.mmdb", mmdbwriter.Options{}, map[string]record{
		"192.0.2.0/24": {"country_code": mmdbtype.Uint32(3)},
	})
	text := saved(t, "t.mmdb", []byte("not a database"))
	empty := writtenTo(t, "e.mmdb", mmdbwriter.Options{DatabaseType: "Empty"}, nil)

	for _, tt := range []struct{ name, city, asn, overrides, want string }{
		{"no city file", dir + "/none", "", "", `geo.city "` + dir + `/none": no such file or directory`},
		{"no ASN file", "", dir + "/none", "", `geo.asn "` + dir + `/none": no such file or directory`},
		{"no overrides file", "", "", dir + "/none", `geo.overrides: "` + dir + `/none": no such file or directory`},
		{"directory", dir, "", "", `geo.city "` + dir + `": not a regular file`},
		{"ASN for city", asns, "", "", `geo.city "` + asns + `" is an ASN database; give it as geo.asn`},
		{"city for ASN", "", city, "", `geo.asn "` + city + `" is a City or Country database; give it as geo.city`},
		{"neither", domain, "", "", `geo.city "` + domain + `": none of the first 1 records has a country, coordinates or an AS number (database type "GeoIP2-Domain")`},
		{"empty", empty, "", "", `geo.city "` + empty + `": none of the first 0 records has a country, coordinates or an AS number (database type "Empty")`},
		{"text", text, "", "", `geo.city "` + text + `": not a sound MaxMind DB file: error opening database: invalid MaxMind DB file; it must be an unpacked .mmdb`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := OpenWith(tt.city, tt.asn, tt.overrides)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}

	t.Run("a field of the wrong kind is found by Verify", func(t *testing.T) {
		db, err := Open(number, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Verify(); err == nil || !strings.HasPrefix(err.Error(), `geo.city "`+number+`": record of 192.0.2.0/24: `) {
			t.Errorf("error %v", err)
		}
		if p, network, ok := db.Lookup(netip.MustParseAddr("192.0.2.1")); ok || network.String() != "192.0.2.0/24" {
			t.Errorf("Lookup = %+v, %s, %v", p, network, ok)
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	for _, bm := range []struct{ name, city string }{
		{"builtin", ""},
		{"nested", writtenTo(b, "n.mmdb", mmdbwriter.Options{}, nestedNetworks)},
		{"flat", writtenTo(b, "f.mmdb", mmdbwriter.Options{}, flatNetworks)},
	} {
		b.Run(bm.name, func(b *testing.B) {
			db, err := Open(bm.city, "")
			if err != nil {
				b.Fatal(err)
			}
			addr := netip.MustParseAddr("192.0.2.1")
			b.ReportAllocs()
			for b.Loop() {
				db.Lookup(addr)
			}
		})
	}
}
