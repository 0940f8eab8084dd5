package announcer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
		if s := a.Status(); !strings.Contains(s.VIPs[0].Cause, "1 of 1 promises") {
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
		f := newFleet(t, "a1", "b1")
		f.start("a1", "b1")
		defer f.stopAll()
		f.await("both announced", 15*time.Second, f.all(bgp.Announced, "a1", "b1"))
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
		p, err := a.Plan(t.Context(), "node/a1", nil, bgp.Limits{})
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

// TestFrozen keeps everything as it is.
func TestFrozen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1", "c1")
		f.start("a1", "b1", "c1")
		defer f.stopAll()
		f.await("announced", 15*time.Second, f.all(bgp.Announced, "a1", "b1", "c1"))
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
			p, err := b.Plan(t.Context(), "node/a1", nil, bgp.Limits{})
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
		if r = roll(64512<<16 | 300); r.Phase != bgp.PhaseAborted || !strings.Contains(r.Cause, "it waits for an answer through ns1 that names it: a2 asked") {
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
		f := newFleet(t, names...)
		f.start(names...)
		defer f.stopAll()
		f.await("all announced", 15*time.Second, f.all(bgp.Announced, names...))
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
		p, err := a.Plan(t.Context(), "all", nil, bgp.Limits{})
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
			{Application{Plan: p.Plan.ID, Nodes: "pop/c", Reason: "x"}, `no PoP is called "c"`},
		} {
			if _, err := a.Announcer.Apply(t.Context(), bad.q); err == nil || !strings.Contains(err.Error(), bad.want) {
				t.Errorf("%+v: got %v, want %q in it", bad.q, err, bad.want)
			}
		}
		if _, err := a.Announcer.Apply(t.Context(), Application{Plan: p.Plan.ID, Nodes: "all", Bake: 10 * time.Second, Reason: "new community", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		if _, err := f.nodes["b1"].Plan(t.Context(), "node/b2", nil, bgp.Limits{}); err != nil {
			t.Fatal(err)
		}
		f.await("the first node", 10*time.Second, func() bool { return a.route() == "64512:200" })
		if got := f.nodes["b2"].route(); got != "64512:100" {
			t.Errorf("the last node has %q after the first wave", got)
		}
		q, _ := f.nodes["b1"].Plan(t.Context(), "node/b2", nil, bgp.Limits{})
		if _, err := f.nodes["b1"].Announcer.Apply(t.Context(), Application{Plan: q.Plan.ID, Nodes: "node/b2", Reason: "me too"}); err == nil || !strings.Contains(err.Error(), "overlap") {
			t.Errorf("a second rollout: %v", err)
		}
		f.await("done", 3*time.Minute, func() bool { return a.Rollout().Phase == bgp.PhaseDone })
		for name, n := range f.nodes {
			if got := n.route(); got != "64512:200" {
				t.Errorf("%s has %q", name, got)
			}
		}
		if err := a.Steer(Steering{Action: "rollback", Reason: "not so good", Actor: "ann"}); err != nil {
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
		if _, err := a.Operate(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		f.await("announced", 15*time.Second, f.all(bgp.Announced, "a1"))
		if got := a.Status().Generation; got != 1 {
			t.Errorf("the plan is generation %d, want the empty one", got)
		}
		if _, err := a.Operate(t.Context(), Request{End: "release", Local: true, VIP: "ns1", Reason: "others live", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("gone", time.Minute, func() bool { return a.route() == "none" && a.held() == 0 })
	})
}

// TestAddressTakenAway: what something else removes from the machine comes back, for
// else the VIP is down, and by no failure of the node's own.
func TestAddressTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1")
		f.start("a1", "b1")
		defer f.stopAll()
		f.await("announced", 15*time.Second, f.all(bgp.Announced, "a1", "b1"))
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
		f := newFleet(t, "a1", "b1")
		f.start("a1", "b1")
		defer f.stopAll()
		f.await("announced", 15*time.Second, f.all(bgp.Announced, "a1", "b1"))
		n := f.nodes["a1"]
		if err := os.Rename(n.dir, n.dir+".away"); err != nil {
			t.Fatal(err)
		}
		drain := Request{Kind: bgp.Drain, Local: true, Force: true, Reason: "disk", Actor: "ann"}
		if _, err := n.Operate(t.Context(), drain); err != nil {
			t.Fatal(err)
		}
		f.await("out", time.Minute, func() bool { return n.route() == "none" })
		undrain := Request{End: "undrain", Node: "a1", Reason: "in again", Actor: "ann"}
		if _, err := n.Operate(t.Context(), undrain); err == nil || !strings.Contains(err.Error(), "it cannot be stored") {
			t.Errorf("undrain by the fleet: error %v, want that it cannot be stored", err)
		}
		undrain.Local = true
		if _, err := n.Operate(t.Context(), undrain); err != nil {
			t.Fatal(err)
		}
		f.await("back", time.Minute, f.all(bgp.Announced, "a1"))
		if err := os.Rename(n.dir+".away", n.dir); err != nil {
			t.Fatal(err)
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
		p, err := a.Plan(t.Context(), "node/a1", nil, bgp.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Announcer.Apply(t.Context(), Application{Plan: p.Plan.ID, Nodes: "node/a1", Bake: time.Second, Reason: "now", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("announced", 30*time.Second, f.all(bgp.Announced, "a1", "b1"))
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
