package fleet

import (
	"crypto/ed25519"
	"errors"
	"net/netip"
	"time"

	"edged/health"
	"edged/health/override"
)

// receiver is the Fleet as the gossip sees it.
type receiver struct{ f *Fleet }

// Receive takes a record.
func (r receiver) Receive(msg []byte) {
	f := r.f
	if override.IsMessage(msg) {
		f.warn(f.overrides.Receive(msg))
		return
	}
	if isSurvey(msg) {
		if !f.receiveSurvey(msg) {
			f.locked(func(time.Time) { f.count(health.ErrMalformed) })
		}
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	applied, err := f.matrix.Apply(msg, time.Now())
	f.count(err)
	if mesh := f.mesh.Load(); mesh != nil {
		if applied.News {
			mesh.Broadcast("", msg) // most of what a node hears comes from others than who said it
		}
		if applied.Behind {
			f.stats.Behind++
			mesh.Repair()
		}
	}
	f.pin(applied.Observer)
	if applied.Changed {
		f.poke()
	}
	f.learn(false)
}

// LocalState returns all that this node knows, for push/pull.
func (r receiver) LocalState() []byte {
	f := r.f
	overrides := f.overrides.State()
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.journal != nil {
		f.read(f.journal.Snapshot(), now)
	}
	return joinState(f.matrix.State(now), overrides)
}

// MergeState takes what another node knows.
func (r receiver) MergeState(state []byte) {
	f := r.f
	records, overrides, ok := splitState(state)
	if !ok {
		f.locked(func(time.Time) { f.count(health.ErrMalformed) })
		return
	}
	_, err := f.overrides.Merge(overrides)
	f.warn(err)
	f.mu.Lock()
	defer f.mu.Unlock()
	changed, errs := f.matrix.Merge(records, time.Now())
	for _, err := range errs {
		f.count(err)
	}
	for _, o := range f.matrix.Observers(time.Now()) {
		f.pin(o.Name)
	}
	f.noteTold()
	if changed {
		f.poke()
	}
	f.learn(false)
}

// Changed says that members came or went.
func (r receiver) Changed() {
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if mesh := f.mesh.Load(); mesh != nil {
		for _, p := range mesh.Alive() {
			if p.Link != 0 {
				f.links[p.Name] = netip.AddrPortFrom(p.Addr.Addr(), p.Link)
			}
		}
	}
	f.assign()
	f.poke()
}

// Link returns where a member takes calls; invalid: it never said. It is known
// on when the gossip does not reach the member any more.
func (f *Fleet) Link(member string) netip.AddrPort {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.links[member]
}

// Key returns the key of a member, if it is known.
func (f *Fleet) Key(member string) (ed25519.PublicKey, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keyOf(member)
}

// warn logs why a message about overrides was not taken.
func (f *Fleet) warn(err error) {
	if err != nil && !errors.Is(err, override.ErrReplayed) {
		f.locked(func(time.Time) { f.complain("health: message about overrides dropped", err) })
	}
}

func (f *Fleet) count(err error) {
	switch {
	case err == nil:
	case errors.Is(err, health.ErrForged):
		f.stats.Forged++
		f.complain("health: forged record dropped", err)
	case errors.Is(err, health.ErrReplayed):
		f.stats.Replayed++
	default:
		f.stats.Malformed++
		f.complain("health: malformed record dropped", err)
	}
}

// complainEvery bounds what bad records add to the log: all are counted.
const complainEvery = 10 * time.Second

func (f *Fleet) complain(what string, err error) {
	if now := time.Now(); now.Sub(f.complained) >= complainEvery {
		f.complained = now
		f.cfg.Log.Warn(what, "error", err)
	}
}

// learn starts or restarts this node's journal: above every incarnation of its
// own that others have heard of. A node without saved state waits for them,
// until it has waited long enough.
func (f *Fleet) learn(waited bool) {
	highest := f.matrix.Highest(f.cfg.Self.Name)
	begin := f.journal == nil && (waited || highest > 0) || f.journal != nil && highest > f.incarnation
	if !begin {
		return
	}
	f.begin(max(highest, f.incarnation) + 1)
}

// trusts says whether a key is an observer's: the configured one, or the one
// that was seen first. The caller holds the lock.
func (f *Fleet) trusts(observer string, key ed25519.PublicKey) bool {
	want, known := f.keyOf(observer)
	trusted := want.Equal(key) || !known && f.plan.Members == nil
	if known && !trusted {
		f.impostors[observer] = time.Now()
	}
	return trusted
}

// keyOf returns the key that a member has, if it is known.
func (f *Fleet) keyOf(observer string) (ed25519.PublicKey, bool) {
	if observer == f.cfg.Self.Name {
		return f.cfg.Self.Key, true
	}
	for _, m := range f.plan.Members {
		if m.Name == observer {
			return m.Key, true
		}
	}
	m, ok := f.seen[observer]
	return m.Key, ok && f.plan.Members == nil
}

// allowed says whether a node may be a member. The gossip asks with a lock of its
// own held, so this takes none.
func (f *Fleet) allowed(name string) bool {
	names := f.names.Load()
	return names == nil || (*names)[name]
}

// pin remembers the key of an observer that is heard for the first time.
func (f *Fleet) pin(observer string) {
	if f.plan.Members != nil || observer == f.cfg.Self.Name {
		return
	}
	if _, ok := f.seen[observer]; ok {
		return
	}
	for _, o := range f.matrix.Observers(time.Now()) {
		if o.Name == observer {
			f.seen[observer] = health.Member{Name: o.Name, PoP: o.PoP, Key: f.matrix.Key(observer)}
			f.dirty = true
			f.cfg.Log.Info("health: member heard for the first time; its key is kept", "member", o.Name, "pop", o.PoP)
		}
	}
}
