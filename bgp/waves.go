package bgp

import (
	"cmp"
	"slices"
)

// Quiet returns the nodes of a plan on which an operator wants out all VIPs that it changes there,
// sorted.
func Quiet(p FleetPlan, f Fleet) (nodes []string) {
	for _, n := range f.Nodes {
		changes, shows := false, false
		for _, c := range p.Changes {
			if c.Node == n.Name && c.VIP != "" {
				changes, shows = true, shows || !slices.Contains(n.Drained, c.VIP)
			}
		}
		if changes && !shows {
			nodes = append(nodes, n.Name)
		}
	}
	slices.Sort(nodes)
	return nodes
}

// Waves parts the nodes of a plan into waves, which follow one another: one
// node, the rest of its PoP, a quarter of the others, all that is left. Up to the
// last two, a wave holds nodes of one PoP, and no VIP leaves two of them; so the
// rest of a PoP may take several waves.
//
// Nodes that take no VIP away come first in each part, so that what replaces
// others is there before these go. The first node is one that changes in as many
// ways as any, for it stands for the rest. Nodes where an operator wants out what changes
// are a last wave after all others: on them nothing is seen of it.
func Waves(p FleetPlan) [][]string {
	var steps []NodeStep
	var quiet []string
	for _, s := range p.Steps {
		if slices.Contains(p.Quiet, s.Plan.Node) {
			quiet = append(quiet, s.Plan.Node)
		} else {
			steps = append(steps, s)
		}
	}
	if len(steps) == 0 {
		steps, quiet = slices.Clone(p.Steps), nil // all are alike
	}
	if len(steps) == 0 {
		return nil
	}
	waves := wavesOf(p, steps)
	if quiet != nil {
		waves = append(waves, quiet)
	}
	return waves
}

// wavesOf parts some steps of a plan, at least one, which it sorts.
func wavesOf(p FleetPlan, steps []NodeStep) [][]string {
	ways := map[string]map[ChangeKind]bool{}
	for _, c := range p.Changes {
		if ways[c.Node] == nil {
			ways[c.Node] = map[ChangeKind]bool{}
		}
		ways[c.Node][c.Kind] = true
	}
	slices.SortFunc(steps, func(a, b NodeStep) int {
		return cmp.Or(one(len(a.Drops) > 0)-one(len(b.Drops) > 0),
			len(ways[b.Plan.Node])-len(ways[a.Plan.Node]), cmp.Compare(a.Plan.Node, b.Plan.Node))
	})
	first := steps[0].Plan
	waves := [][]string{{first.Node}}
	var neighbours, others []NodeStep
	for _, s := range steps[1:] {
		if s.Plan.PoP == first.PoP {
			neighbours = append(neighbours, s)
		} else {
			others = append(others, s)
		}
	}
	for len(neighbours) > 0 {
		var wave []string
		var rest []NodeStep
		left := map[string]bool{}
		for _, s := range neighbours {
			if slices.ContainsFunc(s.Leaves(), func(vip string) bool { return left[vip] }) {
				rest = append(rest, s)
				continue
			}
			wave = append(wave, s.Plan.Node)
			for _, vip := range s.Leaves() {
				left[vip] = true
			}
		}
		waves, neighbours = append(waves, wave), rest
	}
	quarter := (len(others) + 3) / 4
	for _, part := range [][]NodeStep{others[:quarter], others[quarter:]} {
		var wave []string
		for _, s := range part {
			wave = append(wave, s.Plan.Node)
		}
		if wave != nil {
			waves = append(waves, wave)
		}
	}
	return waves
}
