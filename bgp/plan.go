package bgp

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
)

// NodePlan is what one node shall announce, as that node stores it: whole, so
// that taking it back takes back everything.
type NodePlan struct {
	Node string `json:"node"`
	PoP  string `json:"pop"`

	// Generation counts the plans that the node stored, from 1; it never goes
	// down, also when an earlier plan is restored. 0: there is none yet.
	Generation uint64 `json:"generation"`

	VIPs []VIP `json:"vips"` // by name

	// Without names VIPs that a plan took out: the node's file alone, at a
	// start, does not bring them back.
	Without []string `json:"without,omitempty"` // sorted

	// GiveUp names prefixes that go without promises when the plan lacks them: an operator
	// said so, or nobody announced them before the rollout that this plan takes back.
	GiveUp []netip.Prefix `json:"give_up,omitempty"` // sorted
}

// ID returns a short hash of what the plan has the node announce: a plan that was
// restored has the ID of before.
func (p NodePlan) ID() string {
	p.Generation, p.Without, p.GiveUp = 0, nil, nil
	return shortHash(p)
}

// shortHash returns 12 hexadecimal digits of the SHA-256 of a value's JSON.
func shortHash(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain data: it has no cause to fail
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6])
}

// VIP returns the plan's VIP of that name.
func (p NodePlan) VIP(name string) (VIP, bool) {
	i, ok := slices.BinarySearchFunc(p.VIPs, name, func(v VIP, name string) int { return cmp.Compare(v.Name, name) })
	if !ok {
		return VIP{}, false
	}
	return p.VIPs[i], true
}

// First returns the plan that a node starts with: the stored one and, from its
// file, the VIPs that the stored plan does not name, but for those that no plan may have, and
// those with a prefix that the stored plan has in another VIP: what goes over, goes over by a
// plan. The generation goes up by one if any were added, whose names are returned.
func First(stored NodePlan, file []VIP) (plan NodePlan, added []string) {
	plan = stored
	plan.VIPs = slices.Clone(stored.VIPs)
	for _, v := range file {
		_, named := stored.VIP(v.Name)
		taken := slices.ContainsFunc(stored.VIPs, func(o VIP) bool {
			return slices.ContainsFunc(v.Prefixes, func(p netip.Prefix) bool { return slices.Contains(o.Prefixes, p) })
		})
		if !named && !taken && len(plan.VIPs) < MaxVIPs && v.Check() == nil && !slices.Contains(stored.Without, v.Name) {
			plan.VIPs = append(plan.VIPs, v)
			added = append(added, v.Name)
		}
	}
	if added != nil {
		plan.Generation++
	}
	sortVIPs(plan.VIPs)
	slices.Sort(added)
	return plan, added
}

// Pending returns the plan in which the node does what its file says, about the
// VIPs named in only, or about all when only is empty. It is the stored plan
// itself if the file wants no more than that; else its generation is the next.
func Pending(stored NodePlan, file []VIP, only []string) NodePlan {
	about := func(name string) bool { return len(only) == 0 || slices.Contains(only, name) }
	next := stored
	next.VIPs, next.Without, next.GiveUp = nil, nil, nil
	for _, v := range stored.VIPs {
		if !about(v.Name) {
			next.VIPs = append(next.VIPs, v)
		}
	}
	for _, v := range file {
		if about(v.Name) {
			next.VIPs = append(next.VIPs, v)
		}
	}
	sortVIPs(next.VIPs)
	next.Without = next.lacks(stored)
	if next.ID() == stored.ID() {
		return stored
	}
	next.Generation++
	return next
}

// Restored returns the plan that announces what earlier did, to be stored in the
// place of p, whatever became of p on its node.
func (p NodePlan) Restored(earlier NodePlan) NodePlan {
	earlier.Generation, earlier.GiveUp = p.Generation+1, nil
	earlier.Without = earlier.lacks(p, earlier)
	return earlier
}

// lacks returns the VIPs that plans name, or left out, and p does not name.
func (p NodePlan) lacks(plans ...NodePlan) []string {
	var names []string
	for _, o := range plans {
		names = append(names, o.Without...)
		for _, v := range o.VIPs {
			names = append(names, v.Name)
		}
	}
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(name string) bool { _, ok := p.VIP(name); return ok })
	if len(names) == 0 {
		return nil
	}
	return names
}

// CanReplace says whether a node that stored a plan may store p in its place.
// To be asked for the same plan twice is no error. A plan that is rolled out
// follows directly on the one that it was made over; one that is restored only
// has to be newer, for the node may have missed what it takes back.
func (p NodePlan) CanReplace(stored NodePlan, restore bool) error {
	switch {
	case p.Node != stored.Node:
		return fmt.Errorf("plan %s is for node %q, this is %q", p.ID(), p.Node, stored.Node)
	case p.Generation == stored.Generation && p.ID() == stored.ID():
		return nil
	case restore && p.Generation > stored.Generation, !restore && p.Generation == stored.Generation+1:
		return nil
	}
	return fmt.Errorf("plan %s is generation %d, but %s has stored generation %d (%s): plan again",
		p.ID(), p.Generation, p.Node, stored.Generation, stored.ID())
}

func sortVIPs(vips []VIP) {
	slices.SortFunc(vips, func(a, b VIP) int { return cmp.Compare(a.Name, b.Name) })
}
