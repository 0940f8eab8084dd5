package announcer

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"edged/bgp"
)

// Report is what a node tells a member that plans, rolls out or asks for an
// operation.
type Report struct {
	Wish       bgp.NodeWish         `json:"wish"`
	States     map[string]bgp.State `json:"states"`
	Operations []bgp.Operation      `json:"operations"`
	Claimed    []string             `json:"claimed,omitempty"` // IDs of those that are only being asked for
	InFlight   []bgp.InFlight       `json:"in_flight"`
	Rollout    *Brief               `json:"rollout,omitempty"`
	Status     bgp.NodeStatus       `json:"status"`

	// Waiting names of each VIP what is still announced as another one's, until peers hear it there.
	Waiting map[string][]netip.Prefix `json:"waiting,omitempty"`
}

// report is what this node tells of itself.
func (a *Announcer) report() Report {
	tally := a.cfg.Answers()
	a.flapping.Lock()
	defer a.flapping.Unlock()
	peers := a.cfg.Speaker.Peers()
	a.mu.Lock()
	defer a.mu.Unlock()
	tally.Flaps = a.flaps
	for _, p := range peers {
		tally.Flaps += uint64(p.Flaps)
	}
	r := Report{
		Wish: bgp.NodeWish{
			Stored: a.plan, File: a.file.VIPs,
			Peers: planned(a.peers, peers), FilePeers: planned(a.file.Peers, peers),
		},
		States:     map[string]bgp.State{},
		Waiting:    map[string][]netip.Prefix{},
		Operations: a.operations, Rollout: a.brief(),
		Status: bgp.NodeStatus{
			Generation: a.plan.Generation, Plan: a.plan.ID(),
			Answered: map[string][]netip.Prefix{}, Out: map[string][]netip.Prefix{}, Traffic: map[string]bgp.Traffic{}, Tally: tally,
		},
	}
	for name, v := range a.vips {
		r.States[name], r.Status.Answered[name], r.Status.Out[name] = v.wish.State, slices.Clone(v.tried), v.out(a.now())
		if v.meter.started {
			r.Status.Traffic[name] = v.meter.traffic()
		}
	}
	for _, p := range a.parts {
		if p.over != "" {
			r.Waiting[p.over] = append(r.Waiting[p.over], p.tried...)
		}
	}
	r.Status.Waits, r.Status.AnswerTTL = a.waits()
	r.Status.Confirmed = r.Status.Waits == ""
	r.Status.Unstored = a.unstored
	if a.rollout != nil {
		if f, ok := a.rollout.InFlight(a.cfg.Self.Name); ok {
			r.InFlight = append(r.InFlight, f)
		}
	}
	return r
}

// waits says what is not yet as the plan or an operator wants it; empty: all is,
// and peers were told. The caller holds the lock.
func (a *Announcer) waits() (waits string, ttl time.Duration) {
	clock := time.Now()
	for _, name := range sortedKeys(a.vips) {
		v := a.vips[name]
		ttl = max(ttl, a.file.Required[name])
		if waits != "" {
			continue
		}
		o := bgp.InForce(a.operations, a.cfg.Self, name, clock)
		out := !v.planned || drains(o)
		switch {
		case out && v.wish.State != bgp.Withdrawn && v.wish.State != bgp.Absent:
			waits = fmt.Sprintf("%s is %s, to be withdrawn: %s", name, v.wish.State, v.wish.Waits)
		case !out && v.wish.State != bgp.Announced:
			waits = fmt.Sprintf("%s is %s, to be announced: %s", name, v.wish.State, firstOf(v.fault, v.wish.Waits, v.wish.Cause))
		case !out && v.fault != "":
			waits = fmt.Sprintf("%s is announced, but %s", name, v.fault)
		case !out && v.kept != "":
			waits = fmt.Sprintf("%s is announced, but %s", name, v.kept)
		case !out && !a.wasSent(v.spec, v.spec.Baseline()):
			waits = fmt.Sprintf("%s is announced, but %s", name, firstOf(v.untried, "no peer was sent all of it"))
		}
	}
	for _, p := range a.parts {
		switch {
		case waits != "" || !p.wish.State.Announces():
		case p.over != "":
			waits = fmt.Sprintf("%s to go over to %s, when a peer of that has it", p.name(), p.over)
		default:
			waits = fmt.Sprintf("%s is %s, to be withdrawn: %s", p.name(), p.wish.State, p.wish.Waits)
		}
	}
	return waits, ttl
}

func firstOf(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return "nothing that is known"
}

// preflight says why a plan cannot be stored now. The caller holds the lock.
func (a *Announcer) preflight(p bgp.NodePlan, restore bool) error {
	if err := errors.Join(p.Check(), p.CanReplace(a.plan, restore)); err != nil {
		return err
	}
	if a.stopping {
		return fmt.Errorf("%s is stopping", a.cfg.Self.Name)
	}
	now := time.Now()
	for _, u := range a.undrains(p, restore) {
		// What is to be out later does not keep a node on a plan that it is to be rid of now.
		switch {
		case !restore || !u.renamed && u.wanted.Begun(now):
			return fmt.Errorf("an operator wants %s out here, and %s would announce what it has: end that (%s since %s) by edged vip undrain, or drain all VIPs here",
				u.vip, u.by, u.wanted.What(), u.wanted.Since.Format(time.RFC3339))
		case u.hold != nil && u.wanted.Begun(now):
			return fmt.Errorf("an operator wants %s out here, and %s would announce what it has, for it is held (%s since %s): end that by edged vip release",
				u.vip, u.by, u.hold.What(), u.hold.Since.Format(time.RFC3339))
		}
	}
	return nil
}

// undrained is what a plan would announce though an operator wants it out, now or later.
type undrained struct {
	vip, by string // by the name of another VIP
	renamed bool   // which is not there yet, and has nothing but what is out
	wanted  bgp.Operation
	hold    *bgp.Operation // of the other VIP alone, which goes before a drain of it
}

// undrains returns what a plan would announce that an operator wants out here. A plan of before, which
// is restored, may have announced it beside an operation of before. The caller holds the
// lock.
func (a *Announcer) undrains(p bgp.NodePlan, restore bool) (all []undrained) {
	now := time.Now()
	for _, next := range p.VIPs {
		var out []netip.Prefix // now
		var found []undrained
		for _, v := range a.plan.VIPs {
			if v.Name == next.Name {
				continue
			}
			for _, o := range bgp.Undrains(a.operations, a.cfg.Self, v.Name, next.Name, now) {
				meant := v.Prefixes
				if restore && len(a.earlier) > 0 && slices.Contains(a.older, o.ID) {
					was, _ := a.earlier[0].VIP(v.Name)
					meant = common(meant, was.Prefixes)
				}
				if len(common(meant, next.Prefixes)) == 0 {
					continue
				}
				if o.Begun(now) {
					out = append(out, meant...)
				}
				found = append(found, undrained{vip: v.Name, by: next.Name, renamed: len(absent(next.Prefixes, meant)) == 0, wanted: o})
			}
		}
		_, has := a.plan.VIP(next.Name)
		held := bgp.InForce(a.operations, a.cfg.Self, next.Name, now)
		for _, u := range found {
			u.renamed = !has && (u.renamed || u.wanted.Begun(now) && len(absent(next.Prefixes, out)) == 0)
			if held != nil && held.Kind == bgp.Hold && !held.Matches(a.cfg.Self, u.vip) {
				u.hold = held
			}
			all = append(all, u)
		}
	}
	return all
}

// drainToo has VIPs that a plan brings back by another name drained as they are by the one of now,
// and returns these operations. The caller holds the lock, and has them written.
func (a *Announcer) drainToo(p bgp.NodePlan, restore bool) (more []bgp.Operation) {
	for _, u := range a.undrains(p, restore) {
		if !u.renamed {
			continue
		}
		o := u.wanted
		o.VIP, o.Node, o.PoP = u.by, a.cfg.Self.Name, ""
		o, err := bgp.NewOperation(o)
		if err != nil { // not reached: it is one that is in force, of a VIP with a name
			a.cfg.Log.Error("what was drained is announced by another name", "vip", u.by, "error", err)
			continue
		}
		more = append(more, o)
	}
	a.operations = slices.Concat(a.operations, more)
	return more
}

// take stores a plan and brings it into force. When it returns nil the plan is
// on disk.
//
// A plan of before that is restored comes into force without the disk, too: whoever
// gives it back wants this node rid of what it does, and a full disk may be what the
// plan has brought about. It is stored as soon as that can be. Until then a crash
// brings back the plan that was taken from it, and the coordinator restores it again.
func (a *Announcer) take(p bgp.NodePlan, restore bool, actor, cause string) error {
	a.deciding.Lock()
	defer a.deciding.Unlock()
	a.mu.Lock()
	if err := a.preflight(p, restore); err != nil {
		a.mu.Unlock()
		return err
	}
	before, earlier, unstored, older := a.plan, a.earlier, a.unstored, a.older
	if before.Generation == p.Generation {
		a.mu.Unlock()
		return nil // it was stored before
	}
	drained := a.drainToo(p, restore)
	a.earlier, a.older = superseded(before, earlier), idsOf(a.operations)
	a.plan, a.dirty, a.unstored = p, true, restore || unstored // until it is on disk: see keep
	a.mu.Unlock()
	if err := a.keep(); err != nil && restore {
		a.cfg.Log.Error("the plan of before is in force, and a restart forgets that", "error", err)
	} else if err != nil {
		a.mu.Lock()
		a.plan, a.earlier, a.unstored, a.older = before, earlier, unstored, older
		a.mu.Unlock()
		return fmt.Errorf("the plan cannot be stored: %w", err)
	}
	a.recordPlan(before, p, actor, cause)
	for _, o := range drained {
		a.recordOperation(o.Actor, o.String(), o.Reason)
	}
	a.fault(stateOfBefore, nil) // people have decided anew
	a.fault(nameOfBefore, nil)
	if err := a.allow(); err != nil {
		return err
	}
	a.mu.Lock()
	a.notePending()
	a.usePlan()
	for _, v := range a.every() {
		v.givenUp = !v.planned && len(absent(v.spec.Prefixes, p.GiveUp)) == 0
	}
	a.mu.Unlock()
	a.poke()
	return nil
}

// idsOf returns the IDs of operations.
func idsOf(all []bgp.Operation) (ids []string) {
	for _, o := range all {
		ids = append(ids, o.ID)
	}
	return ids
}

// allow lets exactly the plan's prefixes leave, and those that are on their way
// out.
func (a *Announcer) allow() error {
	a.allowing.Lock() // or an older set could be told last
	defer a.allowing.Unlock()
	a.mu.Lock()
	var prefixes []netip.Prefix
	for _, v := range a.plan.VIPs {
		prefixes = append(prefixes, v.Prefixes...)
	}
	for _, v := range a.every() {
		prefixes = append(prefixes, v.spec.Prefixes...)
	}
	a.mu.Unlock()
	return a.cfg.Speaker.Allow(prefixes)
}

// usePlan gives each VIP of the plan a machine, and takes the others out. The
// caller holds the lock.
func (a *Announcer) usePlan() {
	a.replanned = true
	for _, v := range a.vips {
		v.planned = false
	}
	for _, spec := range a.plan.VIPs {
		v := a.vips[spec.Name]
		if v == nil {
			v = a.whole(spec.Name)
		}
		if v == nil {
			v = a.newVIP(spec, bgp.Kept{})
		}
		v.planned = true
		a.split(v, spec)
		v.spec = spec
		v.machine.SetVIP(spec)
	}
	a.handOver()
	for _, o := range a.operations {
		if spec, ok := inFile(a.file, o.VIP); ok && o.Kind == bgp.Announce && a.vips[o.VIP] == nil {
			a.newVIP(spec, bgp.Kept{})
		}
	}
}

func inFile(f File, vip string) (bgp.VIP, bool) {
	i := slices.IndexFunc(f.VIPs, func(v bgp.VIP) bool { return v.Name == vip })
	if i < 0 {
		return bgp.VIP{}, false
	}
	return f.VIPs[i], true
}
