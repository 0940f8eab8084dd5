package lab

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// An edge that does not have the VIP asks through it, over the router. It confirms the
// edge of its PoP that it gets answers of; and the one that it gets none of, though the
// router was sent its route, gets back what it had.
func TestConfirmedByAnswers(t *testing.T) {
	l := newLab(t, Config{Edges: 4, BFD: -1})
	victim, at, prober := l.Edges[1], l.Edges[0], l.Edges[3]
	l.must(l.Write(prober, nil))
	l.must(l.Start(upWithin, l.Edges[:3]...))
	l.must(prober.Start())
	l.must(Until(upWithin, func() error {
		s, err := prober.Status()
		if err == nil && s.Frozen != "" {
			err = errors.New(s.Frozen)
		}
		return err
	}))
	roll := func(community, phase string) (cause string, seen map[string]uint64) {
		t.Helper()
		v := DefaultVIPs[0]
		v.Keys = strings.Replace(v.Keys, `"64512:100"`, fmt.Sprintf("%q", community), 1)
		l.rewrite([]VIP{v}, victim)
		id := l.plan(at, "--nodes", "node/"+victim.Name)
		l.vip(at, "apply", id, "--nodes", "node/"+victim.Name, "--reason", "test", "--bake", "3s")
		cause = l.reached(2*time.Minute, at, phase)
		var r struct {
			Sights map[string]struct{ Settled, Baking map[string]uint64 }
		}
		l.must(at.Get("/v1/vips/rollout", &r))
		seen = r.Sights[prober.Name+" ns1"].Settled
		for node, n := range r.Sights[prober.Name+" ns1"].Baking {
			if seen == nil {
				seen = map[string]uint64{}
			}
			seen[node] += n
		}
		return cause, seen
	}
	if cause, seen := roll("64512:200", "done"); cause != "" || seen[victim.Name] == 0 {
		t.Errorf("%q, and %s saw %v, want %s among them", cause, prober.Name, seen, victim.Name)
	}
	cause, seen := roll(Backup, "aborted")
	if !strings.Contains(cause, "e2 does not do as planned") || !strings.Contains(cause, "an answer through ns1 that names it: e4 asked") {
		t.Errorf("it was aborted for %q", cause)
	}
	if seen[victim.Name] > 0 || seen["e1"]+seen["e3"] == 0 {
		t.Errorf("%s saw %v, want only others than %s", prober.Name, seen, victim.Name)
	}
	l.must(l.community(10*time.Second, "64512:200", victim))
	l.must(l.Reach(5*time.Second, vip4, slices.Clone(l.Edges[:3])...))
}
