package gate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"edged/edge"
	"edged/mapper"
	"edged/mapper/estimate"
	"edged/mapper/mappertest"
	"edged/mapper/simulate"
	"edged/maps"
)

var pops = []edge.PoP{{Name: "fra", Lat: 50.11, Lon: 8.68}, {Name: "nyc", Lat: 40.71, Lon: -74.01}}

// text writes a verdict, one line for each rule.
func text(g *maps.Gate) string {
	var lines []string
	for _, r := range g.Rules {
		lines = append(lines, fmt.Sprintf("%s: %s %.4g %s, limit %.4g (%s)", r.Name, r.Outcome, r.Figure, r.Unit, r.Limit, r.Note))
	}
	return strings.Join(lines, "\n")
}

// held has clients of a network measure fra and nyc.
func held(n int, network string, fra, nyc float64) (list []mapper.HeldSession) {
	for range n {
		list = append(list, mapper.HeldSession{
			Client: netip.MustParseAddr(network),
			Values: []estimate.Value{{PoP: 0, RTT: fra}, {PoP: 1, RTT: nyc}},
		})
	}
	return list
}

// lowered has the values count less by a share.
func lowered(list []mapper.HeldSession, less float64) []mapper.HeldSession {
	for i := range list {
		for k := range list[i].Values {
			list[i].Values[k].Less = less
		}
	}
	return list
}

// failing has PoPs that clients of the sessions' unit fail to reach.
func failing(list []mapper.HeldSession, pops ...uint16) []mapper.HeldSession {
	for i := range list {
		for _, pop := range pops {
			list[i].Failing = append(list[i].Failing, mapper.Failing{PoP: pop})
		}
	}
	return list
}

func demand(list ...any) (d []simulate.Demand) {
	for i := 0; i < len(list); i += 2 {
		d = append(d, simulate.Demand{Prefix: netip.MustParsePrefix(list[i].(string)), Requests: float64(list[i+1].(int))})
	}
	return d
}

func TestJudge(t *testing.T) {
	before := mappertest.Map(t, pops, "10.0.0.0/8,fra:10 nyc:90\n11.0.0.0/8,nyc:10 fra:90\n")
	three := append(slices.Clone(pops), edge.PoP{Name: "sin", Lat: 1.35, Lon: 103.82})
	for _, tt := range []struct {
		name    string
		in      Input
		refused string
		want    string
	}{
		{
			"the first map",
			Input{New: before, Fleet: []string{"fra", "nyc"}, Demand: demand("10.0.0.0/8", 60, "11.0.0.0/8", 40), Held: held(99, "10.0.0.1", 99, 1)},
			"", `holes: ok 0 %, limit 0.1 (of demand has no first choice)
pops: ok 0 pops, limit 0 ()
coverage: not applicable 100 %, limit 0 (no map is in force)
moved: not applicable 0 %, limit 0 (no map is in force)
uncounted: not applicable 0 %, limit 0 (no map is in force)
regret: not applicable 0 ms, limit 0 (no map is in force)`,
		},
		{
			"the same again",
			Input{InForce: before, New: before, Demand: demand("10.0.0.0/8", 60, "11.0.0.0/8", 40), Unit: "requests/s", Held: held(20, "10.0.0.1", 12, 90)},
			"", `holes: ok 0 %, limit 0.1 (of demand had a first choice and would have none)
pops: ok 0 pops, limit 0 ()
coverage: ok 100 %, limit 90 (of demand has a measured ranking, at least nine tenths of the map in force)
moved: ok 0 %, limit 10 (of requests/s)
uncounted: not applicable 0 %, limit 0 (demand is of all IPv4 addresses with a first choice)
regret: ok 0 ms, limit 1 (0.00 ms in place of 0.00 above the best, by 20 sessions held back)`,
		},
		{
			"everything is wrong",
			Input{
				InForce: mappertest.Map(t, three, "10.0.0.0/8,fra:10 nyc:90\n11.0.0.0/8,nyc:10 fra:90\n12.0.0.0/8,sin\n"),
				New:     mappertest.Map(t, pops, "10.0.0.0/8,nyc:20 fra:21\n"),
				Fleet:   []string{"fra"}, Demand: demand("10.0.0.0/8", 60, "11.0.0.0/8", 40), Unit: "sessions",
				Held: slices.Concat(held(30, "10.0.0.1", 12, 15.5), held(10, "11.0.0.1", 1, 99)),
			},
			"holes pops coverage moved uncounted regret", `holes: refused 40 %, limit 0.1 (of demand had a first choice and would have none)
pops: refused 2 pops, limit 0 (nyc is not in the fleet, sin is in force and missing)
coverage: refused 60 %, limit 90 (of demand has a measured ranking, at least nine tenths of the map in force)
moved: refused 100 %, limit 10 (of sessions, most (60.00 %) from fra to nyc)
uncounted: refused 100 %, limit 20 (of the 65536 /24 blocks without any demand)
regret: refused 3.5 ms, limit 1 (3.50 ms in place of 0.00 above the best, by 30 sessions held back)`,
		},
		{
			"just so much",
			Input{
				InForce: before, New: mappertest.Map(t, pops, "10.0.0.0/8,fra:10 nyc:90\n11.0.0.0/8,fra:10 nyc:90\n"),
				Demand: demand("10.0.0.0/8", 90, "11.0.0.0/8", 10), Unit: "requests/s",
				Held: slices.Concat(held(15, "10.0.0.1", 12, 15.5), held(5, "11.0.0.1", 14, 10)),
			},
			"", `holes: ok 0 %, limit 0.1 (of demand had a first choice and would have none)
pops: ok 0 pops, limit 0 ()
coverage: ok 100 %, limit 90 (of demand has a measured ranking, at least nine tenths of the map in force)
moved: ok 10 %, limit 10 (of requests/s, most (10.00 %) from nyc to fra)
uncounted: not applicable 0 %, limit 0 (demand is of all IPv4 addresses with a first choice)
regret: ok 1 ms, limit 1 (1.00 ms in place of 0.00 above the best, by 20 sessions held back)`,
		},
		{
			"without demand and sessions",
			Input{
				InForce: before, New: mappertest.Map(t, pops, "10.0.0.0/8,fra:10 nyc:90\n11.0.0.0/9,fra\n11.128.0.0/9,nyc\n"), Held: held(19, "10.0.0.1", 1, 2),
			},
			"moved", `holes: ok 0 %, limit 0.1 (of demand had a first choice and would have none)
pops: ok 0 pops, limit 0 ()
coverage: ok 100 %, limit 90 (of demand has a measured ranking, at least nine tenths of the map in force)
moved: refused 25 %, limit 10 (of /24 blocks, most (25.00 %) from nyc to fra)
uncounted: not applicable 0 %, limit 0 (demand is of all IPv4 addresses with a first choice)
regret: not applicable 0 ms, limit 0 (19 of 19 sessions held back measured both first choices, want 20)`,
		},
		{
			"one source that brings too much",
			Input{
				InForce: before, New: mappertest.Map(t, pops, "10.0.0.0/8,fra:10 nyc:90\n11.0.0.0/8,fra:10 nyc:90\n"),
				Demand: demand("10.0.0.0/8", 95, "11.0.0.0/8", 5), Unit: "sessions",
				Held: slices.Concat(held(20, "10.0.0.1", 12, 15), lowered(held(400, "11.0.0.1", 90, 10), 0.99)),
			},
			"regret", `holes: ok 0 %, limit 0.1 (of demand had a first choice and would have none)
pops: ok 0 pops, limit 0 ()
coverage: ok 100 %, limit 90 (of demand has a measured ranking, at least nine tenths of the map in force)
moved: ok 5 %, limit 10 (of sessions, most (5.00 %) from nyc to fra)
uncounted: not applicable 0 %, limit 0 (demand is of all IPv4 addresses with a first choice)
regret: refused 13.33 ms, limit 1 (13.33 ms in place of 0.00 above the best, by 420 sessions held back)`,
		},
		{
			"a pop that clients fail to reach is left",
			Input{
				InForce: before, New: mappertest.Map(t, pops, "10.0.0.0/8,nyc:20 fra:21\n11.0.0.0/8,nyc:10 fra:90\n"),
				Demand: demand("10.0.0.0/8", 5, "11.0.0.0/8", 95), Unit: "sessions",
				Held: slices.Concat(failing(held(30, "10.0.0.1", 12, 90), 0), failing(held(20, "11.0.0.1", 90, 10), 0)),
			},
			"", `holes: ok 0 %, limit 0.1 (of demand had a first choice and would have none)
pops: ok 0 pops, limit 0 ()
coverage: ok 100 %, limit 90 (of demand has a measured ranking, at least nine tenths of the map in force)
moved: ok 5 %, limit 10 (of sessions, most (5.00 %) from fra to nyc)
uncounted: not applicable 0 %, limit 0 (demand is of all IPv4 addresses with a first choice)
regret: ok 0 ms, limit 1 (0.00 ms in place of 0.00 above the best, by 20 sessions held back; 30 more leave a pop that clients fail to reach)`,
		},
		{
			"from one that fails to another",
			Input{
				InForce: before, New: mappertest.Map(t, pops, "10.0.0.0/8,nyc:20 fra:21\n11.0.0.0/8,nyc:10 fra:90\n"),
				Demand: demand("10.0.0.0/8", 5, "11.0.0.0/8", 95), Unit: "sessions",
				Held: failing(held(30, "10.0.0.1", 12, 90), 0, 1),
			},
			"regret", `holes: ok 0 %, limit 0.1 (of demand had a first choice and would have none)
pops: ok 0 pops, limit 0 ()
coverage: ok 100 %, limit 90 (of demand has a measured ranking, at least nine tenths of the map in force)
moved: ok 5 %, limit 10 (of sessions, most (5.00 %) from fra to nyc)
uncounted: not applicable 0 %, limit 0 (demand is of all IPv4 addresses with a first choice)
regret: refused 78 ms, limit 1 (78.00 ms in place of 0.00 above the best, by 30 sessions held back)`,
		},
		{
			"half of those whom nobody counts",
			Input{
				InForce: before, New: mappertest.Map(t, pops, "10.0.0.0/8,fra:10 nyc:90\n11.0.0.0/8,nyc:10 fra:90\n11.0.0.0/9,fra\n"),
				Demand: demand("11.128.0.0/9", 1, "10.0.0.0/9", 1), Unit: "requests/s",
			},
			"uncounted", `holes: ok 0 %, limit 0.1 (of demand had a first choice and would have none)
pops: ok 0 pops, limit 0 ()
coverage: ok 100 %, limit 90 (of demand has a measured ranking, at least nine tenths of the map in force)
moved: ok 0 %, limit 10 (of requests/s)
uncounted: refused 50 %, limit 20 (of the 65536 /24 blocks without any demand)
regret: not applicable 0 ms, limit 0 (0 of 0 sessions held back measured both first choices, want 20)`,
		},
		{
			"a fleet that is new",
			Input{InForce: mappertest.Map(t, three[2:], "10.0.0.0/8,sin\n"), New: before, Demand: demand("10.0.0.0/8", 1), Unit: "sessions", Held: held(50, "10.0.0.1", 1, 2)},
			"pops moved uncounted", `holes: ok 0 %, limit 0.1 (of demand had a first choice and would have none)
pops: refused 1 pops, limit 0 (sin is in force and missing)
coverage: ok 100 %, limit 90 (of demand has a measured ranking, at least nine tenths of the map in force)
moved: refused 100 %, limit 10 (of sessions, most (100.00 %) from sin to fra)
uncounted: refused 100 %, limit 20 (of the 65536 /24 blocks without any demand)
regret: not applicable 0 ms, limit 0 (0 of 50 sessions held back measured both first choices, want 20)`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := Judge(tt.in)
			if got := text(g); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if got := strings.Join(g.Refused(), " "); got != tt.refused {
				t.Errorf("refused by %q, want %q", got, tt.refused)
			}
		})
	}
}
