package lab

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// An edge that fails without a word costs clients what it takes the router to
// notice. The limits are wide, for the machine may be busy: bench/vips has the
// figures.
func TestEdgeFails(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		fail   func(*Edge) error
		lost   int           // queries at most
		window time.Duration // at most
	}{
		"killed":                {Config{}, func(e *Edge) error { e.Kill(); return nil }, 20, 300 * time.Millisecond},
		"killed behind FRR":     {Config{Router: FRR}, func(e *Edge) error { e.Kill(); return nil }, 60, 600 * time.Millisecond},
		"killed behind ExaBGP":  {Config{Router: ExaBGP}, func(e *Edge) error { e.Kill(); return nil }, 20, 300 * time.Millisecond},
		"hangs with BFD":        {Config{}, func(e *Edge) error { return e.Pause() }, 500, 2 * time.Second},
		"hangs without BFD":     {Config{Hold: 3 * time.Second, BFD: -1}, func(e *Edge) error { return e.Pause() }, 1500, 6 * time.Second},
		"path lost with BFD":    {Config{}, func(e *Edge) error { return e.Cut(Fabric) }, 500, 2 * time.Second},
		"path lost without BFD": {Config{Hold: 3 * time.Second, BFD: -1}, func(e *Edge) error { return e.Cut(Fabric) }, 1500, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			l := startLab(t, c.config)
			victim := l.Edges[0]
			o := l.under(func() error {
				if err := c.fail(victim); err != nil {
					return err
				}
				return l.Reach(10*time.Second, vip4, l.But(victim)...)
			})
			if lost := o.UDP.Lost(); len(lost) > c.lost || o.UDP.Window() > c.window {
				t.Errorf("%v; want at most %d lost, in %s", o.UDP, c.lost, c.window)
			}
			if after := o.UDP.Between(o.Done, time.Now()); len(after.Lost()) > 0 || after.By()[victim.Name] > 0 {
				t.Errorf("when the router had given the edge up: %v", after)
			}
			for _, e := range l.But(victim) {
				if v, err := e.VIP("ns1"); err != nil || v.State != "announced" {
					t.Errorf("%s: %+v, %v: want it to go on announcing", e.Name, v, err)
				}
			}
		})
	}
}

// A link that heals brings its edge back, without any change of its state.
func TestLinkHeals(t *testing.T) {
	l := startLab(t, Config{})
	victim := l.Edges[0]
	l.must(victim.Cut(Fabric))
	l.must(l.Reach(5*time.Second, vip4, l.But(victim)...))
	l.must(victim.Join(Fabric))
	begun := time.Now()
	at, err := l.ReachAt(20*time.Second, vip4, l.Edges...)
	l.must(err)
	t.Logf("back in the FIB after %s", at.Sub(begun))
}

// An edge that was frozen for a while, as by a move of its machine, loses each session
// once.
func TestFrozenForAWhile(t *testing.T) {
	l := startLab(t, Config{})
	victim := l.Edges[0]
	l.must(victim.Pause())
	l.must(l.Withdrawn(5*time.Second, vip4, victim))
	time.Sleep(10 * time.Second)
	begun := time.Now()
	l.must(victim.Resume())
	at, err := l.ReachAt(30*time.Second, vip4, l.Edges...)
	l.must(err)
	t.Logf("back in the FIB after %s", at.Sub(begun))
	once := func() error {
		s, err := victim.Status()
		for _, p := range s.Peers {
			if p.Flaps != 1 || p.BFD != "up" {
				err = errors.Join(err, fmt.Errorf("%s was lost %d times, want once; BFD is %s", p.Name, p.Flaps, p.BFD))
			}
		}
		return err
	}
	l.must(Until(20*time.Second, once))
	l.hold(20*time.Second, "both sessions stay", once)
	l.must(l.Reach(0, vip4, l.Edges...))
}

// A router that restarts gets all routes again.
func TestRouterRestarts(t *testing.T) {
	l := startLab(t, Config{})
	l.must(l.Router.Stop())
	for _, p := range ns1 {
		l.must(l.Reach(5*time.Second, p))
	}
	for _, e := range l.Edges {
		if v, err := e.VIP("ns1"); err != nil || v.State != "announced" {
			t.Errorf("%s: %+v, %v: want no change while there is no router", e.Name, v, err)
		}
	}
	l.must(l.Router.Start())
	begun := time.Now()
	for _, p := range ns1 {
		at, err := l.ReachAt(20*time.Second, p, l.Edges...)
		l.must(err)
		t.Logf("%s is back after %s", p, at.Sub(begun))
	}
}
