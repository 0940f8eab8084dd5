package bgp

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"edged/edge"
)

// Member is a node of the fleet as selectors see it.
type Member struct {
	Name string `json:"name"`
	PoP  string `json:"pop"`
}

// Select returns the names of the members that a selector names, in their order.
// A selector is "node/fra1", "pop/fra", "all", or several of these with commas
// between. An empty selector, or one that names nobody, is an error: it never
// stands for all.
func Select(selector string, members []Member) ([]string, error) {
	if strings.TrimSpace(selector) == "" {
		return nil, errors.New("no node is selected: name node/NAME, pop/NAME, or all")
	}
	var nodes, pops []string
	for _, m := range members {
		nodes, pops = append(nodes, m.Name), append(pops, m.PoP)
	}
	chosen := map[string]bool{}
	for term := range strings.SplitSeq(selector, ",") {
		term = strings.TrimSpace(term)
		kind, name, _ := strings.Cut(term, "/")
		switch {
		case term == "all":
			for _, n := range nodes {
				chosen[n] = true
			}
		case kind == "node" && name != "":
			if !slices.Contains(nodes, name) {
				return nil, fmt.Errorf("selector %q: %w", selector, unknownName("node", name, nodes))
			}
			chosen[name] = true
		case kind == "pop" && name != "":
			if !slices.Contains(pops, name) {
				return nil, fmt.Errorf("selector %q: %w", selector, unknownName("PoP", name, pops))
			}
			for _, m := range members {
				chosen[m.Name] = chosen[m.Name] || m.PoP == name
			}
		default:
			return nil, fmt.Errorf("selector %q: %q selects nothing: write node/NAME, pop/NAME, or all", selector, term)
		}
	}
	selected := slices.DeleteFunc(nodes, func(n string) bool { return !chosen[n] })
	if len(selected) == 0 {
		return nil, fmt.Errorf("selector %q: the fleet has no members", selector)
	}
	return selected, nil
}

// unknownName tells that a name is none of those known, and which may be meant.
func unknownName(what, name string, known []string) error {
	known = slices.Compact(slices.Sorted(slices.Values(known)))
	return fmt.Errorf("no %s is called %q; %s", what, name, edge.Suggest(name, known))
}
