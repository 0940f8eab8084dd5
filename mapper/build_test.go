package mapper

import (
	"bytes"
	"iter"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"edged/edge"
	"edged/geo/place"
	"edged/maps"
)

var created = time.Date(2026, 6, 17, 0, 0, 0, 0, time.UTC)

type located struct {
	prefix netip.Prefix
	at     place.Place
}

func sequence(list []located) iter.Seq2[netip.Prefix, place.Place] {
	return func(yield func(netip.Prefix, place.Place) bool) {
		for _, l := range list {
			if !yield(l.prefix, l.at) {
				return
			}
		}
	}
}

var (
	berlin    = place.Place{Country: "DE", Lat: 52.52, Lon: 13.4, HasCoord: true}
	perth     = place.Place{Country: "AU", Lat: -31.95, Lon: 115.86, HasCoord: true}
	boston    = place.Place{Country: "US", Lat: 42.36, Lon: -71.06, HasCoord: true}
	satellite = place.Place{Country: "US"} // no coordinates
)

// text writes a row as "measured|order", for example "nyc:12.5 fra|fra ams nyc".
func text(c *maps.Contents, row maps.Row) string {
	ranking := c.Rankings[row.Ranking()]
	var b strings.Builder
	for _, h := range ranking.Hops {
		b.WriteString(c.PoPs[h.PoP].Name + " ")
	}
	if row.Measured() {
		b.WriteString("measured")
	}
	b.WriteString("|")
	if ranking.Order == maps.NoOrder {
		return b.String() + "unknown"
	}
	for i, pop := range c.Orders[ranking.Order] {
		if i == 3 {
			break
		}
		b.WriteString(" " + c.PoPs[pop].Name)
	}
	return b.String()
}

func TestBuildLaysNetsOverPlaces(t *testing.T) {
	nets, err := ReadNets(strings.NewReader(`
10.0.0.0/8,nyc:12.5 fra
10.64.0.0/10,sin
10.64.0.0/24,gru
10.64.1.0/24,sin
255.0.0.0/8,ams
0.0.0.0/32,ams
2001:db8::/33,ams
2001:db8::1:0/112,jnb
2001:db8:1::/48,nrt,ecs
2001:db8:1::/48,lax,resolver
`), "n", pops)
	if err != nil {
		t.Fatal(err)
	}
	contents, report, err := Build(Input{
		PoPs: pops, Nets: nets, Created: created,
		Place: sequence([]located{
			{netip.MustParsePrefix("9.0.0.0/8"), berlin},
			{netip.MustParsePrefix("10.0.0.0/9"), berlin},
			{netip.MustParsePrefix("10.128.0.0/9"), perth},
			{netip.MustParsePrefix("12.0.0.0/8"), satellite},
			{netip.MustParsePrefix("13.0.0.0/8"), boston},
			{netip.MustParsePrefix("2001:db8::/32"), boston},
			{netip.MustParsePrefix("ff00::/8"), berlin},
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ addr, from, to, want string }{
		{"0.0.0.0", "0.0.0.0", "0.0.0.0", "ams measured|unknown"},
		{"8.8.8.8", "0.0.0.1", "8.255.255.255", "|unknown"},
		{"9.1.2.3", "9.0.0.0", "9.255.255.255", "| fra ams nyc"},
		{"10.1.0.0", "10.0.0.0", "10.63.255.255", "nyc fra measured| fra ams nyc"},
		{"10.64.0.9", "10.64.0.0", "10.64.0.255", "gru measured| fra ams nyc"},
		{"10.64.1.9", "10.64.1.0", "10.127.255.255", "sin measured| fra ams nyc"},
		{"10.200.0.0", "10.128.0.0", "10.255.255.255", "nyc fra measured| syd sin nrt"},
		{"11.0.0.0", "11.0.0.0", "12.255.255.255", "|unknown"},
		{"13.9.9.9", "13.0.0.0", "13.255.255.255", "| nyc lax ams"},
		{"255.255.255.255", "255.0.0.0", "255.255.255.255", "ams measured|unknown"},
		{"2001:db8::9", "2001:db8::", "2001:db8::ffff", "ams measured| nyc lax ams"},
		{"2001:db8::1:9", "2001:db8::1:0", "2001:db8::1:ffff", "jnb measured| nyc lax ams"},
		{"2001:db8::2:9", "2001:db8::2:0", "2001:db8:0:ffff:ffff:ffff:ffff:ffff", "ams measured| nyc lax ams"},
		{"2001:db8:1::1", "2001:db8:1::", "2001:db8:1:ffff:ffff:ffff:ffff:ffff", "nrt measured| nyc lax ams"},
		{"2001:db8:9000::", "2001:db8:8000::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "| nyc lax ams"},
		{"3000::", "2001:db9::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "|unknown"},
		{"ffff::", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "| fra ams nyc"},
	} {
		row, from, to := contents.ECS.Lookup(netip.MustParseAddr(tt.addr))
		if got := text(contents, row); got != tt.want || from.String() != tt.from || to.String() != tt.to {
			t.Errorf("%s: %s-%s %q, want %s-%s %q", tt.addr, from, to, got, tt.from, tt.to, tt.want)
		}
	}
	row, _, _ := contents.Resolver.Lookup(netip.MustParseAddr("2001:db8:1::1"))
	if got := text(contents, row); got != "lax measured| nyc lax ams" {
		t.Errorf("resolver 2001:db8:1::1: %q", got)
	}
	if report.Nets != 10 || report.Orders != 3 || report.Rankings != len(contents.Rankings) {
		t.Errorf("report %+v", report)
	}
	if hop := contents.Rankings[contents.ECS.V4.Rows[contents.ECS.V4.Find(10<<24)].Ranking()].Hops[0]; hop != (maps.Hop{PoP: 2, RTT: 25}) {
		t.Errorf("first hop of 10.0.0.0 is %v, want nyc with 25 half milliseconds", hop)
	}
}

// A hundred thousand random addresses get what a walk over all networks and
// places says.
func TestBuildMatchesPlainSearch(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, bits := range []int{32, 128} {
		nets, places := randomInput(rng, bits)
		m, _ := mustBuild(t, Input{PoPs: pops, Nets: nets, Place: sequence(places)})
		orders := newOrders(pops)
		for range 50_000 {
			addr := randomAddr(rng, bits)
			wantOrder, known, wantHops := []uint16(nil), false, []maps.Hop(nil)
			for _, l := range places {
				if l.prefix.Contains(addr) && l.at.HasCoord {
					id := orders.at(l.at)
					wantOrder, known = orders.list[id], true
				}
			}
			longest := -1
			for _, n := range nets {
				if n.Prefix.Contains(addr) && n.Prefix.Bits() > longest {
					wantHops, longest = n.Hops, n.Prefix.Bits()
				}
			}
			row, _, _ := m.ECS().Lookup(addr)
			got := m.Ranking(row.Ranking())
			if !slices.Equal(got.Hops, wantHops) || row.Measured() != (longest >= 0) || (got.Order != maps.NoOrder) != known {
				t.Fatalf("%s has %v (measured %v), want hops %v, known place %v", addr, got, row.Measured(), wantHops, known)
			}
			if known && !slices.Equal(m.Order(got.Order), wantOrder) {
				t.Fatalf("%s has order %v, want %v", addr, m.Order(got.Order), wantOrder)
			}
		}
	}
}

// randomInput draws networks that nest and places that do not, both where
// randomAddr draws from.
func randomInput(rng *rand.Rand, bits int) (nets []Net, places []located) {
	seen := map[netip.Prefix]bool{}
	for range 150 {
		prefix := netip.PrefixFrom(randomAddr(rng, bits), rng.IntN(bits+1)).Masked()
		if seen[prefix] {
			continue
		}
		seen[prefix] = true
		hops := []maps.Hop{{PoP: uint16(rng.IntN(len(pops))), RTT: uint16(rng.IntN(3))}}
		nets = append(nets, Net{Prefix: prefix, Hops: hops, Tables: Both})
	}
	var all []netip.Prefix
	for range 80 {
		prefix := netip.PrefixFrom(randomAddr(rng, bits), 4+rng.IntN(bits-3)).Masked()
		if !slices.ContainsFunc(all, prefix.Overlaps) {
			all = append(all, prefix)
		}
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	for _, prefix := range all {
		places = append(places, located{prefix, []place.Place{berlin, perth, boston, satellite}[rng.IntN(4)]})
	}
	return nets, places
}

func randomAddr(rng *rand.Rand, bits int) netip.Addr {
	if bits == 32 {
		return netip.AddrFrom4([4]byte{byte(rng.IntN(4) * 85), byte(rng.IntN(256)), byte(rng.IntN(3)), byte(rng.IntN(256))})
	}
	return maps.Addr6{
		Hi: 0x20010db8_00000000 | uint64(rng.IntN(4))<<62 | uint64(rng.IntN(5)),
		Lo: uint64(rng.IntN(4))<<62 | uint64(rng.IntN(8)),
	}.Addr()
}

func TestBuildIsDeterministic(t *testing.T) {
	build := func(reverse bool) []byte {
		rng := rand.New(rand.NewPCG(8, 8))
		nets, places := randomInput(rng, 32)
		if reverse {
			slices.Reverse(nets)
		}
		contents, _, err := Build(Input{PoPs: pops, Nets: nets, Place: sequence(places), Created: created})
		if err != nil {
			t.Fatal(err)
		}
		b, err := maps.Encode(contents)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	want := build(false)
	if !bytes.Equal(build(false), want) || !bytes.Equal(build(true), want) {
		t.Error("the same networks gave other bytes")
	}
}

func TestOrderTiesGoByIndex(t *testing.T) {
	same := []edge.PoP{{Name: "b", Lat: 1, Lon: 1}, {Name: "a", Lat: 1, Lon: 1}, {Name: "c", Lat: 50, Lon: 8}}
	o := newOrders(same)
	first, second := o.at(berlin), o.at(place.Place{Lat: 52.6, Lon: 13.3, HasCoord: true})
	if first != second || !slices.Equal(o.list[first], []uint16{2, 0, 1}) {
		t.Errorf("orders %d and %d, %v", first, second, o.list)
	}
	if got := o.at(satellite); got != maps.NoOrder {
		t.Errorf("order without coordinates is %d, want none", got)
	}
}

func TestBuildRefusesNoPoPs(t *testing.T) {
	if _, _, err := Build(Input{Created: created}); err == nil || err.Error() != "cannot build a map of 0 pops: want 1 to 4096" {
		t.Errorf("error %v", err)
	}
}

func TestBuildOfNothingHasNoHole(t *testing.T) {
	contents, _, err := Build(Input{PoPs: pops, Created: created})
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"} {
		row, _, _ := contents.ECS.Lookup(netip.MustParseAddr(addr))
		if got := text(contents, row); got != "|unknown" {
			t.Errorf("%s: %q, want |unknown", addr, got)
		}
	}
}
