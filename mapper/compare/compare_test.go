package compare

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"edged/edge"
	"edged/geo/place"
	"edged/mapper/mappertest"
	"edged/mapper/simulate"
	"edged/maps"
)

var pops = []edge.PoP{
	{Name: "fra", Lat: 50.11, Lon: 8.68, Capacity: 100},
	{Name: "nyc", Lat: 40.71, Lon: -74.01},
	{Name: "sin", Lat: 1.35, Lon: 103.82},
}

// locate has 10.0.0.0/9 in Berlin and the rest of 10.0.0.0/8 in Boston.
func locate(a netip.Addr) (place.Place, netip.Prefix, bool) {
	berlin, boston := netip.MustParsePrefix("10.0.0.0/9"), netip.MustParsePrefix("10.128.0.0/9")
	switch {
	case berlin.Contains(a):
		return place.Place{Country: "DE", ASN: 64500, Lat: 52.5, Lon: 13.4, HasCoord: true}, berlin, true
	case boston.Contains(a):
		return place.Place{Country: "US", Lat: 42.4, Lon: -71.1, HasCoord: true}, boston, true
	}
	return place.Place{}, netip.Prefix{}, false
}

func TestMaps(t *testing.T) {
	before := mappertest.Map(t, append(slices.Clone(pops), edge.PoP{Name: "old"}), `
10.0.0.0/8,fra:20 nyc:30
10.200.0.0/16,old
10.201.0.0/16,sin
10.202.0.0/16,sin
`)
	after := mappertest.Map(t, pops, `
10.0.0.0/10,fra:20 nyc:30
10.64.0.0/10,nyc:12 fra:25
10.128.0.0/10,fra:20
10.200.0.0/16,nyc:9
10.201.0.0/16,nyc:9 sin:5
`)
	demand := []simulate.Demand{
		{Prefix: netip.MustParsePrefix("10.0.0.0/9"), Requests: 80},
		{Prefix: netip.MustParsePrefix("10.200.0.0/15"), Requests: 10},
		{Prefix: netip.MustParsePrefix("10.202.0.0/16"), Requests: 4},
		{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Requests: 6},
	}
	r := Maps(before, after, demand, "requests/s", locate)
	want := &Result{
		Unit: "requests/s", Total: 94, Moved: 54, Lost: 4, Asked: 100, Unranked: 10, Measured: Pair{94, 90}, Uncounted: Blocks{32000, 15616},
		RTT: Change{Known: 45, Before: (40*25 + 5*5) / 45.0, After: (40*12 + 5*9) / 45.0},
		PoPs: []PoP{
			{Name: "fra", Before: 80, After: 40, Capacity: 100},
			{Name: "nyc", After: 50},
			{Name: "sin", Before: 9},
			{Name: "old", Before: 5, Gone: true},
		},
		Moves: []Move{
			{"fra", "nyc", 40, Change{40, 25, 12}},
			{"old", "nyc", 5, Change{}},
			{"sin", "nyc", 5, Change{5, 5, 9}},
			{"sin", "", 4, Change{}},
		},
		Country: []Group{
			{"DE", 80, 40, Change{40, 25, 12}},
			{"US", 14, 14, Change{5, 5, 9}},
		},
		ASN:   []Group{{"AS64500", 80, 40, Change{40, 25, 12}}},
		Spots: []Spot{{42.25, -71.25, 14, Change{5, 5, 9}}, {52.75, 13.25, 40, Change{40, 25, 12}}},
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got\n%+v\nwant\n%+v", r, want)
	}
	if got := (PoP{Capacity: 5, Hard: 4}).Limit(); got != 4 {
		t.Errorf("limit %v, want the hard one", got)
	}
	if got := r.PoPs[0].Limit(); got != 100 {
		t.Errorf("limit %v, want the capacity", got)
	}
}

// Without demand each IPv4 /24 that either map ranks counts as one.
func TestMapsWithoutDemand(t *testing.T) {
	before := mappertest.Map(t, pops, "10.0.0.0/8,fra\n192.0.2.0/25,fra\n")
	after := mappertest.Map(t, pops, "10.0.0.0/8,fra\n10.1.0.0/16,nyc\n192.0.2.0/25,nyc\n2001:db8::/32,sin\n")
	r := Maps(before, after, nil, "", nil)
	if r.Unit != "/24 blocks" || r.Total != 65536.5 || r.Asked != r.Total || r.Unranked != 0 || r.Moved != 256.5 || len(r.Country) != 0 {
		t.Errorf("got %+v", r)
	}
	if d := maps.Diff(before, after).ECS.V4; d.Known != r.Total || d.Moved != r.Moved {
		t.Errorf("the plain difference has %v of %v moved, want %v of %v", d.Moved, d.Known, r.Moved, r.Total)
	}
}

// slowMoved asks both maps about every single address.
func slowMoved(before, after *maps.Map, p netip.Prefix) (moved float64) {
	n := 0.0
	for a := p.Addr(); p.Contains(a); a = a.Next() {
		first := func(m *maps.Map) string {
			row, _, _ := m.ECS().Lookup(a)
			if pop, ok := m.First(row); ok {
				return m.PoPs()[pop].Name
			}
			return ""
		}
		if first(before) != first(after) {
			moved++
		}
		n++
	}
	return moved / n
}

// slowRest asks both maps about every single address that no line holds.
func slowRest(before, after *maps.Map, p netip.Prefix, lines []simulate.Demand) (b Blocks) {
	for a := p.Addr(); p.Contains(a); a = a.Next() {
		if slices.ContainsFunc(lines, func(d simulate.Demand) bool { return d.Prefix.Contains(a) }) {
			continue
		}
		one := netip.PrefixFrom(a, 32)
		old, _, _ := before.ECS().Lookup(a)
		now, _, _ := after.ECS().Lookup(a)
		_, had := before.First(old)
		_, has := after.First(now)
		if had || has {
			b.Total += 1.0 / 256
			b.Moved += slowMoved(before, after, one) / 256
		}
	}
	return b
}

func TestMapsMatchSlowTwin(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	draw := func() string {
		nets := map[string]bool{}
		for range 12 {
			bits := 24 + rng.IntN(9)
			p, _ := netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(2)), byte(rng.IntN(256))}).Prefix(bits)
			nets[p.String()] = true
		}
		text := ""
		for _, p := range slices.Sorted(func(yield func(string) bool) {
			for p := range nets {
				if !yield(p) {
					return
				}
			}
		}) {
			text += fmt.Sprintf("%s,%s\n", p, pops[rng.IntN(3)].Name)
		}
		return text
	}
	p, moved := netip.MustParsePrefix("10.0.0.0/23"), 0.0
	for range 12 {
		before, after := mappertest.Map(t, pops, draw()), mappertest.Map(t, pops, draw())
		r := Maps(before, after, []simulate.Demand{{Prefix: p, Requests: 1}}, "", locate)
		if want := slowMoved(before, after, p); math.Abs(r.Moved-want) > 1e-9 {
			t.Fatalf("moved %v, want %v", r.Moved, want)
		}
		moved += r.Moved
		// Of a few networks in it, which may nest, there is demand.
		var lines []simulate.Demand
		for range rng.IntN(5) {
			in, _ := netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(2)), byte(rng.IntN(256))}).Prefix(25 + rng.IntN(8))
			lines = append(lines, simulate.Demand{Prefix: in, Requests: 1})
		}
		lines = append(lines, simulate.Demand{Prefix: netip.MustParsePrefix("255.255.255.0/24"), Requests: 1})
		if got, want := Maps(before, after, lines, "", nil).Uncounted, slowRest(before, after, p, lines); got != want {
			t.Fatalf("%v leaves %+v uncounted, want %+v", lines, got, want)
		}
	}
	if moved == 0 {
		t.Error("nothing ever moved: the test draws nothing that counts")
	}
}
