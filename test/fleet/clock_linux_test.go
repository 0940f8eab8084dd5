package fleet

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"edged/edge"
	"edged/test/fleet/rig"
)

// Two nodes have clocks that are an hour wrong, one ahead and one behind. Nobody
// takes anything for older or newer than it is: verdicts, what is fresh, and how
// long a drain lasts.
func TestClocksAreWrong(t *testing.T) {
	f := makeFleet(t, fiveNodes)
	program, err := rig.BuildWrongClock(t.TempDir())
	f.must(err)
	right, ahead, behind := f.Nodes[0], f.Nodes[1], f.Nodes[3]
	ahead.SetClock(program, time.Hour)
	behind.SetClock(program, -time.Hour)
	f.do("start", f.Nodes, (*rig.Node).Start)
	f.waitAgreed(time.Minute, f.Nodes)
	for n, by := range map[*rig.Node]time.Duration{right: 0, ahead: time.Hour, behind: -time.Hour} {
		h, err := n.Health()
		f.must(err)
		if off := time.Until(h.Targets[0].Since) - by; off.Abs() > 2*time.Minute {
			t.Fatalf("the clock of %s is not %v off, but %v from that", n.Name, by, off)
		}
	}

	watches := f.watch(f.Nodes, "www")
	victim := f.Server("gru")
	killed := time.Now()
	victim.Kill()
	next := map[string]string{"gru": "iad"}
	f.wait(15*time.Second, "its clients have another server", func() error { return f.Answered(watches, "www", next) })
	f.waitAgreed(10*time.Second, f.Nodes, victim)
	f.hold(failover+15*time.Second-time.Since(killed), "with wrong clocks", func() error { return f.Agreed(f.Nodes, victim) })
	for _, w := range watches {
		if took := w.LastNamed(victim.Address).Sub(killed); took > failover {
			t.Errorf("%s named the server for %v after its death, want %v at most", w.Node().Name, took, failover)
		}
	}

	// Each of the three accepts a drain that shall last as long.
	const lasts = 30 * time.Second
	begun := time.Now()
	f.override(right, "drain", "pop/nrt", "--for", lasts.String())
	f.override(ahead, "drain", "pop/fra", "--for", lasts.String())
	f.override(behind, "drain", "endpoint/www/"+f.Server("syd").Address.String(), "--for", lasts.String())
	accepted := time.Now()
	drained := func() error {
		var errs []error
		for _, n := range f.Nodes {
			errs = append(errs, overrides(n, "drain pop/nrt", "drain pop/fra", "drain endpoint/www/"+f.Server("syd").Address.String()))
		}
		return errors.Join(errs...)
	}
	f.wait(5*time.Second, "all drains are in force everywhere", drained)
	f.must(ahead.Stop())
	f.must(ahead.Start())
	f.wait(10*time.Second, "and after a restart", drained)
	f.hold(time.Until(begun.Add(lasts-time.Second)), "until the drains end", drained)
	f.wait(time.Until(accepted.Add(lasts+5*time.Second)), "the drains have ended everywhere", func() error {
		for _, n := range f.Nodes {
			if err := overrides(n); err != nil {
				return err
			}
		}
		return f.Answered(watches, "www", next)
	})

	f.must(victim.Start())
	f.waitAgreed(40*time.Second, f.Nodes)
	for _, n := range f.Nodes {
		if v, err := n.Metric(fmt.Sprintf("edged_health_targets{verdict=%q}", edge.OK)); err != nil || v != float64(len(f.Servers)) {
			t.Errorf("%s counts %v servers that are ok, %v", n.Name, v, err)
		}
	}
}
