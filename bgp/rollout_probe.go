package bgp

import (
	"fmt"
	"maps"
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
	var vips []VIP
	for _, name := range r.Plan.VIPs() {
		for _, s := range r.Plan.Steps {
			v, ok := s.Plan.VIP(name)
			if !ok {
				v, ok = s.Prior.VIP(name)
			}
			if ok {
				vips = append(vips, v)
				break
			}
		}
	}
	for _, m := range r.Probers {
		all = append(all, Probed{m.Name, vips})
	}
	return all
}

// Saw takes who answered a prober since it was asked last, by VIP and name.
func (r *Rollout) Saw(prober string, answers map[string]map[string]uint64) {
	for vip, counts := range answers {
		key := prober + " " + vip
		s := r.Sights[key]
		at := &s.Before
		switch {
		case r.Phase == PhaseActing, r.Phase == PhaseConfirming && r.settled == 0:
			continue // it may be an answer of before
		case r.Phase == PhaseConfirming:
			at = &s.Settled
		case r.Phase == PhaseBaking:
			at = &s.Baking
		}
		*at = maps.Clone(*at) // a clone of the rollout may hold the old one
		for node, n := range counts {
			if *at == nil {
				*at = map[string]uint64{}
			}
			(*at)[node] += n
		}
		r.Sights = maps.Clone(r.Sights)
		if r.Sights == nil {
			r.Sights = map[string]sight{}
		}
		r.Sights[key] = s
	}
}

// nextSights has what was seen while a wave baked be what is usual for the next one.
func (r *Rollout) nextSights() {
	sights := map[string]sight{}
	for key, s := range r.Sights {
		sights[key] = sight{Before: s.Baking}
	}
	r.Sights = sights
}

// each calls f with all that probers saw, in order, until it returns words.
func (r *Rollout) each(f func(prober Member, vip string, s sight) string) string {
	for _, m := range r.Probers {
		for _, vip := range r.Plan.VIPs() {
			if why := f(m, vip, r.Sights[m.Name+" "+vip]); why != "" {
				return why
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

// unseen says in words that no answer names a node which should give some, or "". Only
// a prober in the node's own PoP can tell: others may be closer to another one. One that
// gets no answers has no path.
func (r *Rollout) unseen(node string) string {
	if r.Shift {
		return ""
	}
	step, _ := r.Plan.Step(node)
	return r.each(func(m Member, vip string, s sight) string {
		_, has := step.Plan.VIP(vip)
		if !has || m.PoP != step.Plan.PoP {
			return ""
		}
		if all := total(s.Settled) + total(s.Baking); all == 0 || s.Settled[node]+s.Baking[node] > 0 {
			return ""
		}
		return fmt.Sprintf("an answer through %s that names it: %s asked %d times", vip, m.Name, total(s.Settled)+total(s.Baking))
	})
}

// missed says in words which node of the wave answers probers less or more often than
// forecast, not at all any more, or still when it should not, or "".
func (r *Rollout) missed() string {
	if r.Shift || r.Phase != PhaseBaking {
		return ""
	}
	pops := r.pops()
	return r.each(func(m Member, vip string, s sight) string {
		joins, leaves := r.turnover(vip)
		will := forecast(s.Before, pops, joins, leaves)
		all := total(s.Baking)
		for _, node := range r.Waves[r.Wave] {
			share, has := will[node]
			switch n, was := s.Before[node], slices.Contains(leaves, node); {
			case was && s.Baking[node] > 0:
				return fmt.Sprintf("%s still answers %s through %s, though it has withdrawn it", node, m.Name, vip)
			case was || !has:
			case share*float64(all) >= missedOf && s.Baking[node] == 0:
				return fmt.Sprintf("%s answers none of %d probes of %s through %s, forecast %.1f %%", node, all, m.Name, vip, 100*share)
			case n >= minShared:
				if why := off(vip, fmt.Sprintf("probes of %s through", m.Name), share, s.Baking, node); why != "" {
					return node + " " + why
				}
			}
		}
		return ""
	})
}

// turnover returns which nodes of the wave begin and stop to announce a VIP.
func (r *Rollout) turnover(vip string) (joins, leaves []string) {
	for _, node := range r.Waves[r.Wave] {
		s, _ := r.Plan.Step(node)
		if slices.Contains(s.Joins(), vip) {
			joins = append(joins, node)
		}
		if _, stays := s.Plan.VIP(vip); !stays && slices.Contains(s.Leaves(), vip) {
			leaves = append(leaves, node)
		}
	}
	return joins, leaves
}

// pops says where the nodes of the plan and those beside it stand.
func (r *Rollout) pops() map[string]string {
	pops := map[string]string{}
	for _, m := range r.Others {
		pops[m.Name] = m.PoP
	}
	for _, s := range r.Plan.Steps {
		pops[s.Plan.Node] = s.Plan.PoP
	}
	return pops
}
