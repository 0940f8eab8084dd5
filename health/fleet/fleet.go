package fleet

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"edged/edge"
	"edged/health"
	"edged/health/gossip"
	"edged/health/override"
	"edged/health/probe"
)

const (
	digestEvery   = 5 * time.Second        // an observer's renewal of all it said
	gatherFor     = 100 * time.Millisecond // changes become one batch and one view
	judgeEvery    = time.Second            // observers fall silent without a message
	learnFor      = 10 * time.Second       // how long a node without state waits to hear its own past
	historyLength = 512
	concurrency   = 4096 // probes at once: with all of 8,000 targets dead at the default timings
)

// Target is a target in use, with what it takes to change its verdict.
type Target struct {
	health.Target
	Quorum health.Quorum
}

// Plan is what the configuration says; it may change while the fleet runs.
type Plan struct {
	Targets    []Target
	Observers  int             // members that check each target
	Members    []health.Member // of the configuration; nil: all that are seen
	GossipKeys [][]byte        // the first encrypts
	Rules      []override.Rule // that overrides keep to
	World      override.Fleet  // that overrides are about

	Watched map[override.Endpoint]health.TargetID // of World's endpoints, those that are checked
}

// Config is what a Fleet starts with.
type Config struct {
	Name   string // of the fleet; empty: this node is alone
	Self   health.Member
	Key    ed25519.PrivateKey
	Dir    string // for what must survive a restart; made when first written
	Gossip gossip.Config
	Log    *slog.Logger
	Plan   Plan
	Open   func(health.Target) (probe.Prober, error) // nil: package probe's
	Answer func(question string) string              // to another node's Survey; at most 1000 octets; nil: none
}

// Fleet is the running health of one node. Its methods are safe for concurrent
// use.
type Fleet struct {
	cfg       Config
	store     store
	scheduler *probe.Scheduler
	mesh      atomic.Pointer[gossip.Mesh] // nil: alone, or not started yet
	overrides *override.Engine
	surveys   surveys
	answering sync.Mutex // a survey is being answered
	updates   chan struct{}
	wake      chan struct{}
	told      chan struct{} // closed when another node has told what it knows
	blank     bool          // this node started without any verdicts
	faults    []string      // of the start
	stop      context.CancelFunc
	done      sync.WaitGroup

	names    atomic.Pointer[map[string]bool] // of the configured members; nil: anybody
	starting atomic.Bool
	started  time.Time

	view  atomic.Pointer[health.View]
	ruled atomic.Pointer[override.View]

	mu          sync.Mutex
	plan        Plan
	targets     map[health.TargetID]Target
	mine        map[health.TargetID]*health.Damper     // targets that this node checks
	stated      map[health.TargetID]health.Observation // what this node says of itself: see State
	changed     map[health.TargetID]bool               // of mine and stated, not yet told
	gone        []health.TargetID
	seen        map[string]health.Member  // members ever seen, when none are configured
	links       map[string]netip.AddrPort // where members take calls
	impostors   map[string]time.Time      // when a member was last heard with another key than its own
	journal     *health.Journal           // nil until this node knows its incarnation
	incarnation uint64
	unwritten   error // why the incarnation is not on disk
	matrix      *health.Matrix
	kept        map[health.TargetID]verdict // from the store, for targets that return
	history     []health.Transition         // oldest first
	dirty       bool                        // the store is behind
	news        bool                        // the view says something new
	stats       Stats
	complained  time.Time // when a bad record was last logged
}

// Stats counts what happened since the start.
type Stats struct {
	Probes, Failures uint64 // of this node's own
	Forged, Replayed uint64 // records refused
	Malformed        uint64
	Behind           uint64                  // records that others were missing before
	Transitions      map[edge.Verdict]uint64 // by what verdicts became
	Views            uint64
}

// Start runs health until Stop. It errs when the folder cannot be used or the
// gossip not be started.
func Start(cfg Config) (*Fleet, error) {
	f := &Fleet{
		cfg: cfg, store: store{dir: cfg.Dir}, plan: cfg.Plan,
		updates: make(chan struct{}, 1), wake: make(chan struct{}, 1), told: make(chan struct{}),
		mine: map[health.TargetID]*health.Damper{}, stated: map[health.TargetID]health.Observation{}, changed: map[health.TargetID]bool{},
		seen: map[string]health.Member{}, impostors: map[string]time.Time{}, links: map[string]netip.AddrPort{}, stats: Stats{Transitions: map[edge.Verdict]uint64{}},
	}
	if cfg.Open == nil {
		f.cfg.Open = func(t health.Target) (probe.Prober, error) { return probe.New(t, probe.Options{}) }
	}
	saved, faults := f.store.load()
	f.faults = faults
	f.kept, f.history, f.incarnation = saved.Verdicts, saved.History, saved.Incarnation
	f.blank = len(saved.Verdicts) == 0
	f.started = time.Now()
	f.starting.Store(f.blank)
	for _, m := range saved.Seen {
		f.seen[m.Name] = m
	}
	f.matrix = health.NewMatrix(cfg.Name, f.trusts)
	f.scheduler = probe.NewScheduler(f.cfg.Open, f.report, concurrency)
	if err := f.start(saved.Incarnation); err != nil {
		f.scheduler.Close()
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	f.done.Go(func() { f.run(ctx) })
	return f, nil
}

func (f *Fleet) start(incarnation uint64) error {
	f.use(f.cfg.Plan)
	next, err := f.startOverrides(incarnation + 1)
	if err != nil {
		return err
	}
	if f.alone() || next > 1 { // else others may know of a past
		f.begin(next)
	}
	f.judgeOverrides()
	f.judge(time.Now())
	if !f.alone() {
		g := f.cfg.Gossip
		g.Receiver, g.Allowed, g.Keys = receiver{f}, f.allowed, f.cfg.Plan.GossipKeys
		mesh, err := gossip.Start(g)
		if err != nil {
			return err
		}
		f.mesh.Store(mesh)
	}
	f.locked(func(time.Time) { f.assign() })
	return nil
}

// startFor is how long after a start without any verdicts those that are still
// missing stand in nobody's way: the node learns its past, probes, and hears the
// others. Checks that are further apart than that are not waited for.
const startFor = learnFor + 10*time.Second

// Starting says whether this node knew nothing when it started and does not
// know all yet. While it lasts, a target that is unknown is no worse than one
// that happened to be probed first.
func (f *Fleet) Starting() bool { return f.starting.Load() }

// Stop ends the probes and the gossip and saves the state.
func (f *Fleet) Stop(ctx context.Context) {
	f.stop()
	f.done.Wait()
	f.scheduler.Close()
	if mesh := f.mesh.Load(); mesh != nil {
		mesh.Stop(ctx)
	}
	f.keep()
}

// View returns what the fleet says now. It is immutable.
func (f *Fleet) View() *health.View { return f.view.Load() }

// Updates has an element whenever the view changed since it was last drained.
func (f *Fleet) Updates() <-chan struct{} { return f.updates }

// Use brings another plan into force.
func (f *Fleet) Use(p Plan) error {
	if mesh := f.mesh.Load(); mesh != nil {
		if err := mesh.SetKeys(p.GossipKeys); err != nil {
			return err
		}
	}
	f.locked(func(now time.Time) {
		f.use(p)
		f.assign()
		f.judge(now)
	})
	f.keep()
	f.judgeOverrides()
	return nil
}

// History returns the last transitions, oldest first.
func (f *Fleet) History() []health.Transition {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.history)
}

// Stats returns the counters.
func (f *Fleet) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.stats
	s.Transitions = maps.Clone(s.Transitions)
	return s
}

// Targets returns the targets in use, by id.
func (f *Fleet) Targets() map[health.TargetID]Target {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.targets
}

// impostorFor is how long a key that is not a member's is held against whoever
// uses it.
const impostorFor = 10 * time.Minute

// Impostors names the members that were lately heard with another key than
// theirs.
func (f *Fleet) Impostors() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for name, at := range f.impostors {
		if time.Since(at) < impostorFor {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Faults says what of the kept state could not be used at the start, and what could not be kept
// since and matters.
func (f *Fleet) Faults() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unwritten == nil {
		return f.faults
	}
	return append(slices.Clone(f.faults), fmt.Sprintf("%v; until that is written this node cannot take overrides from operators", f.unwritten))
}

// Incarnation returns how often this node began to tell what it sees; 0: it has
// not yet.
func (f *Fleet) Incarnation() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.journal == nil {
		return 0
	}
	return f.incarnation
}

func (f *Fleet) alone() bool { return f.cfg.Name == "" }

// use replaces the plan. Verdicts of targets that go are kept for when they
// return.
func (f *Fleet) use(p Plan) {
	f.plan = p
	targets := make(map[health.TargetID]Target, len(p.Targets))
	for _, t := range p.Targets {
		if had, dup := targets[t.ID]; dup {
			t.Quorum = stricter(had.Quorum, t.Quorum)
		}
		targets[t.ID] = t
	}
	f.targets = targets
	var names *map[string]bool
	if p.Members != nil {
		names = &map[string]bool{}
		for _, m := range p.Members {
			(*names)[m.Name] = true
		}
	}
	f.names.Store(names)
}

// stricter joins what two pools ask before the verdict on a target that they
// share changes.
func stricter(a, b health.Quorum) health.Quorum {
	q := health.Quorum{MinObservers: max(a.MinObservers, b.MinObservers), MinPoPs: max(a.MinPoPs, b.MinPoPs), Partition: a.Partition}
	if a.Partition == health.Freeze || b.Partition == health.Freeze {
		q.Partition = health.Freeze
	} else if a.Partition == health.Majority || b.Partition == health.Majority {
		q.Partition = health.Majority
	}
	return q
}

// run does what is due until ctx ends.
func (f *Fleet) run(ctx context.Context) {
	digest, judge := time.NewTicker(digestEvery), time.NewTicker(judgeEvery)
	defer digest.Stop()
	defer judge.Stop()
	learn := time.NewTimer(learnFor)
	defer learn.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
			select {
			case <-ctx.Done():
				return
			case <-time.After(gatherFor):
			}
			f.locked(func(now time.Time) { f.tell(now); f.judge(now) })
			f.keep()
			f.overrides.Begin(f.Incarnation())
		case <-digest.C:
			f.locked(f.renew)
		case <-judge.C:
			f.locked(func(now time.Time) { f.assign(); f.judge(now) })
			f.keep()
			f.expire(time.Now())
		case <-learn.C:
			f.locked(func(time.Time) { f.learn(true) })
		}
	}
}

func (f *Fleet) locked(do func(now time.Time)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do(time.Now())
}

// poke has the changes told and judged soon.
func (f *Fleet) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// members returns who belongs to the fleet.
func (f *Fleet) members() []health.Member {
	if f.plan.Members != nil {
		return f.plan.Members
	}
	members := []health.Member{f.cfg.Self}
	for _, m := range f.seen {
		if m.Name != f.cfg.Self.Name {
			members = append(members, m)
		}
	}
	return members
}

// heard returns the members that seem alive, this node among them.
func (f *Fleet) heard() []health.Member {
	mesh := f.mesh.Load()
	if mesh == nil {
		return []health.Member{f.cfg.Self}
	}
	alive := map[string]bool{f.cfg.Self.Name: true}
	for _, p := range mesh.Alive() {
		alive[p.Name] = true
	}
	return slices.DeleteFunc(slices.Clone(f.members()), func(m health.Member) bool { return !alive[m.Name] })
}

func (f *Fleet) announce() {
	select {
	case f.updates <- struct{}{}:
	default:
	}
}
