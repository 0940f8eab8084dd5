package bgp

import (
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
			"ams1 does not do as planned, for 30s: it waits for an answer through ns1 that names it: ams9 asked", 0,
		},
		{"a new one is not seen from elsewhere", true, "lhr", nil, seen{"fra1": 20}, nil, false, "", 5},
		{"it goes while it bakes", false, "ams", usual, usual, seen{"fra1": 20}, false, "ams1 answers none of 60 probes of ams9 through ns2, forecast 50.0 %", 5},
		{"that is allowed", false, "ams", usual, usual, seen{"fra1": 20}, true, "", 4},
		{
			"it gets less", false, "ams",
			seen{"ams1": 100, "fra1": 100},
			usual,
			seen{"ams1": 60, "fra1": 140},
			false,
			"ams1 gets 30.0 % of 800 probes of ams9 through ns2, forecast 50.0 %, want it within 30 % of that", 5,
		},
		{"it gets a little less", false, "ams", seen{"ams1": 100, "fra1": 100}, usual, seen{"ams1": 80, "fra1": 120}, false, "", 5},
	} {
		tagged := altered(ns2, func(v *VIP) { v.Communities = []Community{64512<<16 | 100} })
		vips, vip := []VIP{tagged}, "ns2"
		s := newStageOf(t, "ams1 fra1", vips)
		if c.joins {
			s, vip = newStage(t, "ams1 fra1"), "ns1"
		}
		for i := range s.rollout.Plan.Steps {
			step := &s.rollout.Plan.Steps[i]
			step.Plan.PoP = step.Plan.Node[:3]
			s.nodes[step.Plan.Node].stored.PoP = step.Plan.PoP
			step.Prior.PoP = step.Plan.PoP
		}
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
				s.rollout.Saw("ams9", map[string]map[string]uint64{vip: answers})
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
