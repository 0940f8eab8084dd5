package mapper

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"edged/mapper/beacon"
	"edged/maps"
)

// mixed has three units: the first is close to fra, the second to ams, the third
// to sin, and rtt says all round trips.
func mixed(resolvers ...MeasuredResolver) (ResolverInput, [3]beacon.Unit) {
	var units [3]beacon.Unit
	for i := range units {
		units[i] = beacon.UnitOf(netip.AddrFrom4([4]byte{203, 0, byte(i), 1}))
	}
	rtt := [3]map[uint16]float64{
		{0: 10, 1: 14, 3: 160},
		{0: 16, 1: 12, 3: 170},
		{0: 150, 1: 155, 3: 8},
	}
	in := ResolverInput{
		Resolvers: resolvers, Units: units[:],
		Hops: func(i int) []maps.Hop {
			switch i {
			case 0:
				return []maps.Hop{{PoP: 0, RTT: 20}, {PoP: 1, RTT: 28}}
			case 1:
				return []maps.Hop{{PoP: 1, RTT: 24}, {PoP: 0, RTT: 32}}
			}
			return []maps.Hop{{PoP: 3, RTT: 16}}
		},
		RTT: func() func(int, uint16) float64 {
			return func(i int, pop uint16) float64 { return rtt[i][pop] }
		},
		Place:    func(netip.Addr) []maps.Hop { return nil },
		PlaceRTT: func(netip.Addr, uint16) float64 { return math.Inf(1) },
	}
	return in, units
}

func resolver(addr string, units [3]beacon.Unit, sessions ...float64) MeasuredResolver {
	r := MeasuredResolver{Addr: netip.MustParseAddr(addr), Units: map[beacon.Unit]float64{}}
	for i, n := range sessions {
		if n > 0 {
			r.Units[units[i]] = n
		}
	}
	return r
}

func netText(nets []Net) string {
	var lines []string
	for _, n := range nets {
		line := n.Prefix.String() + " " + n.Tables.String()
		for _, h := range n.Hops {
			line += fmt.Sprintf(" %s:%v", pops[h.PoP].Name, float64(h.RTT)/2)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestRankResolvers(t *testing.T) {
	_, units := mixed()
	in, _ := mixed(
		resolver("198.51.100.9", units, 0, 0, 10),  // all in Asia
		resolver("198.51.100.1", units, 30, 10, 0), // all in Europe
		resolver("192.0.2.53", units, 6, 0, 4),     // torn
		MeasuredResolver{Addr: netip.MustParseAddr("192.0.2.54"), Units: map[beacon.Unit]float64{beacon.UnitOf(netip.MustParseAddr("9.9.9.9")): 5}},
	)
	nets, scores := RankResolvers(in)
	// 198.51.100.0/24: fra (300+160+1500)/50; .1 alone: (460+4*39.2)/44; .9 alone:
	// sin (80+4*131.6)/14.
	want := `192.0.2.0/24 resolver fra:66 ams:70.5 sin:99
198.51.100.0/24 resolver fra:39 ams:42 sin:131.5
198.51.100.1/32 resolver fra:14 ams:16 sin:159.5
198.51.100.9/32 resolver sin:43.5 fra:118.5 ams:122.5`
	if got := netText(nets); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var text []string
	for _, s := range scores {
		text = append(text, fmt.Sprintf("%s %s %v sessions of %d units: %.1f ms, lose %.2f ms, hurt %.2f, score %.0f, ecs %v",
			s.Resolver, pops[s.PoP].Name, s.Sessions, s.Units, s.RTT, s.Regret, s.Hurt, s.Score(), s.NeedsECS()))
	}
	wantScores := []string{
		"192.0.2.53 fra 10 sessions of 2 units: 66.0 ms, lose 56.80 ms, hurt 0.40, score 568, ecs true",
		"198.51.100.1 fra 40 sessions of 2 units: 11.5 ms, lose 1.00 ms, hurt 0.00, score 40, ecs false",
		"198.51.100.9 sin 10 sessions of 1 units: 8.0 ms, lose 0.00 ms, hurt 0.00, score 0, ecs false",
	}
	if !slices.Equal(text, wantScores) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(text, "\n"), strings.Join(wantScores, "\n"))
	}
}

// Demand says how much each client matters, the place what nobody measured.
func TestRankResolversByDemandAndPlace(t *testing.T) {
	_, units := mixed()
	in, _ := mixed(resolver("192.0.2.53", units, 6, 0, 4))
	in.Demand = func(unit int) float64 { return []float64{1, 1, 9}[unit] }
	nets, scores := RankResolvers(in)
	// 6 of 42 requests are near fra, 36 near sin.
	if got, want := netText(nets), "192.0.2.0/24 resolver sin:29.5 fra:130 ams:135"; got != want {
		t.Errorf("by demand: %s, want %s", got, want)
	}
	if s := scores[0]; s.Demand != 42 || s.Sessions != 10 || math.Abs(s.Regret-150*6/42.0) > 1e-9 {
		t.Errorf("score %+v", s)
	}

	in, _ = mixed(resolver("192.0.2.53", units, 1))
	in.Place = func(netip.Addr) []maps.Hop { return []maps.Hop{{PoP: 3, RTT: 10}} }
	in.PlaceRTT = func(_ netip.Addr, pop uint16) float64 { return map[uint16]float64{0: 200, 1: 210, 3: 5}[pop] }
	nets, _ = RankResolvers(in)
	// One session weighs 1, the place 4: sin (160+20)/5, fra (10+800)/5.
	if got, want := netText(nets), "192.0.2.0/24 resolver sin:36 fra:162 ams:171"; got != want {
		t.Errorf("by place: %s, want %s", got, want)
	}
}
