package announcer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edged/bgp"
)

// fakeNodes are nodes that tell their status in 70 ms, take 100 ms for each other
// call, and 3 s to do as planned.
type fakeNodes struct {
	t     *testing.T
	began time.Time

	mu    sync.Mutex
	nodes map[string]*fakeNode
	kept  *bgp.Rollout // what was made durable last
	log   []string
	most  int // calls at once
	now   int
}

type fakeNode struct {
	plan     bgp.NodePlan
	ready    time.Time
	away     bool // no call arrives, each takes its whole time
	answers  bgp.Tally
	servfail bool // 5 % from now on
	asked    time.Time
	refuses  string
	calls    int
}

var errAway = errors.New("no route to host")

func (f *fakeNodes) say(format string, args ...any) {
	f.log = append(f.log, fmt.Sprintf("%.1f %s", time.Since(f.began).Seconds(), fmt.Sprintf(format, args...)))
}

func (f *fakeNodes) enter(ctx context.Context, node string, wait time.Duration) (*fakeNode, error) {
	f.mu.Lock()
	n := f.nodes[node]
	away := n.away
	f.now++
	f.most = max(f.most, f.now)
	f.mu.Unlock()
	if away {
		wait = time.Hour
	}
	var err error
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		err = errAway
	}
	f.mu.Lock()
	f.now--
	return n, err
}

func (f *fakeNodes) Status(ctx context.Context, node string) (bgp.NodeStatus, error) {
	n, err := f.enter(ctx, node, 70*time.Millisecond)
	defer f.mu.Unlock()
	if err != nil {
		return bgp.NodeStatus{}, err
	}
	if passed := time.Since(n.asked).Seconds(); !n.asked.IsZero() {
		n.answers.Queries += uint64(200 * passed)
		if n.servfail {
			n.answers.Servfails += uint64(10 * passed)
		}
	}
	n.asked = time.Now()
	return bgp.NodeStatus{Generation: n.plan.Generation, Plan: n.plan.ID(), Confirmed: time.Now().After(n.ready), Tally: n.answers}, nil
}

func (f *fakeNodes) Probe(context.Context, bgp.Probed) (sights, error) { return nil, nil }

func (f *fakeNodes) Preflight(ctx context.Context, node string, o order) error {
	return f.take(ctx, node, bgp.CallPreflight, o)
}

func (f *fakeNodes) Apply(ctx context.Context, node string, o order) error {
	return f.take(ctx, node, bgp.CallApply, o)
}

func (f *fakeNodes) Restore(ctx context.Context, node string, o order) error {
	return f.take(ctx, node, bgp.CallRestore, o)
}

func (f *fakeNodes) take(ctx context.Context, node string, c bgp.Call, o order) error {
	f.mu.Lock()
	if n := f.nodes[node]; n.calls > 0 {
		f.t.Errorf("%s has two calls at once", node)
	}
	f.nodes[node].calls++
	if c != bgp.CallPreflight && (f.kept == nil || !f.kept.Nodes[node].Touched) {
		f.t.Errorf("%s of %s, before it is kept that it is touched", c, node)
	}
	f.mu.Unlock()
	n, err := f.enter(ctx, node, 100*time.Millisecond)
	defer f.mu.Unlock()
	n.calls--
	if err != nil {
		return err
	}
	if n.refuses != "" {
		return &refused{n.refuses}
	}
	if err := o.Plan.CanReplace(n.plan, c == bgp.CallRestore); err != nil {
		return &refused{err.Error()}
	}
	if c != bgp.CallPreflight && n.plan.Generation != o.Plan.Generation {
		n.plan, n.ready = o.Plan, time.Now().Add(3*time.Second)
		f.say("%s %s: %s", node, o.Actor, o.Cause)
	}
	return nil
}

func (f *fakeNodes) save(r *bgp.Rollout) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = r
	return nil
}

func (f *fakeNodes) tell(r *bgp.Rollout) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if line := r.String(); len(f.log) == 0 || !strings.HasSuffix(f.log[len(f.log)-1], line) {
		f.say("%s", line)
	}
}

// rolloutAmong returns nodes with ns1, and a rollout of ns2 to them.
func rolloutAmong(t *testing.T, names ...string) (*fakeNodes, *bgp.Rollout) {
	t.Helper()
	f := &fakeNodes{t: t, began: time.Now(), nodes: map[string]*fakeNode{}}
	ns1, ns2 := ns("ns1", "198.51.100.53/32"), ns("ns2", "2001:db8::53/128")
	p := bgp.FleetPlan{ID: "p1", Selector: "all"}
	for _, name := range names {
		prior := bgp.NodePlan{Node: name, PoP: strings.TrimRight(name, "0123456789"), Generation: 4, VIPs: []bgp.VIP{ns1}}
		next := bgp.Pending(prior, []bgp.VIP{ns1, ns2}, nil)
		p.Steps = append(p.Steps, bgp.NodeStep{Prior: prior, Plan: next, Adds: ns2.Prefixes})
		p.Changes = append(p.Changes, bgp.Diff(prior, next, nil, nil)...)
		f.nodes[name] = &fakeNode{plan: prior}
	}
	r, err := bgp.NewRollout(p, 20*time.Second, "ada", "more capacity")
	if err != nil {
		t.Fatal(err)
	}
	return f, r
}

// running runs a coordinator until the test's function returns.
func running(t *testing.T, f *fakeNodes, kept *bgp.Rollout, do func(c *coordinator)) {
	t.Helper()
	c := newCoordinator(f, kept, f.save, f.tell)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		c.run(ctx)
		close(ended)
	}()
	do(c)
	cancel()
	<-ended
	if f.now != 0 {
		t.Errorf("%d calls are under way after the end", f.now)
	}
}

// until waits for a phase, in the bubble's time.
func until(t *testing.T, c *coordinator, phase bgp.Phase, most time.Duration) {
	t.Helper()
	for end := time.Now().Add(most); c.view().Phase != phase; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s in %s: %s", phase, most, c.view())
		}
	}
}

func (f *fakeNodes) expect(want string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSpace(want), "\n") {
		lines = append(lines, strings.TrimSpace(line))
	}
	if got := strings.Join(f.log, "\n"); got != strings.Join(lines, "\n") {
		f.t.Errorf("log\n%s\nwant\n%s", got, strings.Join(lines, "\n"))
	}
}

func TestCoordinatorRollsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := rolloutAmong(t, "ams1", "fra1")
		running(t, f, nil, func(c *coordinator) {
			if c.view() != nil || c.steer(Steering{Action: "pause"}) == nil {
				t.Error("there is a rollout before the first")
			}
			if err := c.begin(r); err != nil {
				t.Fatal(err)
			}
			if err := c.begin(r.Clone()); err == nil || !strings.HasPrefix(err.Error(), "there is a rollout already: plan p1: wave 1 of 2 (ams1): ") {
				t.Errorf("a second one: %v", err)
			}
			const other = "its rollout is not that of plan p0 any more: that of plan p1 has begun"
			if err := c.steer(Steering{Action: "pause", Plan: "p0"}); err == nil || err.Error() != other {
				t.Errorf("pause of another plan: %v, want %q", err, other)
			}
			until(t, c, bgp.PhaseDone, 2*time.Minute)
		})
		f.expect(`
			0.0 plan p1: wave 1 of 2 (ams1): planned
			0.1 plan p1: wave 1 of 2 (ams1): preflight
			0.2 plan p1: wave 1 of 2 (ams1): acting
			0.3 ams1 ada: apply of plan p1: more capacity
			1.1 plan p1: wave 1 of 2 (ams1): confirming
			4.1 plan p1: wave 1 of 2 (ams1): baking
			24.1 plan p1: wave 2 of 2 (fra1): preflight
			24.2 plan p1: wave 2 of 2 (fra1): acting
			24.3 fra1 ada: apply of plan p1: more capacity
			25.1 plan p1: wave 2 of 2 (fra1): confirming
			28.1 plan p1: wave 2 of 2 (fra1): baking
			48.1 plan p1: wave 2 of 2 (fra1): done`)
	})
}

// TestCoordinatorAborts: 5 % SERVFAIL on the first node, and it has its earlier
// plan back within 10 s, long before the bake ends.
func TestCoordinatorAborts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := rolloutAmong(t, "ams1", "fra1")
		running(t, f, nil, func(c *coordinator) {
			if err := c.begin(r); err != nil {
				t.Fatal(err)
			}
			until(t, c, bgp.PhaseBaking, time.Minute)
			f.mu.Lock()
			f.nodes["ams1"].servfail = true
			f.mu.Unlock()
			since := time.Now()
			until(t, c, bgp.PhaseAborted, time.Minute)
			if took := time.Since(since); took >= 10*time.Second {
				t.Errorf("restored after %s, want less than 10s", took)
			}
			if !strings.HasPrefix(c.view().Cause, "ams1 answered ") {
				t.Errorf("cause %q", c.view().Cause)
			}
			step, _ := r.Plan.Step("ams1")
			if n := f.nodes["ams1"]; n.plan.ID() != step.Prior.ID() || f.nodes["fra1"].plan.Generation != 4 {
				t.Errorf("ams1 has %+v", n.plan)
			}
		})
	})
}

// TestCoordinatorPassesOverAbsent rolls back while a node is away, and restores
// that when it is there again.
func TestCoordinatorPassesOverAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := rolloutAmong(t, "ams1", "fra1", "lhr1")
		running(t, f, nil, func(c *coordinator) {
			if err := c.begin(r); err != nil {
				t.Fatal(err)
			}
			until(t, c, bgp.PhaseDone, 5*time.Minute)
			away := func(yes bool) {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.nodes["lhr1"].away = yes
			}
			away(true)
			if err := c.steer(Steering{Action: "rollback", Actor: "bob", Reason: "wrong address"}); err != nil {
				t.Fatal(err)
			}
			until(t, c, bgp.PhaseAborted, time.Minute)
			if left := c.view().Nodes["lhr1"].Left; left != "not restored: it was not reached for 15s; it will be when it can" {
				t.Errorf("lhr1: %q", left)
			}
			away(false)
			time.Sleep(20 * time.Second)
			for _, s := range r.Plan.Steps {
				if n := f.nodes[s.Plan.Node]; n.plan.ID() != s.Prior.ID() || !c.view().Nodes[s.Plan.Node].Restored {
					t.Errorf("%s has %+v, %+v", s.Plan.Node, n.plan, c.view().Nodes[s.Plan.Node])
				}
			}
		})
	})
}

// TestCoordinatorCallsNothingUnkept: as long as the rollout cannot be made
// durable, no node is touched.
func TestCoordinatorCallsNothingUnkept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := rolloutAmong(t, "ams1")
		full := true
		save := func(r *bgp.Rollout) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if full && r.Phase != bgp.PhasePlanned {
				return errors.New("no space left on device")
			}
			f.kept = r
			return nil
		}
		c := newCoordinator(f, nil, save, f.tell)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { c.run(ctx); close(ended) }()
		if err := c.begin(r); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if f.nodes["ams1"].plan.Generation != 4 || c.view().Phase == bgp.PhaseBaking {
			t.Errorf("generation %d, %s", f.nodes["ams1"].plan.Generation, c.view())
		}
		f.mu.Lock()
		full = false
		f.mu.Unlock()
		until(t, c, bgp.PhaseDone, time.Minute)
		cancel()
		<-ended
	})
}

// TestCoordinatorStopsUnkept: with a full disk a rollout can be paused, aborted and not
// resumed; what was done is done again after a restart, without harm.
func TestCoordinatorStopsUnkept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := rolloutAmong(t, "ams1", "fra1")
		full := false
		fill := func(yes bool) {
			f.mu.Lock()
			defer f.mu.Unlock()
			full = yes
		}
		save := func(r *bgp.Rollout) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if full {
				return errors.New("no space left on device")
			}
			f.kept = r
			return nil
		}
		coordinate := func(kept *bgp.Rollout, do func(*coordinator)) {
			c := newCoordinator(f, kept, save, f.tell)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { c.run(ctx); close(ended) }()
			do(c)
			cancel()
			<-ended
		}
		step, _ := r.Plan.Step("ams1")
		const why = "; this is in force, but could not be written, and a restart of the node that rolls it out forgets it: no space left on device"
		coordinate(nil, func(c *coordinator) {
			if err := c.begin(r); err != nil {
				t.Fatal(err)
			}
			until(t, c, bgp.PhaseBaking, time.Minute)
			fill(true)
			if err := c.steer(Steering{Action: "pause", Actor: "ada", Reason: "odd"}); err != nil {
				t.Fatalf("pause: %v", err)
			}
			const paused = "plan p1: wave 1 of 2 (ams1): paused while baking: paused by ada: odd"
			if got := c.view().String(); got != paused+why {
				t.Errorf("paused: %q, want %q", got, paused+why)
			}
			if err := c.steer(Steering{Action: "resume", Actor: "ada", Reason: "fine"}); err == nil || err.Error() != "it stays paused: no space left on device" {
				t.Errorf("resume: error %v", err)
			}
			time.Sleep(time.Minute)
			if got := c.view().String(); got != paused+why {
				t.Errorf("a minute later: %q, want %q", got, paused+why)
			}
			if err := c.steer(Steering{Action: "abort", Actor: "ada", Reason: "wrong"}); err != nil {
				t.Fatalf("abort: %v", err)
			}
			until(t, c, bgp.PhaseAborted, 10*time.Second)
			if got, want := c.view().String(), "plan p1: wave 1 of 2 (ams1): aborted: aborted by ada: wrong"+why; got != want {
				t.Errorf("aborted: %q, want %q", got, want)
			}
			if got := f.nodes["ams1"].plan; got.ID() != step.Prior.ID() || got.Generation != 6 {
				t.Errorf("ams1 has %+v", got)
			}
			if err := c.begin(r.Clone()); err == nil || c.view().Phase != bgp.PhaseAborted {
				t.Errorf("another one begins: %v, %s", err, c.view())
			}
		})
		again := f.kept.Clone()
		again.Loaded()
		if again.Phase != bgp.PhasePaused || again.Before != bgp.PhaseBaking {
			t.Fatalf("after a restart: %s", again)
		}
		coordinate(again.Clone(), func(c *coordinator) {
			fill(false)
			if err := c.steer(Steering{Action: "resume", Actor: "ada", Reason: "forgot"}); err != nil {
				t.Fatal(err)
			}
			until(t, c, bgp.PhaseAborted, 10*time.Second)
			if got, want := c.view().Cause, "ams1 has another plan now: generation 6 ("+step.Prior.ID()+")"; got != want {
				t.Errorf("resumed after a restart: cause %q, want %q", got, want)
			}
		})
		coordinate(again, func(c *coordinator) {
			fill(true)
			if err := c.steer(Steering{Action: "abort", Actor: "ada", Reason: "wrong"}); err != nil {
				t.Fatal(err)
			}
			until(t, c, bgp.PhaseAborted, 10*time.Second)
			if got := f.nodes["ams1"].plan.Generation; got != 6 || !c.view().Nodes["ams1"].Restored {
				t.Errorf("ams1 has generation %d, want 6 as before: %s", got, c.view())
			}
			fill(false)
			time.Sleep(2 * time.Second)
			if got, want := c.view().String(), "plan p1: wave 1 of 2 (ams1): aborted: aborted by ada: wrong"; got != want || f.kept.String() != want {
				t.Errorf("with room again: %q, kept %q, want %q", got, f.kept, want)
			}
		})
	})
}

// TestCoordinatorRefused: a node that says no aborts its wave at once.
func TestCoordinatorRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := rolloutAmong(t, "ams1", "fra1")
		f.nodes["ams1"].refuses = "ns1 is held"
		running(t, f, nil, func(c *coordinator) {
			if err := c.begin(r); err != nil {
				t.Fatal(err)
			}
			until(t, c, bgp.PhaseAborted, 5*time.Second)
			if want := "ams1 refuses its plan: ns1 is held"; c.view().Cause != want {
				t.Errorf("cause %q, want %q", c.view().Cause, want)
			}
		})
	})
}

// TestCoordinatorStartsPaused: what was under way when the node died waits for an
// operator; then all comes to its end.
func TestCoordinatorStartsPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := rolloutAmong(t, "ams1", "fra1")
		running(t, f, nil, func(c *coordinator) {
			if err := c.begin(r); err != nil {
				t.Fatal(err)
			}
			until(t, c, bgp.PhaseConfirming, time.Minute)
		})
		again := f.kept.Clone()
		again.Loaded()
		running(t, f, again, func(c *coordinator) {
			time.Sleep(10 * time.Minute)
			if got := c.view(); got.Phase != bgp.PhasePaused || f.nodes["fra1"].plan.Generation != 4 {
				t.Errorf("ten minutes after the restart: %s", got)
			}
			for _, s := range []Steering{{Action: "go"}, {Action: "pause", Actor: "ada", Reason: "x"}} {
				if err := c.steer(s); err == nil {
					t.Errorf("%s: no error", s.Action)
				}
			}
			if err := c.steer(Steering{Action: "resume", Actor: "ada"}); err != nil {
				t.Fatal(err)
			}
			until(t, c, bgp.PhaseDone, 5*time.Minute)
		})
	})
}

// TestCoordinatorWithManyNodes bounds the calls at once, also when none answers.
func TestCoordinatorWithManyNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 60 {
			names = append(names, fmt.Sprintf("p%c%c%d", 'a'+i/26, 'a'+i%26, 1))
		}
		slices.Sort(names)
		f, r := rolloutAmong(t, names...)
		running(t, f, nil, func(c *coordinator) {
			if err := c.begin(r); err != nil {
				t.Fatal(err)
			}
			until(t, c, bgp.PhaseDone, 10*time.Minute)
		})
		if f.most > 2*callsAtOnce {
			t.Errorf("%d calls at once, want at most %d", f.most, 2*callsAtOnce)
		}
	})
}
