package mapper

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"edged/maps"
	"edged/maps/mapstest"
)

// TestExplain has a ranking of every kind in 10.0.0.0/8, whose second octets are
// its id.
func TestExplain(t *testing.T) {
	origin := func(level uint8, samples int) maps.Origin { return maps.MakeOrigin(level, samples) }
	rankings := []struct {
		hops    []maps.Hop
		origins []maps.Origin
		want    string
	}{
		{nil, nil, "place"},
		{
			[]maps.Hop{{PoP: 0, RTT: 20}, {PoP: 1, RTT: 27}, {PoP: 2, RTT: 27}},
			[]maps.Origin{origin(7, 40), origin(6, 3), origin(1, 300)},
			`measured
fra 10 own 32: 32 or more samples of its own: least round trip
ams 13.5 network in metro 3: 3 blocks of the network in the metro: 3.5 ms behind fra
nyc 13.5 world 256: 256 or more blocks all over the world: a tie with ams: to half a millisecond they are the same`,
		},
		{
			// A block that was kept: its origins say so.
			[]maps.Hop{{PoP: 1, RTT: 25}, {PoP: 0, RTT: 20}, {PoP: 3}},
			[]maps.Origin{origin(3, 1), 0, 0},
			`measured
ams 12.5 country 1: 1 block of the country: kept, although fra takes 2.5 ms less: a change must gain 3 ms and a tenth, and probably so, and limits of PoPs hold
fra 10  0: distance, or a list of networks: after ams
sin 0  0: no round trip is known: as listed`,
		},
		{
			[]maps.Hop{{PoP: 1, RTT: 25}, {PoP: 0, RTT: 20}},
			[]maps.Origin{origin(2, 5), origin(4, 5)},
			`measured
ams 12.5 near 4: 4 or more blocks in places around, also across borders: merged with its neighbours, although fra takes 2.5 ms less: that is within the tolerance, or was in the list
fra 10 metro 4: 4 or more blocks of the metro: after ams`,
		},
	}
	c := &maps.Contents{PoPs: pops, Created: created, Orders: [][]uint16{{0, 1, 2, 3, 4, 5, 6, 7, 8}}, Origins: &maps.Origins{
		Units: []maps.UnitOrigin{{Prefix: netip.MustParsePrefix("10.2.0.0/24"), Sessions: 9, Sources: 4, Access: 3.5, Age: 7, Kept: true}},
	}}
	var v4 maps.Builder4
	v4.Add(0, maps.MakeRow(0, false))
	for id, r := range rankings {
		order := uint32(0)
		if id == 1 {
			order = maps.NoOrder
		}
		c.Rankings = append(c.Rankings, maps.Ranking{Hops: r.hops, Order: order})
		c.Origins.Hops = append(c.Origins.Hops, r.origins...)
		v4.Add(10<<24|uint32(id)<<16, maps.MakeRow(uint32(id), id > 0))
	}
	var v6 maps.Builder6
	v6.Add(0, 0, maps.MakeRow(0, false))
	c.ECS = maps.Table{V4: v4.Finish(), V6: v6.Finish()}
	c.Resolver = c.ECS
	parse := func() *maps.Map {
		return mapstest.Map(t, c)
	}
	m := parse()
	text := func(e Explanation) string {
		lines := []string{e.Source}
		for _, h := range e.Hops {
			lines = append(lines, fmt.Sprintf("%s %v %s %d: %s: %s", h.PoP, h.RTT, h.Level, h.Samples, h.From, h.Why))
		}
		return strings.Join(lines, "\n")
	}
	for id, r := range rankings {
		e := Explain(m, false, netip.AddrFrom4([4]byte{10, byte(id), 0, 1}))
		if got := text(e); got != r.want {
			t.Errorf("ranking %d: got\n%s\nwant\n%s", id, got, r.want)
		}
		if id == 2 && (e.Unit == nil || *e.Unit != (UnitBasis{netip.MustParsePrefix("10.2.0.0/24"), 9, 4, 3.5, 7, true})) {
			t.Errorf("unit %+v", e.Unit)
		}
		if id == 1 && len(e.Then) != 0 || id == 0 && len(e.Then) != len(pops) || id == 3 && !slices.Equal(e.Then, []string{"nyc", "sin", "syd", "gru", "jnb", "nrt", "lax"}) {
			t.Errorf("ranking %d: then %q", id, e.Then)
		}
	}
	if e := Explain(m, true, netip.MustParseAddr("10.2.0.1")); e.Unit != nil || !strings.HasPrefix(e.Hops[0].Why, "merged") {
		t.Errorf("of a resolver: %+v", e)
	}

	// Prices count where PoPs are compared. Without origins nobody says more.
	c.Origins = nil
	c.Prices = make([]maps.Pricing, len(pops))
	c.Prices[0].Price = 4000
	m = parse()
	want := `measured
ams 12.5  0: nobody says: least round trip
fra 10  0: nobody says: 1.5 ms behind ams, prices counted`
	if got := text(Explain(m, false, netip.MustParseAddr("10.3.0.1"))); got != want {
		t.Errorf("with prices: got\n%s\nwant\n%s", got, want)
	}
	if h := Explain(m, false, netip.MustParseAddr("10.1.0.1")).Hops; h[0].Price != 4 || h[0].Why != "merged with its neighbours, although ams takes 0.5 ms less: that is within the tolerance, or was in the list" {
		t.Errorf("with a price on the first: %+v", h[0])
	}

	// What prices make alike was shared out, and not merged.
	c.Prices[0].Price = 3500 + 20
	m = parse()
	if h := Explain(m, false, netip.MustParseAddr("10.1.0.1")).Hops; h[0].Why != "as good as ams at these prices: clients are shared out between them" {
		t.Errorf("with as much: %+v", h[0])
	}
}
