package bgp

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Fleet is what the node that judges a plan knows of all nodes.
type Fleet struct {
	Nodes    []FleetNode
	InFlight []InFlight // plans that are being rolled out
	Now      time.Time  // by which operations are in force, or are not yet
}

// FleetNode is a node as it stands.
type FleetNode struct {
	Member
	Stored NodePlan         // its plan; generation 0 when it did not answer
	States map[string]State // of its VIPs; none when it did not answer

	// Answered names of each VIP what answered there, and Out what of that a peer was
	// sent, too; nil: all of it.
	Answered, Out map[string][]netip.Prefix

	Drained []string // VIPs of the plan that an operator wants out there, by name

	// Waiting names of each VIP what is still announced as another one's, until peers hear it there.
	Waiting map[string][]netip.Prefix

	Operations []Operation // in force there, now or later
}

// InFlight is a plan that some node rolls out.
type InFlight struct {
	Plan        string   `json:"plan"`        // its ID
	Coordinator string   `json:"coordinator"` // the node that rolls it out
	Nodes       []string `json:"nodes"`
	VIPs        []string `json:"vips"`
	Prefixes    []string `json:"prefixes,omitempty"` // that come or go, for whatever VIP
	Asked       bool     `json:"asked,omitempty"`    // it is only being applied, at this moment
}

// Limits say how much one plan may change.
type Limits struct {
	MaxVIPs   int     // that a plan changes; 0: DefaultMaxVIPs
	MaxShare  float64 // of a VIP's announcers that routers hear otherwise of, 0 to 1; 0: DefaultMaxShare
	AllowWide bool    // the operator said that both may be exceeded
}

// The defaults of Limits. One node may always change: less than that is no plan.
const (
	DefaultMaxVIPs  = 5
	DefaultMaxShare = 0.25
)

// Rule names what a plan may not break.
type Rule string

// The rules.
const (
	RuleEmpty     Rule = "empty"     // it selects nobody or changes nothing
	RuleMalformed Rule = "malformed" // a node's plan that cannot be
	RuleStale     Rule = "stale"     // a node has another plan than the one it was made over
	RuleOverlap   Rule = "overlap"   // a plan in flight changes the same node or VIP
	RuleWide      Rule = "wide"      // too many VIPs, or too many announcers of one
	RuleMinimum   Rule = "minimum"   // too few announcers, or PoPs with one, would be left
	RuleLast      Rule = "last"      // no announcer would be left
	RuleDrained   Rule = "drained"   // what an operator wants out would be announced by another name
)

// Broken is a rule that a plan breaks.
type Broken struct {
	Rule   Rule   `json:"rule"`
	Object string `json:"object"` // what it is broken for: a VIP, a node, or the plan
	Why    string `json:"why"`    // with the numbers, and a hint
}

// String returns the rule, the object and the reason in a line.
func (b Broken) String() string { return fmt.Sprintf("%s: %s: %s", b.Rule, b.Object, b.Why) }

// Verdict is what comes of judging a plan.
type Verdict struct {
	Counts []Count  `json:"counts"`          // of the VIPs that the plan changes, by VIP, the fleet before its PoPs
	Broken []Broken `json:"broken"`          // none: it may be applied
	Notes  []string `json:"notes,omitempty"` // what to know, though it speaks not against the plan
	Radius int      `json:"radius"`          // how many triples of node, VIP and peer change
}

// OK says whether the plan may be applied.
func (v Verdict) OK() bool { return len(v.Broken) == 0 }

// Err returns nil, or an error that names each rule that is broken.
func (v Verdict) Err() error {
	if v.OK() {
		return nil
	}
	var words []string
	for _, b := range v.Broken {
		words = append(words, b.String())
	}
	return fmt.Errorf("plan refused: %s", strings.Join(words, "; "))
}

// Judge holds a plan against the rules, for the fleet as it stands. It is asked
// when the plan is made, and again before it is applied.
func Judge(p FleetPlan, f Fleet, l Limits) Verdict {
	j := judging{plan: p, fleet: f, limits: l}
	j.limits.MaxVIPs = cmp.Or(l.MaxVIPs, DefaultMaxVIPs)
	j.limits.MaxShare = cmp.Or(l.MaxShare, DefaultMaxShare)
	j.base()
	j.overlap()
	j.width()
	for _, vip := range p.VIPs() {
		j.count(vip)
	}
	for _, node := range p.Quiet {
		j.notes = append(j.notes, node+": an operator wants out there all that changes, and it shows nothing of it")
	}
	return Verdict{Counts: j.counts, Broken: j.broken, Notes: j.notes, Radius: radius(p.Changes)}
}

type judging struct {
	plan   FleetPlan
	fleet  Fleet
	limits Limits
	counts []Count
	broken []Broken
	notes  []string
}

func (j *judging) breaks(r Rule, object, format string, args ...any) {
	j.broken = append(j.broken, Broken{r, object, fmt.Sprintf(format, args...)})
}

// base holds the plan against those that the nodes have stored.
func (j *judging) base() {
	switch {
	case strings.TrimSpace(j.plan.Selector) == "":
		j.breaks(RuleEmpty, "plan", "it selects no node: name node/NAME, pop/NAME, or all")
	case len(j.plan.Steps) == 0:
		j.breaks(RuleEmpty, "plan", "it changes nothing on %q", j.plan.Selector)
	}
	for _, s := range j.plan.Steps {
		node := s.Plan.Node
		if err := s.Plan.Check(); err != nil {
			j.breaks(RuleMalformed, node, "%v", err)
		}
		i := slices.IndexFunc(j.fleet.Nodes, func(n FleetNode) bool { return n.Name == node })
		switch {
		case i < 0:
			j.breaks(RuleStale, node, "it is not in the fleet: plan again")
		case j.fleet.Nodes[i].Stored.Generation == 0:
			j.breaks(RuleStale, node, "it does not answer, so nobody knows its plan: bring it back, or select others")
		default:
			now := j.fleet.Nodes[i].Stored
			if now.Generation != s.Prior.Generation || now.ID() != s.Prior.ID() {
				j.breaks(RuleStale, node, "it has generation %d (%s), the plan was made over generation %d (%s): plan again",
					now.Generation, now.ID(), s.Prior.Generation, s.Prior.ID())
			}
		}
	}
}

func (j *judging) overlap() {
	for _, other := range j.fleet.InFlight {
		shared := func(what string, ours, theirs []string) {
			for _, name := range ours {
				if slices.Contains(theirs, name) {
					now := "which %s rolls out, changes this %s too: wait for it, or abort it"
					if other.Asked {
						now = "which is being applied on %s at this moment, changes this %s too: try again"
					}
					j.breaks(RuleOverlap, name, "plan %s, "+now, other.Plan, other.Coordinator, what)
				}
			}
		}
		shared("node", j.plan.Nodes(), other.Nodes)
		shared("VIP", j.plan.VIPs(), other.VIPs)
		if !slices.ContainsFunc(j.plan.VIPs(), func(vip string) bool { return slices.Contains(other.VIPs, vip) }) {
			shared("prefix", j.plan.Prefixes(), other.Prefixes)
		}
	}
}

func (j *judging) width() {
	if n := len(j.plan.VIPs()); n > j.limits.MaxVIPs && !j.limits.AllowWide {
		j.breaks(RuleWide, "plan", "%d VIPs would change, want at most %d: name fewer, or say --allow-wide", n, j.limits.MaxVIPs)
	}
}

// touches says whether routers hear otherwise of what a node announces of a VIP, or
// clients find it on another port.
// Routes that come beside those take nothing from any client, routers hear nothing of
// settings, and sessions are made anew by the node's file, with or without the plan.
func (j *judging) touches(node, vip string) bool {
	return slices.ContainsFunc(j.plan.Changes, func(c Change) bool {
		return c.Node == node && c.VIP == vip && len(c.Peers) > 0 && (c.Kind == DropsRoute || c.Kind == AltersRoute)
	}) || j.rebinds(node, vip)
}

// rebinds says whether a VIP that stays is answered on another port of a node.
func (j *judging) rebinds(node, vip string) bool {
	step, _ := j.plan.Step(node)
	was, had := step.Prior.VIP(vip)
	will, has := step.Plan.VIP(vip)
	return had && has && was.Port != will.Port
}

// share judges how many of a VIP's announcers change. Waves find what shows at once;
// what does not is wrong with all of them.
func (j *judging) share(vip string, announcers, touched int) {
	share := float64(touched) / float64(announcers)
	if touched > 1 && share > j.limits.MaxShare && !j.limits.AllowWide {
		j.breaks(RuleWide, vip, "routes of %d of %d announcers would change or go (%.0f %%), want at most %.0f %%: "+
			"select fewer nodes, such as pop/NAME or node/NAME, or say --allow-wide: it goes in waves anyway",
			touched, announcers, 100*share, 100*j.limits.MaxShare)
	}
}

// radius counts the triples of node, VIP and peer that change. A change that no
// peer sees counts once.
func radius(changes []Change) int {
	triples := map[[3]string]bool{}
	for _, c := range changes {
		for _, peer := range c.Peers {
			triples[[3]string{c.Node, c.VIP, peer}] = true
		}
		if len(c.Peers) == 0 {
			triples[[3]string{c.Node, c.VIP}] = true
		}
	}
	return len(triples)
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
