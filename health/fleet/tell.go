package fleet

import (
	"slices"
	"time"

	"edged/edge"
	"edged/health"
)

// begin starts to tell what this node sees, under a new incarnation, which is
// on disk before anybody hears of it. Where it cannot be written it is the time, in milliseconds:
// that is above all that were used before, written or not. It is written when that can be, and
// no override is asked for under it before.
func (f *Fleet) begin(incarnation uint64) {
	f.unwritten = nil
	if err := f.store.saveIncarnation(incarnation); err != nil {
		incarnation = max(incarnation, uint64(time.Now().UnixMilli()))
		f.unwritten, f.news = err, true
	}
	f.incarnation = incarnation
	f.journal = health.NewJournal(f.cfg.Name, f.cfg.Self, f.cfg.Key, incarnation)
	for id := range f.mine {
		f.changed[id] = true
	}
	for id := range f.stated {
		f.changed[id] = true
	}
	f.poke()
}

// writeIncarnation writes the one in use, if that was not possible before.
func (f *Fleet) writeIncarnation() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unwritten != nil && f.store.saveIncarnation(f.incarnation) == nil {
		f.unwritten, f.news = nil, true
	}
}

// report takes the result of one of this node's probes.
func (f *Fleet) report(id health.TargetID, r health.Result, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.mine[id]
	if d == nil {
		return // it was given up meanwhile
	}
	f.stats.Probes++
	if r.Outcome == health.Wrong || r.Outcome == health.Silent {
		f.stats.Failures++
	}
	if d.Add(r, at) {
		f.changed[id] = true
		f.poke()
	}
}

// tell turns what changed into batches, for the others and for this node.
func (f *Fleet) tell(now time.Time) {
	if f.journal == nil || len(f.changed)+len(f.gone) == 0 {
		return
	}
	var changed []health.Observation
	for id := range f.changed {
		if d := f.mine[id]; d != nil {
			v, reason, next := d.Observation()
			changed = append(changed, health.Observation{Target: id, Verdict: v, Reason: reason, Next: next})
		} else if o, ok := f.stated[id]; ok {
			changed = append(changed, o)
		}
	}
	batches, err := f.journal.Set(changed, f.gone)
	if err != nil {
		f.cfg.Log.Error("health: cannot tell what this node sees", "error", err)
		return
	}
	clear(f.changed)
	f.gone = nil
	for _, b := range batches {
		f.publish("", b, now)
	}
}

// renew tells that all this node said still holds.
func (f *Fleet) renew(now time.Time) {
	if f.journal == nil {
		return
	}
	suspect := ""
	if mesh := f.mesh.Load(); mesh != nil {
		suspect = mesh.Suspect()
	}
	f.publish("digest", f.journal.Digest(suspect), now)
}

func (f *Fleet) publish(key string, msg []byte, now time.Time) {
	f.read(msg, now)
	if mesh := f.mesh.Load(); mesh != nil {
		mesh.Broadcast(key, msg)
	}
}

// read has this node hear itself.
func (f *Fleet) read(msg []byte, now time.Time) {
	if _, err := f.matrix.Apply(msg, now); err != nil {
		f.cfg.Log.Error("health: cannot read this node's own record", "error", err)
	}
}

// assign gives this node the targets that it is to check.
func (f *Fleet) assign() {
	members := f.heard()
	want := map[health.TargetID]bool{}
	var list []health.Target
	for id, t := range f.targets {
		if t.Quorum.Stated {
			continue
		}
		if f.alone() || slices.Contains(health.Assign(id, members, f.plan.Observers, t.Quorum.MinPoPs), f.cfg.Self.Name) {
			want[id] = true
			list = append(list, t.Target)
		}
	}
	same := len(want) == len(f.mine)
	for id := range want {
		if f.mine[id] == nil {
			same = false
			last := f.last(id)
			f.mine[id] = health.RestoreDamper(f.targets[id].Check, last.Verdict, last.Reason)
			f.changed[id] = true
		}
	}
	for id := range f.mine {
		if !want[id] {
			same = false
			delete(f.mine, id)
			delete(f.changed, id)
			f.gone = append(f.gone, id)
		}
	}
	if !same {
		f.scheduler.Set(list)
		f.poke()
	}
}

// last returns the last verdict known on a target.
func (f *Fleet) last(id health.TargetID) verdict {
	if v := f.view.Load(); v != nil {
		if s, ok := v.Targets[id]; ok {
			return verdict{Verdict: s.Verdict, Reason: s.Reason, Since: s.Since, LastOK: s.LastOK}
		}
	}
	if v, ok := f.kept[id]; ok {
		return v
	}
	return verdict{Verdict: edge.Unknown}
}
