package announcer

import (
	"errors"
	"fmt"
	"io"

	"edged/bgp"
	"edged/bgp/audit"
)

// record writes an entry to the audit log. That it cannot be written is logged
// and keeps nothing from happening: a full disk must not keep a node from
// draining.
func (a *Announcer) record(e audit.Entry) {
	e.Node = a.cfg.Self.Name
	err := a.audit.Append(e)
	if faults := a.audit.Faults(); len(faults) > 0 {
		a.fault("audit log", errors.New(faults[len(faults)-1]))
	}
	if err != nil {
		a.cfg.Log.Error("audit entry lost", "error", err, "actor", e.Actor, "cause", e.Cause, "vip", e.VIP, "before", e.Before, "after", e.After)
	}
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
