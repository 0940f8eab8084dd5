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
	leaves        []bool // it is announced in any way, and will be no more
	givenUp       bool
}

func (g presence) alike(o presence) bool {
	return slices.Equal(g.before, o.before) && slices.Equal(g.after, o.after) && slices.Equal(g.leaves, o.leaves) && g.givenUp == o.givenUp
}

// count counts who announces a VIP before and after, and judges the result if
// anybody leaves, and how many of the announcers change. Prefixes that are announced
// by the same nodes are counted together.
func (j *judging) count(vip string) {
	least := Count{VIP: vip, Min: 1, MinPoPs: 1}
	var prefixes []netip.Prefix
	announcers, touched := 0, 0
	for _, n := range j.fleet.Nodes {
		step, _ := j.plan.Step(n.Name)
		for _, p := range []NodePlan{n.Stored, step.Plan} {
			if v, ok := p.VIP(vip); ok {
				least.Min, least.MinPoPs = max(least.Min, v.MinAnnouncers), max(least.MinPoPs, v.MinPoPs)
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
		c := least
		if len(groups) > 1 {
			c.Prefixes = g.prefixes
		}
		j.add(c, g)
	}
	j.share(vip, announcers, touched)
}

// presence says which nodes announce a prefix of a VIP before and after.
func (j *judging) presence(vip string, p netip.Prefix) presence {
	g := presence{prefixes: []netip.Prefix{p}, givenUp: slices.Contains(j.plan.GiveUp, p)}
	has := func(plan NodePlan) bool {
		v, ok := plan.VIP(vip)
		return ok && slices.Contains(v.Prefixes, p)
	}
	for _, n := range j.fleet.Nodes {
		step, _ := j.plan.Step(n.Name)
		is := func(what map[string][]netip.Prefix) bool { return what == nil || slices.Contains(what[vip], p) }
		before := n.States[vip] == Announced && has(n.Stored) && is(n.Out)
		drops, adds := has(n.Stored) && slices.Contains(step.Drops, p), has(step.Plan) && slices.Contains(step.Adds, p)
		comes := adds && !slices.Contains(n.Drained, vip)
		g.before, g.after = append(g.before, before), append(g.after, before && !drops || comes)
		// What answered and is not out is missed when its routers are back.
		there := n.States[vip].Announces() && is(n.Answered)
		g.leaves = append(g.leaves, there && drops && !goesOver(n, step, vip, p))
	}
	return g
}

// goesOver says whether another VIP takes a prefix over, and some peer hears it there: one that is
// announced on the node, or new. Then no peer is told that it is gone. One that an operator wants
// out takes nothing over.
func goesOver(n FleetNode, step NodeStep, vip string, p netip.Prefix) bool {
	return slices.ContainsFunc(step.Plan.VIPs, func(v VIP) bool {
		_, had := step.Prior.VIP(v.Name)
		takes := slices.Contains(v.Prefixes, p) && slices.Contains(step.Adds, p) && (!had || n.States[v.Name] == Announced)
		return v.Name != vip && takes && !slices.Contains(n.Drained, v.Name)
	})
}

// add adds the counts of what is announced alike, and judges them if anybody leaves.
func (j *judging) add(total Count, g presence) {
	pops := map[string]*Count{}
	var leaving []string
	for i, n := range j.fleet.Nodes {
		before, after := g.before[i], g.after[i]
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
	left := 0
	for _, pop := range slices.Sorted(maps.Keys(pops)) {
		j.counts = append(j.counts, *pops[pop])
		left += one(pops[pop].After > 0)
	}
	switch {
	case g.givenUp:
	case len(leaving) > 0:
		j.leaving(total, g.prefixes, left, leaving)
	case total.After > total.Before && (total.After < total.Min || left < total.MinPoPs):
		j.notes = append(j.notes, fmt.Sprintf("%s is announced by %s in %s then, want %d in %d: until there are as many, no node that announces it can be drained without --force",
			total.what(), Counted(total.After, "node"), Counted(left, "PoP"), total.Min, total.MinPoPs))
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
