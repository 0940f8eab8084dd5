package announcer

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edged/bgp"
)

// atOnce does something on each node at the same moment, and returns the errors by
// node.
func (f *fleet) atOnce(names []string, do func(n *testNode) error) map[string]error {
	errs := map[string]error{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() {
			err := do(f.nodes[name])
			mu.Lock()
			defer mu.Unlock()
			errs[name] = err
		})
	}
	all.Wait()
	return errs
}

// TestMaintenanceAtOnce: three engineers take three nodes out at the same moment, and
// not more than one gets it.
func TestMaintenanceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a1", "a2", "b1"}
		f := announcing(t, names...)
		ask := func(n *testNode) error {
			_, err := n.Operate(t.Context(), Request{Kind: bgp.Maintenance, Node: n.self.Name, For: time.Hour, Reason: "disks", Actor: "ann"})
			return err
		}
		out, next := 0, "b1"
		for name, err := range f.atOnce(names, ask) {
			switch {
			case err == nil:
				out++
				next = map[string]string{"a1": "a2", "a2": "b1", "b1": "a1"}[name]
			case !strings.Contains(err.Error(), "would be out of ns1 at once, want at most 1: there is maintenance all VIPs on node/"):
				t.Errorf("%s: %v", name, err)
			}
		}
		if out > 1 {
			t.Errorf("%d nodes are out, want at most 1", out)
		}
		t.Logf("%d got it", out)
		if err := ask(f.nodes[next]); (err == nil) != (out == 0) {
			t.Errorf("after that %d are out, and %s gets %v", out, next, err)
		}
	})
}

// TestApplyAtOnce: three engineers apply plans about one VIP at the same moment, and
// not more than one begins.
func TestApplyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a1", "a2", "b1"}
		f := announcing(t, names...)
		recoloured := testVIP
		recoloured.Communities = []bgp.Community{64512<<16 | 200}
		for _, n := range f.nodes {
			n.wants(recoloured)
		}
		apply := func(n *testNode) error {
			q := Application{Nodes: "node/" + n.self.Name, Reason: "new community", Actor: "ann"}
			p, err := n.Plan(t.Context(), bgp.Selection{Nodes: q.Nodes}, bgp.Limits{})
			if err != nil {
				return err
			}
			q.Plan = p.Plan.ID
			_, err = n.Announcer.Apply(t.Context(), q)
			return err
		}
		begun := 0
		for name, err := range f.atOnce(names, apply) {
			switch {
			case err == nil:
				begun++
			case !strings.Contains(err.Error(), "overlap: ns1: plan ") || !strings.Contains(err.Error(), "rolls out, changes this VIP too") && !strings.Contains(err.Error(), "at this moment, changes this VIP too: try again"):
				t.Errorf("%s: %v", name, err)
			}
		}
		if begun > 1 {
			t.Errorf("%d rollouts have begun, want at most 1", begun)
		}
		if err := apply(f.nodes["b1"]); (err == nil) != (begun == 0) {
			t.Errorf("after that %d are under way, and b1 gets %v", begun, err)
		}
	})
}
