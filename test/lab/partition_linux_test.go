package lab

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// unchanged fails the test when the FIB changed since a time.
func (l *lab) unchanged(since time.Time) {
	l.t.Helper()
	for _, p := range ns1 {
		if c := l.FIB.Since(since, p); len(c) > 0 {
			l.t.Errorf("the FIB changed: %v", c)
		}
	}
}

// frozen errs unless just these edges are frozen.
func (l *lab) frozen(edges ...*Edge) error {
	for _, e := range l.Edges {
		s, err := e.Status()
		if err != nil {
			return err
		}
		if want := slices.Contains(edges, e); (s.Frozen != "") != want {
			return fmt.Errorf("%s is frozen: %q, want it so: %v", e.Name, s.Frozen, want)
		}
	}
	return nil
}

// All control planes are cut at once: nothing is withdrawn, and every query is
// answered.
func TestControlPlaneIsLost(t *testing.T) {
	l := startLab(t, Config{})
	begun := time.Now()
	o := l.under(func() error {
		for _, e := range l.Edges {
			if err := e.Cut(Management); err != nil {
				return err
			}
		}
		cut := time.Now()
		if err := Until(15*time.Second, func() error { return l.frozen(l.Edges...) }); err != nil {
			return err
		}
		t.Logf("frozen after %s", time.Since(cut))
		time.Sleep(15 * time.Second) // time enough for anything that waits for 10 s to go wrong
		return nil
	})
	if lost := o.UDP.Lost(); len(lost) > 0 {
		t.Errorf("queries were lost: %v", o.UDP)
	}
	l.unchanged(begun)
	for _, e := range l.Edges {
		if v, err := e.VIP("ns1"); err != nil || v.State != "announced" {
			t.Errorf("%s: %+v, %v", e.Name, v, err)
		}
		l.must(e.Join(Management))
	}
	l.must(Until(time.Minute, func() error { return l.frozen() }))
	l.unchanged(begun)
}

// The fleet breaks in two: both sides go on, and agree when it is whole again.
func TestFleetSplits(t *testing.T) {
	l := startLab(t, Config{Edges: 5})
	begun := time.Now()
	few := l.Edges[3:]
	o := l.under(func() error {
		for _, e := range few {
			if err := e.Move(Management, Island); err != nil {
				return err
			}
		}
		if err := Until(30*time.Second, func() error { return l.frozen(few...) }); err != nil {
			return err
		}
		time.Sleep(2 * time.Minute)
		return l.frozen(few...)
	})
	if lost := o.UDP.Lost(); len(lost) > 0 {
		t.Errorf("queries were lost: %v", o.UDP)
	}
	for _, e := range few {
		l.must(e.Join(Management))
	}
	l.must(Until(time.Minute, func() error { return l.frozen() }))
	l.unchanged(begun)
	l.must(Await(time.Second, "ns1", "announced", l.Edges...))
}
