package fleet

import (
	"maps"
	"slices"
	"time"

	"edged/edge"
	"edged/health"
)

// judge makes the next view.
func (f *Fleet) judge(now time.Time) {
	in := health.Input{
		Fleet:     health.Fleet{Self: f.cfg.Self.Name, Members: f.members(), Configured: f.plan.Members != nil},
		Observers: f.matrix.Observers(now),
		Quorums:   make(map[health.TargetID]health.Quorum, len(f.targets)),
		Alone:     f.alone(),
	}
	for id, t := range f.targets {
		in.Quorums[id] = t.Quorum
	}
	prev := f.previous()
	next := health.BuildView(in, prev, now)
	f.view.Store(next)
	f.stats.Views++
	transitions := health.Transitions(prev, next)
	for _, t := range transitions {
		f.stats.Transitions[t.To]++
		f.cfg.Log.Info("health: verdict changed", "target", f.targets[t.Target].String(), "from", t.From, "to", t.To, "reason", t.Reason)
	}
	f.history = append(f.history, transitions...)
	f.history = f.history[max(0, len(f.history)-historyLength):]
	f.dirty = f.dirty || len(transitions) > 0
	f.news = f.news || prev.Hash != next.Hash || prev.Frozen != next.Frozen || len(prev.Targets) != len(next.Targets) || nextChanged(prev, next)
	if f.Starting() && (!f.unknown(next) || now.Sub(f.started) > startFor) {
		f.starting.Store(false)
		f.news = true
	}
}

// unknown says whether a target that is probed has no verdict yet.
func (f *Fleet) unknown(v *health.View) bool {
	for id, t := range v.Targets {
		if t.Verdict == edge.Unknown && !f.targets[id].Quorum.Stated {
			return true
		}
	}
	return false
}

// keep puts what changed on disk, and only then tells of it: what was answered
// by is known after a crash. The disk is not waited for under the lock.
func (f *Fleet) keep() {
	f.writeIncarnation()
	f.mu.Lock()
	s, dirty, news := saved{}, f.dirty, f.news
	if dirty {
		s = f.state()
	}
	f.dirty, f.news = false, false
	f.mu.Unlock()
	if dirty {
		if err := f.store.save(s); err != nil {
			f.cfg.Log.Error("health: cannot save the state", "error", err)
			f.locked(func(time.Time) { f.dirty = true }) // again at the next turn
		}
	}
	if news {
		f.announce()
	}
}

// nextChanged says whether a time to the next change differs, which TTLs follow.
func nextChanged(a, b *health.View) bool {
	for id, t := range b.Targets {
		if a.Targets[id].Next != t.Next {
			return true
		}
	}
	return false
}

// previous is the view before, and for targets that it lacks what the store
// knows.
func (f *Fleet) previous() *health.View {
	prev := &health.View{Targets: map[health.TargetID]health.TargetState{}}
	if v := f.view.Load(); v != nil {
		*prev = *v
		missing := false
		for id := range f.targets {
			_, ok := v.Targets[id]
			missing = missing || !ok
		}
		if !missing {
			return prev
		}
		prev.Targets = make(map[health.TargetID]health.TargetState, len(f.targets))
		for id, s := range v.Targets {
			prev.Targets[id] = s
		}
	}
	for id := range f.targets {
		if _, ok := prev.Targets[id]; ok {
			continue
		}
		if v, ok := f.kept[id]; ok {
			prev.Targets[id] = health.TargetState{Verdict: v.Verdict, Reason: v.Reason, Since: v.Since, LastOK: v.LastOK}
		}
	}
	return prev
}

// keptFor is how long the verdict on a target that is not in use any more is
// kept from when it came about, should the target return.
const keptFor = 30 * 24 * time.Hour

// state is what must survive a restart. The caller holds the lock.
func (f *Fleet) state() saved {
	for id, s := range f.view.Load().Targets {
		f.kept[id] = verdict{Verdict: s.Verdict, Reason: s.Reason, Since: s.Since, LastOK: s.LastOK}
	}
	maps.DeleteFunc(f.kept, func(id health.TargetID, v verdict) bool {
		_, used := f.targets[id]
		return !used && time.Since(v.Since) > keptFor
	})
	s := saved{Verdicts: maps.Clone(f.kept), History: slices.Clone(f.history)}
	for _, m := range f.seen {
		s.Seen = append(s.Seen, m)
	}
	return s
}
