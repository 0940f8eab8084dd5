package override

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"edged/health"
)

// Mesh carries messages to other members. Both may be called from several
// goroutines at once, and Send may take its time.
type Mesh interface {
	// Broadcast spreads a message; a newer one of the same key replaces it.
	Broadcast(key string, msg []byte)
	// Send passes a message to one member. Nil does not mean that it arrived.
	Send(node string, msg []byte) error
}

// Config is what an engine needs. The functions may be called at any time, from
// any goroutine, and must not call the engine.
type Config struct {
	Fleet       string // signatures hold in this fleet only
	Self        string // this node's name
	Key         ed25519.PrivateKey
	Incarnation uint64 // counts this node's starts: never one that was used before

	Members func() []health.Member // all of the fleet, with this node; none or only it: alone
	World   func() ([]Rule, Fleet) // what the configuration says now; read-only
	Down    func(Endpoint) bool    // whether checks find it down now; nil: they never do
	Mesh    Mesh                   // not needed when alone
	Path    string                 // the store file; empty: kept in memory only
	Now     func() time.Time       // nil: time.Now
	Changed func()                 // the set changed: ask for the View; nil: nobody cares
}

// Engine holds this node's set of overrides and keeps it the same as the
// fleet's.
type Engine struct {
	cfg   Config
	turn  chan struct{} // holds one token: who has it may propose; taken before mu
	mu    sync.Mutex    // guards what follows
	set   *Set
	clock uint64              // highest version seen
	count uint64              // changes accepted in this incarnation
	seen  map[string]proposed // by node: the newest proposal
	await *pending            // acks to this are wanted; nil: none are
	stats Stats
}

// Stats counts what came in since the start.
type Stats struct {
	Proposals uint64 // asked for this node's ack
	Refused   uint64 // of which it refused
	Commits   uint64 // taken, also by push/pull
	Repeats   uint64 // messages that were known or no longer needed
	Forged    uint64
	Replayed  uint64
	Malformed uint64
	Unsaved   uint64 // changes that could not be written to disk
}

// New returns an engine that starts with a set, as [Load] gives it.
func New(cfg Config, set *Set) (*Engine, error) {
	if len(cfg.Key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("the node key has %d octets, want %d", len(cfg.Key), ed25519.PrivateKeySize)
	}
	if err := checkName(cfg.Self); err != nil || isGlob(cfg.Self) {
		return nil, fmt.Errorf("node name %q is not fit for override ids", cfg.Self)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	e := &Engine{cfg: cfg, turn: make(chan struct{}, 1), set: set, clock: set.version(), seen: map[string]proposed{}}
	for _, r := range set.records() {
		if last, ok := e.seen[r.id().Node]; !ok || last.id.compare(r.id()) < 0 {
			e.seen[r.id().Node] = proposed{r.id(), r.hash()}
		}
		if r.id().Node == cfg.Self && r.id().Incarnation >= cfg.Incarnation {
			return nil, fmt.Errorf("incarnation %d was used already, by override %s", cfg.Incarnation, r.id())
		}
	}
	return e, nil
}

// Begin goes on under a higher incarnation, when it shows that the one so far
// was used before.
func (e *Engine) Begin(incarnation uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if incarnation > e.cfg.Incarnation {
		e.cfg.Incarnation, e.count = incarnation, 0
	}
}

// View returns which overrides apply now.
func (e *Engine) View() *View {
	rules, fleet := e.cfg.World()
	return e.ViewUnder(rules, fleet)
}

// ViewUnder returns which overrides would apply now under other rules or
// another fleet. A reload asks it first: a stricter rule suspends overrides, and
// then a drained PoP would be answered again.
func (e *Engine) ViewUnder(rules []Rule, fleet Fleet) *View {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.cfg.Now()
	e.set.prune(now)
	return e.set.View(rules, fleet, now)
}

// Stats returns the counters.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stats
}

// Result is what became of a request.
type Result struct {
	Overrides []Override `json:"overrides"`        // made, or cleared; in a dry run those that would be cleared
	Effect    Effect     `json:"effect,omitzero"`  // of a new override
	Members   []string   `json:"members,omitzero"` // who acknowledged it, this node first
}

// Submit carries out a request, or says why not. Nothing changes when it errs,
// except that of a clear of more than four overrides a part may be done. It waits
// for a majority of the members for at most AckWait (for each four, when it
// clears), and for other requests made of this node before.
func (e *Engine) Submit(ctx context.Context, q Request) (Result, error) {
	if err := q.Check(); err != nil {
		return Result{}, err
	}
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return Result{}, fmt.Errorf("%s: %w", q.String(), ctx.Err())
	}
	if q.Action == Clear {
		return e.submitClear(ctx, q)
	}
	return e.submitPut(ctx, q)
}

func (e *Engine) submitPut(ctx context.Context, q Request) (Result, error) {
	rules, fleet := e.cfg.World()
	down := e.down(fleet)
	e.mu.Lock()
	now := e.cfg.Now()
	o := q.override()
	effect, err := e.set.PlanWith(o, rules, fleet, down, now)
	if err != nil || q.DryRun {
		e.mu.Unlock()
		return Result{Effect: effect}, err
	}
	o.ID, o.Version = e.stamp()
	e.mu.Unlock()
	o.Created = now.UTC().Truncate(time.Second)
	if q.For > 0 {
		o.Expires = now.Add(q.For).UTC().Add(time.Second - 1).Truncate(time.Second)
	}
	c := change{put: &o}
	if o.Local {
		err := e.keep(record{change: c})
		return Result{Overrides: []Override{o}, Effect: effect}, err
	}
	members, err := e.propose(ctx, q.String(), c)
	if err != nil {
		return Result{Effect: effect}, err
	}
	if err := e.commit(c); err != nil {
		return Result{Effect: effect}, err
	}
	return Result{Overrides: []Override{o}, Effect: effect, Members: members}, nil
}

// down is what checks find down, by endpoint.
func (e *Engine) down(f Fleet) []bool {
	if e.cfg.Down == nil {
		return nil
	}
	down := make([]bool, len(f.Endpoints))
	for i, p := range f.Endpoints {
		down[i] = e.cfg.Down(p)
	}
	return down
}

func (e *Engine) submitClear(ctx context.Context, q Request) (Result, error) {
	e.mu.Lock()
	named := e.set.named(q.Clear, e.cfg.Now())
	e.mu.Unlock()
	var fleet, local []Override
	for _, o := range named {
		if o.Local {
			local = append(local, o)
		} else {
			fleet = append(fleet, o)
		}
	}
	switch {
	case len(named) == 0:
		return Result{}, fmt.Errorf("clear %s: there is no such override: see edged overrides", q.Clear)
	case q.Local && len(local) == 0:
		return Result{}, fmt.Errorf("clear %s: it is the whole fleet's: leave --local out", q.Clear)
	case q.Local:
		named, fleet = local, nil
	}
	done := Result{Overrides: named}
	if q.DryRun {
		return done, nil
	}
	for part := range slices.Chunk(fleet, maxCleared) {
		at := e.cfg.Now().UTC().Truncate(time.Second)
		l := &Clearing{Owner: q.Owner, Reason: q.Reason, At: at, Keep: keepUntil(part, at)}
		for _, o := range part {
			l.Cleared = append(l.Cleared, o.ID)
		}
		e.mu.Lock()
		l.ID, l.Version = e.stamp()
		e.mu.Unlock()
		members, err := e.propose(ctx, q.String(), change{clear: l})
		if err != nil {
			return Result{}, err
		}
		if err := e.commit(change{clear: l}); err != nil {
			return Result{}, err
		}
		done.Members = members
	}
	if len(local) > 0 {
		return done, e.dropLocal(local)
	}
	return done, nil
}

// stamp returns the ID and version of the next change. The caller holds mu.
func (e *Engine) stamp() (ID, uint64) {
	e.count++
	e.clock++
	return ID{Node: e.cfg.Self, Incarnation: e.cfg.Incarnation, Counter: e.count}, e.clock
}

// keep takes a change of this node's into the set, if it can be saved and
// still breaks no rule.
func (e *Engine) keep(r record) error {
	rules, fleet := e.cfg.World()
	e.mu.Lock()
	now := e.cfg.Now()
	if r.put != nil {
		if _, err := e.set.Plan(*r.put, rules, fleet, now); err != nil {
			e.mu.Unlock()
			return err
		}
	}
	next := e.set.clone()
	err := next.add(r, now)
	if err == nil {
		err = e.save(next, now)
	}
	if err == nil {
		e.set = next
	}
	e.mu.Unlock()
	if err != nil {
		return err
	}
	e.cfg.Changed()
	return nil
}

// commit keeps a change that a majority acknowledged and tells everybody.
func (e *Engine) commit(c change) error {
	r := e.vouch(c)
	if err := e.keep(r); err != nil {
		return err
	}
	e.broadcast(c.id(), r.commit())
	return nil
}

// vouch returns the change as committed, with this node's signature.
func (e *Engine) vouch(c change) record {
	msg := seal(e.cfg.Fleet, e.cfg.Key, appendChange(kindCommit, e.cfg.Self, c))
	return record{
		change: c, signer: e.cfg.Self,
		sig: msg[len(msg)-ed25519.SignatureSize:], key: e.cfg.Key.Public().(ed25519.PublicKey),
	}
}

func (e *Engine) broadcast(id ID, commit []byte) {
	if e.cfg.Mesh != nil {
		e.cfg.Mesh.Broadcast("override/"+id.String(), commit)
	}
}

// dropLocal ends overrides of this node only.
func (e *Engine) dropLocal(local []Override) error {
	e.mu.Lock()
	next := e.set.clone()
	for _, o := range local {
		delete(next.live, o.ID)
	}
	err := e.save(next, e.cfg.Now())
	if err == nil {
		e.set = next
	}
	e.mu.Unlock()
	if err == nil {
		e.cfg.Changed()
	}
	return err
}

// save writes a set that is about to be used. The caller holds mu.
func (e *Engine) save(s *Set, now time.Time) error {
	s.prune(now)
	if e.cfg.Path == "" {
		return nil
	}
	err := s.Save(e.cfg.Path)
	if err != nil {
		e.stats.Unsaved++
	}
	return err
}

// clone returns a set that can be changed apart. Records are shared: they do
// not change.
func (s *Set) clone() *Set {
	return &Set{live: maps.Clone(s.live), clears: maps.Clone(s.clears), gone: maps.Clone(s.gone), ahead: maps.Clone(s.ahead)}
}

// key returns a member's key.
func (e *Engine) key(name string) (ed25519.PublicKey, bool) {
	for _, m := range e.cfg.Members() {
		if m.Name == name {
			return m.Key, len(m.Key) == ed25519.PublicKeySize
		}
	}
	return nil, false
}

// counted keeps the books on messages that were not taken; it returns err.
func (e *Engine) counted(err error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case errors.Is(err, ErrMalformed):
		e.stats.Malformed++
	case errors.Is(err, ErrForged):
		e.stats.Forged++
	case errors.Is(err, ErrReplayed):
		e.stats.Replayed++
	}
	return err
}
