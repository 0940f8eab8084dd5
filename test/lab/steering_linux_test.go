package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// twoVIPs are ns1 and another like it, which the edges have, too.
func twoVIPs() []VIP {
	other := DefaultVIPs[0]
	other.Name, other.Prefixes = "ns2", []netip.Prefix{netip.MustParsePrefix("198.51.100.54/32")}
	return []VIP{DefaultVIPs[0], other}
}

// tagged gives one of them another community.
func tagged(vip int) []VIP {
	all := twoVIPs()
	all[vip].Keys = strings.Replace(all[vip].Keys, "64512:100", "64512:200", 1)
	return all
}

// refuses fails the test when a command on an edge is not refused with some words.
func (l *lab) refuses(words string, e *Edge, args ...string) {
	l.t.Helper()
	if out, err := e.vip(args...); err == nil || !strings.Contains(err.Error(), words) {
		l.t.Errorf("edged vip %s on %s: %q, %v; want it refused with %q", strings.Join(args, " "), e.Name, out, err, words)
	}
}

// An address is replaced on all edges by one plan, wave by wave, while clients ask the
// other one; and back from an edge that does not coordinate it.
func TestAddressInWaves(t *testing.T) {
	l := startLab(t, Config{Edges: 4})
	at, elsewhere := l.Edges[0], l.Edges[3]
	vip6, next := ns1[1], netip.MustParsePrefix("2001:db8::54/128")
	v := DefaultVIPs[0]
	v.Prefixes = []netip.Prefix{vip4, next}
	l.rewrite([]VIP{v}, l.Edges...)
	begun := time.Now()
	l.refuses("last: ns1: e1, e2, e3, e4 would leave 2001:db8::53/128, and nobody announce it as planned, want at least 2: "+
		"to give it up on purpose, say --give-up 2001:db8::53/128", at, "plan", "--nodes", "all", "--allow-wide")
	l.refuses("2001:db8::99/128 is not to be given up", at, "plan", "--nodes", "all", "--give-up", "2001:db8::99/128")
	what := []string{"--nodes", "all", "--allow-wide", "--give-up", vip6.String()}
	o := l.under(func() error {
		id := l.plan(at, what...)
		l.vip(at, append([]string{"apply", id, "--reason", "test", "--bake", "1s"}, what...)...)
		l.reached(2*time.Minute, at, "done")
		if err := errors.Join(l.Reach(0, next, l.Edges...), l.Reach(0, vip6)); err != nil {
			return err
		}
		for _, e := range l.Edges {
			l.must(e.Without(20*time.Second, vip6.Addr()))
		}
		rolledBack := time.Now()
		l.vip(elsewhere, "rollback", id, "--reason", "test")
		back, err := l.ReachAt(15*time.Second, vip6, l.Edges...)
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

// What coordinates a rollout dies in the middle: nothing changes any more, every edge
// can be asked and says so, and it goes on from any when the edge is back.
func TestCoordinatorDies(t *testing.T) {
	l := startLab(t, Config{})
	canary, other, at := l.Edges[0], l.Edges[1], l.Edges[2]
	l.rewrite(recoloured(), l.Edges...)
	id := l.plan(at, "--nodes", "all", "--allow-wide")
	l.vip(at, "apply", id, "--nodes", "all", "--allow-wide", "--reason", "test", "--bake", "8s")
	l.must(l.community(20*time.Second, "64512:200", canary))
	at.Kill()
	l.must(l.Withdrawn(5*time.Second, vip4, at))
	l.hold(12*time.Second, "the canary alone has it", func() error { return l.community(0, "64512:200", canary) })
	l.refuses("e3", other, "abort", "--reason", "test")
	l.refuses("e3", other, "resume", id, "--reason", "test")

	l.must(l.Start(upWithin, at))
	l.must(Until(20*time.Second, func() error {
		out, err := other.vip("rollout")
		if err == nil && !strings.Contains(out, ": the node that rolls it out restarted") {
			err = fmt.Errorf("it says %q", out)
		}
		return err
	}))
	l.vip(other, "resume", "--reason", "test")
	l.reached(2*time.Minute, at, "done")
	l.must(l.community(5*time.Second, "64512:200", l.Edges...))
	l.vip(canary, "rollback", id, "--reason", "test")
	l.must(l.community(20*time.Second, "64512:100", l.Edges...))
}

// own errs when the rollout that an edge coordinates is in another phase.
func (l *lab) own(e *Edge, want string) error {
	var r struct{ Phase, Cause string }
	err := e.Get("/v1/vips/rollout?coordinator="+e.Name, &r)
	if err == nil && r.Phase != want {
		err = fmt.Errorf("the rollout of %s is %s (%s), want it %s", e.Name, r.Phase, r.Cause, want)
	}
	return err
}

// Two rollouts that share no edge and no VIP go side by side, and each is steered by
// its plan; one that shares any with them is refused.
func TestTwoRollouts(t *testing.T) {
	l := startLab(t, Config{VIPs: twoVIPs()})
	a, b, c := l.Edges[0], l.Edges[1], l.Edges[2]
	l.rewrite(tagged(0), a)
	l.rewrite(tagged(1), b, c)
	first, second := l.plan(a, "--nodes", "node/e1"), l.plan(b, "--nodes", "node/e2")
	l.vip(a, "apply", first, "--nodes", "node/e1", "--reason", "test", "--bake", "10m")
	l.vip(b, "apply", second, "--nodes", "node/e2", "--reason", "test", "--bake", "10m")
	l.refuses("plan "+second+", which e2 rolls out, changes this VIP too", c, "plan", "--nodes", "node/e3")
	l.must(l.community(20*time.Second, "64512:200", a))
	l.refuses("name the plan that is meant", c, "abort", "--reason", "test")
	l.vip(c, "abort", first, "--reason", "test")
	l.must(l.community(20*time.Second, "64512:100", l.Edges...))
	l.must(Until(20*time.Second, func() error {
		return errors.Join(l.own(a, "aborted"), l.own(b, "baking"))
	}))
	l.vip(c, "abort", "--reason", "test") // the only one
	l.must(Until(20*time.Second, func() error { return l.own(b, "aborted") }))
}

// An edge that no call reaches keeps nobody from a rollback, and gets back what it had
// as soon as it is reached.
func TestRollbackPastCutWires(t *testing.T) {
	l := startLab(t, Config{})
	at := l.Edges[0]
	id, last := l.recolour(at)
	l.must(last.Cut(Management))
	l.refuses(last.Name+" did not answer, and may roll something out", at, "rollback", "--reason", "test")
	begun := time.Now()
	l.vip(at, "rollback", id, "--reason", "test")
	l.must(l.community(10*time.Second, "64512:100", l.But(last)...))
	t.Logf("the others as before after %s", time.Since(begun))
	l.reached(time.Minute, at, "aborted")
	if out := l.vip(at, "rollout"); !strings.Contains(out, last.Name+": not restored: it was not reached") {
		t.Errorf("it says %q", out)
	}
	l.must(l.community(0, "64512:200", last))
	l.must(last.Join(Management))
	l.must(l.community(time.Minute, "64512:100", l.Edges...))
	for _, p := range ns1 {
		l.must(l.Reach(0, p, l.Edges...))
	}
}

// fill leaves no room on the small disk of an edge, and returns what makes room.
func (l *lab) fill(e *Edge) (empty func()) {
	l.t.Helper()
	path := filepath.Join(e.Dir, "state", "filler")
	f, err := os.Create(path)
	l.must(err)
	defer f.Close()
	// To the last block, which may be small, and again: what was only reserved is free once it is written.
	for range 5 {
		for _, size := range []int{4096, 256} {
			for err = nil; err == nil; {
				_, err = f.Write(make([]byte, size))
			}
			if !errors.Is(err, syscall.ENOSPC) {
				l.t.Fatal(err)
			}
		}
		l.must(f.Sync())
	}
	return func() { l.must(os.Remove(path)) }
}

// A full disk keeps an edge from what must not be forgotten, and from nothing that
// engineers need to get out of trouble.
func TestFullDisk(t *testing.T) {
	l := newLab(t, Config{})
	e, other := l.Edges[0], l.Edges[1]
	l.smallDisk(e)
	l.must(l.Start(upWithin, l.Edges...))

	l.rewrite(recoloured(), l.Edges...)
	id := l.plan(e, "--nodes", "all", "--allow-wide")
	l.vip(e, "apply", id, "--nodes", "all", "--allow-wide", "--reason", "test", "--bake", "10m")
	l.must(l.community(20*time.Second, "64512:200", e))
	empty := l.fill(e)
	if out := l.vip(other, "abort", "--reason", "test"); !strings.Contains(out, "no space left on device") {
		t.Errorf("aborted with a full disk: %q", out)
	}
	l.must(l.community(20*time.Second, "64512:100", l.Edges...))
	l.reached(20*time.Second, e, "aborted")
	l.refuses("no space left on device", other, "drain", "node/e1", "--reason", "test")
	l.vip(other, "apply", l.plan(other, "--nodes", "node/e1"), "--nodes", "node/e1", "--reason", "test")
	if cause := l.reached(20*time.Second, other, "aborted"); !strings.Contains(cause, "no space left on device") {
		t.Errorf("a plan for it is aborted because of %q", cause)
	}
	l.vip(e, "drain", "node/e1", "--local", "--reason", "test")
	l.must(l.Withdrawn(20*time.Second, vip4, e))
	l.vip(e, "undrain", "node/e1", "--local", "--reason", "test")
	l.must(l.Reach(upWithin, vip4, l.Edges...))
	l.must(alarmed(e, 1))
	empty()
	l.vip(other, "drain", "node/e1", "--reason", "test")
	l.must(l.Withdrawn(20*time.Second, vip4, e))
	l.must(alarmed(e, 0))
}

// smallDisk puts all that an edge keeps on a disk that can be filled.
func (l *lab) smallDisk(e *Edge) {
	l.t.Helper()
	disk := filepath.Join(e.Dir, "state")
	l.must(os.MkdirAll(disk, 0o750))
	if err := mountImage(filepath.Join(e.Dir, "disk"), disk); err != nil {
		l.t.Logf("in memory, where a full disk still takes folders: %v", err)
		l.must(syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=4m,mode=0750"))
	}
	l.t.Cleanup(func() {
		e.Kill()
		l.must(syscall.Unmount(disk, 0))
	})
}

// mountImage makes a file system in a file, without a reserve for root, and mounts it.
func mountImage(file, at string) error {
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(file, 8<<20); err != nil {
		return err
	}
	for _, command := range [][]string{{"mkfs.ext4", "-q", "-m", "0", file}, {"mount", "-o", "loop", file, at}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%q: %w: %s", command, err, out)
		}
	}
	return os.Chmod(at, 0o750)
}

// alarmed waits until the alarm about an edge's VIPs is raised (1), or is not.
func alarmed(e *Edge, want float64) error { return alarmedOf(e, "vips", want) }

func alarmedOf(e *Edge, reason string, want float64) error {
	return Until(20*time.Second, func() error {
		got, err := e.Metric(fmt.Sprintf("edged_alarm{reason=%q}", reason))
		if err == nil && got != want {
			err = fmt.Errorf("the alarm about %s is %v, want %v", reason, got, want)
		}
		return err
	})
}

// Edges whose disks are full are restarted, stopped or killed. They announce what they did, with
// an alarm, until there is room again.
func TestStartsWithFullDisk(t *testing.T) {
	l := newLab(t, Config{})
	for _, e := range l.Edges {
		l.smallDisk(e)
	}
	l.must(l.Start(upWithin, l.Edges...))
	var empty []func()
	for i, e := range l.Edges {
		empty = append(empty, l.fill(e))
		if i > 0 {
			e.Kill()
		} else if _, err := e.Stop(10 * time.Second); err == nil {
			t.Error("it stopped, and does not say that it could not keep its state")
		}
		l.must(l.Withdrawn(5*time.Second, vip4, e))
		l.must(e.Start())
		l.must(l.Reach(upWithin, vip4, l.Edges...))
		for _, reason := range []string{"vips", "health"} {
			l.must(alarmedOf(e, reason, 1))
		}
		l.must(alarmedOf(e, "config", 0)) // it is from its own files that it started
		l.must(alarmedOf(e, "part", 0))
		l.vip(e, "list")
	}
	for i, e := range l.Edges {
		empty[i]()
		for _, reason := range []string{"vips", "health"} {
			l.must(alarmedOf(e, reason, 0))
		}
	}
}

// An address goes over from one VIP to another on all edges, and back by a rollback: the
// router hears of another community, and at no time that it is gone.
func TestPrefixGoesOver(t *testing.T) {
	moved := netip.MustParsePrefix("198.51.100.55/32")
	vips := func(of int) []VIP {
		all := tagged(1)
		all[of].Prefixes = append(slices.Clone(all[of].Prefixes), moved)
		return all
	}
	l := startLab(t, Config{VIPs: vips(0)})
	l.must(l.Reach(upWithin, moved, l.Edges...))
	at, elsewhere := l.Edges[0], l.Edges[2]
	of := func(community string) error {
		return Until(20*time.Second, func() error {
			paths, err := l.Router.Paths(moved)
			for _, p := range paths {
				if !slices.Contains(p.Communities, community) {
					err = errors.Join(err, fmt.Errorf("that of %s has %q", p.Edge, p.Communities))
				}
			}
			return err
		})
	}
	l.must(of("64512:100"))
	l.rewrite(vips(1), l.Edges...)
	begun := time.Now()
	id := l.plan(at, "--nodes", "all", "--allow-wide")
	l.vip(at, "apply", id, "--nodes", "all", "--allow-wide", "--reason", "test", "--bake", "1s")
	l.reached(time.Minute, at, "done")
	l.must(of("64512:200"))
	l.vip(elsewhere, "rollback", id, "--reason", "test")
	l.must(of("64512:100"))
	l.reached(time.Minute, at, "aborted")
	if changes := l.FIB.Since(begun, moved); len(changes) > 0 {
		t.Errorf("the routes to %s changed: %v", moved, changes)
	}
	l.unchanged(begun)
}
