package override

import (
	"fmt"
	"slices"
	"time"

	"edged/edge"
)

// Effect is what an override would do: what it matches, and how the rules
// stand before and after.
type Effect struct {
	PoPs      []string   `json:"pops,omitempty"`  // as a whole
	Nodes     []string   `json:"nodes,omitempty"` // by name
	Endpoints []Endpoint `json:"endpoints,omitempty"`
	Rules     []Finding  `json:"rules,omitempty"`
}

// Plan says what a new override would do on top of those in the set. Its ID,
// version and times may still be missing. It errs when the override is
// malformed, matches nothing in the fleet, finds the set full, or breaks a rule
// (a *RuleError, with the effect). The fleet's overrides are judged without
// this node's own. It counts overrides alone, and so is the same on every node.
func (s *Set) Plan(o Override, rules []Rule, f Fleet, now time.Time) (Effect, error) {
	return s.PlanWith(o, rules, f, nil, now)
}

// PlanWith is Plan that counts besides what checks find: down says so by
// endpoint of the fleet; nil: nothing.
func (s *Set) PlanWith(o Override, rules []Rule, f Fleet, down []bool, now time.Time) (Effect, error) {
	if err := o.checkWish(); err != nil {
		return Effect{}, err
	}
	e, err := match(o, f)
	if err != nil {
		return Effect{}, err
	}
	base := s.overrides(now)
	if len(base) >= MaxOverrides {
		return Effect{}, fmt.Errorf("%s: there are %d overrides, want at most %d: clear some", o.What(), len(base), MaxOverrides)
	}
	if !o.Local {
		base = slices.DeleteFunc(base, func(o Override) bool { return o.Local })
	}
	before := viewOf(base, rules, f).service.found(down)
	findings, broken := judge(rules, before, before.with(o))
	e.Rules = findings
	if len(broken) > 0 {
		return e, &RuleError{o.What(), broken}
	}
	return e, nil
}

// match returns what an override is about.
func match(o Override, f Fleet) (Effect, error) {
	var e Effect
	if o.Action == PinPrefix {
		if !slices.ContainsFunc(f.PoPs, func(p edge.PoP) bool { return p.Name == o.PoP }) {
			return e, fmt.Errorf("%s: pop %q is not in the fleet: there are %s", o.What(), o.PoP, known(PoPs, f))
		}
		e.PoPs = []string{o.PoP}
		return e, nil
	}
	for _, p := range f.PoPs {
		if o.Target.MatchesPoP(p.Name) {
			e.PoPs = append(e.PoPs, p.Name)
		}
	}
	for _, n := range f.Nodes {
		if o.Target.MatchesNode(n.Name) {
			e.Nodes = append(e.Nodes, n.Name)
		}
	}
	for _, p := range f.Endpoints {
		if o.Target.Matches(p) {
			e.Endpoints = append(e.Endpoints, p)
		}
	}
	if e.PoPs == nil && e.Nodes == nil && e.Endpoints == nil {
		return e, fmt.Errorf("%s: nothing in the fleet matches %q: there are %s", o.What(), o.Target, known(o.Target.Kind, f))
	}
	return e, nil
}

// known lists what there is of a kind, as targets.
func known(k Kind, f Fleet) string {
	var names []string
	switch k {
	case PoPs:
		for _, p := range f.PoPs {
			names = append(names, "pop/"+p.Name)
		}
	case Nodes:
		for _, n := range f.Nodes {
			names = append(names, "node/"+n.Name)
		}
	default:
		for _, e := range f.Endpoints {
			if k == Pools {
				names = append(names, "pool/"+e.Pool)
			} else {
				names = append(names, "endpoint/"+e.Pool+"/"+e.Address.Unmap().String())
			}
		}
	}
	slices.Sort(names)
	return list(slices.Compact(names))
}
