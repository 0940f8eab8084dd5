package bgp

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Count is how many nodes announce a VIP, or some prefixes of it, in the fleet or in
// one PoP. Only nodes where it is Announced count: one that is degraded, or there for
// want of others, is none to rely on.
type Count struct {
	VIP      string         `json:"vip"`
	Prefixes []netip.Prefix `json:"prefixes,omitempty"` // none: all of the VIP, alike
	PoP      string         `json:"pop,omitempty"`      // empty: the fleet
	Before   int            `json:"before"`
	After    int            `json:"after"`
	Min      int            `json:"min,omitempty"`      // of the fleet: the strictest that any node's plan says, before or after
	MinPoPs  int            `json:"min_pops,omitempty"` // likewise
	GivenUp  bool           `json:"given_up,omitempty"` // of the fleet: so the operator said, and no minimum counts
}

func (c Count) what() string {
	if len(c.Prefixes) == 0 {
		return c.VIP
	}
	return c.VIP + " " + PrefixWords(c.Prefixes)
}

func (c Count) where() string {
	if c.PoP == "" {
		return "fleet"
	}
	return "pop/" + c.PoP
}

// presence is on which nodes something of a VIP is announced, by the fleet's order.
type presence struct {
	prefixes      []netip.Prefix
	before, after []bool // as planned, so that it counts
	had, stays    []bool // likewise, for whatever VIP
	leaves        []bool // it is announced in any way, and will be no more
	givenUp       bool

	min, minPoPs int // the strictest of all VIPs that have it
}

func (g presence) alike(o presence) bool {
	return slices.Equal(g.before, o.before) && slices.Equal(g.after, o.after) && slices.Equal(g.had, o.had) &&
		slices.Equal(g.stays, o.stays) && slices.Equal(g.leaves, o.leaves) && g.givenUp == o.givenUp && g.min == o.min && g.minPoPs == o.minPoPs
}

// count counts who announces a VIP before and after, and judges the result if
// anybody leaves, and how many of the announcers change. Prefixes that are announced
// by the same nodes are counted together.
func (j *judging) count(vip string) {
	var prefixes []netip.Prefix
	announcers, touched := 0, 0
	for _, n := range j.fleet.Nodes {
		step, _ := j.plan.Step(n.Name)
		for _, p := range []NodePlan{n.Stored, step.Plan} {
			if v, ok := p.VIP(vip); ok {
				prefixes = append(prefixes, v.Prefixes...)
			}
		}
		if n.States[vip].Announces() {
			announcers++
			touched += one(j.touches(n.Name, vip))
		}
	}
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	var groups []presence
	for _, p := range slices.Compact(prefixes) {
		next := j.presence(vip, p)
		i := slices.IndexFunc(groups, next.alike)
		if i < 0 {
			groups = append(groups, next)
		} else {
			groups[i].prefixes = append(groups[i].prefixes, p)
		}
	}
	for _, g := range groups {
		c := Count{VIP: vip, Min: g.min, MinPoPs: g.minPoPs}
		if len(groups) > 1 {
			c.Prefixes = g.prefixes
		}
		j.add(c, g)
	}
	j.share(vip, announcers, touched)
}

// presence says which nodes announce a prefix of a VIP before and after.
func (j *judging) presence(vip string, p netip.Prefix) presence {
	g := presence{prefixes: []netip.Prefix{p}, givenUp: slices.Contains(j.plan.GiveUp, p), min: 1, minPoPs: 1}
	for _, n := range j.fleet.Nodes {
		step, has := j.plan.Step(n.Name)
		if !has {
			step.Plan = n.Stored
		}
		before, after := n.counts(step, vip, p)
		had, stays := false, false
		for _, v := range slices.Concat(n.Stored.VIPs, step.Plan.VIPs) {
			was, will := n.counts(step, v.Name, p)
			had, stays = had || was, stays || will
			if slices.Contains(v.Prefixes, p) {
				g.min, g.minPoPs = max(g.min, v.MinAnnouncers), max(g.minPoPs, v.MinPoPs)
			}
		}
		g.before, g.after, g.had, g.stays = append(g.before, before), append(g.after, after), append(g.had, had), append(g.stays, stays)
		// What answered and is not out is missed when its routers are back.
		there := n.States[vip].Announces() && (n.Answered == nil || slices.Contains(n.Answered[vip], p)) || slices.Contains(n.Waiting[vip], p)
		heir := heir(step, vip, p)
		goesOver := heir != "" && slices.Contains(step.Adds, p) && n.comes(step, heir) // no peer is told that it is gone
		g.leaves = append(g.leaves, there && dropsOf(n.Stored, step, vip, p) && !goesOver)
		if heir != "" {
			j.over(n, step, vip, heir, p)
		}
	}
	return g
}

// counts says whether a node announces a prefix of a VIP, before and after a step, as planned.
func (n FleetNode) counts(step NodeStep, vip string, p netip.Prefix) (before, after bool) {
	before = n.announces(vip, p)
	comes := hasPrefix(step.Plan, vip, p) && slices.Contains(step.Adds, p) && n.comes(step, vip)
	for _, v := range n.Stored.VIPs { // what another VIP has is no better announced by the new one
		comes = comes && (v.Name == vip || !slices.Contains(v.Prefixes, p) || n.announces(v.Name, p))
	}
	return before, before && !dropsOf(n.Stored, step, vip, p) || comes
}

// announces says whether a node announces a prefix of a VIP as planned.
func (n FleetNode) announces(vip string, p netip.Prefix) bool {
	return n.States[vip] == Announced && hasPrefix(n.Stored, vip, p) && (n.Out == nil || slices.Contains(n.Out[vip], p))
}

// comes says whether what a step adds to a VIP is announced then, and some peer hears it: one that is
// announced on the node, or new, and that no operator wants out.
func (n FleetNode) comes(step NodeStep, vip string) bool {
	_, had := step.Prior.VIP(vip)
	return (!had || n.States[vip] == Announced) && !slices.Contains(n.Drained, vip)
}

func hasPrefix(plan NodePlan, vip string, p netip.Prefix) bool {
	v, ok := plan.VIP(vip)
	return ok && slices.Contains(v.Prefixes, p)
}

func dropsOf(stored NodePlan, step NodeStep, vip string, p netip.Prefix) bool {
	return hasPrefix(stored, vip, p) && slices.Contains(step.Drops, p)
}

// heir returns the VIP that is to have a prefix of another one; empty: none is.
func heir(step NodeStep, vip string, p netip.Prefix) string {
	if !hasPrefix(step.Prior, vip, p) {
		return ""
	}
	for _, v := range step.Plan.VIPs {
		if v.Name != vip && slices.Contains(v.Prefixes, p) {
			return v.Name
		}
	}
	return ""
}

// over judges a prefix that another VIP is to have on a node: what an operator wants out stays out.
func (j *judging) over(n FleetNode, step NodeStep, vip, heir string, p netip.Prefix) {
	here := n.States[vip].Announces() && slices.Contains(step.Adds, p)
	undrained := Undrains(n.Operations, n.Member, vip, heir, j.fleet.Now)
	switch {
	case slices.Contains(n.Drained, heir):
		if here {
			j.notes = append(j.notes, fmt.Sprintf("%s: %s goes over to %s, which an operator wants out there, and is withdrawn", n.Name, p, heir))
		}
	case len(undrained) > 0:
		j.breaks(RuleDrained, n.Name, "an operator wants %s out there, and %s would announce %s: end that (%s since %s) by edged vip undrain, or leave the node out of the plan",
			vip, heir, p, undrained[0].What(), clock(undrained[0].Since))
	case here && !n.comes(step, heir) && n.States[heir].Announces():
		j.notes = append(j.notes, fmt.Sprintf("%s: %s goes over to %s, which is %s there, and does not count", n.Name, p, heir, n.States[heir]))
	}
}

// add adds the counts of what is announced alike, and judges them if anybody leaves.
func (j *judging) add(total Count, g presence) {
	pops, stay := map[string]*Count{}, map[string]bool{}
	all := total // whatever VIP it is announced for
	var leaving []string
	for i, n := range j.fleet.Nodes {
		before, after := g.before[i], g.after[i]
		all.Before += one(g.had[i])
		all.After += one(g.stays[i])
		if g.stays[i] {
			stay[n.PoP] = true
		}
		if g.leaves[i] {
			leaving = append(leaving, n.Name)
		}
		if !before && !after {
			continue
		}
		if pops[n.PoP] == nil {
			pops[n.PoP] = &Count{VIP: total.VIP, Prefixes: total.Prefixes, PoP: n.PoP}
		}
		for _, c := range []*Count{&total, pops[n.PoP]} {
			c.Before += one(before)
			c.After += one(after)
		}
	}
	total.GivenUp = g.givenUp
	j.counts = append(j.counts, total)
	for _, pop := range slices.Sorted(maps.Keys(pops)) {
		j.counts = append(j.counts, *pops[pop])
	}
	switch {
	case g.givenUp:
	case len(leaving) > 0:
		j.leaving(all, g.prefixes, len(stay), leaving)
	case all.After > all.Before && (all.After < all.Min || len(stay) < all.MinPoPs):
		j.notes = append(j.notes, fmt.Sprintf("%s is announced by %s in %s then, want %d in %d: until there are as many, no node that announces it can be drained without --force",
			all.what(), Counted(all.After, "node"), Counted(len(stay), "PoP"), all.Min, all.MinPoPs))
	}
}

// leaving judges what is left of prefixes of a VIP when some announcers leave.
func (j *judging) leaving(c Count, prefixes []netip.Prefix, pops int, names []string) {
	who := strings.Join(names, ", ") + " would leave"
	if len(c.Prefixes) > 0 {
		who += " " + PrefixWords(c.Prefixes)
	}
	switch {
	case c.After == 0:
		j.breaks(RuleLast, c.VIP, "%s, and nobody announce it as planned, want at least %d: "+
			"to give it up on purpose, say --give-up %s", who, c.Min, strings.ReplaceAll(PrefixWords(prefixes), " ", ""))
	case c.After < c.Min:
		j.breaks(RuleMinimum, c.VIP, "%s, and %d of %d announce it, want at least %d",
			who, c.After, c.Before, c.Min)
	case pops < c.MinPoPs:
		j.breaks(RuleMinimum, c.VIP, "%s, and %s announce it, want at least %d",
			who, Counted(pops, "PoP"), c.MinPoPs)
	}
}
