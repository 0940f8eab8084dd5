package fleet

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edged/edge"
	"edged/health"
	"edged/health/gossip"
	"edged/health/gossip/lossy"
	"edged/health/override"
	"edged/health/probe"
)

// world is a network of nodes that probe what the test says.
type world struct {
	t     *testing.T
	net   *lossy.Network
	plan  Plan
	nodes []*Fleet
	dirs  []string

	mu   sync.Mutex
	dead map[string]bool // "target" for everybody, "node target" for one, "node *" for its uplink
}

var (
	testCheck = health.Check{Kind: health.TCP, Port: 80, Interval: 2 * time.Second, Timeout: time.Second, Fall: 3, Rise: 5}
	testPoPs  = []edge.PoP{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}, {Name: "e"}}
)

func testKey(i int) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = byte(i + 1)
	return ed25519.NewKeyFromSeed(seed)
}

func testTarget(i int) Target {
	address := netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})
	return Target{health.NewTarget(testCheck, address), health.Quorum{MinPoPs: 1, Partition: health.Freeze}}
}

// newWorld prepares n nodes and as many targets, the i-th of each in PoP i.
func newWorld(t *testing.T, n int, configured bool) *world {
	w := &world{t: t, net: lossy.New(1), dead: map[string]bool{}}
	w.plan = Plan{Observers: 5, GossipKeys: [][]byte{make([]byte, 32)}, World: override.Fleet{PoPs: testPoPs[:n]}}
	for i := range n {
		target := testTarget(i)
		w.plan.Targets = append(w.plan.Targets, target)
		w.plan.World.Endpoints = append(w.plan.World.Endpoints, override.Endpoint{Pool: "www", PoP: testPoPs[i].Name, Address: target.Address})
		if configured {
			w.plan.Members = append(w.plan.Members, w.member(i))
		}
		w.dirs = append(w.dirs, t.TempDir())
	}
	w.nodes = make([]*Fleet, n)
	return w
}

func (w *world) member(i int) health.Member {
	return health.Member{Name: fmt.Sprintf("n%d", i), PoP: testPoPs[i].Name, Key: testKey(i).Public().(ed25519.PublicKey)}
}

func place(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 7946)
}

// start starts node i, in a fleet unless it is the only one.
func (w *world) start(i int, key ed25519.PrivateKey) *Fleet {
	w.t.Helper()
	self := w.member(i)
	self.Key = key.Public().(ed25519.PublicKey)
	cfg := Config{
		Self: self, Key: key, Dir: w.dirs[i], Plan: w.plan, Log: slog.New(slog.DiscardHandler),
		Open:   func(t health.Target) (probe.Prober, error) { return prober{w, self.Name, t}, nil },
		Answer: func(question string) string { return self.Name + " says " + question },
	}
	if len(w.nodes) > 1 {
		cfg.Name = "test"
		cfg.Gossip = gossip.Config{
			Name: self.Name, PoP: self.PoP, Fleet: "test", Bind: place(i), Link: 7947, Join: []netip.AddrPort{place(0), place(1)},
			Transport: w.net.Transport(place(i)),
		}
	}
	f, err := Start(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.nodes[i] = f
	return f
}

func (w *world) startAll() {
	for i := range w.nodes {
		w.start(i, testKey(i))
	}
	w.await("all targets to be ok everywhere", 30*time.Second, func() bool { return w.say(edge.OK, w.plan.Targets...) })
}

func (w *world) stop(i int) {
	if f := w.nodes[i]; f != nil {
		f.Stop(context.Background())
	}
	w.nodes[i] = nil
}

func (w *world) stopAll() {
	for i := range w.nodes {
		w.stop(i)
	}
	time.Sleep(20 * time.Second) // what memberlist still waits for ends by itself
}

// say says whether all running nodes have this verdict on the targets.
func (w *world) say(v edge.Verdict, targets ...Target) bool {
	for _, f := range w.nodes {
		for _, t := range targets {
			if f != nil && f.View().Targets[t.ID].Verdict != v {
				return false
			}
		}
	}
	return true
}

func (w *world) set(what string, dead bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead[what] = dead
}

// await lets time pass until it is so, or too much has.
func (w *world) await(what string, most time.Duration, so func() bool) time.Duration {
	w.t.Helper()
	start := time.Now()
	for !so() {
		if time.Since(start) > most {
			for i, f := range w.nodes {
				if f != nil {
					w.t.Logf("node %d: frozen %q, observers %+v", i, f.View().Frozen, f.View().Observers)
				}
			}
			w.t.Fatalf("waited %v in vain for %s", most, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(start)
}

// prober finds what the world says.
type prober struct {
	w      *world
	node   string
	target health.Target
}

func (p prober) Probe(context.Context) health.Result {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	address := p.target.Address.String()
	if p.w.dead[address] || p.w.dead[p.node+" "+address] || p.w.dead[p.node+" *"] {
		return health.Result{Outcome: health.Silent, Reason: "connection refused"}
	}
	return health.Result{}
}

func (prober) Close() {}

func TestAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, false)
		w.startAll()
		defer w.stopAll()
		target := w.plan.Targets[0]
		w.set(target.Address.String(), true)
		took := w.await("the verdict", 10*time.Second, func() bool { return w.say(edge.Dead, target) })
		if took < 4*time.Second { // three failures, two intervals apart with jitter
			t.Errorf("dead after %v, before three probes can have failed", took)
		}
		s := w.nodes[0].View().Targets[target.ID]
		if s.Reason != "connection refused" || s.Decided != "own check" {
			t.Errorf("reason %q, decided %q", s.Reason, s.Decided)
		}
		history := w.nodes[0].History()
		if len(history) != 2 || history[1].From != edge.OK || history[1].To != edge.Dead {
			t.Errorf("history %+v", history)
		}
		w.set(target.Address.String(), false)
		w.await("its return", 15*time.Second, func() bool { return w.say(edge.OK, target) })
	})
}

// Acceptance g: what was dead before a restart is dead at its first moment.
func TestRestartKeepsVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, false)
		w.startAll()
		defer w.stopAll()
		w.set("192.0.2.1", true)
		w.await("the verdict", 10*time.Second, func() bool { return w.say(edge.Dead, w.plan.Targets...) })
		before := w.nodes[0].Incarnation()
		w.stop(0)
		f := w.start(0, testKey(0))
		if s := f.View().Targets[w.plan.Targets[0].ID]; s.Verdict != edge.Dead || s.Reason != "connection refused" {
			t.Errorf("after the restart %v: %q, want dead", s.Verdict, s.Reason)
		}
		if f.Incarnation() <= before {
			t.Errorf("incarnation %d after %d", f.Incarnation(), before)
		}
	})
}

func TestDamagedStateIsPutAside(t *testing.T) {
	for name, text := range map[string]string{stateFile: "{", incarnationFile: "many"} {
		w := newWorld(t, 1, false)
		path := filepath.Join(w.dirs[0], name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, faults := store{w.dirs[0]}.load()
		if len(faults) != 1 || len(out.Verdicts) > 0 || out.Incarnation > 0 {
			t.Errorf("%s with %q: %+v, faults %q", name, text, out, faults)
		}
		if kept, err := os.ReadFile(path + ".damaged"); err != nil || string(kept) != text {
			t.Errorf("%s is not put aside: %v", name, err)
		}
	}
}

func TestFleetAgrees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5, true)
		w.startAll()
		defer w.stopAll()
		target := w.plan.Targets[2]
		w.set(target.Address.String(), true)
		took := w.await("all to say dead", 9*time.Second, func() bool { return w.say(edge.Dead, target) })
		t.Logf("all nodes say so after %v", took)
		for i, f := range w.nodes {
			if f.View().Hash != w.nodes[0].View().Hash {
				t.Errorf("node %d has another view", i)
			}
		}
		w.set(target.Address.String(), false)
		w.await("all to say ok", 30*time.Second, func() bool { return w.say(edge.OK, w.plan.Targets...) })
	})
}

// Acceptance k and H4: a node whose own checks all fail changes no verdict
// anywhere, and is not believed.
func TestBrokenUplink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5, true)
		w.startAll()
		defer w.stopAll()
		w.set("n3 *", true)
		suspected := false
		for range 600 { // 30 s
			time.Sleep(50 * time.Millisecond)
			if !w.say(edge.OK, w.plan.Targets...) {
				t.Fatal("a verdict changed")
			}
			for _, o := range w.nodes[0].View().Observers {
				suspected = suspected || o.Name == "n3" && o.Suspect != ""
			}
		}
		if !suspected {
			t.Error("n3 is still believed")
		}
	})
}

// H1 and H5: who sees no majority keeps what it knew; afterwards all agree again.
func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5, true)
		w.startAll()
		defer w.stopAll()
		w.net.Split(place(3), place(4))
		w.await("the smaller side to freeze", 20*time.Second, func() bool {
			return w.nodes[3].View().Frozen != "" && w.nodes[4].View().Frozen != ""
		})
		target := w.plan.Targets[0]
		w.set(target.Address.String(), true)
		w.await("the larger side to move", 20*time.Second, func() bool {
			for _, f := range w.nodes[:3] {
				if f.View().Frozen != "" || f.View().Targets[target.ID].Verdict != edge.Dead {
					return false
				}
			}
			return true
		})
		for _, f := range w.nodes[3:] {
			if v := f.View().Targets[target.ID].Verdict; v != edge.OK {
				t.Errorf("the smaller side says %v, want what it knew", v)
			}
		}
		w.net.Heal()
		w.await("all to agree", time.Minute, func() bool {
			for _, f := range w.nodes {
				if f.View().Frozen != "" || f.View().Hash != w.nodes[0].View().Hash {
					return false
				}
			}
			return w.say(edge.Dead, target)
		})
	})
}

// A node that lost its folder learns from the others how far it had counted.
func TestLostState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, true)
		w.startAll()
		defer w.stopAll()
		for range 2 { // so that it has counted
			w.stop(2)
			w.start(2, testKey(2))
		}
		time.Sleep(10 * time.Second)
		before := w.nodes[2].Incarnation()
		w.stop(2)
		w.dirs[2] = t.TempDir()
		f := w.start(2, testKey(2))
		w.await("its past to be learned", learnFor+time.Second, func() bool { return f.Incarnation() > before })
		target := w.plan.Targets[2]
		w.set("n0 "+target.Address.String(), true)
		w.set("n2 "+target.Address.String(), true)
		w.await("its vote to count", 20*time.Second, func() bool { return w.say(edge.Dead, target) })
	})
}

// Without members in the configuration the first key of a name is the one.
func TestFirstKeyIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, false)
		w.startAll()
		defer w.stopAll()
		time.Sleep(10 * time.Second)
		w.stop(2)
		w.start(2, testKey(99)) // an impostor
		forged := w.nodes[0].Stats().Forged
		time.Sleep(20 * time.Second)
		if got := w.nodes[0].Stats().Forged; got == forged {
			t.Error("nothing was taken for forged")
		}
		if got := w.nodes[0].Impostors(); fmt.Sprint(got) != "[n2]" {
			t.Errorf("impostors %v, want n2", got)
		}
		for _, o := range w.nodes[0].View().Observers {
			if o.Name == "n2" && o.Fresh {
				t.Error("the impostor is heard")
			}
		}
		w.stop(0)
		w.start(0, testKey(0)) // remembers
		time.Sleep(20 * time.Second)
		for _, o := range w.nodes[0].View().Observers {
			if o.Name == "n2" && o.Fresh {
				t.Error("after a restart the impostor is heard")
			}
		}
	})
}

func TestOverrides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5, true)
		w.plan.Rules = []override.Rule{{AtLeast: 3, Of: "pops", Per: "fleet"}}
		w.startAll()
		defer w.stopAll()
		drain := func(pop string) override.Request {
			target, err := override.ParseTarget("pop/" + pop)
			if err != nil {
				t.Fatal(err)
			}
			return override.Request{Action: override.Drain, Target: target, Owner: "op", Reason: "test", For: time.Minute}
		}
		if _, err := w.nodes[1].Submit(t.Context(), drain("a")); err != nil {
			t.Fatal(err)
		}
		if _, err := w.nodes[2].Submit(t.Context(), drain("b")); err != nil {
			t.Fatal(err)
		}
		count := func(want int) func() bool {
			return func() bool {
				for _, f := range w.nodes {
					if f != nil && len(f.Overrides().Active) != want {
						return false
					}
				}
				return true
			}
		}
		w.await("both to be everywhere", 5*time.Second, count(2))
		const broken = `drain pop/c breaks rule "at least 3 pops per fleet": 2 of 5 pops in the fleet would stay in service, want 3 (out: a, b, c)`
		if _, err := w.nodes[0].Submit(t.Context(), drain("c")); err == nil || err.Error() != broken {
			t.Errorf("got  %v\nwant %s", err, broken)
		}
		w.stopAll()
		for i := range w.nodes {
			w.start(i, testKey(i))
		}
		if !count(2)() {
			t.Error("they are lost after a restart")
		}
		strict := w.plan
		strict.Rules = []override.Rule{{AtLeast: 4, Of: "pops", Per: "fleet"}}
		if err := w.nodes[0].Allows(strict); err == nil {
			t.Error("a rule that would undo a drain is allowed")
		}
		time.Sleep(time.Minute)
		w.await("their end", 10*time.Second, count(0))
	})
}

func TestSurvey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, true)
		w.startAll()
		defer w.stopAll()
		got := w.nodes[0].Survey(t.Context(), "what")
		want := map[string]string{"n1": "n1 says what", "n2": "n2 says what"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// A target that a reload brings is checked, one that goes is forgotten, and a
// verdict that is known already holds when it returns.
func TestUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, false)
		w.startAll()
		defer w.stopAll()
		f, first, second := w.nodes[0], w.plan.Targets[0], testTarget(1)
		w.set(first.Address.String(), true)
		w.await("the verdict", 10*time.Second, func() bool { return w.say(edge.Dead, first) })
		time.Sleep(2 * time.Second) // saved
		plan := w.plan
		plan.Targets = []Target{second}
		if err := f.Use(plan); err != nil {
			t.Fatal(err)
		}
		w.await("the new one", 10*time.Second, func() bool { return w.say(edge.OK, second) })
		if _, ok := f.View().Targets[first.ID]; ok {
			t.Error("the old one is still judged")
		}
		plan.Targets = []Target{first, second}
		if err := f.Use(plan); err != nil {
			t.Fatal(err)
		}
		if v := f.View().Targets[first.ID].Verdict; v != edge.Dead {
			t.Errorf("it returns as %v, want dead", v)
		}
	})
}
