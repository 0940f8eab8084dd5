package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// An edge that does not have the VIP asks through it, over the router. It confirms the
// edge of its PoP that it gets answers of. One that it gets none of, though the router
// was sent its route, gets back what it had; so does one with an address that the router
// refuses, while it answers through the others.
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
	roll := func(community string, prefixes []netip.Prefix, phase string) (cause string, seen map[string]map[string]uint64) {
		t.Helper()
		v := DefaultVIPs[0]
		v.Prefixes = prefixes
		v.Keys = strings.Replace(v.Keys, `"64512:100"`, fmt.Sprintf("%q", community), 1)
		l.rewrite([]VIP{v}, victim)
		id := l.plan(at, "--nodes", "node/"+victim.Name)
		l.vip(at, "apply", id, "--nodes", "node/"+victim.Name, "--reason", "test", "--bake", "3s")
		cause = l.reached(2*time.Minute, at, phase)
		var r struct {
			Sights map[string]struct{ Settled, Baking map[string]uint64 }
		}
		l.must(at.Get("/v1/vips/rollout", &r))
		seen = map[string]map[string]uint64{}
		for _, p := range prefixes {
			counts := map[string]uint64{}
			sight := r.Sights[prober.Name+" "+p.String()]
			for _, some := range []map[string]uint64{sight.Settled, sight.Baking} {
				for node, n := range some {
					counts[node] += n
				}
			}
			seen[p.String()] = counts
		}
		return cause, seen
	}
	if cause, seen := roll("64512:200", ns1, "done"); cause != "" || seen[vip4.String()][victim.Name] == 0 {
		t.Errorf("%q, and %s saw %v, want %s among them", cause, prober.Name, seen, victim.Name)
	}
	refused := netip.MustParsePrefix("203.0.113.54/32")
	cause, seen := roll("64512:200", append(slices.Clone(ns1), refused), "aborted")
	if !strings.Contains(cause, "an answer through 203.0.113.54/32 of ns1 that names it: e4 got 0 from others") {
		t.Errorf("with an address that the router refuses it was aborted for %q", cause)
	}
	if len(seen[refused.String()]) > 0 || seen[vip4.String()][victim.Name] == 0 {
		t.Errorf("%s saw %v, want nothing through %s, and %s among the others", prober.Name, seen, refused, victim.Name)
	}
	l.must(victim.Without(20*time.Second, refused.Addr()))
	cause, seen = roll(Backup, ns1, "aborted")
	if !strings.Contains(cause, "e2 does not do as planned") || !strings.Contains(cause, "of ns1 that names it: e4 got") {
		t.Errorf("it was aborted for %q", cause)
	}
	for p, counts := range seen {
		if counts[victim.Name] > 0 || counts["e1"]+counts["e3"] == 0 {
			t.Errorf("through %s %s saw %v, want only others than %s", p, prober.Name, counts, victim.Name)
		}
	}
	l.must(l.community(10*time.Second, "64512:200", victim))
	l.must(l.Reach(5*time.Second, vip4, slices.Clone(l.Edges[:3])...))
}
