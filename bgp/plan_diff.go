package bgp

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Peer is a router that a node talks to, as plans see it.
type Peer struct {
	Name   string   `json:"name"`
	Groups []string `json:"groups,omitempty"`

	// What the session carries; neither: both families. IPv6 goes over IPv6 only,
	// IPv4 over IPv4, and over IPv6 to a peer that takes it so (RFC 8950).
	Only4 bool `json:"only_ipv4,omitempty"`
	Only6 bool `json:"only_ipv6,omitempty"`

	// Session says in words, without secrets, what the session is made with:
	// "192.0.2.1 AS 64500, hold 9s". Other words mean that it is made anew.
	Session string `json:"session"`
}

// ChangeKind says what a change does.
type ChangeKind string

// The kinds of changes.
const (
	AddsRoute      ChangeKind = "announce"
	DropsRoute     ChangeKind = "withdraw"
	AltersRoute    ChangeKind = "attributes"
	AltersSettings ChangeKind = "settings"      // of the VIP: those of the guard, of draining, its port
	ResetsSession  ChangeKind = "session-reset" // of the node's own accord: its file wants other peers
)

// Change is one difference between two plans of a node.
type Change struct {
	Node   string       `json:"node"`
	PoP    string       `json:"pop"`
	VIP    string       `json:"vip,omitempty"`    // empty for a session
	Prefix netip.Prefix `json:"prefix,omitzero"`  // of a route only
	Peers  []string     `json:"peers,omitempty"`  // that see it; none: the node has no peer that does
	Kind   ChangeKind   `json:"kind"`             //
	Before string       `json:"before,omitempty"` // in words: attributes, settings or session
	After  string       `json:"after,omitempty"`
	Over   string       `json:"over,omitempty"` // of a route: the VIP that it comes from, or goes over to, at these peers
}

// heard is a route that a peer hears. Without a peer, nobody does.
type heard struct {
	vip    string
	prefix netip.Prefix
	peer   string
}

func (h heard) compare(other heard) int {
	return cmp.Or(cmp.Compare(h.vip, other.vip), h.prefix.Compare(other.prefix), cmp.Compare(h.peer, other.peer))
}

// Diff returns what changes on a node, at which of its peers, when it takes the
// plan after in place of before, and its file's peers in place of those it has.
func Diff(before, after NodePlan, peersBefore, peersAfter []Peer) []Change {
	was, will := audience(before, peersBefore), audience(after, peersAfter)
	var all []heard
	for h := range was {
		all = append(all, h)
	}
	for h := range will {
		if _, ok := was[h]; !ok {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, heard.compare)
	var changes []Change
	for _, h := range all {
		a, inA := was[h]
		b, inB := will[h]
		c := Change{Node: after.Node, PoP: after.PoP, VIP: h.vip, Prefix: h.prefix}
		switch {
		case !inA:
			c.Kind, c.After, c.Over = AddsRoute, b.String(), elsewhere(was, will, h)
		case !inB:
			c.Kind, c.Before, c.Over = DropsRoute, a.String(), elsewhere(will, was, h)
		case !a.Equal(b):
			c.Kind, c.Before, c.After = AltersRoute, a.String(), b.String()
		default:
			continue
		}
		changes = gather(changes, c, h.peer)
	}
	for _, v := range after.VIPs {
		if old, ok := before.VIP(v.Name); ok {
			if a, b := settings(old), settings(v); !slices.Equal(a, b) {
				a, b = differing(a, b)
				changes = append(changes, Change{
					Node: after.Node, PoP: after.PoP, VIP: v.Name, Kind: AltersSettings,
					Before: strings.Join(a, ", "), After: strings.Join(b, ", "),
				})
			}
		}
	}
	changes = append(changes, resets(after, peersBefore, peersAfter)...)
	sortChanges(changes)
	return changes
}

// elsewhere returns the VIP that a peer hears a prefix of in the one audience, and not in the
// other; empty: in none.
func elsewhere(in, not map[heard]Attributes, h heard) (vip string) {
	for o := range in {
		_, both := not[o]
		if o.prefix == h.prefix && o.peer == h.peer && o.vip != h.vip && !both && (vip == "" || o.vip < vip) {
			vip = o.vip
		}
	}
	return vip
}

// gather adds a change at a peer to the one that is the same at other peers.
func gather(changes []Change, c Change, peer string) []Change {
	same := func(o Change) bool {
		return o.VIP == c.VIP && o.Prefix == c.Prefix && o.Kind == c.Kind && o.Over == c.Over && o.Before == c.Before && o.After == c.After
	}
	i := slices.IndexFunc(changes, same)
	if i < 0 {
		i, changes = len(changes), append(changes, c)
	}
	if peer != "" {
		changes[i].Peers = append(changes[i].Peers, peer)
	}
	return changes
}

// audience says which peer hears which prefix with which attributes.
func audience(p NodePlan, peers []Peer) map[heard]Attributes {
	routes := map[heard]Attributes{}
	for _, v := range p.VIPs {
		for _, prefix := range v.Prefixes {
			alone := true
			for _, peer := range peers {
				if hears(peer, v, prefix) {
					routes[heard{v.Name, prefix, peer.Name}] = v.Baseline()
					alone = false
				}
			}
			if alone {
				routes[heard{v.Name, prefix, ""}] = v.Baseline()
			}
		}
	}
	return routes
}

func hears(p Peer, v VIP, prefix netip.Prefix) bool {
	if p.Only4 && prefix.Addr().Is6() || p.Only6 && prefix.Addr().Is4() {
		return false
	}
	return len(v.Groups) == 0 || slices.ContainsFunc(v.Groups, func(g string) bool { return slices.Contains(p.Groups, g) })
}

// comeAndGo returns the prefixes that a node begins to announce for a VIP, and those
// that it stops to announce for one or that lose the last peer that heard of them. One
// that goes over from one VIP to another is among both.
func comeAndGo(before, after NodePlan, peers []Peer) (adds, drops []netip.Prefix) {
	audible := func(p NodePlan) map[heard]bool {
		set := map[heard]bool{}
		for h := range audience(p, peers) {
			// A node without any peer announces to nobody before and after.
			if h.peer != "" || len(peers) == 0 {
				set[heard{h.vip, h.prefix, ""}] = true
			}
		}
		return set
	}
	was, will := audible(before), audible(after)
	for h := range will {
		if !was[h] {
			adds = append(adds, h.prefix)
		}
	}
	for h := range was {
		if !will[h] {
			drops = append(drops, h.prefix)
		}
	}
	slices.SortFunc(adds, netip.Prefix.Compare)
	slices.SortFunc(drops, netip.Prefix.Compare)
	return adds, drops
}

// Joins returns the VIPs that the node begins to announce, by name.
func (s NodeStep) Joins() (names []string) {
	for _, v := range s.Plan.VIPs {
		if _, had := s.Prior.VIP(v.Name); !had && v.hasAny(s.Adds) {
			names = append(names, v.Name)
		}
	}
	return names
}

// Leaves returns the VIPs of which the node announces some prefix to nobody any more,
// by name.
func (s NodeStep) Leaves() (names []string) {
	for _, v := range s.Prior.VIPs {
		if v.hasAny(s.Drops) {
			names = append(names, v.Name)
		}
	}
	return names
}

func (v VIP) hasAny(prefixes []netip.Prefix) bool {
	return slices.ContainsFunc(v.Prefixes, func(p netip.Prefix) bool { return slices.Contains(prefixes, p) })
}

func resets(plan NodePlan, before, after []Peer) []Change {
	words := map[string][2]string{}
	for _, p := range before {
		words[p.Name] = [2]string{p.Session, "none"}
	}
	for _, p := range after {
		w, ok := words[p.Name]
		if !ok {
			w[0] = "none"
		}
		words[p.Name] = [2]string{w[0], p.Session}
	}
	var changes []Change
	for name, w := range words {
		if w[0] != w[1] {
			changes = append(changes, Change{
				Node: plan.Node, PoP: plan.PoP, Peers: []string{name}, Kind: ResetsSession, Before: w[0], After: w[1],
			})
		}
	}
	return changes
}

// settings says in words what of a VIP is not in its routes, in a fixed order.
func settings(v VIP) []string {
	return []string{
		fmt.Sprintf("min_announcers %d", v.MinAnnouncers),
		fmt.Sprintf("min_pops %d", v.MinPoPs),
		fmt.Sprintf("port %d", v.Port),
		fmt.Sprintf("hold %s", v.Hold),
		fmt.Sprintf("linger %s", v.Linger),
		fmt.Sprintf("ladder %s", ladderWords(v.Ladder)),
		fmt.Sprintf("groups %s", groupWords(v.Groups)),
	}
}

func groupWords(groups []string) string {
	if len(groups) == 0 {
		return "all"
	}
	return strings.Join(groups, ", ")
}

func ladderWords(ladder []Rung) string {
	if len(ladder) == 0 {
		return "none"
	}
	var words []string
	for _, r := range ladder {
		switch r.Kind {
		case Withdraw:
			words = append(words, "withdraw")
		case Gshut:
			words = append(words, "gshut")
		case AddCommunity:
			words = append(words, "community "+Community(r.Value).String())
		default:
			words = append(words, fmt.Sprintf("%s %d", r.Kind, r.Value))
		}
	}
	return strings.Join(words, "; ")
}

// differing keeps of two lists of one length what is not the same.
func differing(a, b []string) (x, y []string) {
	for i := range a {
		if a[i] != b[i] {
			x, y = append(x, a[i]), append(y, b[i])
		}
	}
	return x, y
}

func sortChanges(changes []Change) {
	slices.SortFunc(changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.VIP, b.VIP), a.Prefix.Compare(b.Prefix),
			cmp.Compare(a.Kind, b.Kind), slices.Compare(a.Peers, b.Peers))
	})
}
