package lab

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// vip runs a command of edged vip on an edge, which must be accepted.
func (l *lab) vip(e *Edge, args ...string) string {
	l.t.Helper()
	out, err := e.vip(args...)
	l.must(err)
	return out
}

// vip runs a command of edged vip. The error holds what it says.
func (e *Edge) vip(args ...string) (string, error) {
	out, errOut, err := e.Edged(append([]string{"vip"}, args...)...)
	if err != nil {
		err = fmt.Errorf("%s: edged vip %q: %w: %s%s", e.Name, args, err, out, errOut)
	}
	return out, err
}

// An edge that is drained and then stopped costs no query, behind any router:
// packets go elsewhere first, then the route goes, then the address.
func TestDrainThenStop(t *testing.T) {
	for _, kind := range []Kind{BIRD, FRR, ExaBGP} {
		t.Run(string(kind), func(t *testing.T) {
			l := startLab(t, Config{Router: kind})
			victim := l.Edges[0]
			var moved, withdrawn, unaddressed time.Time
			o := l.under(func() error {
				if _, err := victim.vip("drain", "node/e1", "--reason", "test"); err != nil {
					return err
				}
				at, err := l.ReachAt(10*time.Second, vip4, l.But(victim)...)
				moved = at
				if err := errors.Join(err, l.Withdrawn(20*time.Second, vip4, victim)); err != nil {
					return err
				}
				withdrawn = time.Now()
				if has, err := victim.Has(vip4.Addr()); !has || err != nil {
					return fmt.Errorf("the address was gone before the route, %w", err)
				}
				if err := victim.Without(20*time.Second, addresses...); err != nil {
					return err
				}
				unaddressed = time.Now()
				_, err = victim.Stop(10 * time.Second)
				return err
			})
			t.Logf("moved after %s, withdrawn after %s, no address after %s", moved.Sub(o.Begun), withdrawn.Sub(o.Begun), unaddressed.Sub(o.Begun))
			if hold := withdrawn.Sub(moved); hold < time.Second { // a second for a router that is slow to move them
				t.Errorf("it was withdrawn %s after packets had moved, want about the 2 s of drain.hold", hold)
			}
			if lost := o.UDP.Lost(); len(lost) > 0 {
				t.Errorf("queries were lost: %v", o.UDP)
			}
			if late := o.TCP.Between(moved.Add(2*time.Second), time.Now()); len(late.Lost()) > 0 {
				t.Errorf("connections were lost after drain.hold: %v", late)
			}
			if after := o.UDP.Between(moved.Add(100*time.Millisecond), time.Now()); after.By()[victim.Name] > 0 {
				t.Errorf("it was asked after the router had moved packets: %v", after)
			}
		})
	}
}

// A drain outlives the process, and ends with undrain.
func TestDrainLasts(t *testing.T) {
	l := startLab(t, Config{})
	victim := l.Edges[0]
	l.vip(l.Edges[1], "drain", "node/e1", "--reason", "test") // by way of another
	l.must(l.Withdrawn(30*time.Second, vip4, victim))
	l.must(victim.Without(20*time.Second, addresses...))
	victim.Kill()
	begun := time.Now()
	l.must(victim.Start())
	time.Sleep(20 * time.Second) // more than a start takes
	l.unchanged(begun)
	l.vip(l.Edges[1], "undrain", "node/e1", "--reason", "test")
	for _, p := range ns1 {
		l.must(l.Reach(upWithin, p, l.Edges...))
	}
}

// The last edge in its PoP is not withdrawn, for two PoPs must announce: it stays
// as the last resort, or the drain is refused with the reason.
func TestDrainWithoutPromises(t *testing.T) {
	l := startLab(t, Config{})
	lone := l.Edges[1]
	if out, err := lone.vip("drain", "node/e2", "--reason", "test"); err != nil {
		if !strings.Contains(err.Error(), "ns1") {
			t.Errorf("refused without naming the VIP: %v", err)
		}
		return
	} else {
		t.Log(out)
	}
	l.must(Await(30*time.Second, "ns1", "last-resort", lone))
	l.hold(15*time.Second, "it stays", func() error {
		p, ok, err := l.Router.PathFrom(vip4, lone)
		if err == nil && (!ok || !slices.Contains(p.Communities, GracefulShutdown)) {
			err = fmt.Errorf("the router has %v, %v, want it with graceful shutdown", p, ok)
		}
		return err
	})
	l.vip(lone, "undrain", "node/e2", "--reason", "test")
	l.must(Await(upWithin, "ns1", "announced", lone))
	l.must(l.Reach(5*time.Second, vip4, l.Edges...))
}
