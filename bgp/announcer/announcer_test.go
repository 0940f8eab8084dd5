package announcer

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edged/bgp/speaker"

	"go.uber.org/goleak"

	"edged/bgp"
	"edged/edge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestUp follows the first way up: the node's file is its first plan.
func TestUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1")
		f.start("a1")
		defer f.stopAll()
		n := f.nodes["a1"]
		f.await("canary", 8*time.Second, func() bool { return n.state() == bgp.Canary })
		if got, want := n.route(), "64512:100 graceful-shutdown prepend 3"; got != want {
			t.Errorf("the canary's route is %q, want %q", got, want)
		}
		took := f.await("announced", 8*time.Second, func() bool { return n.state() == bgp.Announced })
		if got, want := n.route(), "64512:100"; got != want {
			t.Errorf("the route is %q, want %q", got, want)
		}
		if n.told() != edge.OK {
			t.Errorf("the fleet was told %v", n.told())
		}
		t.Logf("announced %v after the canary", took)
	})
}

// TestDrain follows a node on its way out and back.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1")
		f.start("a1", "b1")
		defer f.stopAll()
		a := f.nodes["a1"]
		f.await("both announced", 15*time.Second, f.all(bgp.Announced, "a1", "b1"))
		time.Sleep(30 * time.Second) // for which others must have announced it
		out, err := f.nodes["b1"].Operate(t.Context(), Request{Kind: bgp.Drain, Node: "a1", Reason: "new kernel", Actor: "ann"})
		if err != nil || len(out) != 1 || out[0].Node != "a1" {
			t.Fatalf("got %+v, %v", out, err)
		}
		f.await("draining", time.Second, func() bool { return a.state() == bgp.Draining })
		f.await("the fleet to hear it", time.Second, func() bool { return a.told() == edge.Dead })
		if got, want := a.route(), "64512:100"; got != want {
			t.Errorf("while answers expire the route is %q, want %q", got, want)
		}
		f.await("graceful shutdown", 3*time.Second, func() bool { return a.route() == "64512:100 graceful-shutdown" })
		f.await("withdrawn", 10*time.Second, func() bool { return a.route() == "none" })
		f.await("address gone", 10*time.Second, func() bool { return a.held() == 0 })
		if got := a.state(); got != bgp.Withdrawn {
			t.Errorf("the state is %v", got)
		}
		if s := a.Status(); !strings.Contains(s.VIPs[0].Cause, "1 promise in 1 PoP, want 1 in 1") {
			t.Errorf("the cause is %q, want the promises in it", s.VIPs[0].Cause)
		}
		if _, err := a.Operate(t.Context(), Request{End: "undrain", Node: "a1", Reason: "done", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("announced again", 15*time.Second, f.all(bgp.Announced, "a1", "b1"))
	})
}

// TestLastToDrain has nobody left who could promise to stay.
func TestLastToDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1")
		f.start("a1", "b1")
		defer f.stopAll()
		a, b := f.nodes["a1"], f.nodes["b1"]
		f.await("both announced", 15*time.Second, f.all(bgp.Announced, "a1", "b1"))
		time.Sleep(30 * time.Second)
		for _, name := range []string{"a1", "b1"} {
			if _, err := a.Operate(t.Context(), Request{Kind: bgp.Drain, Node: name, Reason: "all out", Actor: "ann"}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute)
		if a.route() == "none" && b.route() == "none" {
			t.Fatal("nobody announces the VIP any more")
		}
		if a.state() != bgp.LastResort && b.state() != bgp.LastResort {
			t.Errorf("the states are %v and %v, want one last resort", a.state(), b.state())
		}
	})
}

// TestCrashOfOthers has a drained node come back.
func TestCrashOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1")
		f.start("a1", "b1")
		defer f.stopAll()
		a := f.nodes["a1"]
		f.await("both announced", 15*time.Second, f.all(bgp.Announced, "a1", "b1"))
		time.Sleep(30 * time.Second)
		if _, err := a.Operate(t.Context(), Request{Kind: bgp.Drain, Node: "a1", Reason: "new kernel", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("drained", time.Minute, func() bool { return a.state() == bgp.Withdrawn && a.held() == 0 })
		f.kill("b1")
		took := f.await("back as the last resort", 10*time.Second, func() bool {
			return a.state() == bgp.LastResort && a.route() == "64512:100 graceful-shutdown prepend 3"
		})
		t.Logf("back after %v", took)
	})
}

// TestStop takes the VIP away in the order of a node that ends.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1")
		a := f.nodes["a1"]
		a.mu.Lock()
		a.addresses[foreign] = false
		a.mu.Unlock()
		begun := time.Now()
		f.stop("a1")
		if took := time.Since(begun); took > 4*time.Second {
			t.Errorf("stopping took %v", took)
		}
		if a.route() != "none" || len(a.listening) != 0 || a.held() != 1 {
			t.Errorf("what is left: route %s, sockets %v, addresses %v", a.route(), a.listening, a.addresses)
		}
		f.start("a1") // what an orderly stop kept is no flap
		f.await("announced again", 15*time.Second, f.all(bgp.Announced, "a1", "b1"))
		if p := a.Status().VIPs[0].Penalty; p != 0 {
			t.Errorf("the penalty is %v", p)
		}
	})
}

// TestStateIsLost: a node that cannot read what it kept announces what its copy
// says: what was drained stays so. Without a copy it announces nothing, until a plan
// is applied.
func TestStateIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1")
		f.start("a1", "b1")
		defer f.stopAll()
		a := f.nodes["a1"]
		f.await("both announced", 15*time.Second, f.all(bgp.Announced, "a1", "b1"))
		time.Sleep(30 * time.Second)
		if _, err := a.Operate(t.Context(), Request{Kind: bgp.Drain, Node: "a1", Reason: "new kernel", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("withdrawn", 20*time.Second, func() bool { return a.route() == "none" })
		lose := func(names ...string) {
			t.Helper()
			f.stop("a1")
			for _, name := range names {
				if err := os.WriteFile(filepath.Join(a.dir, name), []byte("half"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			f.start("a1")
			time.Sleep(20 * time.Second)
			if got := a.route(); got != "none" {
				t.Errorf("after %v the route is %q", names, got)
			}
		}
		lose(stateFile)
		if got := a.alarmed(); !strings.Contains(got, "its copy of ") {
			t.Errorf("the alarm is %q", got)
		}
		lose(stateFile, stateFile+".copy")
		if got := a.alarmed(); !strings.Contains(got, "nothing is announced until a plan is applied") {
			t.Errorf("the alarm is %q", got)
		}
		p, err := a.Plan(t.Context(), bgp.Selection{Nodes: "node/a1"}, bgp.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Announcer.Apply(t.Context(), Application{Plan: p.Plan.ID, Nodes: "node/a1", Bake: -1, Reason: "its disk is new", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("announced", 30*time.Second, f.all(bgp.Announced, "a1", "b1"))
	})
}

// TestCrashLoop has a node that dies every 2 s after it announced.
func TestCrashLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1")
		f.start("b1")
		defer f.stopAll()
		f.await("the other one announced", 15*time.Second, f.all(bgp.Announced, "b1"))
		a, announced := f.nodes["a1"], 0
		for range 10 {
			f.start("a1")
			for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				if a.route() != "none" {
					announced++
					time.Sleep(2 * time.Second)
					break
				}
			}
			f.kill("a1")
		}
		if announced != 4 { // some of the penalty of the first three is gone by the time of the fourth
			t.Errorf("announced %d times in 10 starts, want 4", announced)
		}
		f.start("a1")
		f.await("an alarm", 15*time.Second, func() bool { return strings.Contains(a.alarmed(), "vip ns1: flaps") })
		if got := a.route(); got != "none" {
			t.Errorf("it has just crashed, and its route is %q", got)
		}
		f.await("the last choice", 40*time.Second, func() bool { return a.state() == bgp.Degraded })
		if got, want := a.route(), "64512:100 graceful-shutdown prepend 3"; got != want {
			t.Errorf("the route is %q, want %q", got, want)
		}
	})
}

// TestCrashesBeforeAnnounced: a node that never lives until its VIP is announced has no penalty, and
// raises an alarm even so; it ends when the node has gone on for a while, or is stopped in order.
func TestCrashesBeforeAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1")
		f.start("b1")
		defer f.stopAll()
		a := f.nodes["a1"]
		loops := func(times int) {
			for range times {
				f.start("a1")
				time.Sleep(2 * time.Second)
				f.kill("a1")
			}
			f.start("a1")
			time.Sleep(time.Second)
		}
		loops(2)
		if w := a.alarmed(); w != "" {
			t.Errorf("after two crashes: %q", w)
		}
		f.kill("a1")
		f.start("a1")
		time.Sleep(time.Second)
		const want = "starts: this node started 3 times in the last 10m0s and then ended without having stopped in order: what it logged last says why"
		if w := a.alarmed(); w != want {
			t.Errorf("after three crashes: %q, want %q", w, want)
		}
		f.await("the end of the alarm", 10*time.Minute, func() bool { return a.alarmed() == "" })
		f.kill("a1")
		loops(3)
		if w := a.alarmed(); !strings.Contains(w, "this node started") {
			t.Errorf("after three more: %q", w)
		}
		f.stop("a1")
		f.start("a1")
		time.Sleep(time.Second)
		if w := a.alarmed(); strings.Contains(w, "this node started") {
			t.Errorf("after a stop: %q", w)
		}
	})
}

// TestFrozen keeps everything as it is.
func TestFrozen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1", "c1")
		f.mu.Lock()
		f.frozen = "1 of 3 members is heard"
		for name := range f.nodes {
			f.cut[name] = true
		}
		f.mu.Unlock()
		for _, n := range f.nodes {
			n.breakChecks("zones are gone")
		}
		time.Sleep(5 * time.Minute)
		for name, n := range f.nodes {
			if n.route() == "none" {
				t.Errorf("%s withdrew", name)
			}
		}
	})
}

// TestProbes: a node without the VIP asks through it, and so finds out that no query
// comes to one that peers were sent the VIP of.
func TestProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "a2", "b1")
		f.nodes["a2"].file.VIPs = nil
		f.start("a1", "a2", "b1")
		defer f.stopAll()
		a, b := f.nodes["a1"], f.nodes["b1"]
		f.await("announced", 15*time.Second, f.all(bgp.Announced, "a1", "b1"))
		roll := func(community bgp.Community) *bgp.Rollout {
			t.Helper()
			changed := testVIP
			changed.Communities = []bgp.Community{community}
			a.file.VIPs = []bgp.VIP{changed}
			a.Use(a.file)
			p, err := b.Plan(t.Context(), bgp.Selection{Nodes: "node/a1"}, bgp.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Announcer.Apply(t.Context(), Application{Plan: p.Plan.ID, Nodes: "node/a1", Bake: 20 * time.Second, Reason: "test", Actor: "ann"}); err != nil {
				t.Fatal(err)
			}
			f.await("the end", 3*time.Minute, func() bool { return b.Rollout().Ended() })
			return b.Rollout()
		}
		r := roll(64512<<16 | 200)
		if len(r.Probers) != 1 || r.Probers[0].Name != "a2" {
			t.Errorf("the probers are %v, want a2", r.Probers)
		}
		if r.Phase != bgp.PhaseDone {
			t.Errorf("it ended %s", r)
		}
		a.hide(true)
		if r = roll(64512<<16 | 300); r.Phase != bgp.PhaseAborted || !strings.Contains(r.Cause, "it waits for an answer through 198.51.100.53/32 of ns1 that names it: a2 got") {
			t.Errorf("it ended %s", r)
		}
		if got, want := a.route(), "64512:200"; got != want {
			t.Errorf("the route is %q, want %q", got, want)
		}
	})
}

// TestRollout brings what the files want to all nodes, and takes it back.
func TestRollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a1", "a2", "b1", "b2"}
		f := announcing(t, names...)
		changed := testVIP
		changed.Communities = []bgp.Community{64512<<16 | 200}
		for _, n := range f.nodes {
			n.file.VIPs = []bgp.VIP{changed}
			n.Use(n.file)
		}
		a := f.nodes["a1"]
		time.Sleep(time.Minute)
		if got, want := a.route(), "64512:100"; got != want {
			t.Fatalf("what the file wants is in force without a plan: %q", got)
		}
		p, err := a.Plan(t.Context(), bgp.Selection{Nodes: "all"}, bgp.Limits{AllowWide: true})
		if err != nil || !p.Verdict.OK() || len(p.Plan.Steps) != 4 {
			t.Fatalf("got %+v, %v", p, err)
		}
		for _, bad := range []struct {
			q    Application
			want string
		}{
			{Application{Plan: p.Plan.ID, Nodes: "", Reason: "x"}, "no node is selected"},
			{Application{Plan: p.Plan.ID, Nodes: "all"}, "needs a reason"},
			{Application{Plan: "0123456789ab", Nodes: "all", Reason: "x"}, "is stale"},
			{Application{Plan: p.Plan.ID, Nodes: "all", Reason: "x"}, "routes of 4 of 4 announcers would change or go (100 %)"},
			{Application{Plan: p.Plan.ID, Nodes: "pop/c", Reason: "x"}, `no PoP is called "c"`},
		} {
			if _, err := a.Announcer.Apply(t.Context(), bad.q); err == nil || !strings.Contains(err.Error(), bad.want) {
				t.Errorf("%+v: got %v, want %q in it", bad.q, err, bad.want)
			}
		}
		if _, err := a.Announcer.Apply(t.Context(), Application{Plan: p.Plan.ID, Nodes: "all", Wide: true, Bake: 10 * time.Second, Reason: "new community", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		if _, err := f.nodes["b1"].Plan(t.Context(), bgp.Selection{Nodes: "node/b2"}, bgp.Limits{}); err != nil {
			t.Fatal(err)
		}
		f.await("the first node", 10*time.Second, func() bool { return a.route() == "64512:200" })
		if got := f.nodes["b2"].route(); got != "64512:100" {
			t.Errorf("the last node has %q after the first wave", got)
		}
		q, _ := f.nodes["b1"].Plan(t.Context(), bgp.Selection{Nodes: "node/b2"}, bgp.Limits{})
		if _, err := f.nodes["b1"].Announcer.Apply(t.Context(), Application{Plan: q.Plan.ID, Nodes: "node/b2", Reason: "me too"}); err == nil || !strings.Contains(err.Error(), "overlap") {
			t.Errorf("a second rollout: %v", err)
		}
		f.await("done", 3*time.Minute, func() bool { return a.Rollout().Phase == bgp.PhaseDone })
		for name, n := range f.nodes {
			if got := n.route(); got != "64512:200" {
				t.Errorf("%s has %q", name, got)
			}
		}
		if _, err := a.Steer(t.Context(), Steering{Action: "rollback", Reason: "not so good", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("rolled back", time.Minute, func() bool { return a.Rollout().Phase == bgp.PhaseAborted })
		for name, n := range f.nodes {
			if got := n.route(); got != "64512:100" {
				t.Errorf("%s has %q after the rollback", name, got)
			}
		}
	})
}

// TestRollbackWithoutDisk: a rollout is rolled back by a node whose disk is full, and on
// nodes whose disk is full; no other one begins there.
func TestRollbackWithoutDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a1", "a2", "b1"}
		f := announcing(t, names...)
		changed := testVIP
		changed.Communities = []bgp.Community{64512<<16 | 200}
		for _, n := range f.nodes {
			n.file.VIPs = []bgp.VIP{changed}
			n.Use(n.file)
		}
		a := f.nodes["a1"]
		apply := func() error {
			p, err := a.Plan(t.Context(), bgp.Selection{Nodes: "all"}, bgp.Limits{AllowWide: true})
			if err != nil {
				t.Fatal(err)
			}
			_, err = a.Announcer.Apply(t.Context(), Application{Plan: p.Plan.ID, Nodes: "all", Wide: true, Bake: time.Second, Reason: "new community", Actor: "ann"})
			return err
		}
		f.fillDisks("a1")
		if err := apply(); err == nil || !strings.HasPrefix(err.Error(), "keep the state of VIPs: ") {
			t.Errorf("a rollout begins with a full disk: %v", err)
		}
		if r := a.report(); r.InFlight != nil || a.Status().Rollout != "" {
			t.Errorf("what could not begin is in flight: %+v, %q", r.InFlight, a.Status().Rollout)
		}
		f.emptyDisks("a1")
		if err := apply(); err != nil {
			t.Fatal(err)
		}
		f.await("done", 3*time.Minute, func() bool { return a.Rollout().Phase == bgp.PhaseDone })
		f.fillDisks("a1", "b1")
		if r, err := a.Steer(t.Context(), Steering{Action: "rollback", Reason: "not so good", Actor: "ann"}); err != nil || r.Unsaved == "" {
			t.Fatalf("%v, %v, want that it is in force and not written", r, err)
		}
		f.await("rolled back", time.Minute, func() bool { return a.Rollout().Phase == bgp.PhaseAborted })
		for name, n := range f.nodes {
			left := ""
			if name != "a2" {
				left = "it has its earlier plan, but could not write it, and a restart forgets it"
			}
			if got, p := n.route(), a.Rollout().Nodes[name]; got != "64512:100" || p.Restored != (left == "") || p.Left != left {
				t.Errorf("%s has %q after the rollback: %s", name, got, a.Rollout())
			}
		}
		if got := a.Rollout().Unsaved; !strings.HasPrefix(got, "keep the state of VIPs: ") {
			t.Errorf("nobody is told that it was not written: %q", got)
		}
		for _, name := range []string{"a1", "b1"} {
			if got := f.nodes[name].alarmed(); !strings.Contains(got, "vip-state.json: keep the state of VIPs: ") {
				t.Errorf("%s: alarms %q", name, got)
			}
		}
		f.emptyDisks("a1", "b1")
		f.await("all to be written", 5*time.Second, func() bool {
			r := a.Rollout()
			return r.Unsaved == "" && f.nodes["b1"].alarmed() == "" && r.Nodes["a1"].Restored && r.Nodes["b1"].Restored && r.Worry() == nil
		})
		f.kill("b1")
		f.start("b1")
		f.await("b1 to have its plan of before", 30*time.Second, func() bool { return f.nodes["b1"].route() == "64512:100" })
	})
}

// TestWhoCounts: a node that announces less preferred is shown apart, for it may answer
// nothing; one that nobody has it from, or that is silent, is not counted at all.
func TestWhoCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a1", "a2", "b1", "b2"}
		f := announcing(t, names...)
		counts := func(want string) func() bool {
			return func() bool {
				v := f.nodes["a1"].Status().VIPs[0]
				return fmt.Sprintf("%d and %d", v.Announcers, v.Otherwise) == want
			}
		}
		f.await("all to count", 5*time.Second, counts("4 and 0"))
		f.nodes["a2"].breakChecks("refused")
		f.await("the degraded one to be apart", 10*time.Second, counts("3 and 1"))
		f.nodes["b1"].setSession(false)
		f.await("the one that no peer has it from", 15*time.Second, counts("2 and 1"))
		if got, want := f.nodes["a1"].Status().VIPs[0].Nodes[2], (NodeOfVIP{Node: "b1", PoP: "b", State: bgp.Announced, Mute: true}); !reflect.DeepEqual(got, want) {
			t.Errorf("b1 is shown as %+v, want %+v", got, want)
		}
		f.kill("b2")
		f.await("the silent one", 15*time.Second, counts("1 and 1"))
		f.nodes["a1"].setSession(false)
		f.await("itself", 15*time.Second, counts("0 and 1"))
	})
}

// TestAnnounceLocally announces a VIP of the node's file that no plan names, for
// as long as the operator wants it.
func TestAnnounceLocally(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1")
		a := f.nodes["a1"]
		a.file.VIPs = nil
		f.start("a1", "b1")
		defer f.stopAll()
		f.await("the other one", 15*time.Second, f.all(bgp.Announced, "b1"))
		q := Request{Kind: bgp.Announce, VIP: "ns1", Local: true, Reason: "all else is dead", Actor: "ann"}
		if _, err := a.Operate(t.Context(), q); err == nil || !strings.Contains(err.Error(), `no VIP "ns1" in this node's file`) {
			t.Errorf("a VIP that the file does not know: %v", err)
		}
		a.file.VIPs = []bgp.VIP{testVIP}
		a.Use(a.file)
		hold := Request{Kind: bgp.Hold, Local: true, Reason: "as it is", Actor: "ann"}
		held, err := a.Operate(t.Context(), hold)
		if err != nil {
			t.Fatal(err)
		}
		want := "a1: announce ns1 on node/a1: this would change nothing, for " + held[0].What + " goes before it; to end that: on a1: edged vip release --local --reason WHY"
		if _, err := a.Operate(t.Context(), q); err == nil || err.Error() != want {
			t.Errorf("under a hold: %v, want %q", err, want)
		}
		release := Request{End: "release", Local: true, Reason: "others live", Actor: "ann"}
		if _, err := a.Operate(t.Context(), release); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Operate(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		for _, vip := range []string{"", "ns1"} { // on its way up, and later: a VIP that no plan names can be held
			hold.VIP, release.VIP = vip, vip
			if _, err := a.Operate(t.Context(), hold); err != nil {
				t.Fatal(err)
			}
			f.await("announced", 15*time.Second, f.all(bgp.Announced, "a1"))
			if release.ID = ""; vip != "" {
				release.ID = a.Status().Operations[1].ID
			}
			if _, err := a.Operate(t.Context(), release); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if got := a.state(); got != bgp.Announced {
				t.Errorf("after a hold of %q it is %v", vip, got)
			}
		}
		if got := a.Status().Generation; got != 1 {
			t.Errorf("the plan is generation %d, want the empty one", got)
		}
		if _, err := a.Operate(t.Context(), Request{End: "release", Local: true, VIP: "ns1", Reason: "others live", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("gone", time.Minute, func() bool { return a.route() == "none" && a.held() == 0 })
	})
}

// TestAnnounceAgainstADrain: a VIP of the plan is announced by the node's own word only
// against a drain by the fleet, for else that has no effect.
func TestAnnounceAgainstADrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1")
		a, b := f.nodes["a1"], f.nodes["b1"]
		q := Request{Kind: bgp.Announce, VIP: "ns1", Local: true, Reason: "needed", Actor: "ann"}
		refused := func(want string) {
			t.Helper()
			if _, err := a.Operate(t.Context(), q); err == nil || err.Error() != want {
				t.Errorf("error %v, want %q", err, want)
			}
		}
		did := func(n *testNode, q Request) string {
			t.Helper()
			done, err := n.Operate(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			return done[0].What
		}
		refused("a1: announce ns1 on node/a1: it is in the plan and not drained, so this would change nothing; " +
			"edged vip show ns1 says why it is not announced, edged vip hold --local keeps it as it is")
		held := did(b, Request{Kind: bgp.Hold, PoP: "a", Reason: "odd", Actor: "bob"})
		refused("a1: announce ns1 on node/a1: it is in the plan, and there is " + held + "; to end that: edged vip release pop/a --reason WHY")
		did(b, Request{End: "release", PoP: "a", Reason: "fine", Actor: "bob"})
		did(b, Request{Kind: bgp.Drain, Node: "a1", Reason: "disk", Actor: "bob"})
		f.await("out", time.Minute, func() bool { return a.route() == "none" })
		did(a, q)
		f.await("back", 30*time.Second, f.all(bgp.Announced, "a1"))
		q.For = time.Hour
		did(a, q) // with an end
		did(a, Request{End: "release", VIP: "ns1", Local: true, Reason: "done", Actor: "ann"})
		f.await("out again", time.Minute, func() bool { return a.route() == "none" })
	})
}

// TestOwnOperationsAreHeard: what a node was asked on the node itself is known on all
// others, also on one without VIPs, until it ends; of very many, some.
func TestOwnOperationsAreHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1", "c1")
		f.nodes["c1"].file.VIPs = nil
		f.start("a1", "b1", "c1")
		defer f.stopAll()
		f.await("announced", 15*time.Second, f.all(bgp.Announced, "a1", "b1"))
		a := f.nodes["a1"]
		if _, err := f.nodes["b1"].Operate(t.Context(), Request{Kind: bgp.Hold, PoP: "a", VIP: "ns1", Reason: "the fleet's", Actor: "bob"}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Operate(t.Context(), Request{Kind: bgp.Hold, Local: true, For: time.Hour, Reason: "its own", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		elsewhere := func(want string) func() bool {
			return func() bool {
				for _, name := range []string{"b1", "c1"} {
					var words []string
					for _, own := range f.nodes[name].Status().Elsewhere {
						for _, o := range own.Operations {
							words = append(words, fmt.Sprintf("%s: %s by %s, %q for %s", own.Node, o.What(), o.Actor, o.Reason, o.Until.Sub(o.Since)))
						}
						words = append(words, fmt.Sprintf("%d more, silent %t", own.More, own.Silent))
					}
					if strings.Join(words, "; ") != want {
						return false
					}
				}
				return true
			}
		}
		const its = `a1: hold all VIPs on node/a1 by ann, "its own" for 1h0m0s; `
		f.await("others to know", 2*time.Second, elsewhere(its+"0 more, silent false"))
		if got := a.Status().Elsewhere; len(got) != 0 {
			t.Errorf("a1 takes its own for another's: %+v", got)
		}
		f.kill("a1")
		f.await("its last word", 5*time.Second, elsewhere(its+"0 more, silent true"))
		f.start("a1")
		f.await("its word again", 2*time.Second, elsewhere(its+"0 more, silent false"))
		if _, err := a.Operate(t.Context(), Request{End: "release", Local: true, Reason: "done", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("others to know the end", 2*time.Second, elsewhere(""))

		a.file.VIPs = nil
		for i := range maxOwn + 2 {
			more := testVIP
			more.Name, more.Prefixes = fmt.Sprintf("x%d", i), []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 32)}
			a.file.VIPs = append(a.file.VIPs, more)
		}
		a.Use(a.file)
		for _, v := range a.file.VIPs {
			if _, err := a.Operate(t.Context(), Request{Kind: bgp.Announce, VIP: v.Name, Local: true, Reason: "many", Actor: "ann"}); err != nil {
				t.Fatal(err)
			}
		}
		f.await("some of them", 2*time.Second, func() bool {
			got := f.nodes["c1"].Status().Elsewhere
			return len(got) == 1 && len(got[0].Operations) == maxOwn && got[0].Operations[maxOwn-1].VIP == "x7" && got[0].More == 2
		})
	})
}

// TestHearNoNonsense: what a member says that it does is shown only if it could be.
func TestHearNoNonsense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1")
		f.start("a1")
		defer f.stopAll()
		own := func(o bgp.Operation) bgp.Operation {
			o.Kind, o.Reason, o.Since = bgp.Hold, "odd", time.Now()
			o, err := bgp.NewOperation(o)
			if err != nil {
				t.Fatal(err)
			}
			return o
		}
		good := own(bgp.Operation{Node: "b1", Local: true, Actor: "ann"})
		altered := good
		altered.Actor = "eve\x1b[2J"
		said := []bgp.Operation{altered, own(bgp.Operation{Node: "a1", Local: true, Actor: "ann"}), own(bgp.Operation{Node: "b1", Actor: "ann"}), good}
		for range maxOwn {
			said = append(said, good)
		}
		a := f.nodes["a1"]
		a.hear(f.nodes["b1"].self, Standing{Own: said}, nil)
		if got := a.Status().Elsewhere; len(got) != 1 || got[0].Node != "b1" || len(got[0].Operations) != maxOwn-3 || got[0].Operations[0] != good {
			t.Errorf("it is shown %+v", got)
		}
	})
}

// TestAddressTakenAway: what something else removes from the machine comes back, for
// else the VIP is down, and by no failure of the node's own.
func TestAddressTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1")
		n := f.nodes["a1"]
		had := n.held()
		n.takeAway(false)
		f.await("the addresses", 3*time.Second, func() bool { return n.held() == had })
		f.await("announced as planned", 10*time.Second, func() bool { return n.state() == bgp.Announced && n.route() == "64512:100" })

		const fault = "address and socket of vip ns1"
		n.takeAway(true)
		f.await("an alarm", 3*time.Second, func() bool { return strings.Contains(n.alarmed(), fault) })
		n.unlock()
		f.await("the addresses again", 3*time.Second, func() bool { return n.held() == had })
		f.await("no alarm for them", 3*time.Second, func() bool { return !strings.Contains(n.alarmed(), fault) })
	})
}

// TestBreakGlassWithoutDisk: what a node is asked on the node itself begins and ends
// when nothing can be stored.
func TestBreakGlassWithoutDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1")
		n := f.nodes["a1"]
		f.fillDisks("a1")
		const forgets = "; this is in force, but could not be written, and a restart of a1 forgets it: keep the state of VIPs: "
		drain := Request{Kind: bgp.Drain, Local: true, Force: true, Reason: "disk", Actor: "ann"}
		if done, err := n.Operate(t.Context(), drain); err != nil || !strings.Contains(done[0].What, forgets) {
			t.Fatalf("done %+v, %v, want that a restart forgets it", done, err)
		}
		f.await("out", time.Minute, func() bool { return n.route() == "none" })
		undrain := Request{End: "undrain", Local: true, Reason: "in again", Actor: "ann"}
		if done, err := n.Operate(t.Context(), undrain); err != nil || !strings.Contains(done[0].What, forgets) {
			t.Fatalf("done %+v, %v, want that a restart forgets it", done, err)
		}
		f.await("back", time.Minute, f.all(bgp.Announced, "a1"))
		f.emptyDisks("a1")

		if _, err := f.nodes["b1"].Operate(t.Context(), Request{Kind: bgp.Drain, Node: "a1", Reason: "disk", Actor: "bob"}); err != nil {
			t.Fatal(err)
		}
		f.fillDisks("a1")
		undrain.Local, undrain.Node = false, "a1"
		if _, err := n.Operate(t.Context(), undrain); err == nil || !strings.Contains(err.Error(), "it cannot be stored") ||
			!strings.HasSuffix(err.Error(), "; on a1 itself it can be done with --local, an end with that and its ID") {
			t.Errorf("undrain by the fleet: error %v, want that it cannot be stored", err)
		}
		undrain.Local, undrain.Node, undrain.ID = true, "", n.Status().Operations[0].ID
		if done, err := n.Operate(t.Context(), undrain); err != nil || !strings.Contains(done[0].What, forgets) {
			t.Fatalf("done %+v, %v, want that a restart forgets it", done, err)
		}
		if left := n.Status().Operations; len(left) != 0 {
			t.Errorf("still in force: %v", left)
		}
		f.emptyDisks("a1")
	})
}

// TestOwnWordEndsOnTheNode: the fleet ends what the fleet asked, and the node what it was
// asked on itself; of what the fleet asked of its PoP the node frees itself by the ID.
func TestOwnWordEndsOnTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "a2", "b1")
		a, b := f.nodes["a1"], f.nodes["b1"]
		did := func(n *testNode, q Request) string {
			t.Helper()
			q.Reason, q.Actor = "odd", "ann"
			done, err := n.Operate(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			return done[0].What
		}
		says := func(what, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s says %q, want %q", what, got, want)
			}
		}
		own := did(a, Request{Kind: bgp.Hold, Local: true})
		_, err := b.Operate(t.Context(), Request{End: "release", Node: "a1", Reason: "odd", Actor: "bob"})
		if want := "release on node/a1: nothing of that is in force to end; there is, each with what ends it:\n\t" + own +
			": on a1: edged vip release --local --reason WHY"; err == nil || err.Error() != want {
			t.Errorf("the fleet ends a1's own hold: %v, want %q", err, want)
		}
		did(b, Request{Kind: bgp.Hold, Node: "a1"})
		says("the fleet's release", did(b, Request{End: "release", Node: "a1"}),
			"ended hold all VIPs on node/a1; "+own+" stays; to end that: on a1: edged vip release --local --reason WHY")
		fleets := did(b, Request{Kind: bgp.Hold, PoP: "a"})
		says("a1's release", did(a, Request{End: "release", Local: true}),
			"ended hold all VIPs on node/a1; "+fleets+" stays; to end that: edged vip release pop/a --reason WHY")

		id := a.Status().Operations[0].ID
		_, err = a.Operate(t.Context(), Request{End: "release", Local: true, Reason: "odd", Actor: "ann"})
		if want := "release on node/a1: nothing of that is in force to end; there is, each with what ends it:\n\t" + fleets +
			": edged vip release pop/a --reason WHY, or for this node alone edged vip release " + id + " --local --reason WHY"; err == nil || err.Error() != want {
			t.Errorf("a1 ends the fleet's hold: %v, want %q", err, want)
		}
		says("a1's release by the ID", did(a, Request{End: "release", Local: true, ID: id}), "ended hold all VIPs on pop/a")
		if n, m := len(a.Status().Operations), len(f.nodes["a2"].Status().Operations); n != 0 || m != 1 {
			t.Errorf("a1 has %d operations, and a2 %d, want 0 and 1", n, m)
		}
	})
}

// TestEndOfNothing: who ends what is not there is told what is, and how that ends.
func TestEndOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a1", "a2", "b1"}
		f := announcing(t, names...)
		b := f.nodes["b1"]
		ids := map[string]string{}
		for _, node := range names {
			done, err := b.Operate(t.Context(), Request{Kind: bgp.Drain, Node: node, VIP: map[string]string{"a2": "ns1"}[node], Reason: "disk", Actor: "ann"})
			if err != nil {
				t.Fatal(err)
			}
			ids[node] = done[0].What
		}
		undrain := Request{End: "undrain", PoP: "a", Reason: "in again", Actor: "ann"}
		want := "undrain on pop/a: nothing of that is in force to end; there is, each with what ends it:\n\t" +
			ids["a1"] + ": edged vip undrain node/a1 --reason WHY\n\t" + ids["a2"] + ": edged vip undrain node/a2 --vip ns1 --reason WHY"
		if _, err := b.Operate(t.Context(), undrain); err == nil || err.Error() != want {
			t.Errorf("undrain pop/a: error %v, want %q", err, want)
		}
		f.kill("a2")
		want = "undrain on pop/a: nothing of that is in force to end; there is, each with what ends it:\n\t" +
			ids["a1"] + ": edged vip undrain node/a1 --reason WHY; not asked, for they did not answer: a2"
		if _, err := b.Operate(t.Context(), undrain); err == nil || err.Error() != want {
			t.Errorf("undrain pop/a while a2 is away: error %v, want %q", err, want)
		}
		undrain.PoP, undrain.Node = "", "c1"
		if _, err := b.Operate(t.Context(), undrain); err == nil || !strings.HasPrefix(err.Error(), `undrain: selector "node/c1": no node is called "c1"`) {
			t.Errorf("undrain node/c1: error %v", err)
		}
		undrain.Node = "a1"
		if _, err := b.Operate(t.Context(), undrain); err != nil {
			t.Error(err)
		}
	})
}

func TestEndWantsAReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1")
		f.start("a1")
		defer f.stopAll()
		_, err := f.nodes["a1"].Operate(t.Context(), Request{End: "undrain", Node: "a1", Actor: "ann"})
		if want := `undrain: reason "": want one line of 1 to 200 octets: say --reason`; err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	})
}

// TestPendingOutlivesRestarts has a VIP come into the file of a running node: a
// restart does not announce it, and the first start of another node does.
func TestPendingOutlivesRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1")
		a := f.nodes["a1"]
		a.file.VIPs = nil
		f.start("a1", "b1")
		defer f.stopAll()
		a.file.VIPs = []bgp.VIP{testVIP}
		a.Use(a.file)
		time.Sleep(time.Second)
		f.kill("a1")
		f.start("a1")
		time.Sleep(time.Minute)
		if got := a.state(); got != bgp.Absent {
			t.Errorf("after a restart what is pending is %v", got)
		}
		if n := len(a.Status().Pending); n != 1 {
			t.Errorf("%d changes are pending, want 1", n)
		}
		p, err := a.Plan(t.Context(), bgp.Selection{Nodes: "node/a1"}, bgp.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Announcer.Apply(t.Context(), Application{Plan: p.Plan.ID, Nodes: "node/a1", Bake: time.Second, Reason: "now", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("announced", 30*time.Second, f.all(bgp.Announced, "a1", "b1"))
	})
}

// TestFailingUnseen: of a VIP that is announced although its checks fail it is told, though
// nothing about it changes: a hold keeps it, or there is no step below.
func TestFailingUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1")
		f.nodes["b1"].file.VIPs = []bgp.VIP{testVIP}
		f.nodes["b1"].file.VIPs[0].Ladder = nil
		f.start("a1", "b1")
		defer f.stopAll()
		f.await("announced", 15*time.Second, f.all(bgp.Announced, "a1", "b1"))
		a, b := f.nodes["a1"], f.nodes["b1"]
		hold := Request{Kind: bgp.Hold, Node: "a1", Reason: "odd", Actor: "ann"}
		if _, err := a.Operate(t.Context(), hold); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"a1": "vip ns1: held, but its checks fail: zones are gone", "b1": "vip ns1: its checks fail: zones are gone"} {
			n := f.nodes[name]
			n.breakChecks("zones are gone")
			f.await("an alarm of "+name, 5*time.Second, func() bool { return n.alarmed() == want })
			n.breakChecks("zones are half")
			time.Sleep(10 * time.Second)
			if got := n.alarmed(); got != want {
				t.Errorf("%s: with another cause the alarm is %q, want it as it was", name, got)
			}
			if v := n.Status().VIPs[0]; v.Failing != "zones are half" || v.State != bgp.Announced || v.Cause != "checks pass" {
				t.Errorf("%s shows %+v", name, v)
			}
		}
		b.breakChecks("")
		f.await("no alarm", 90*time.Second, func() bool { return b.alarmed() == "" && b.Status().VIPs[0].Failing == "" })
		if _, err := a.Operate(t.Context(), Request{End: "release", Node: "a1", Reason: "seen", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("the state to say it", 15*time.Second, func() bool { return a.alarmed() == "vip ns1: degraded: checks fail: zones are half" })
	})
}

// TestFewAnnouncers names them as many as they are.
func TestFewAnnouncers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1")
		two := testVIP
		two.MinAnnouncers = 2
		f.nodes["a1"].file.VIPs = []bgp.VIP{two}
		f.start("a1")
		defer f.stopAll()
		const want = "vip ns1: announced as planned by 1 node only, as far as is heard, want 2 at least"
		f.await("an alarm", time.Minute, func() bool { return f.nodes["a1"].alarmed() == want })
	})
}

// TestOldRefusals: why members did not promise is shown while they are asked, and no
// longer.
func TestOldRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1", "c1")
		time.Sleep(30 * time.Second)
		a, b := f.nodes["a1"], f.nodes["b1"]
		a.Announcer.refuse("ns1", "b1", errors.New("it is leaving itself"))
		time.Sleep(time.Second)
		if got := a.Status().VIPs[0].Refusals; got != nil {
			t.Errorf("though nobody is asked it shows %q", got)
		}
		b.breakChecks("zones are gone")
		f.await("b1 to say so", 15*time.Second, f.all(bgp.Degraded, "b1"))
		if _, err := a.Operate(t.Context(), Request{Kind: bgp.Drain, Node: "a1", Reason: "disk", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		refusals := func() string { return strings.Join(a.Status().VIPs[0].Refusals, "; ") }
		f.await("a refusal", 20*time.Second, func() bool {
			return refusals() == "b1: b1 does not promise a1 to keep ns1: it does not announce it as planned"
		})
		f.await("out, by the promise of c1", 20*time.Second, f.all(bgp.Withdrawn, "a1"))
		time.Sleep(time.Second)
		if got := refusals(); got != "" {
			t.Errorf("though nobody is asked any more it shows %q", got)
		}
	})
}

// TestNoPeerHasIt raises an alarm, and has answers leave the PoP out.
func TestNoPeerHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1")
		f.start("a1", "b1")
		defer f.stopAll()
		a := f.nodes["a1"]
		f.await("both announced", 15*time.Second, f.all(bgp.Announced, "a1", "b1"))
		a.setSession(false)
		f.await("an alarm", 20*time.Second, func() bool { return strings.Contains(a.alarmed(), "no peer has 198.51.100.53/32") })
		if a.state() != bgp.Announced || a.told() != edge.Dead {
			t.Errorf("the state is %v, and the fleet was told %v", a.state(), a.told())
		}
		f.await("b1 to count one less", 10*time.Second, func() bool {
			return f.nodes["b1"].others() == 0
		})
		a.setSession(true)
		f.await("all to be well", 10*time.Second, func() bool { return a.alarmed() == "" && a.told() == edge.OK })
	})
}

// TestStandsStill: a node that stood still for a while has heard nobody in it, which is
// no sign that others left. They are asked before.
func TestStandsStill(t *testing.T) {
	now := time.Minute
	for _, tc := range []struct {
		at     time.Duration
		missed int
		silent bool
	}{
		{now - hearFor, 0, false}, {now - hearFor, 1, false}, {now - hearFor, 2, true}, {now - hearFor + 1, 2, false}, {0, 1, false}, {0, 9, true},
	} {
		h := heard{at: tc.at, missed: tc.missed}
		if got := h.silent(now); got != tc.silent {
			t.Errorf("heard %v ago, and %d calls since that were not answered: silent %v, want %v", now-tc.at, tc.missed, got, tc.silent)
		}
	}
}

// slowSpeaker takes its time to say what peers have.
type slowSpeaker struct{ *testNode }

func (s slowSpeaker) Sent() []speaker.PeerRoutes {
	time.Sleep(1200 * time.Millisecond)
	return s.testNode.Sent()
}

// TestSlowLoop: a node that is always slow hears, too, that another one is gone.
func TestSlowLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1")
		a := f.nodes["a1"]
		time.Sleep(40 * time.Second)
		f.operate(t, "a1", bgp.Drain)
		f.await("drained", time.Minute, func() bool { return a.state() == bgp.Withdrawn })
		f.stop("a1")
		a.sluggish = true
		f.start("a1")
		time.Sleep(time.Minute)
		f.kill("b1")
		f.await("the last resort", 30*time.Second, func() bool { return a.route() != "none" })
	})
}

// TestAlarmsInOrder: an alarm that has ended is not raised again by a slower goroutine.
func TestAlarmsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1")
		a := f.nodes["a1"]
		a.mu.Lock()
		a.dawdles, a.dawdling = "test: x", make(chan struct{})
		a.mu.Unlock()
		go a.fault("test", errors.New("x"))
		<-a.dawdling
		a.fault("test", nil)
		synctest.Wait()
		if got := a.alarmed(); got != "" {
			t.Errorf("the alarm is %q", got)
		}
	})
}

// TestDecisionsInOrder: what cannot be stored is taken back before anything else is decided.
// A plan that was refused comes into force by no operation, and one that was refused not by
// another one that was not.
func TestDecisionsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1", "b2")
		time.Sleep(40 * time.Second)
		a := f.nodes["a1"]
		f.fillDisks("a1")
		a.saving.Lock() // the disk takes its time to say so
		p := bgp.NodePlan{Node: "a1", PoP: "a", Generation: a.Status().Generation + 1, VIPs: []bgp.VIP{as("ns9", 1, second)}}
		operation := func(o bgp.Operation) bgp.Operation {
			o.Node, o.Reason, o.Actor, o.Since = "a1", "x", "ann", time.Now()
			o, err := bgp.NewOperation(o)
			if err != nil {
				t.Fatal(err)
			}
			return o
		}
		errs := make([]error, 3)
		var all sync.WaitGroup
		for i, do := range []func() error{
			func() error { return a.take(p, false, "ann", "test") },
			func() error { _, err := a.accept(operation(bgp.Operation{Kind: bgp.Drain, VIP: "ns9"})); return err },
			func() error {
				_, err := a.accept(operation(bgp.Operation{Kind: bgp.Hold, VIP: "ns9", Local: true}))
				return err
			},
		} {
			all.Go(func() { errs[i] = do() })
			for range 10000 { // until it waits; a mutex is nothing that the test could wait for
				runtime.Gosched()
			}
		}
		a.saving.Unlock()
		all.Wait()
		if errs[0] == nil || errs[1] == nil || errs[2] != nil {
			t.Errorf("the plan: %v; the drain: %v; the hold on the node itself: %v", errs[0], errs[1], errs[2])
		}
		if got := a.Status().Operations; len(got) != 1 || got[0].Kind != bgp.Hold {
			t.Errorf("in force is %v, want the hold alone", got)
		}
		f.emptyDisks("a1")
		time.Sleep(time.Minute)
		s := a.Status()
		if len(s.VIPs) != 1 || s.VIPs[0].Name != "ns1" || s.VIPs[0].State != bgp.Announced {
			t.Errorf("of generation %d it has %+v", s.Generation, s.VIPs)
		}
	})
}
