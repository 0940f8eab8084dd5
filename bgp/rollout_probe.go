package bgp

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

const (
	missedOf   = 30              // answers that a node should have given, and gave none: by chance once in 10^13 times
	probeFirst = 4 * time.Second // before the first wave acts, for what is usual
)

// sight is who answered a prober through a VIP, by name, and how often.
type sight struct {
	Before  map[string]uint64 `json:"before,omitempty"`  // the wave acted
	Settled map[string]uint64 `json:"settled,omitempty"` // from when peers were sent all until it baked
	Baking  map[string]uint64 `json:"baking,omitempty"`  // and since
	Joins   []string          `json:"joins,omitempty"`   // nodes of the wave that announced the prefix all the while that it baked
	Asked   int               `json:"asked,omitempty"`   // rounds from when peers were sent all
}

// Probed is what a node asks for that probes: VIPs, of which it has none itself.
type Probed struct {
	Node string
	VIPs []VIP
}

// Probe tells the rollout of members that do not have VIPs of the plan, and so can ask
// through them as clients do. What they see confirms nodes, by the names in the
// answers (NSID, RFC 5001). Without any, nodes are confirmed by what peers were sent.
func (r *Rollout) Probe(by []Member) { r.Probers = by }

// Probes returns what is to be asked now, by prober; none while nothing is watched.
func (r *Rollout) Probes() (all []Probed) {
	if !r.Running() || r.Shift {
		return nil
	}
	vips := r.asked()
	for _, m := range r.Probers {
		all = append(all, Probed{m.Name, vips})
	}
	return all
}

// asked returns the VIPs that the plan changes, by name, each with all prefixes that
// some node has or had for it. A prefix that goes over is asked of where it goes.
func (r *Rollout) asked() (vips []VIP) {
	var plans []NodePlan
	for _, s := range r.Plan.Steps {
		plans = append(plans, s.Plan)
	}
	for _, s := range r.Plan.Steps {
		plans = append(plans, s.Prior)
	}
	owned := map[netip.Prefix]bool{}
	for _, plan := range plans {
		for _, name := range r.Plan.VIPs() {
			v, _ := plan.VIP(name)
			for _, p := range v.Prefixes {
				if !owned[p] {
					owned[p] = true
					vips = askedToo(vips, v, p)
				}
			}
		}
	}
	slices.SortFunc(vips, func(a, b VIP) int { return cmp.Compare(a.Name, b.Name) })
	return vips
}

// askedToo adds a prefix of a VIP to those that are asked through.
func askedToo(vips []VIP, v VIP, p netip.Prefix) []VIP {
	i := slices.IndexFunc(vips, func(w VIP) bool { return w.Name == v.Name })
	if i < 0 {
		i, v.Prefixes = len(vips), nil
		vips = append(vips, v)
	}
	if len(vips[i].Prefixes) < MaxPrefixes {
		vips[i].Prefixes = append(vips[i].Prefixes, p)
	}
	return vips
}

// Saw takes who answered a prober since it was asked last, by prefix and name. A prefix
// that it did not ask through, for it has the address itself, is not there.
func (r *Rollout) Saw(prober string, answers map[netip.Prefix]map[string]uint64) {
	for prefix, counts := range answers {
		key := sightKey(prober, prefix)
		s := r.Sights[key]
		at := &s.Before
		switch {
		case r.Phase == PhaseActing, r.Phase == PhaseConfirming && r.settled == 0:
			continue // it may be an answer of before
		case r.Phase == PhaseConfirming:
			at, s.Asked = &s.Settled, s.Asked+1
		case r.Phase == PhaseBaking:
			at, s.Asked = &s.Baking, s.Asked+1
		}
		*at = maps.Clone(*at) // a clone of the rollout may hold the old one
		for node, n := range counts {
			if *at == nil {
				*at = map[string]uint64{}
			}
			(*at)[node] += n
		}
		r.setSight(key, s)
	}
}

// setSight replaces a sight. A clone of the rollout may hold the old ones.
func (r *Rollout) setSight(key string, s sight) {
	r.Sights = maps.Clone(r.Sights)
	if r.Sights == nil {
		r.Sights = map[string]sight{}
	}
	r.Sights[key] = s
}

// nextSights has what was seen while a wave baked be what is usual for the next one.
func (r *Rollout) nextSights() {
	sights := map[string]sight{}
	for key, s := range r.Sights {
		sights[key] = sight{Before: s.Baking}
	}
	r.Sights = sights
}

func sightKey(prober string, p netip.Prefix) string { return prober + " " + p.String() }

// each calls f with all that probers saw, in order, until it returns words.
func (r *Rollout) each(f func(prober Member, vip VIP, p netip.Prefix, s sight) string) string {
	vips := r.asked()
	for _, m := range r.Probers {
		for _, v := range vips {
			for _, p := range v.Prefixes {
				if why := f(m, v, p, r.Sights[sightKey(m.Name, p)]); why != "" {
					return why
				}
			}
		}
	}
	return ""
}

func total(counts map[string]uint64) (all uint64) {
	for _, n := range counts {
		all += n
	}
	return all
}

// probed says whether probers, if there are any, were asked since all peers of the
// wave were sent what is planned.
func (r *Rollout) probed() bool {
	r.settled++
	return r.settled > 1 || len(r.Probes()) == 0
}

// unseen says in words through which prefix that a node announces no answer names it, or
// "". Only a prober in the node's own PoP can tell: others may be closer to another one.
// One that gets no answers has no path, unless it gets some through another prefix of
// the VIP and family.
func (r *Rollout) unseen(node string, f NodeFacts) string {
	if r.Shift {
		return ""
	}
	step, _ := r.Plan.Step(node)
	return r.each(func(m Member, vip VIP, p netip.Prefix, s sight) string {
		planned, _ := step.Plan.VIP(vip.Name)
		if m.PoP != step.Plan.PoP || !slices.Contains(planned.Prefixes, p) || !slices.Contains(f.Out[vip.Name], p) {
			return ""
		}
		all := total(s.Settled) + total(s.Baking)
		if s.Asked == 0 || s.Settled[node]+s.Baking[node] > 0 || all == 0 && !r.hasPath(m, vip, p) {
			return ""
		}
		return fmt.Sprintf("an answer through %s of %s that names it: %s got %d from others", p, vip.Name, m.Name, all)
	})
}

// hasPath says whether a prober gets answers through another prefix of the VIP and family.
func (r *Rollout) hasPath(m Member, vip VIP, p netip.Prefix) bool {
	return slices.ContainsFunc(vip.Prefixes, func(q netip.Prefix) bool {
		s := r.Sights[sightKey(m.Name, q)]
		return q.Addr().Is4() == p.Addr().Is4() && len(s.Settled)+len(s.Baking) > 0
	})
}

// missed says in words which node of the wave answers probers less or more often than
// forecast, not at all any more, or still when it should not, or "".
func (r *Rollout) missed(facts map[string]NodeFacts) string {
	if r.Shift || r.Phase != PhaseBaking {
		return ""
	}
	pops := r.pops()
	return r.each(func(m Member, vip VIP, p netip.Prefix, s sight) string {
		joins, leaves := r.turnoverAt(vip.Name, p, facts)
		if !slices.Equal(s.Joins, joins) { // one was drained, or is no more: it is counted from now on
			s.Joins, s.Baking = joins, nil
			r.setSight(sightKey(m.Name, p), s)
		}
		will := forecast(s.Before, pops, joins, leaves)
		all := total(s.Baking)
		for _, node := range r.Waves[r.Wave] {
			share, has := will[node]
			switch n, was := s.Before[node], slices.Contains(leaves, node); {
			case was && s.Baking[node] > 0:
				return fmt.Sprintf("%s still answers %s through %s of %s, though it has withdrawn it", node, m.Name, p, vip.Name)
			case was || !has:
			case share*float64(all) >= missedOf && s.Baking[node] == 0:
				return fmt.Sprintf("%s answers none of %d probes of %s through %s of %s, forecast %.1f %%", node, all, m.Name, p, vip.Name, 100*share)
			case n >= minShared:
				if why := off(fmt.Sprintf("%s of %s", p, vip.Name), fmt.Sprintf("probes of %s through", m.Name), share, s.Baking, node); why != "" {
					return node + " " + why
				}
			}
		}
		return ""
	})
}

// turnoverAt returns which nodes of the wave begin and stop to announce a prefix for a VIP. One
// where it goes over to another VIP does neither; nor does one that is drained begin.
func (r *Rollout) turnoverAt(vip string, p netip.Prefix, facts map[string]NodeFacts) (joins, leaves []string) {
	for _, node := range r.Waves[r.Wave] {
		s, _ := r.Plan.Step(node)
		switch adds, drops := slices.Contains(s.Adds, p), slices.Contains(s.Drops, p); {
		case adds && !drops && slices.Contains(facts[node].Out[vip], p):
			joins = append(joins, node)
		case drops && !adds:
			leaves = append(leaves, node)
		}
	}
	return joins, leaves
}
