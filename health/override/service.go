package override

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"edged/edge"
)

// service is what a series of overrides leaves in service. Overrides are only
// added; they come in their order, so that the newest weight counts.
type service struct {
	fleet     *Fleet
	popOf     []int // index of each endpoint's PoP, -1 when it is none of the fleet's
	nodePoP   []int
	pops      []bool // named by a drain or force-down
	nodes     []bool
	endpoints []bool // matched by a drain or force-down
	idle      []bool // endpoints whose newest weight is 0
	forced    []bool // endpoints forced up
	down      []bool // endpoints that checks find down; nil: checks do not count
}

func newService(f *Fleet) *service {
	index := make(map[string]int, len(f.PoPs))
	for i, p := range f.PoPs {
		index[p.Name] = i
	}
	at := func(pop string) int {
		if i, ok := index[pop]; ok {
			return i
		}
		return -1
	}
	s := &service{
		fleet: f, popOf: make([]int, len(f.Endpoints)), nodePoP: make([]int, len(f.Nodes)),
		pops: make([]bool, len(f.PoPs)), nodes: make([]bool, len(f.Nodes)),
		endpoints: make([]bool, len(f.Endpoints)), idle: make([]bool, len(f.Endpoints)),
		forced: make([]bool, len(f.Endpoints)),
	}
	for i, e := range f.Endpoints {
		s.popOf[i] = at(e.PoP)
	}
	for i, n := range f.Nodes {
		s.nodePoP[i] = at(n.PoP)
	}
	return s
}

// with returns the service after one more override. The receiver stays as it
// was; it is returned itself when the override takes nothing out or in.
func (s *service) with(o Override) *service {
	next := *s
	switch o.Action {
	case Drain, ForceDown:
		next.pops, next.nodes, next.endpoints = slices.Clone(s.pops), slices.Clone(s.nodes), slices.Clone(s.endpoints)
		for i, p := range s.fleet.PoPs {
			next.pops[i] = s.pops[i] || o.Target.MatchesPoP(p.Name)
		}
		for i, n := range s.fleet.Nodes {
			next.nodes[i] = s.nodes[i] || o.Target.MatchesNode(n.Name)
		}
		for i, e := range s.fleet.Endpoints {
			next.endpoints[i] = s.endpoints[i] || o.Target.Matches(e)
		}
	case Weight:
		next.idle = slices.Clone(s.idle)
		for i, e := range s.fleet.Endpoints {
			if o.Target.Matches(e) {
				next.idle[i] = o.Weight == 0
			}
		}
	case ForceUp:
		next.forced = slices.Clone(s.forced)
		for i, e := range s.fleet.Endpoints {
			next.forced[i] = s.forced[i] || o.Target.Matches(e)
		}
	default:
		return s
	}
	return &next
}

// found returns the service less what checks find down, by endpoint.
func (s *service) found(down []bool) *service {
	next := *s
	next.down = down
	return &next
}

// share is how much of a PoP is out of service: out parts of all.
type share struct{ out, all uint64 }

func (s share) whole() bool { return s.out == s.all }

// shares returns for each PoP how much of it is out: all when an override
// names it or all its nodes, else as many of its endpoints as are.
func (s *service) shares() []share {
	endpoints, nodes := make([]share, len(s.pops)), make([]share, len(s.pops))
	count := func(to []share, pop int, out bool) {
		if pop < 0 {
			return
		}
		to[pop].all++
		if out {
			to[pop].out++
		}
	}
	for i, pop := range s.popOf {
		count(endpoints, pop, s.out(i))
	}
	for i, pop := range s.nodePoP {
		count(nodes, pop, s.nodes[i])
	}
	for i := range endpoints {
		switch {
		case s.pops[i], nodes[i].all > 0 && nodes[i].whole():
			endpoints[i] = share{1, 1}
		case endpoints[i].all == 0:
			endpoints[i] = share{0, 1}
		}
	}
	return endpoints
}

// out says whether an endpoint is out of service: by itself, with its PoP, or
// because it is down and not forced up.
func (s *service) out(i int) bool {
	return s.endpoints[i] || s.idle[i] || s.popOf[i] >= 0 && s.pops[s.popOf[i]] ||
		s.down != nil && s.down[i] && !s.forced[i]
}

// tally is what one rule counts in one place.
type tally struct {
	where   string
	in, all int64
	out     []string // PoPs
	outs    int64    // endpoints
}

// tallies counts what a rule is about, by place in the order of the fleet's
// PoPs.
func (s *service) tallies(r Rule) []*tally {
	var all []*tally
	at := func(pop int) *tally {
		where := "the fleet"
		if r.Per == "continent" {
			where = "no continent"
			if pop >= 0 && s.fleet.PoPs[pop].Continent != "" {
				where = s.fleet.PoPs[pop].Continent
			}
		}
		for _, t := range all {
			if t.where == where {
				return t
			}
		}
		all = append(all, &tally{where: where})
		return all[len(all)-1]
	}
	if r.Of == "endpoints" {
		for i, pop := range s.popOf {
			t := at(pop)
			t.all++
			if s.out(i) {
				t.outs++
			} else {
				t.in++
			}
		}
		return all
	}
	said := slices.ContainsFunc(s.fleet.PoPs, func(p edge.PoP) bool { return p.Capacity > 0 })
	for i, share := range s.shares() {
		units, out := int64(1), int64(0)
		if share.whole() {
			out = 1
		}
		if r.Of == "capacity" && said {
			units = min(max(s.fleet.PoPs[i].Capacity, 0), maxCapacity)
			hi, lo := bits.Mul64(uint64(units), share.out)
			q, _ := bits.Div64(hi, lo, share.all) // at most units
			out = int64(q)
		}
		t := at(i)
		t.all += units
		t.in += units - out
		if out > 0 || share.whole() {
			t.out = append(t.out, s.fleet.PoPs[i].Name)
		}
	}
	return all
}

// maxCapacity is what a PoP's capacity counts at most, so that sums of
// edge.MaxPoPs of them stay in range.
const maxCapacity = 1 << 50

// holds says whether a tally keeps to the rule.
func (r Rule) holds(t *tally) bool {
	if r.AtLeast > 0 {
		return t.in >= int64(r.AtLeast)
	}
	// out*100 <= share*all, in 128 bits
	hi, lo := bits.Mul64(uint64(t.all-t.in), 100)
	hi2, lo2 := bits.Mul64(uint64(t.all), uint64(r.Share))
	return hi < hi2 || hi == hi2 && lo <= lo2
}

// perMille returns out/all in thousandths, rounded up; 0 of 0 is 0.
func perMille(out, all int64) uint64 {
	if all == 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(out), 1000)
	q, rest := bits.Div64(hi, lo, uint64(all))
	if rest > 0 {
		q++
	}
	return q
}

// judge compares two services under the rules. A rule that is broken anyway is
// not held against an override that makes it no worse.
func judge(rules []Rule, before, after *service) (findings []Finding, broken []Finding) {
	for _, r := range rules {
		was, unchecked := before.tallies(r), after.found(nil).tallies(r)
		for i, t := range after.tallies(r) {
			f := Finding{
				Rule: r.String(), Where: t.where, All: t.all, Before: was[i].in, After: t.in, Down: unchecked[i].in - t.in,
				Out: outText(r, t), Broken: !r.holds(t) && t.in < was[i].in, rule: r,
			}
			findings = append(findings, f)
			if f.Broken {
				broken = append(broken, f)
			}
		}
	}
	return findings, broken
}

// outText lists what is out: the first PoPs by name, or how many endpoints.
func outText(r Rule, t *tally) string {
	if r.Of == "endpoints" {
		return fmt.Sprintf("%d endpoints", t.outs)
	}
	return list(t.out)
}

// list joins the first names; it says how many more there are.
func list(names []string) string {
	const most = 8
	if len(names) == 0 {
		return "none"
	}
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}
