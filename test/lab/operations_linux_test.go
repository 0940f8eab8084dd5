package lab

import (
	"errors"
	"testing"
	"time"
)

// An edge is drained and comes back, and a plan gives it another community that is
// rolled back then, behind routers of other makers, without the loss of a query.
// BIRD has tests of each.
func TestOperations(t *testing.T) {
	for _, kind := range []Kind{FRR, ExaBGP} {
		t.Run(string(kind), func(t *testing.T) {
			l := startLab(t, Config{Router: kind})
			e, others := l.Edges[0], l.Edges[1:]
			o := l.under(func() error {
				l.vip(e, "drain", "node/e1", "--reason", "test")
				if err := l.Withdrawn(20*time.Second, vip4, e); err != nil {
					return err
				}
				l.vip(others[0], "undrain", "node/e1", "--reason", "test")
				return errors.Join(Await(upWithin, "ns1", "announced", e), l.Settled(upWithin))
			})
			if lost := o.UDP.Lost(); len(lost) > 0 || o.UDP.By()[e.Name] == 0 {
				t.Errorf("drained and undrained: %v", o.UDP)
			}

			l.rewrite(recoloured(), e)
			o = l.under(func() error {
				id := l.plan(e, "--nodes", "node/e1")
				l.vip(e, "apply", id, "--nodes", "node/e1", "--reason", "test", "--bake", "1s")
				l.reached(time.Minute, e, "done")
				if err := errors.Join(l.community(5*time.Second, "64512:200", e), l.community(0, "64512:100", others...)); err != nil {
					return err
				}
				l.vip(others[0], "rollback", id, "--reason", "test")
				return errors.Join(l.community(20*time.Second, "64512:100", l.Edges...), l.community(0, "64512:200"))
			})
			if lost := o.UDP.Lost(); len(lost) > 0 || len(o.UDP) == 0 {
				t.Errorf("recoloured and rolled back: %v", o.UDP)
			}
		})
	}
}
