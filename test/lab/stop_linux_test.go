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

// SIGTERM takes an edge out without the loss of a query, in time, with the
// addresses that are edged's own and no others.
func TestSIGTERM(t *testing.T) {
	l := startLab(t, Config{})
	victim := l.Edges[0]
	foreign := netip.MustParseAddr("198.51.100.99")
	l.must(victim.IP("address add 198.51.100.99/32 dev lo"))
	var took time.Duration
	o := l.under(func() (err error) {
		took, err = victim.Stop(15 * time.Second)
		return errors.Join(err, l.Reach(5*time.Second, vip4, l.But(victim)...))
	})
	if lost := o.UDP.Lost(); len(lost) > 0 {
		t.Errorf("queries were lost: %v", o.UDP)
	}
	if took > 5*time.Second {
		t.Errorf("it took %s to end, want 5 s at most", took)
	}
	for _, p := range ns1 {
		if has, err := victim.Has(p.Addr()); has || err != nil {
			t.Errorf("%s is still there: %v, %v", p.Addr(), has, err)
		}
	}
	if has, err := victim.Has(foreign); !has || err != nil {
		t.Errorf("%s, which is not edged's, is there: %v, %v", foreign, has, err)
	}
	l.must(victim.Start())
	for _, p := range ns1 {
		l.must(l.Reach(upWithin, p, l.Edges...))
	}
}

// Neither a reload that is about VIPs resets a session, nor a plan that takes what
// it brought.
func TestReloadKeepsSessions(t *testing.T) {
	l := startLab(t, Config{})
	before, err := l.Router.Sessions()
	l.must(err)
	if len(before) != 2*len(l.Edges) || slices.ContainsFunc(before, func(s Session) bool { return !s.Up }) {
		t.Fatalf("sessions %+v, want two for each edge, all up", before)
	}
	ns2 := VIP{Name: "ns2", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.54/32")}, Keys: "min_announcers: 1"}
	begun := time.Now()
	l.rewrite(append(slices.Clone(l.Config.VIPs), ns2), l.Edges...)
	id := l.plan(l.Edges[0], "--nodes", "all")
	l.vip(l.Edges[0], "apply", id, "--nodes", "all", "--reason", "test", "--bake", "1s")
	l.must(l.Reach(2*time.Minute, ns2.Prefixes[0], l.Edges...))
	after, err := l.Router.Sessions()
	l.must(err)
	if !same(before, after) {
		t.Errorf("sessions before %+v, after %+v", before, after)
	}
	l.unchanged(begun) // of ns1
}

// same says whether two lists have the same sessions, of which none was reset in
// between. The router's clock may waver.
func same(a, b []Session) bool {
	return slices.EqualFunc(a, b, func(a, b Session) bool {
		return a.Edge == b.Edge && a.IPv6 == b.IPv6 && a.Up == b.Up && a.Since.Sub(b.Since).Abs() < 100*time.Millisecond
	})
}

func names(edges []*Edge) (all []string) {
	for _, e := range edges {
		all = append(all, e.Name)
	}
	return all
}

// announced counts how often an edge came into the FIB since a time.
func (l *lab) announced(e *Edge, since time.Time) (n int) {
	was := true
	for _, c := range l.FIB.Since(since, vip4) {
		is := slices.Contains(c.Edges, e.Name)
		if is && !was {
			n++
		}
		was = is
	}
	return n
}

// An edge that crashes every two seconds is never announced: it asks through its VIP for
// longer than it lives. TestCrashesWhenAnnounced has one that lives long enough.
func TestCrashLoop(t *testing.T) {
	l := startLab(t, Config{})
	victim := l.Edges[0]
	begun := time.Now()
	for range 10 {
		victim.Kill()
		l.must(victim.Start())
		time.Sleep(2 * time.Second)
	}
	if n := l.announced(victim, begun); n > 0 {
		t.Errorf("it was announced %d times, want never", n)
	}
	if want := "starts: this node started 10 times in the last 10m0s and then ended without having stopped in order"; !strings.Contains(victim.Log(), want) {
		t.Errorf("no alarm says %q", want)
	}
	for _, e := range l.But(victim) {
		if v, err := e.VIP("ns1"); err != nil || v.State != "announced" {
			t.Errorf("%s: %+v, %v", e.Name, v, err)
		}
	}
}

// An edge that crashes whenever it is announced is not announced any more, for
// others are. When it lives on, it is there as the last choice.
func TestCrashesWhenAnnounced(t *testing.T) {
	l := startLab(t, Config{})
	victim := l.Edges[0]
	begun := time.Now()
	damped := false
	for crashes := 0; !damped && crashes < 6; crashes++ {
		victim.Kill()
		l.must(victim.Start())
		l.must(Until(upWithin, func() error {
			v, err := victim.VIP("ns1")
			damped = strings.Contains(v.Waits, "penalty")
			if err == nil && v.State != "announced" && !damped {
				err = fmt.Errorf("it is %s: %s", v.State, v.Cause)
			}
			return err
		}))
		if !damped {
			l.must(l.Reach(5*time.Second, vip4, l.Edges...))
		}
	}
	if n := l.announced(victim, begun); !damped || n < 2 || n > 4 {
		t.Errorf("it was announced %d times, and damped: %v; want it damped after 2 to 4 times", n, damped)
	}
	if want := "vip ns1: flaps: it is not announced as planned until the penalty has decayed"; !strings.Contains(victim.Log(), want) {
		t.Errorf("no alarm says %q", want)
	}
	l.hold(15*time.Second, "it stays out", func() error { return l.Withdrawn(0, vip4, victim) })
	l.must(Await(time.Minute, "ns1", "degraded", victim))
	l.must(l.community(5*time.Second, GracefulShutdown, victim))
	l.must(l.Reach(0, vip4, l.But(victim)...))
}
