package bgp

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DefaultMaxOut is how many nodes may be out of a VIP at once for maintenance.
const DefaultMaxOut = 1

// Admit says why an operation may not begin, beside those that the fleet has
// (its own and each node's local ones): it contradicts another, is about nothing in the fleet, or is maintenance that takes more than
// maxOut nodes (0: DefaultMaxOut) out of a VIP at once. Force admits more.
func Admit(o Operation, all []Operation, f Fleet, maxOut int, now time.Time) error {
	if err := o.Check(); err != nil {
		return err
	}
	about, err := o.about(f)
	if err != nil {
		return fmt.Errorf("%s: %w", o.What(), err)
	}
	for _, other := range all {
		switch {
		case !meet(o, other, about) || o.Local && !other.Local: // a node's own word goes before the fleet's
		case other.Local && !o.Local && o.leaves() && !other.leaves():
			return fmt.Errorf("%s: %s goes by its own %s: end that there first", o.What(), other.Node, other)
		case other.Local != o.Local:
		case o.Replaces(other): // another end, or with force
		case o.leaves() != other.leaves() && !(o.Kind == Hold && other.Kind == Announce || o.Kind == Announce && other.Kind == Hold):
			return fmt.Errorf("%s: it contradicts %s: end that first", o.What(), other)
		}
	}
	if o.Kind == Maintenance && !o.Force {
		return o.crowd(all, f, about, cmp.Or(maxOut, DefaultMaxOut), now)
	}
	return nil
}

// Replaces says whether an operation asks for the same as another one: it takes
// its place, with its own end, reason and force.
func (o Operation) Replaces(other Operation) bool {
	return o.Kind == other.Kind && o.VIP == other.VIP && o.Node == other.Node && o.PoP == other.PoP && o.Local == other.Local
}

// about returns the nodes that the operation is about.
func (o Operation) about(f Fleet) ([]FleetNode, error) {
	var nodes []FleetNode
	var nodeNames, popNames, vipNames []string
	for _, n := range f.Nodes {
		nodeNames, popNames = append(nodeNames, n.Name), append(popNames, n.PoP)
		if o.Node != n.Name && o.PoP != n.PoP {
			continue
		}
		nodes = append(nodes, n)
		for _, v := range n.Stored.VIPs {
			vipNames = append(vipNames, v.Name)
		}
		for name := range n.States { // what no plan names, or no more, may still be announced
			vipNames = append(vipNames, name)
		}
	}
	switch {
	case nodes == nil && o.Node != "":
		return nil, unknownName("node", o.Node, nodeNames)
	case nodes == nil:
		return nil, unknownName("PoP", o.PoP, popNames)
	case o.Kind != Announce && o.VIP != "" && !slices.Contains(vipNames, o.VIP):
		return nil, unknownName("VIP", o.VIP, vipNames)
	}
	return nodes, nil
}

// meet says whether two operations are about the same VIP of one of the nodes.
func meet(o, other Operation, nodes []FleetNode) bool {
	if o.VIP != "" && other.VIP != "" && o.VIP != other.VIP {
		return false
	}
	return slices.ContainsFunc(nodes, func(n FleetNode) bool {
		return other.Matches(n.Member, cmp.Or(other.VIP, o.VIP))
	})
}

// crowd says whether maintenance takes too many nodes out of a VIP at once.
func (o Operation) crowd(all []Operation, f Fleet, about []FleetNode, maxOut int, now time.Time) error {
	extends := o.Begun(now) && slices.ContainsFunc(all, func(other Operation) bool { return o.Replaces(other) && other.Begun(now) })
	for _, vip := range vipsOf(about) {
		if o.VIP != "" && o.VIP != vip {
			continue
		}
		var out, why []string
		for _, n := range f.Nodes {
			if _, ok := n.Stored.VIP(vip); !ok {
				continue
			}
			if o.Matches(n.Member, vip) {
				out = append(out, n.Name)
				continue
			}
			for _, other := range all {
				if extends && other.Begun(now) {
					continue // both are out already
				}
				if other.leaves() && other.Matches(n.Member, vip) && other.meets(o, now) {
					out, why = append(out, n.Name), append(why, other.String())
					break
				}
			}
		}
		if len(out) <= maxOut {
			continue
		}
		hint := "take them one after another"
		if why != nil {
			hint = "there is " + strings.Join(why, "; ")
		}
		return fmt.Errorf("%s: %s would be out of %s at once, want at most %d: %s", o.What(), strings.Join(out, ", "), vip, maxOut, hint)
	}
	return nil
}

// meets says whether an operation and the window of another share some time. One
// that is overdue has no end.
func (o Operation) meets(window Operation, now time.Time) bool {
	open := o.Until.IsZero() || o.Overdue(now) != ""
	return o.Since.Before(window.Until) && (open || o.Until.After(window.Since))
}

func vipsOf(nodes []FleetNode) []string {
	var names []string
	for _, n := range nodes {
		for _, v := range n.Stored.VIPs {
			names = append(names, v.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
