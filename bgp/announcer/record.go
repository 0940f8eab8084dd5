package announcer

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"edged/bgp"
	"edged/bgp/audit"
)

// What cannot be written to the audit log is kept, and tried again.
const (
	maxUnwritten   = 1000
	unwrittenEvery = 5 * time.Second
)

// unwritten are entries that wait for the audit log. It has a lock of its own, for it is held
// while the disk is waited for.
type unwritten struct {
	mu      sync.Mutex
	entries []audit.Entry
	lost    int // beyond maxUnwritten
	next    time.Duration
}

// record writes an entry to the audit log. That it cannot be written keeps nothing from
// happening: a full disk must not keep a node from draining. It is written as soon as that
// can be, with its time; until then there is an alarm.
func (a *Announcer) record(e audit.Entry) {
	e.Node, e.Time = a.cfg.Self.Name, time.Now()
	u := &a.unwritten
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.entries) < maxUnwritten {
		u.entries = append(u.entries, e)
	} else {
		u.lost++
	}
	if !a.writeAudit() {
		a.cfg.Log.Error("audit entry waits to be written", "actor", e.Actor, "cause", e.Cause, "vip", e.VIP, "before", e.Before, "after", e.After)
	}
}

// recordAgain writes what could not be written before.
func (a *Announcer) recordAgain(now time.Duration) {
	u := &a.unwritten
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.entries)+u.lost > 0 && now >= u.next {
		u.next = now + unwrittenEvery
		a.writeAudit()
	}
}

// writeAudit writes the entries that wait, in their order, and says whether it has
// written all. The caller holds the lock of what is unwritten.
func (a *Announcer) writeAudit() bool {
	u := &a.unwritten
	var err error
	for len(u.entries) > 0 && err == nil {
		if err = a.audit.Append(u.entries[0]); err == nil {
			u.entries = u.entries[1:]
		}
	}
	if err == nil && u.lost > 0 {
		what := fmt.Sprintf("%d entries that could not be written before this one are lost", u.lost)
		if err = a.audit.Append(audit.Entry{Actor: "edged", Cause: what, Node: a.cfg.Self.Name}); err == nil {
			u.lost = 0
		}
	}
	faults := a.audit.Faults()
	switch {
	case err != nil:
		err = fmt.Errorf("%d of the newest entries are not written yet, and a restart forgets them: %w", len(u.entries)+u.lost, err)
	case len(faults) > 0:
		a.fault("audit log", errors.New(faults[len(faults)-1]))
		return true
	}
	a.fault("audit log", err)
	return err == nil
}

// recordChange writes that a VIP went into another state.
func (a *Announcer) recordChange(c change) {
	what := ""
	if c.part != "" {
		what = c.part + ": "
	}
	a.record(audit.Entry{
		Actor: "edged", Cause: c.after.Cause, Plan: c.plan, VIP: c.vip,
		Before: fmt.Sprintf("%s%s, route %s", what, c.before.State, words(c.before.Route)),
		After:  fmt.Sprintf("%s%s, route %s", what, c.after.State, words(c.after.Route)), Evidence: c.evidence,
	})
}

// confirm returns the entries of what has changed and what peers were sent since: a route, or that
// it is gone. The caller holds the lock.
func (a *Announcer) confirm() (entries []audit.Entry) {
	plan := sync.OnceValue(a.plan.ID)
	for _, v := range a.every() {
		if !v.unconfirmed {
			continue
		}
		e := audit.Entry{Actor: "edged", VIP: v.spec.Name, After: "route " + words(v.wish.Route)}
		switch {
		case v.wish.Route == nil && !a.isSent(v.spec.Prefixes):
			e.Cause = "no peer has it any more"
		case v.wish.Route != nil && a.wasSent(v.spec, *v.wish.Route):
			e.Cause, e.Evidence = "peers were sent it", strings.Join(a.sentTo(v), ", ")
		default:
			continue
		}
		if what := v.words(); what != "" {
			e.After = what + ": " + e.After
		}
		e.Plan, v.unconfirmed = plan(), false
		entries = append(entries, e)
	}
	return entries
}

// isSent says whether some peer has one of the prefixes. The caller holds the lock.
func (a *Announcer) isSent(prefixes []netip.Prefix) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return len(a.sent[p]) > 0 })
}

// recordPlan writes that another plan was stored.
func (a *Announcer) recordPlan(before, after bgp.NodePlan, actor, cause string) {
	then := fmt.Sprintf("plan %s, generation %d", after.ID(), after.Generation)
	if len(after.GiveUp) > 0 {
		then += ", gives up " + bgp.PrefixWords(after.GiveUp)
	}
	a.record(audit.Entry{
		Actor: actor, Cause: cause, Plan: after.ID(),
		Before: fmt.Sprintf("plan %s, generation %d", before.ID(), before.Generation), After: then,
	})
}

// recordOperation writes what an operator asked for.
func (a *Announcer) recordOperation(actor, what, reason string) {
	a.record(audit.Entry{Actor: actor, Cause: reason, After: what})
}

// WriteAudit writes the audit log of this node.
func (a *Announcer) WriteAudit(w io.Writer) error { return audit.Copy(w, a.cfg.Dir) }
