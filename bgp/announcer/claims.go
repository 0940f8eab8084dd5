package announcer

import (
	"slices"

	"edged/bgp"
)

// claims are what engineers ask this node for just now: operations, and plans to be
// rolled out. Other members hear of a claim as if it were in force, and it is made
// before they are asked what is. So of two engineers who ask at the same moment at
// different nodes one at least hears of the other, and is refused; both may be.
type claims struct {
	operations []bgp.Operation
	plans      []bgp.InFlight
}

// claimOperation makes a claim, until it is released.
func (a *Announcer) claimOperation(o bgp.Operation) (release func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.claims.operations = append(slices.Clone(a.claims.operations), o)
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.claims.operations = slices.DeleteFunc(slices.Clone(a.claims.operations), func(c bgp.Operation) bool { return c.ID == o.ID })
	}
}

// claimPlan makes a claim, until it is released.
func (a *Announcer) claimPlan(p bgp.FleetPlan) (release func()) {
	claim := bgp.InFlight{Plan: p.ID, Coordinator: a.cfg.Self.Name, Nodes: p.Nodes(), VIPs: p.VIPs(), Prefixes: p.Prefixes(), Asked: true}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.claims.plans = append(slices.Clone(a.claims.plans), claim)
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		i := slices.IndexFunc(a.claims.plans, func(c bgp.InFlight) bool { return c.Plan == claim.Plan })
		a.claims.plans = slices.Delete(slices.Clone(a.claims.plans), i, i+1)
	}
}

// reportToOthers is what this node tells others of itself, with its claims.
func (a *Announcer) reportToOthers() Report {
	r := a.report()
	a.mu.Lock()
	defer a.mu.Unlock()
	r.Operations = slices.Concat(r.Operations, a.claims.operations)
	for _, o := range a.claims.operations {
		r.Claimed = append(r.Claimed, o.ID)
	}
	r.InFlight = slices.Concat(r.InFlight, a.claims.plans)
	return r
}
