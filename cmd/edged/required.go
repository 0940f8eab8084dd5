package main

import (
	"fmt"

	"edged/edge"
	"edged/geo"
	"edged/health"
	"edged/health/fleet"
)

// vipAt is a VIP as one PoP announces it.
type vipAt struct{ vip, pop string }

// watchVIPs makes the targets that stand for the VIPs which pools require, at
// each PoP that the pools answer with.
func (b *builder) watchVIPs() {
	b.vips = map[vipAt]health.TargetID{}
	for _, name := range sortedKeys(b.config.Pools) {
		p := b.config.Pools[name]
		if p.RequiresVIP == "" {
			continue
		}
		for _, e := range p.Endpoints {
			at := vipAt{p.RequiresVIP, e.PoP}
			if _, seen := b.vips[at]; seen || e.PoP == "" {
				continue
			}
			t := health.NewVIP(at.vip, at.pop)
			b.vips[at] = t.ID
			b.plan.Targets = append(b.plan.Targets, fleet.Target{Target: t, Quorum: health.Quorum{Stated: true, Partition: health.Freeze}})
		}
	}
}

// withVIP makes the state of an endpoint no better than that of the VIP which its
// pool requires, at the endpoint's PoP. Where nobody ever spoke of the VIP, the
// endpoint's own state stands.
func withVIP(s geo.State, vip health.TargetState, name string) geo.State {
	if vip.Decided == "" || vip.Verdict == edge.Unknown || vip.Verdict <= s.Verdict {
		return s
	}
	s.Verdict, s.TTL = vip.Verdict, 0
	s.Why = fmt.Sprintf("vip %s: %s; %s", name, vip.Reason, vip.Decided)
	return s
}
