package announcer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"edged/bgp"
)

const (
	rolloutEvery  = time.Second
	statusTimeout = 2 * time.Second
	callTimeout   = 5 * time.Second
	callsAtOnce   = 16
)

// nodes carries a rollout's calls to nodes, this one among them. Each returns nil
// when the node did what it was asked, a *refused when the node said that it will
// not, and any other error when nobody knows what became of the call. Status has
// no refusal.
type nodes interface {
	Preflight(ctx context.Context, node string, o order) error
	Apply(ctx context.Context, node string, o order) error
	Restore(ctx context.Context, node string, o order) error
	Status(ctx context.Context, node string) (bgp.NodeStatus, error)
	Probe(ctx context.Context, q bgp.Probed) (sights, error)
}

// refused is what a node answers that will not do what it was asked.
type refused struct{ why string }

func (r *refused) Error() string { return r.why }

// coordinator rolls plans out, one at a time. Each second it asks the nodes how
// they are, takes a step, has it made durable and makes the calls. A node has one
// call at a time; a slow one keeps no other waiting. It calls save and tell under
// its lock: they may not call it.
//
// What changes nodes waits until it is durable. To stop, and to give back what nodes
// had, does not: that must work with a full disk. A restart forgets it, and comes up
// with an older step, paused. All nodes that were given a plan are touched in that one,
// too, for this was durable before. So a second abort restores the same nodes: those
// that have their earlier plan back are seen to have it, and a restore that comes
// twice is stored once, for it has the same generation. To resume instead aborts, for
// nodes that were restored have another plan than the wave gave them, or refuse it.
type coordinator struct {
	nodes nodes
	save  func(*bgp.Rollout) error // makes it durable
	tell  func(*bgp.Rollout)       // of a new phase or wave
	began time.Time
	wake  chan struct{}
	slots chan struct{} // one for each call under way

	mu      sync.Mutex // guards what follows; held over save, so that no step is lost
	rollout *bgp.Rollout
	told    string          // what was told last, in words
	busy    map[string]bool // nodes with a call under way
	calls   sync.WaitGroup
}

func newCoordinator(n nodes, kept *bgp.Rollout, save func(*bgp.Rollout) error, tell func(*bgp.Rollout)) *coordinator {
	return &coordinator{
		nodes: n, save: save, tell: tell, began: time.Now(), wake: make(chan struct{}, 1),
		slots: make(chan struct{}, callsAtOnce), rollout: kept, busy: map[string]bool{},
	}
}

func (c *coordinator) now() time.Duration { return time.Since(c.began) }

func (c *coordinator) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run rolls out until the context ends, and returns when no call is under way.
func (c *coordinator) run(ctx context.Context) {
	t := time.NewTicker(rolloutEvery)
	defer t.Stop()
	defer c.calls.Wait()
	for {
		c.round(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-c.wake:
		}
	}
}

// begin starts a rollout. It errs when another one has not ended, or still owes nodes what they
// had before, which would be forgotten, but those to be left as they are.
func (c *coordinator) begin(r *bgp.Rollout, leave ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rollout != nil && !c.rollout.Ended() {
		return fmt.Errorf("there is a rollout already: %s: wait for it, or abort it", c.rollout)
	}
	if c.rollout != nil {
		for _, node := range c.rollout.Owing() {
			if !slices.Contains(leave, node) {
				return fmt.Errorf("the last rollout of this node, of plan %s, still is to give %s back what it had: %s: "+
					"wait for that, roll out from another node, or say --leave %s to have it stay as it is", c.rollout.Plan.ID, node, c.rollout.Nodes[node].Left, node)
			}
		}
	}
	before := c.rollout
	c.rollout = r
	if err := c.kept(); err != nil {
		c.undo(before)
		return err
	}
	c.poke()
	return nil
}

// owing returns the nodes that are still to get back what they had.
func (c *coordinator) owing() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rollout == nil {
		return nil
	}
	return c.rollout.Owing()
}

// undo takes back what could not be made durable, here and where it was to be kept.
// The caller holds the lock.
func (c *coordinator) undo(before *bgp.Rollout) {
	c.rollout = before
	if before != nil {
		before = before.Clone()
		before.Unsaved = ""
	}
	_ = c.save(before) // it fails, too; what it was given is kept when that can be
}

// steer does what an operator wants of the rollout. Only to go on fails when it cannot
// be made durable; that all else was not is told by the rollout itself.
func (c *coordinator) steer(s Steering) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.rollout == nil:
		return errors.New("this node has rolled nothing out")
	case s.Plan != "" && s.Plan != c.rollout.Plan.ID:
		return fmt.Errorf("its rollout is not that of plan %s any more: that of plan %s has begun", s.Plan, c.rollout.Plan.ID)
	}
	before := c.rollout.Clone()
	var err error
	switch r, now := c.rollout, c.now(); s.Action {
	case "pause":
		err = r.Pause(now, s.Actor, s.Reason)
	case "resume":
		err = r.Resume(now, s.Actor, s.Reason)
	case "abort":
		err = r.Abort(now, s.Actor, s.Reason)
	case "rollback":
		err = r.Rollback(now, s.Actor, s.Reason, s.Force)
	default:
		err = fmt.Errorf("unknown action %q", s.Action) // not reached: see Steering.check
	}
	if err != nil {
		return err
	}
	c.poke()
	if err := c.kept(); err != nil && s.Action == "resume" {
		c.undo(before)
		return fmt.Errorf("it stays paused: %w", err)
	}
	return nil
}

// view returns the last rollout as it stands; nil: there was none.
func (c *coordinator) view() *bgp.Rollout {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rollout == nil {
		return nil
	}
	return c.rollout.Clone()
}

// kept makes the rollout durable, and tells of it once it is in force. The caller
// holds the lock.
func (c *coordinator) kept() error {
	c.rollout.Unsaved = ""
	r := c.rollout.Clone()
	err := c.save(r)
	if err != nil {
		c.rollout.Unsaved = err.Error()
	}
	if words := r.String(); words != c.told && (err == nil || !r.Running()) {
		c.told = words
		c.tell(r)
	}
	return err
}

// round takes one step.
func (c *coordinator) round(ctx context.Context) {
	c.mu.Lock()
	r := c.rollout
	var watched []string
	var probes []bgp.Probed
	idle := r == nil
	if !idle {
		watched, probes = r.Watched(), r.Probes()
		idle = len(watched) == 0 && (r.Ended() || r.Phase == bgp.PhasePaused) && r.Unsaved == ""
	}
	c.mu.Unlock()
	if idle || ctx.Err() != nil {
		return
	}
	var seen map[string]sights
	var asking sync.WaitGroup
	asking.Go(func() { seen = c.probe(ctx, probes) })
	facts := c.ask(ctx, watched)
	asking.Wait()

	c.mu.Lock()
	defer c.mu.Unlock()
	if r != c.rollout || ctx.Err() != nil {
		return
	}
	for prober, s := range seen {
		r.Saw(prober, s)
	}
	before := r.Clone()
	actions := r.Step(c.now(), facts)
	if r.Unsaved != "" || changed(before, r) {
		if c.kept() != nil && r.Running() {
			return // the calls are asked for again
		}
	}
	for _, a := range actions {
		c.call(ctx, r, a)
	}
	if r.Phase != before.Phase {
		c.poke()
	}
}

// changed says whether there is something new to keep and tell.
func changed(before, after *bgp.Rollout) bool {
	if before.Phase != after.Phase || before.Wave != after.Wave {
		return true
	}
	for node, p := range after.Nodes {
		if b := before.Nodes[node]; b.Touched != p.Touched || b.Restored != p.Restored || b.Left != p.Left || b.Owed != p.Owed {
			return true
		}
	}
	return false
}

// ask asks nodes how they are, all at once.
func (c *coordinator) ask(ctx context.Context, watched []string) map[string]bgp.NodeFacts {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var mu sync.Mutex
	facts := map[string]bgp.NodeFacts{}
	var all sync.WaitGroup
	slots := make(chan struct{}, callsAtOnce)
	for _, node := range watched {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			status, err := c.nodes.Status(ctx, node)
			mu.Lock()
			defer mu.Unlock()
			facts[node] = bgp.NodeFacts{Reached: err == nil, NodeStatus: status}
		})
	}
	all.Wait()
	return facts
}

// probe has members ask through VIPs, all at once. Who does not answer saw nothing.
func (c *coordinator) probe(ctx context.Context, probes []bgp.Probed) map[string]sights {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var mu sync.Mutex
	seen := map[string]sights{}
	var all sync.WaitGroup
	for _, q := range probes {
		all.Go(func() {
			s, err := c.nodes.Probe(ctx, q)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				seen[q.Node] = s
			}
		})
	}
	all.Wait()
	return seen
}

// call makes a call beside the rounds, unless the node has one under way. The
// caller holds the lock.
func (c *coordinator) call(ctx context.Context, r *bgp.Rollout, a bgp.Action) {
	if c.busy[a.Node] {
		return
	}
	c.busy[a.Node] = true
	do := map[bgp.Call]func(context.Context, string, order) error{
		bgp.CallPreflight: c.nodes.Preflight, bgp.CallApply: c.nodes.Apply, bgp.CallRestore: c.nodes.Restore,
	}[a.Call]
	cause := r.Reason
	if a.Call == bgp.CallRestore {
		cause = r.Cause
	}
	o := order{Plan: a.Plan, Actor: r.Actor, Cause: fmt.Sprintf("%s of plan %s: %s", a.Call, r.Plan.ID, cause)}
	c.calls.Go(func() {
		c.slots <- struct{}{}
		defer func() { <-c.slots }()
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		err := do(ctx, a.Node, o)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.busy, a.Node)
		if r != c.rollout {
			return
		}
		no, isRefusal := errors.AsType[*refused](err)
		if err != nil && !isRefusal {
			return // whether it arrived, the status will tell
		}
		why := ""
		if isRefusal {
			why = no.why
		}
		before := r.Clone()
		r.Result(c.now(), a.Node, a.Call, why)
		if changed(before, r) {
			_ = c.kept() // if it fails, the next round tries again before its calls
			c.poke()
		}
		if a.Call == bgp.CallPreflight {
			c.poke()
		}
	})
}
