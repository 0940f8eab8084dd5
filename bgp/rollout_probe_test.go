package bgp

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRolloutProbes: what a node that has no VIP itself sees through it confirms the
// nodes of a wave, and ends it when the one that should answer does not.
func TestRolloutProbes(t *testing.T) {
	type seen map[string]uint64 // in a second
	usual := seen{"ams1": 10, "fra1": 10}
	for _, c := range []struct {
		what    string
		joins   bool // ns1 is new on the nodes; else ns2 is changed
		pop     string
		before  seen
		after   seen
		baking  seen // nil: as after
		shift   bool
		cause   string
		confirm int // seconds from acting until it bakes; 0: never
	}{
		{"all is as before", false, "ams", usual, usual, nil, false, "", 5},
		{"it has no path", false, "ams", nil, nil, nil, false, "", 5},
		{"a new one is seen", true, "ams", nil, usual, nil, false, "", 5},
		{
			"a new one is not seen", true, "ams", nil,
			seen{"fra1": 20},
			nil, false,
			"ams1 does not do as planned, for 30s: it waits for an answer through 198.51.100.53/32 of ns1 that names it: ams9 got", 0,
		},
		{"a new one is not seen from elsewhere", true, "lhr", nil, seen{"fra1": 20}, nil, false, "", 5},
		{"it goes while it bakes", false, "ams", usual, usual, seen{"fra1": 20}, false, "ams1 answers none of 60 probes of ams9 through 2001:db8::53/128 of ns2, forecast 50.0 %", 5},
		{"that is allowed", false, "ams", usual, usual, seen{"fra1": 20}, true, "", 4},
		{
			"it gets less", false, "ams",
			seen{"ams1": 100, "fra1": 100},
			usual,
			seen{"ams1": 60, "fra1": 140},
			false,
			"ams1 gets 30.0 % of 800 probes of ams9 through 2001:db8::53/128 of ns2, forecast 50.0 %, want it within 30 % of that", 5,
		},
		{"it gets a little less", false, "ams", seen{"ams1": 100, "fra1": 100}, usual, seen{"ams1": 80, "fra1": 120}, false, "", 5},
	} {
		tagged := altered(ns2, func(v *VIP) { v.Communities = []Community{64512<<16 | 100} })
		vips, vip := []VIP{tagged}, ns2
		s := newStageOf(t, "ams1 fra1", vips)
		if c.joins {
			s, vip = newStage(t, "ams1 fra1"), ns1
		}
		inPoPs(s)
		s.rollout.Shift = c.shift
		s.rollout.Probe([]Member{{Name: "ams9", PoP: c.pop}})
		acted, baked := 0, 0
		for s.rollout.Cause == "" && s.rollout.Wave == 0 && s.now < 120*time.Second {
			answers := c.after
			switch s.rollout.Phase {
			case PhasePlanned, PhasePreflight:
				answers = c.before
				acted = int(s.now / time.Second)
			case PhaseBaking:
				if baked == 0 {
					baked = int(s.now/time.Second) - acted
				}
				if c.baking != nil {
					answers = c.baking
				}
			}
			if len(s.rollout.Probes()) > 0 && answers != nil {
				s.rollout.Saw("ams9", map[netip.Prefix]map[string]uint64{vip.Prefixes[0]: answers})
			}
			s.second()
		}
		if got := s.rollout.Cause; !strings.HasPrefix(got, c.cause) || c.cause == "" && got != "" {
			t.Errorf("%s: cause %q, want %q", c.what, got, c.cause)
		}
		if baked != c.confirm {
			t.Errorf("%s: it bakes %d s after it acted, want %d", c.what, baked, c.confirm)
		}
	}
}

// inPoPs has the nodes of a stage stand where their names say.
func inPoPs(s *stage) {
	for i := range s.rollout.Plan.Steps {
		step := &s.rollout.Plan.Steps[i]
		step.Plan.PoP = step.Plan.Node[:3]
		s.nodes[step.Plan.Node].stored.PoP = step.Plan.PoP
		step.Prior.PoP = step.Plan.PoP
	}
}

// TestRolloutProbesPrefixes: each prefix of a VIP is looked at by itself.
func TestRolloutProbesPrefixes(t *testing.T) {
	type seen map[string]map[string]uint64 // in a second, by prefix and node
	const old, other, added, six = "2001:db8::53/128", "2001:db8::54/128", "2001:db8::55/128", "198.51.100.53/32"
	both := map[string]uint64{"ams1": 10, "fra1": 10}
	nobody := map[string]uint64{}
	for _, c := range []struct {
		what    string
		before  string // prefixes of ns2
		after   string
		answers seen
		drained bool // ams1
		cause   string
	}{
		{"a new one answers", old, old + " " + added, seen{old: both, added: both}, false, ""},
		{
			"nobody answers through a new one, and others of it answer", old, old + " " + added,
			seen{old: both, added: nobody},
			false, "ams1 does not do as planned, for 30s: it waits for an answer through 2001:db8::55/128 of ns2 that names it: ams9 got 0 from others",
		},
		{
			"only others answer through a new one", old, old + " " + added,
			seen{old: both, added: {"fra1": 10}},
			false, "ams1 does not do as planned, for 30s: it waits for an answer through 2001:db8::55/128 of ns2 that names it: ams9 got ",
		},
		{"the prober has the new one itself", old, old + " " + added, seen{old: both}, false, ""},
		{"the prober has no path for the family of the new one", old, old + " " + six, seen{old: both, six: nobody}, false, ""},
		{"nobody answers at all", old, old + " " + added, seen{old: nobody, added: nobody}, false, ""},
		{"it is drained, and need not answer", old, old + " " + added, seen{old: {"fra1": 20}, added: {"fra1": 20}}, true, ""},
		{"one goes", old + " " + other, old, seen{old: both, other: nobody}, false, ""},
		{
			"one that is withdrawn is still answered through", old + " " + other, old,
			seen{old: both, other: both},
			false, "ams1 still answers ams9 through 2001:db8::54/128 of ns2, though it has withdrawn it",
		},
	} {
		s := newStageOf(t, "ams1 fra1", []VIP{ns2})
		s.rollout.Plan.Steps, s.rollout.Plan.Changes = nil, nil
		with := func(prefixes string) VIP {
			return altered(ns2, func(v *VIP) {
				v.Prefixes = nil
				for p := range strings.FieldsSeq(prefixes) {
					v.Prefixes = append(v.Prefixes, netip.MustParsePrefix(p))
				}
			})
		}
		for _, name := range []string{"ams1", "fra1"} {
			prior := planOf(name, 4, with(c.before))
			step := NodeStep{Prior: prior, Plan: Pending(prior, []VIP{with(c.after)}, nil)}
			peers := []Peer{{Name: "tor-a"}}
			step.Adds, step.Drops = comeAndGo(prior, step.Plan, peers)
			s.rollout.Plan.Steps = append(s.rollout.Plan.Steps, step)
			s.rollout.Plan.Changes = append(s.rollout.Plan.Changes, Diff(prior, step.Plan, peers, peers)...)
			s.nodes[name] = &fakeNode{stored: prior}
			s.rollout.Nodes[name] = &Progress{}
		}
		s.rollout.Waves = Waves(s.rollout.Plan)
		inPoPs(s)
		s.nodes["ams1"].drained = c.drained
		s.rollout.Probe([]Member{{Name: "ams9", PoP: "ams"}})
		answers := map[netip.Prefix]map[string]uint64{}
		for p, counts := range c.answers {
			answers[netip.MustParsePrefix(p)] = counts
		}
		for s.rollout.Cause == "" && s.rollout.Wave == 0 && s.now < 120*time.Second {
			if probes := s.rollout.Probes(); len(probes) > 0 {
				asked := map[netip.Prefix]bool{}
				for _, v := range probes[0].VIPs {
					for _, p := range v.Prefixes {
						asked[p] = true
					}
				}
				for p := range answers {
					if !asked[p] {
						t.Fatalf("%s: %s is not asked, only %v", c.what, p, slices.Collect(maps.Keys(asked)))
					}
				}
				s.rollout.Saw("ams9", answers)
			}
			s.second()
		}
		if got := s.rollout.Cause; !strings.HasPrefix(got, c.cause) || c.cause == "" && got != "" {
			t.Errorf("%s: cause %q, want %q", c.what, got, c.cause)
		}
		if c.cause == "" && s.rollout.Wave == 0 {
			t.Errorf("%s: the first wave is %s", c.what, s.rollout.Phase)
		}
	}
}

// TestRolloutProbesDrainedLater: a node of a later wave that is drained need not answer.
func TestRolloutProbesDrainedLater(t *testing.T) {
	s := newStage(t, "ams1 ams2")
	inPoPs(s)
	s.nodes["ams2"].drained = true
	s.rollout.Probe([]Member{{Name: "ams9", PoP: "ams"}})
	for s.rollout.Phase != PhaseDone && s.rollout.Cause == "" && s.now < 10*time.Minute {
		if len(s.rollout.Probes()) > 0 {
			answers := map[string]uint64{}
			if s.rollout.Wave > 0 || s.rollout.Phase == PhaseConfirming || s.rollout.Phase == PhaseBaking {
				answers["ams1"] = 20
			}
			s.rollout.Saw("ams9", map[netip.Prefix]map[string]uint64{ns1.Prefixes[0]: answers})
		}
		s.second()
	}
	if s.rollout.Phase != PhaseDone {
		t.Errorf("it ended %s", s.rollout)
	}
}

// TestRolloutProbesUndrained: a node that is undrained while its wave bakes answers probes
// from then on, and what was asked before counts for nothing.
func TestRolloutProbesUndrained(t *testing.T) {
	s := newStage(t, "ams1 ams2")
	inPoPs(s)
	s.nodes["ams2"].drained = true
	s.rollout.Probe([]Member{{Name: "ams9", PoP: "ams"}})
	baked := 0
	for s.rollout.Phase != PhaseDone && s.rollout.Cause == "" && s.now < 10*time.Minute {
		if s.rollout.Wave == 1 && s.rollout.Phase == PhaseBaking {
			baked++
			s.nodes["ams2"].drained = baked < 6
		}
		if len(s.rollout.Probes()) > 0 {
			answers := map[string]uint64{}
			if s.rollout.Wave > 0 || s.rollout.Phase == PhaseConfirming || s.rollout.Phase == PhaseBaking {
				answers["ams1"] = 20
			}
			if baked > 6 {
				answers = map[string]uint64{"ams1": 10, "ams2": 10}
			}
			s.rollout.Saw("ams9", map[netip.Prefix]map[string]uint64{ns1.Prefixes[0]: answers})
		}
		s.second()
	}
	if s.rollout.Phase != PhaseDone || baked < 10 {
		t.Errorf("it ended after %d s of baking: %s", baked, s.rollout)
	}
}
