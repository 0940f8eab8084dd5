package bgp

import (
	"maps"
	"slices"
	"time"
)

// gauge is how a wave's traffic is watched: what nodes got before it, and what they
// had counted when it had done as planned, by VIP and node.
type gauge struct {
	Before map[string]map[string]uint64 `json:"before,omitempty"` // queries in the minute before
	Mark   map[string]map[string]uint64 `json:"mark,omitempty"`   // queries so far, when the wave began to bake
}

// Beside tells the rollout of nodes that announce VIPs of the plan and have no step in
// it: their part of the traffic is needed to tell shares.
func (r *Rollout) Beside(others []Member) { r.Others = others }

// gaugeBefore notes what nodes get before a wave acts.
func (r *Rollout) gaugeBefore(facts map[string]NodeFacts) {
	r.Gauge = gauge{Before: r.counts(facts, func(t Traffic) uint64 { return t.Minute })}
}

// gaugeMark notes what nodes have counted when the wave has done as planned.
func (r *Rollout) gaugeMark(facts map[string]NodeFacts) {
	r.Gauge.Mark = r.counts(facts, func(t Traffic) uint64 { return t.Total })
}

// counts gathers a count of each VIP of the plan on each node. A VIP of which some
// node's count is not known has none.
func (r *Rollout) counts(facts map[string]NodeFacts, of func(Traffic) uint64) map[string]map[string]uint64 {
	var all map[string]map[string]uint64
	for _, vip := range r.Plan.VIPs() {
		counts := map[string]uint64{}
		known := true
		for _, node := range r.everybody() {
			known = known && facts[node].Reached
			if t, has := facts[node].Traffic[vip]; has {
				counts[node] = of(t)
			}
		}
		if known && len(counts) > 0 {
			if all == nil {
				all = map[string]map[string]uint64{}
			}
			all[vip] = counts
		}
	}
	return all
}

// everybody lists the nodes that a share of the traffic may go to.
func (r *Rollout) everybody() []string {
	nodes := r.Plan.Nodes()
	for _, m := range r.Others {
		nodes = append(nodes, m.Name)
	}
	return nodes
}

// misrouted says in words which node of the wave gets another share of a VIP's queries
// than forecast, or "".
func (r *Rollout) misrouted(now time.Duration, facts map[string]NodeFacts) string {
	if r.Shift || r.Phase != PhaseBaking {
		return ""
	}
	counts := r.counts(facts, func(t Traffic) uint64 { return t.Total })
	r.dropMarks(facts, counts)
	if now-r.since < shareAfter {
		return ""
	}
	pops := r.pops()
	for _, vip := range r.Plan.VIPs() {
		before, mark, total := r.Gauge.Before[vip], r.Gauge.Mark[vip], counts[vip]
		if before == nil || mark == nil || total == nil {
			continue
		}
		joins, leaves := r.turnover(vip, facts)
		got := map[string]uint64{}
		for _, node := range r.everybody() {
			if !slices.Contains(leaves, node) {
				got[node] = total[node] - min(total[node], mark[node])
			}
		}
		will := forecast(before, pops, joins, leaves)
		for _, node := range r.Waves[r.Wave] {
			share, has := will[node]
			if n, was := before[node]; !has || was && n < minShared {
				continue
			}
			if why := off(vip, "queries to", share, got, node); why != "" {
				return node + " " + why
			}
		}
	}
	return ""
}

// dropMarks forgets the marks of VIPs that some node counts anew: it was restarted, or
// bound the VIP anew.
func (r *Rollout) dropMarks(facts map[string]NodeFacts, counts map[string]map[string]uint64) {
	for vip, mark := range r.Gauge.Mark {
		for node, n := range mark {
			s, _ := r.Plan.Step(node)
			if !facts[node].Reached || counts[vip] == nil || counts[vip][node] >= n || slices.Contains(s.Leaves(), vip) {
				continue
			}
			rest := maps.Clone(r.Gauge.Mark) // others may hold the old one
			if delete(rest, vip); len(rest) == 0 {
				rest = nil
			}
			r.Gauge.Mark = rest
			break
		}
	}
}

// turnover returns which nodes of the wave begin and stop to announce a VIP. One that is
// drained does not begin.
func (r *Rollout) turnover(vip string, facts map[string]NodeFacts) (joins, leaves []string) {
	for _, node := range r.Waves[r.Wave] {
		s, _ := r.Plan.Step(node)
		if slices.Contains(s.Joins(), vip) && len(facts[node].Out[vip]) > 0 {
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
