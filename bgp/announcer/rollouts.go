package announcer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"edged/bgp"
	"edged/bgp/audit"
	"edged/bgp/link"
)

// Application asks that a plan be rolled out.
type Application struct {
	Plan   string         `json:"plan"`  // ID, as Plan showed it
	Nodes  string         `json:"nodes"` // the selector
	VIPs   []string       `json:"vips,omitempty"`
	GiveUp []netip.Prefix `json:"give_up,omitempty"` // as Plan was told
	Wide   bool           `json:"wide,omitempty"`
	Shift  bool           `json:"shift,omitempty"` // traffic may move otherwise than forecast
	Leave  []string       `json:"leave,omitempty"` // nodes that need not get back what the rollout before owes them
	Bake   time.Duration  `json:"bake,omitempty"`  // 0: the default; negative: none
	Reason string         `json:"reason"`
	Actor  string         `json:"actor,omitempty"`
}

// Apply makes a plan again and begins to roll it out from this node. It errs, and
// nothing begins, when it is not the plan that the request names any more, when a
// rule speaks against it, or when a rollout is under way.
func (a *Announcer) Apply(ctx context.Context, q Application) (Proposal, error) {
	if q.Reason == "" {
		return Proposal{}, errors.New("a rollout needs a reason, for those who read of it later")
	}
	if q.Plan == "" {
		return Proposal{}, errors.New("no plan is named: want the ID that edged vip plan shows")
	}
	p, err := a.planFor(ctx, q)
	if err != nil {
		return p, err
	}
	defer a.claimPlan(p.Plan)()
	if p, err = a.planFor(ctx, q); err != nil { // others may have claimed it, too
		return p, err
	}
	r, err := bgp.NewRollout(p.Plan, q.Bake, q.Actor, q.Reason)
	if err != nil {
		return p, err
	}
	r.Shift, r.Begun = q.Shift, time.Now()
	r.Beside(p.beside)
	r.Probe(p.probers)
	owing := a.coordinator.owing()
	for _, node := range q.Leave {
		if !slices.Contains(owing, node) {
			return p, fmt.Errorf("--leave %s: the rollout before has nothing to give back to it", node)
		}
	}
	gone := slices.DeleteFunc(owing, a.isMember)
	if err := a.coordinator.begin(r, append(gone, q.Leave...)...); err != nil {
		return p, err
	}
	if len(q.Leave) > 0 {
		a.record(audit.Entry{Actor: q.Actor, Cause: q.Reason, Plan: p.Plan.ID, After: "what the rollout before owes is not given back to " + strings.Join(q.Leave, ", ")})
	}
	return p, nil
}

func (a *Announcer) isMember(name string) bool {
	return slices.ContainsFunc(a.cfg.Fleet.Members(), func(m bgp.Member) bool { return m.Name == name })
}

// planFor makes the plan of an application again, and errs when it is another one, or
// may not be applied.
func (a *Announcer) planFor(ctx context.Context, q Application) (Proposal, error) {
	p, err := a.Plan(ctx, bgp.Selection{Nodes: q.Nodes, VIPs: q.VIPs, GiveUp: q.GiveUp}, bgp.Limits{AllowWide: q.Wide})
	if err != nil {
		return p, err
	}
	if i := slices.IndexFunc(p.running, func(r place) bool { return r.Plan == q.Plan }); i >= 0 {
		r := p.running[i]
		return p, fmt.Errorf("plan %s is being rolled out by %s (since %s): edged vip rollout shows how far it is",
			q.Plan, r.node, r.Begun.UTC().Format(time.RFC3339))
	}
	if p.Plan.ID != q.Plan {
		return p, fmt.Errorf("plan %s is stale: what would change now is plan %s; look at it, and apply that one", q.Plan, p.Plan.ID)
	}
	return p, p.Verdict.Err()
}

// saveRollout puts a step of the rollout on disk.
func (a *Announcer) saveRollout(r *bgp.Rollout) error {
	a.mu.Lock()
	a.rollout, a.dirty = r, true
	a.mu.Unlock()
	return a.keep()
}

// tellRollout writes a step of the rollout to the logs.
func (a *Announcer) tellRollout(r *bgp.Rollout) {
	a.cfg.Log.Info("rollout", "plan", r.Plan.ID, "wave", r.Wave+1, "of", len(r.Waves), "phase", r.Phase, "cause", r.Cause)
	a.record(audit.Entry{Actor: r.Actor, Cause: firstOf(r.Cause, r.Reason), Plan: r.Plan.ID, After: r.String()})
	a.fault("rollout", r.Worry())
}

// calls carries a rollout's calls to nodes.
type calls struct{ *Announcer }

func (c calls) Preflight(ctx context.Context, node string, o order) error {
	return c.order(ctx, node, pathPreflight, o)
}

func (c calls) Apply(ctx context.Context, node string, o order) error {
	return c.order(ctx, node, pathApply, o)
}

func (c calls) Restore(ctx context.Context, node string, o order) error {
	return c.order(ctx, node, pathRestore, o)
}

func (c calls) order(ctx context.Context, node, path string, o order) error {
	var err error
	if node == c.cfg.Self.Name {
		if err = c.obey(path, o); err != nil {
			return &refused{err.Error()}
		}
		return nil
	}
	err = c.cfg.Fleet.Call(ctx, node, path, o, nil)
	if said, ok := errors.AsType[*link.RemoteError](err); ok && !said.Busy {
		return &refused{said.Text}
	}
	return err
}

func (c calls) Status(ctx context.Context, node string) (bgp.NodeStatus, error) {
	if node == c.cfg.Self.Name {
		return c.report().Status, nil
	}
	var r Report
	err := c.cfg.Fleet.Call(ctx, node, pathReport, struct{}{}, &r)
	return r.Status, err
}
