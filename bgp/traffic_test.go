package bgp

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// shareWords writes shares as "fra1 25.0 fra2 75.0", in per cent.
func shareWords(shares map[string]float64) string {
	var words []string
	for _, node := range slices.Sorted(maps.Keys(shares)) {
		words = append(words, fmt.Sprintf("%s %.1f", node, 100*shares[node]))
	}
	return strings.Join(words, " ")
}

func TestForecast(t *testing.T) {
	pops := map[string]string{"fra1": "fra", "fra2": "fra", "fra3": "fra", "iad1": "iad", "iad2": "iad", "nrt1": "nrt"}
	for _, c := range []struct {
		what          string
		before        map[string]uint64
		joins, leaves []string
		want          string
	}{
		{"nothing is known", nil, nil, nil, ""},
		{"nobody asks", map[string]uint64{"fra1": 0}, nil, nil, ""},
		{"all stay", map[string]uint64{"fra1": 100, "fra2": 300, "iad1": 600}, nil, nil, "fra1 10.0 fra2 30.0 iad1 60.0"},
		{"one joins its PoP", map[string]uint64{"fra1": 100, "fra2": 300, "iad1": 600}, []string{"fra3"}, nil, "fra1 6.7 fra2 20.0 fra3 13.3 iad1 60.0"},
		{"one joins alone", map[string]uint64{"fra1": 400, "iad1": 600}, []string{"nrt1"}, nil, "fra1 40.0 iad1 60.0"},
		{"one leaves its PoP", map[string]uint64{"fra1": 100, "fra2": 300, "iad1": 600}, nil, []string{"fra2"}, "fra1 40.0 iad1 60.0"},
		{"a PoP's last one leaves", map[string]uint64{"fra1": 100, "fra2": 300, "iad1": 600}, nil, []string{"iad1"}, ""},
		{"another one joins for it", map[string]uint64{"fra1": 400, "iad1": 600}, []string{"iad2"}, []string{"iad1"}, "fra1 40.0 iad2 60.0"},
		{"one without queries stays so", map[string]uint64{"fra1": 0, "fra2": 400, "iad1": 600}, nil, nil, "fra1 0.0 fra2 40.0 iad1 60.0"},
	} {
		if got := shareWords(forecast(c.before, pops, c.joins, c.leaves)); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

func TestOff(t *testing.T) {
	for _, c := range []struct {
		share float64
		got   map[string]uint64
		want  string
	}{
		{0.5, map[string]uint64{"fra1": 500, "iad1": 500}, ""},
		{0.5, map[string]uint64{"fra1": 650, "iad1": 350}, ""},
		{0.5, map[string]uint64{"fra1": 651, "iad1": 349}, "gets 65.1 % of 1000 queries to ns1, forecast 50.0 %, want it within 30 % of that"},
		{0.5, map[string]uint64{"fra1": 350, "iad1": 650}, ""},
		{0.5, map[string]uint64{"fra1": 349, "iad1": 651}, "gets 34.9 % of 1000 queries to ns1, forecast 50.0 %, want it within 30 % of that"},
		{0.5, map[string]uint64{"iad1": 800}, "gets 0.0 % of 800 queries to ns1, forecast 50.0 %, want it within 30 % of that"},
		{0.5, map[string]uint64{"iad1": 799}, ""}, // 400 expected are something, fewer are not
		{0.5, nil, ""},
	} {
		if got := off("ns1", "queries to", c.share, c.got, "fra1"); got != c.want {
			t.Errorf("%v of %v: %q, want %q", c.share, c.got, got, c.want)
		}
	}
}

func TestSlower(t *testing.T) {
	took := func(pairs ...any) (l Latency) {
		for i := 0; i < len(pairs); i += 2 {
			l.add(pairs[i].(time.Duration), uint64(pairs[i+1].(int)))
		}
		return l
	}
	us, ms := time.Microsecond, time.Millisecond
	for _, c := range []struct {
		what          string
		before, after Latency
		want          string
	}{
		{"nothing was measured", Latency{}, took(5*ms, 1000), ""},
		{"as before", took(100*us, 1000), took(100*us, 1000), ""},
		{"twice as long", took(900*us, 1000), took(1900*us, 1000), ""},
		{"four times as long", took(900*us, 1000), took(3*ms, 1000), "takes up to 4.096ms for 99 of 100 answers, want at most 2.048ms (before: 1.024ms)"},
		{"too few answers", took(900*us, 1000), took(3*ms, 99), ""},
		{"below a millisecond", took(10*us, 1000), took(500*us, 1000), ""},
		{"one in a hundred", took(100*us, 1000), took(100*us, 990, 50*ms, 10), ""},
		{"more than that", took(100*us, 1000), took(100*us, 989, 50*ms, 11), "takes up to 65.536ms for 99 of 100 answers, want at most 512µs (before: 128µs)"},
		{"it always took so long", took(50*ms, 1000), took(50*ms, 1000), ""},
	} {
		now := c.before
		for i := range now {
			now[i] += c.after[i]
		}
		if got := c.before.slower(now); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

// TestRolloutWatchesTraffic: a wave whose node gets another share than before aborts;
// nobody knows better while a count is missing, or when the operator said so.
func TestRolloutWatchesTraffic(t *testing.T) {
	for _, c := range []struct {
		what  string
		does  func(s *stage)
		wrong bool
	}{
		{"nothing", func(*stage) {}, false},
		{"all get more", func(s *stage) {
			for _, n := range s.nodes {
				n.gets *= 5
			}
		}, false},
		{"nothing comes any more", func(s *stage) { s.nodes["ams1"].gets = 0 }, true},
		{"too much comes", func(s *stage) { s.nodes["ams1"].gets = 300 }, true},
		{"more than that is allowed", func(s *stage) { s.rollout.Shift, s.nodes["ams1"].gets = true, 0 }, false},
		{"another node is not in reach", func(s *stage) { s.nodes["ams1"].gets, s.nodes["nrt1"].away = 0, true }, false},
		{"another node bound it anew", func(s *stage) {
			s.nodes["ams1"].gets = 0
			delete(s.nodes["nrt1"].Traffic, "ns2")
		}, false},
	} {
		tagged := altered(ns2, func(v *VIP) { v.Communities = []Community{64512<<16 | 100} })
		s := newStageOf(t, "ams1 fra1 nrt1", []VIP{tagged})
		// The last is beside the plan.
		s.rollout.Plan.Steps, s.rollout.Waves = s.rollout.Plan.Steps[:2], [][]string{{"ams1"}, {"fra1"}}
		delete(s.rollout.Nodes, "nrt1")
		s.rollout.Beside([]Member{{Name: "nrt1", PoP: "nrt"}})
		for _, n := range s.nodes {
			n.gets = 100
		}
		s.run("baking", 20)
		c.does(s)
		for s.rollout.Wave == 0 && s.rollout.Cause == "" && s.now < 200*time.Second {
			s.second()
		}
		if got := strings.HasPrefix(s.rollout.Cause, "ams1 gets ") && strings.Contains(s.rollout.Cause, " queries to ns2, forecast 33.3 %"); got != c.wrong || !c.wrong && s.rollout.Cause != "" {
			t.Errorf("%s: the cause is %q", c.what, s.rollout.Cause)
		}
	}
}
