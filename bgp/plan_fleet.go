package bgp

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// FleetPlan is what a rollout changes: for each node the plan it shall have, and
// the one it was made over.
type FleetPlan struct {
	ID       string     `json:"id"`       // short hash of the steps
	Selector string     `json:"selector"` // as the operator typed it
	Steps    []NodeStep `json:"steps"`    // by node; only nodes that change
	Changes  []Change   `json:"changes"`  // what the steps change, for people
	Beside   []Change   `json:"beside"`   // what is pending too but was not selected

	GiveUp []netip.Prefix `json:"give_up,omitempty"` // that go without promises, as the operator said; sorted

	Quiet []string `json:"quiet,omitempty"` // nodes of the steps where an operator wants out all that changes; sorted

	First []netip.Prefix `json:"first,omitempty"` // that no node's plan had before, sorted; none when some node did not answer
}

// NodeStep is a fleet plan's part for one node.
type NodeStep struct {
	Prior NodePlan `json:"prior"` // what the node has stored: the base of the plan
	Plan  NodePlan `json:"plan"`  // what it shall store; the next generation

	Adds  []netip.Prefix `json:"adds,omitempty"`  // that the node begins to announce, sorted
	Drops []netip.Prefix `json:"drops,omitempty"` // that it announces to nobody any more, sorted
}

// NodeWish is what a node answers that is asked for its part of a plan.
type NodeWish struct {
	Stored    NodePlan `json:"stored"`
	File      []VIP    `json:"file"`       // what its file wants now
	Peers     []Peer   `json:"peers"`      // that it talks to now
	FilePeers []Peer   `json:"file_peers"` // that its file wants now
}

// Selection is what an operator wants planned.
type Selection struct {
	Nodes  string         // the selector: node/NAME, pop/NAME or all, several with commas
	VIPs   []string       // by name; empty: all
	GiveUp []netip.Prefix // that the plan takes away, and that shall go though nobody promises to stay
}

// Plan makes a fleet plan of what the files of the selected nodes want, about the VIPs
// selected. What other nodes and VIPs have pending is told beside it. It errs on a
// selector that is empty or names what is not there, on an unknown VIP, on a prefix to be
// given up that no selected node is to lose, and when a selected node has not
// answered or answered with something malformed.
func Plan(sel Selection, members []Member, answers []NodeWish) (FleetPlan, error) {
	selected, err := Select(sel.Nodes, members)
	if err != nil {
		return FleetPlan{}, err
	}
	only := sel.VIPs
	if err := checkOnly(only, answers); err != nil {
		return FleetPlan{}, err
	}
	f := FleetPlan{Selector: sel.Nodes}
	for _, m := range members {
		isSelected := slices.Contains(selected, m.Name)
		i := slices.IndexFunc(answers, func(w NodeWish) bool { return w.Stored.Node == m.Name })
		if i < 0 {
			if isSelected {
				return FleetPlan{}, fmt.Errorf("node %q did not answer: bring it back, or select others", m.Name)
			}
			continue
		}
		w := answers[i]
		all := Pending(w.Stored, w.File, nil)
		if err := errors.Join(w.Stored.Check(), all.Check()); err != nil {
			if isSelected {
				return FleetPlan{}, err
			}
			continue
		}
		everything := w.Changes(all)
		if !isSelected {
			f.Beside = append(f.Beside, everything...)
			continue
		}
		next := Pending(w.Stored, w.File, only)
		changes := w.Changes(next)
		f.Changes = append(f.Changes, changes...)
		for _, c := range everything {
			if c.VIP != "" && len(only) > 0 && !slices.Contains(only, c.VIP) {
				f.Beside = append(f.Beside, c)
			}
		}
		if next.Generation == w.Stored.Generation {
			continue
		}
		s := NodeStep{Prior: w.Stored, Plan: next}
		s.Adds, s.Drops = comeAndGo(w.Stored, next, w.Peers)
		s.Plan.GiveUp = both(sel.GiveUp, s.Drops)
		f.Steps = append(f.Steps, s)
	}
	if f.GiveUp, err = givenUp(sel.GiveUp, f.Steps); err != nil {
		return FleetPlan{}, err
	}
	slices.SortFunc(f.Steps, func(a, b NodeStep) int { return cmp.Compare(a.Plan.Node, b.Plan.Node) })
	sortChanges(f.Changes)
	sortChanges(f.Beside)
	f.ID = shortHash(f.Steps)
	if len(answers) == len(members) {
		f.First = firsts(f.Steps, answers)
	}
	return f, nil
}

// givenUp returns the prefixes to be given up, sorted. It errs on one that is dropped
// nowhere.
func givenUp(prefixes []netip.Prefix, steps []NodeStep) ([]netip.Prefix, error) {
	var drops []netip.Prefix
	for _, s := range steps {
		drops = append(drops, s.Drops...)
	}
	slices.SortFunc(drops, netip.Prefix.Compare)
	drops = slices.Compact(drops)
	if wrong := slices.DeleteFunc(slices.Clone(prefixes), func(p netip.Prefix) bool { return slices.Contains(drops, p) }); len(wrong) > 0 {
		if len(drops) == 0 {
			return nil, fmt.Errorf("%s is not to be given up: the plan takes no prefix from the selected nodes", PrefixWords(wrong))
		}
		return nil, fmt.Errorf("%s is not to be given up: what the plan takes from the selected nodes is %s", PrefixWords(wrong), PrefixWords(drops))
	}
	return both(drops, prefixes), nil
}

// both returns what is in a and in b, sorted.
func both(a, b []netip.Prefix) (all []netip.Prefix) {
	for _, p := range a {
		if slices.Contains(b, p) {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}

// ParsePrefixes reads prefixes with commas between them, at least one.
func ParsePrefixes(text string) (all []netip.Prefix, err error) {
	for word := range strings.SplitSeq(text, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(word))
		if err != nil {
			return nil, fmt.Errorf("%q is no prefix: want such as 198.51.100.53/32", word)
		}
		all = append(all, p)
	}
	return all, nil
}

// PrefixWords names prefixes, with commas.
func PrefixWords(prefixes []netip.Prefix) string {
	var words []string
	for _, p := range prefixes {
		words = append(words, p.String())
	}
	return strings.Join(words, ", ")
}

// firsts returns the prefixes of steps that no stored plan has.
func firsts(steps []NodeStep, answers []NodeWish) (all []netip.Prefix) {
	had := map[netip.Prefix]bool{}
	for _, w := range answers {
		for _, v := range w.Stored.VIPs {
			for _, p := range v.Prefixes {
				had[p] = true
			}
		}
	}
	for _, s := range steps {
		for _, v := range s.Plan.VIPs {
			for _, p := range v.Prefixes {
				if !had[p] {
					all, had[p] = append(all, p), true
				}
			}
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return all
}

// Changes returns what changes on the node when it takes the plan next, and which
// sessions are still to be made anew, one after the other: a plan leaves these alone.
func (w NodeWish) Changes(next NodePlan) []Change {
	changes := Diff(w.Stored, next, w.Peers, w.Peers)
	for _, c := range Diff(w.Stored, w.Stored, w.Peers, w.FilePeers) {
		if c.Kind == ResetsSession {
			changes = append(changes, c)
		}
	}
	sortChanges(changes)
	return changes
}

func checkOnly(only []string, answers []NodeWish) error {
	var known []string
	for _, w := range answers {
		for _, v := range slices.Concat(w.Stored.VIPs, w.File) {
			known = append(known, v.Name)
		}
	}
	for _, name := range only {
		if name == "" {
			return errors.New("the name of a VIP is empty: name VIPs, or none to mean all")
		}
		if !slices.Contains(known, name) {
			return unknownName("VIP", name, known)
		}
	}
	return nil
}

// Step returns the plan's part for a node.
func (f FleetPlan) Step(node string) (NodeStep, bool) {
	i := slices.IndexFunc(f.Steps, func(s NodeStep) bool { return s.Plan.Node == node })
	if i < 0 {
		return NodeStep{}, false
	}
	return f.Steps[i], true
}

// Nodes returns the names of the nodes that the plan changes, sorted.
func (f FleetPlan) Nodes() []string {
	var names []string
	for _, s := range f.Steps {
		names = append(names, s.Plan.Node)
	}
	return names
}

// VIPs returns the names of the VIPs that the plan changes on any node, sorted.
func (f FleetPlan) VIPs() []string {
	var names []string
	for _, c := range f.Changes {
		if c.VIP != "" {
			names = append(names, c.VIP)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Prefixes returns those that come or go on some node, sorted.
func (f FleetPlan) Prefixes() (names []string) {
	for _, s := range f.Steps {
		for _, p := range slices.Concat(s.Adds, s.Drops) {
			names = append(names, p.String())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
