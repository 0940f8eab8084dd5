package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// rewrite gives edges other VIPs in their files, which are pending then.
func (l *lab) rewrite(vips []VIP, edges ...*Edge) {
	l.t.Helper()
	for _, e := range edges {
		l.must(l.Write(e, vips))
		l.must(e.Reload())
	}
	l.must(Until(10*time.Second, func() error {
		for _, e := range edges {
			if s, err := e.Status(); err != nil || len(s.Pending) == 0 {
				return fmt.Errorf("%s has nothing pending, %w", e.Name, err)
			}
		}
		return nil
	}))
}

// plan makes a plan on an edge, and returns its ID.
func (l *lab) plan(e *Edge, args ...string) string {
	l.t.Helper()
	out := l.vip(e, append([]string{"plan", "--json"}, args...)...)
	var p struct{ Plan struct{ ID string } }
	l.must(json.Unmarshal([]byte(out), &p))
	return p.Plan.ID
}

// phase returns that of an edge's rollout, and its cause.
func (e *Edge) phase() (phase, cause string, err error) {
	var r struct{ Phase, Cause string }
	err = e.Get("/v1/vips/rollout", &r)
	return r.Phase, r.Cause, err
}

// reached waits until an edge's rollout is in a phase.
func (l *lab) reached(limit time.Duration, e *Edge, want string) (cause string) {
	l.t.Helper()
	l.must(Until(limit, func() error {
		phase, why, err := e.phase()
		cause = why
		if err == nil && phase != want {
			err = fmt.Errorf("the rollout is %s (%s), want it %s", phase, why, want)
		}
		return err
	}))
	return cause
}

// community waits until the router has a community on the paths from just these
// edges.
func (l *lab) community(limit time.Duration, c string, edges ...*Edge) error {
	return Until(limit, func() error {
		paths, err := l.Router.Paths(vip4)
		if err != nil {
			return err
		}
		var have []string
		for _, p := range paths {
			if slices.Contains(p.Communities, c) {
				have = append(have, p.Edge)
			}
		}
		if !slices.Equal(have, names(edges)) {
			return fmt.Errorf("%s is on the paths of %q, want %q", c, have, names(edges))
		}
		return nil
	})
}

// recoloured is ns1 with another community.
func recoloured() []VIP {
	v := DefaultVIPs[0]
	v.Keys = strings.Replace(v.Keys, "64512:100", "64512:200", 1)
	return []VIP{v}
}

// recolour rolls that out to all edges, and returns the plan's ID and an edge of the
// last wave.
func (l *lab) recolour(at *Edge) (id string, last *Edge) {
	l.t.Helper()
	l.rewrite(recoloured(), l.Edges...)
	id = l.plan(at, "--nodes", "all", "--allow-wide")
	l.vip(at, "apply", id, "--nodes", "all", "--allow-wide", "--reason", "test", "--bake", "1s")
	l.reached(2*time.Minute, at, "done")
	l.must(l.community(5*time.Second, "64512:200", l.Edges...))
	var r struct{ Waves [][]string }
	l.must(at.Get("/v1/vips/rollout", &r))
	return id, l.Edge(r.Waves[len(r.Waves)-1][0])
}

// A plan goes from one edge to all, and back by one command on any of them, without a
// session reset or a query lost.
func TestRollout(t *testing.T) {
	l := startLab(t, Config{})
	at := l.Edges[2]
	sessions, err := l.Router.Sessions()
	l.must(err)
	l.rewrite(recoloured(), l.Edges...)
	id := l.plan(at, "--nodes", "all", "--allow-wide")
	o := l.under(func() error {
		if _, err := at.vip("apply", id, "--nodes", "all", "--allow-wide", "--reason", "test", "--bake", "3s"); err != nil {
			return err
		}
		l.reached(2*time.Minute, at, "done")
		return l.community(5*time.Second, "64512:200", l.Edges...)
	})
	if lost := o.UDP.Lost(); len(lost) > 0 {
		t.Errorf("queries were lost: %v", o.UDP)
	}
	if out := l.vip(l.Edges[0], "rollback", id, "--reason", "test"); !strings.Contains(out, "by way of "+l.Edges[0].Name) {
		t.Errorf("rolled back by another than coordinates it: %q", out)
	}
	l.must(l.community(time.Minute, "64512:100", l.Edges...))
	if after, err := l.Router.Sessions(); err != nil || !same(sessions, after) {
		t.Errorf("sessions before %+v, after %+v, %v", sessions, after, err)
	}
}

// An edge of the last wave that fails, the usual reason to roll back, keeps no other
// from what it had before.
func TestRollbackPastFailure(t *testing.T) {
	l := startLab(t, Config{})
	at := l.Edges[0]
	_, last := l.recolour(at)
	l.must(breaks(last))
	l.must(Await(20*time.Second, "ns1", "degraded", last))
	begun := time.Now()
	l.vip(at, "rollback", "--reason", "test")
	l.must(l.community(10*time.Second, "64512:100", l.Edges...))
	t.Logf("as before after %s", time.Since(begun))
	l.must(mends(last))
	l.must(Await(time.Minute, "ns1", "announced", l.Edges...))
}

// So does one that does not answer at all, though nobody can tell for a while whether
// it will.
func TestRollbackPastSilence(t *testing.T) {
	l := startLab(t, Config{})
	at := l.Edges[0]
	id, last := l.recolour(at)
	l.must(last.Pause())
	l.must(l.Withdrawn(5*time.Second, vip4, last))
	begun := time.Now()
	l.vip(at, "rollback", id, "--reason", "test")
	l.must(l.community(10*time.Second, "64512:100", l.But(last)...))
	t.Logf("the others as before after %s", time.Since(begun))
	l.must(last.Resume())
	l.must(l.community(time.Minute, "64512:100", l.Edges...))
}

// A canary that answers with SERVFAIL aborts the rollout, and the edge gets back
// what it had.
func TestCanaryFails(t *testing.T) {
	const bake = 40 * time.Second
	l := startLab(t, Config{})
	at := l.Edges[2]
	good := l.Client.Load(Rate{VIP: vip4.Addr(), UDP: 400})
	defer good.Stop()
	l.rewrite(recoloured(), l.Edges...)
	id := l.plan(at, "--nodes", "all", "--allow-wide")
	l.vip(at, "apply", id, "--nodes", "all", "--allow-wide", "--reason", "test", "--bake", bake.String())
	l.reached(30*time.Second, at, "baking")
	baking := time.Now()
	bad := l.Client.Load(Rate{VIP: vip4.Addr(), UDP: 400, Bad: 10}) // 5 in 100 of all
	defer bad.Stop()
	cause := l.reached(bake, at, "aborted")
	aborted := time.Now()
	if !strings.Contains(cause, "SERVFAIL") {
		t.Errorf("it was aborted for %q, want SERVFAIL", cause)
	}
	if took := aborted.Sub(baking); took >= bake {
		t.Errorf("it was aborted after %s, want it before the end of %s", took, bake)
	}
	l.must(l.community(10*time.Second, "64512:100", l.Edges...))
	l.must(l.Reach(10*time.Second, vip4, l.Edges...))
	t.Logf("aborted after %s: %s; as before %s later", aborted.Sub(baking), cause, time.Since(aborted))
}

// A plan that takes an edge's traffic away, though it was not to, aborts: the router
// holds a community for another than the engineer did.
func TestTrafficMovesAway(t *testing.T) {
	l := startLab(t, Config{BFD: -1})
	victim, at := l.Edges[0], l.Edges[1]
	load := l.Client.Load(clients)
	defer load.Stop()
	time.Sleep(10 * time.Second) // for what is usual
	v := DefaultVIPs[0]
	v.Keys = strings.Replace(v.Keys, `"64512:100"`, fmt.Sprintf("%q", Backup), 1)
	l.rewrite([]VIP{v}, victim)
	id := l.plan(at, "--nodes", "node/e1")
	l.vip(at, "apply", id, "--nodes", "node/e1", "--reason", "test", "--bake", "90s")
	l.must(l.Reach(30*time.Second, vip4, l.But(victim)...))
	moved := time.Now()
	cause := l.reached(90*time.Second, at, "aborted")
	var share float64 // counts come a second late
	if n, err := fmt.Sscanf(cause, "e1 gets %f %% of", &share); n != 1 || share > 10 || !strings.Contains(cause, "queries to ns1, forecast 3") {
		t.Errorf("it was aborted for %q, %v; want the share of e1 in it", cause, err)
	}
	l.must(l.community(10*time.Second, "64512:100", l.Edges...))
	l.must(l.Reach(5*time.Second, vip4, l.Edges...))
	t.Logf("back %s after it was gone: %s", time.Since(moved), cause)
}

// A VIP that was taken from an edge altogether comes back by one command: its
// address, its socket and its route.
func TestRollbackAfterUnbind(t *testing.T) {
	l := startLab(t, Config{})
	victim, at := l.Edges[0], l.Edges[1]
	l.rewrite(nil, victim)
	id := l.plan(at, "--nodes", "node/e1", "--allow-wide")
	l.vip(at, "apply", id, "--nodes", "node/e1", "--allow-wide", "--reason", "test", "--bake", "1s")
	l.reached(2*time.Minute, at, "done")
	l.must(l.Withdrawn(10*time.Second, vip4, victim))
	l.must(victim.Without(30*time.Second, addresses...))

	begun := time.Now()
	l.vip(at, "rollback", "--reason", "test")
	for _, p := range ns1 {
		l.must(l.Reach(upWithin, p, l.Edges...))
		if has, err := victim.Has(p.Addr()); !has || err != nil {
			t.Errorf("%s has %s: %v, %v", victim.Name, p.Addr(), has, err)
		}
	}
	t.Logf("back after %s", time.Since(begun))
	o := l.under(func() error { return nil })
	if len(o.UDP.Lost()) > 0 || o.UDP.By()[victim.Name] == 0 {
		t.Errorf("after the rollback: %v", o.UDP)
	}
}

// A plan that gives a VIP another address in one family leaves the other family alone:
// its route does not change, no query is lost, and one command brings back what was.
func TestAddressIsReplaced(t *testing.T) {
	l := startLab(t, Config{})
	victim := l.Edges[0]
	vip6, next := ns1[1], netip.MustParsePrefix("2001:db8::54/128")
	v := DefaultVIPs[0]
	v.Prefixes = []netip.Prefix{vip4, next}
	l.rewrite([]VIP{v}, victim)
	begun := time.Now()
	o := l.under(func() error {
		id := l.plan(victim, "--nodes", "node/e1")
		l.vip(victim, "apply", id, "--nodes", "node/e1", "--reason", "test", "--bake", "1s")
		l.must(l.Reach(10*time.Second, next, victim))
		l.must(l.Withdrawn(20*time.Second, vip6, victim))
		l.must(victim.Without(20*time.Second, vip6.Addr()))
		l.reached(time.Minute, victim, "done")
		rolledBack := time.Now()
		l.vip(victim, "rollback", "--reason", "test")
		back, err := l.ReachAt(10*time.Second, vip6, l.Edges...)
		t.Logf("back after %s", back.Sub(rolledBack))
		return err
	})
	if changes := l.FIB.Since(begun, vip4); len(changes) > 0 {
		t.Errorf("the routes to %s changed: %v", vip4, changes)
	}
	if lost := o.UDP.Lost(); len(lost) > 0 || len(o.UDP) == 0 {
		t.Errorf("queries were lost: %v", o.UDP)
	}
}

// The time of maintenance runs out: that is an alarm, and the edge stays drained.
func TestMaintenanceRunsOut(t *testing.T) {
	l := startLab(t, Config{})
	victim := l.Edges[0]
	l.vip(victim, "maintenance", "node/e1", "--for", "15s", "--reason", "test")
	l.must(l.Withdrawn(30*time.Second, vip4, victim))
	l.must(Until(30*time.Second, func() error {
		s, err := victim.Status()
		if err == nil && (len(s.Overdue) != 1 || !strings.Contains(s.Overdue[0], "still drained")) {
			err = fmt.Errorf("overdue is %q", s.Overdue)
		}
		return err
	}))
	begun := time.Now()
	l.hold(15*time.Second, "it stays drained", func() error { return l.Withdrawn(0, vip4, victim) })
	l.unchanged(begun)
	var audit []byte
	l.must(victim.Get("/v1/audit", &audit))
	if !strings.Contains(string(audit), "ran out") {
		t.Errorf("the audit log says nothing of it:\n%s", audit)
	}
	l.vip(victim, "undrain", "node/e1", "--reason", "test")
	l.must(l.Reach(upWithin, vip4, l.Edges...))
}

// What must not be rolled out is refused, with the object and the rule.
func TestPlansRefused(t *testing.T) {
	l := startLab(t, Config{})
	at := l.Edges[0]
	l.rewrite(nil, l.Edges...)
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"nothing selected":     {[]string{"plan", "--nodes", ""}, `--nodes "": want a value`},
		"an unknown edge":      {[]string{"plan", "--nodes", "node/e9"}, `"e9"`},
		"too wide":             {[]string{"plan", "--nodes", "all"}, "allow-wide"},
		"the last announcers":  {[]string{"plan", "--nodes", "all", "--allow-wide"}, "ns1"},
		"a plan that is stale": {[]string{"apply", "0123456789ab", "--nodes", "node/e1", "--allow-wide", "--reason", "test"}, "stale"},
		"no reason":            {[]string{"drain", "node/e1", "--reason", ""}, "reason"},
		"no target":            {[]string{"drain", "--reason", "test"}, "node/NAME"},
	} {
		out, err := at.vip(c.args...)
		if exit := new(exec.ExitError); !errors.As(err, &exit) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %q; want it refused with %q", name, err, out, c.says)
		}
	}
	for _, p := range ns1 {
		l.must(l.Reach(0, p, l.Edges...))
	}
}

// A log that somebody changed is found out, with the line.
func TestAuditLogChanged(t *testing.T) {
	l := startLab(t, Config{})
	e := l.Edges[0]
	l.vip(e, "hold", "node/e1", "--reason", "first")
	l.vip(e, "release", "node/e1", "--reason", "second")
	dir := t.TempDir()
	l.must(os.CopyFS(dir, os.DirFS(filepath.Join(e.Dir, "state", "vips"))))
	path := filepath.Join(dir, "audit-000001.jsonl")
	text, err := os.ReadFile(path)
	l.must(err)
	if out, errOut, err := e.offline("audit", "verify", dir); err != nil {
		t.Errorf("a log that nobody changed: %v: %s%s", err, out, errOut)
	}
	before, _, found := strings.Cut(string(text), "first")
	if !found {
		t.Fatalf("the hold is not in the log: %s", text)
	}
	l.must(os.WriteFile(path, []byte(strings.Replace(string(text), "first", "fist!", 1)), 0o600))
	want := fmt.Sprintf("line %d", 1+strings.Count(before, "\n"))
	if out, errOut, err := e.offline("audit", "verify", dir); err == nil || !strings.Contains(errOut, want) {
		t.Errorf("%s was changed: %v, %s%s", want, err, out, errOut)
	}
}

// offline runs an edged command that asks no node.
func (e *Edge) offline(args ...string) (stdout, stderr string, err error) {
	cmd := exec.Command(e.program, args...)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}
