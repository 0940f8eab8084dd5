package announcer

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"edged/bgp"
	"edged/bgp/speaker"
)

// Status is how a node has its VIPs, and what it knows of others. It is what
// "edged vip list" shows.
type Status struct {
	Node       string               `json:"node"`
	PoP        string               `json:"pop"`
	Plan       string               `json:"plan"`
	Generation uint64               `json:"generation"`
	Pending    []bgp.Change         `json:"pending"`         // what the file wants and no plan says yet
	Waits      string               `json:"waits,omitempty"` // what sessions wait for that the file wants otherwise
	Frozen     string               `json:"frozen,omitempty"`
	VIPs       []VIPStatus          `json:"vips"`
	Peers      []speaker.PeerStatus `json:"peers"`
	Operations []bgp.Operation      `json:"operations"` // of this node
	Elsewhere  []Own                `json:"elsewhere"`  // of other nodes, which these do by their own word
	Overdue    []string             `json:"overdue,omitempty"`
	Rollout    string               `json:"rollout,omitempty"`
	Dropped    Dropped              `json:"dropped"`
}

// Own is what another node does by its own word, whatever the fleet asks.
type Own struct {
	Node       string          `json:"node"`
	Operations []bgp.Operation `json:"operations"`
	More       int             `json:"more,omitempty"`   // how many it has beside these
	Silent     bool            `json:"silent,omitempty"` // it is not heard any more: that is what it said last
}

// VIPStatus is how a node has one VIP.
type VIPStatus struct {
	Name     string          `json:"name"`
	Prefixes []netip.Prefix  `json:"prefixes"`
	State    bgp.State       `json:"state"`
	Seconds  float64         `json:"seconds"` // in this state
	Cause    string          `json:"cause"`
	Waits    string          `json:"waits,omitempty"`
	Failing  string          `json:"failing,omitempty"` // why checks fail now, whatever the cause of the state is
	Route    string          `json:"route"`             // as it is wished, in words
	Sent     []string        `json:"sent"`              // the peers that were sent just that
	Bound    bool            `json:"bound"`
	Fault    string          `json:"fault,omitempty"`
	Penalty  float64         `json:"penalty"` // for flapping
	Breaker  string          `json:"breaker,omitempty"`
	Promises string          `json:"promises"`
	Guard    bgp.GuardCounts `json:"guard"`
	Unsent   []string        `json:"unsent,omitempty"`   // prefixes that no peer has
	Refusals []string        `json:"refusals,omitempty"` // why members did not promise, when they were asked last

	Leaving []PartStatus `json:"leaving,omitempty"` // prefixes that a plan took from the VIP, until they are gone

	MinAnnouncers int         `json:"min_announcers"`
	MinPoPs       int         `json:"min_pops"`
	Nodes         []NodeOfVIP `json:"nodes"`                // this node and all that were heard
	Announcers    int         `json:"announcers"`           // those of them where it is announced as planned: all that count
	Otherwise     int         `json:"announcers_otherwise"` // those that announce it less preferred, or on its way in or out
}

// PartStatus is how a node has prefixes that a plan took from a VIP.
type PartStatus struct {
	Prefixes []netip.Prefix `json:"prefixes"`
	State    bgp.State      `json:"state"`
	Cause    string         `json:"cause"`
	Waits    string         `json:"waits,omitempty"`
	Route    string         `json:"route"` // as it is wished, in words
}

// NodeOfVIP is how another node has a VIP.
type NodeOfVIP struct {
	Node   string    `json:"node"`
	PoP    string    `json:"pop"`
	State  bgp.State `json:"state"`
	Silent bool      `json:"silent,omitempty"` // it is not heard any more: the state is its last
	Mute   bool      `json:"mute,omitempty"`   // no peer has it from this node

	Lacks []netip.Prefix `json:"lacks,omitempty"` // prefixes that the VIP has on the node asked, and that this one does not announce
}

// Status tells how this node has its VIPs.
func (a *Announcer) Status() Status {
	peers := a.cfg.Speaker.Peers()
	frozen := a.cfg.Fleet.Frozen()
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	s := Status{
		Node: a.cfg.Self.Name, PoP: a.cfg.Self.PoP, Plan: a.plan.ID(), Generation: a.plan.Generation,
		Pending: []bgp.Change{}, Frozen: frozen, Waits: a.moving.words(), VIPs: []VIPStatus{}, Peers: peers,
		Operations: append([]bgp.Operation{}, a.operations...), Elsewhere: []Own{}, Dropped: a.drops,
	}
	for _, member := range sortedKeys(a.heard) {
		if h := a.heard[member]; len(h.standing.Own)+h.standing.More > 0 {
			s.Elsewhere = append(s.Elsewhere, Own{member, h.standing.Own, h.standing.More, h.silent(now)})
		}
	}
	next := bgp.Pending(a.plan, a.file.VIPs, nil)
	wish := bgp.NodeWish{Stored: a.plan, File: a.file.VIPs, Peers: planned(a.peers, peers), FilePeers: planned(a.file.Peers, peers)}
	s.Pending = append(s.Pending, wish.Changes(next)...)
	for _, id := range sortedKeys(a.overdue) {
		s.Overdue = append(s.Overdue, a.overdue[id])
	}
	if a.rollout != nil {
		s.Rollout = a.rollout.String()
	}
	for _, name := range sortedKeys(a.vips) {
		v := a.vips[name]
		_, promises := v.guard.Permit(now)
		out := VIPStatus{
			Name: name, Prefixes: v.spec.Prefixes, State: v.wish.State, Seconds: (now - v.wish.Since).Seconds(),
			Cause: v.wish.Cause, Waits: v.wish.Waits, Failing: v.machine.Failing(), Route: words(v.wish.Route), Sent: a.sentTo(v), Bound: v.bound, Fault: cmp.Or(v.fault, v.untried, v.kept),
			Penalty: v.machine.Damping(now).Penalty, Breaker: v.breaker.Open(now, a.announcers(v)), Promises: promises, Guard: v.guard.Counts(),
			MinAnnouncers: v.spec.MinAnnouncers, MinPoPs: v.spec.MinPoPs,
			Nodes: []NodeOfVIP{{Node: a.cfg.Self.Name, PoP: a.cfg.Self.PoP, State: v.wish.State, Mute: v.isMute(now)}},
		}
		for _, member := range sortedKeys(a.heard) {
			h := a.heard[member]
			if state, has := h.standing.VIPs[name]; has {
				n := NodeOfVIP{Node: h.standing.Node, PoP: h.standing.PoP, State: state, Silent: h.silent(now), Mute: slices.Contains(h.standing.Mute, name)}
				if state.Announces() && !n.Mute {
					n.Lacks = absent(v.spec.Prefixes, h.standing.Out[name])
				}
				out.Nodes = append(out.Nodes, n)
			}
		}
		out.Announcers, out.Otherwise = a.announcing(v, now)
		if v.wish.Route != nil {
			out.Unsent = a.unsent(v.spec, *v.wish.Route)
		}
		for _, p := range a.parts {
			if p.spec.Name == name {
				part := PartStatus{p.spec.Prefixes, p.wish.State, p.wish.Cause, p.wish.Waits, words(p.wish.Route)}
				if p.over != "" {
					part.Waits = fmt.Sprintf("%s to have it, and a peer of that", p.over)
				}
				out.Leaving = append(out.Leaving, part)
			}
		}
		for _, member := range sortedKeys(v.refusals) {
			out.Refusals = append(out.Refusals, member+": "+v.refusals[member])
		}
		s.VIPs = append(s.VIPs, out)
	}
	return s
}

// sentTo names the peers that have some of a VIP's prefixes, all as it is wished.
// The caller holds the lock.
func (a *Announcer) sentTo(v *vip) []string {
	names := []string{}
	if v.wish.Route == nil {
		return names
	}
	for _, p := range a.peers {
		some, other := false, false
		for _, prefix := range v.spec.Prefixes {
			for _, r := range a.sent[prefix] {
				if r.peer == p.Name {
					some, other = true, other || !r.attributes.Equal(*v.wish.Route)
				}
			}
		}
		if some && !other {
			names = append(names, p.Name)
		}
	}
	return names
}

// planned returns the peers as plans see them. What a peer without a session will
// take is not known: as much as it can.
func planned(peers []speaker.Peer, now []speaker.PeerStatus) []bgp.Peer {
	var all []bgp.Peer
	for _, p := range peers {
		only6 := slices.ContainsFunc(now, func(s speaker.PeerStatus) bool { return s.Address == p.Address && s.Only6 })
		all = append(all, bgp.Peer{Name: p.Name, Groups: p.Groups, Only4: p.Address.Is4(), Only6: only6, Session: session(p)})
	}
	return all
}

// maxProbers bounds how many members ask through VIPs that are rolled out.
const maxProbers = 16

// Plan makes a plan of what the files of the selected nodes want,
// and judges it. Nothing changes.
func (a *Announcer) Plan(ctx context.Context, sel bgp.Selection, limits bgp.Limits) (Proposal, error) {
	reports, missing := a.reports(ctx, false)
	members := a.cfg.Fleet.Members()
	var wishes []bgp.NodeWish
	for _, m := range members {
		if r, ok := reports[m.Name]; ok {
			wishes = append(wishes, r.Wish)
		}
	}
	p := Proposal{Silent: map[string]string{}}
	for name, err := range missing {
		p.Silent[name] = err.Error()
	}
	var err error
	if p.Plan, err = bgp.Plan(sel, members, wishes); err != nil {
		return p, err
	}
	fleet := bgp.Fleet{Now: time.Now()}
	for _, m := range members {
		r := reports[m.Name]
		if _, has := p.Plan.Step(m.Name); !has {
			announces := func(vip string) bool { return r.States[vip].Announces() }
			if slices.ContainsFunc(p.Plan.VIPs(), announces) {
				p.beside = append(p.beside, m)
			}
			lacks := func(vip string) bool { return r.States[vip] == bgp.Absent }
			if slices.ContainsFunc(p.Plan.VIPs(), lacks) && missing[m.Name] == nil && len(p.probers) < maxProbers {
				p.probers = append(p.probers, m)
			}
		}
		fleet.Nodes = append(fleet.Nodes, bgp.FleetNode{Member: m, Stored: r.Wish.Stored, States: r.States, Answered: r.Status.Answered, Out: r.Status.Out, Drained: drainedOf(m, p.Plan.VIPs(), r.Operations), Waiting: r.Waiting, Operations: r.Operations})
		fleet.InFlight = append(fleet.InFlight, r.InFlight...)
		if r.Rollout != nil && !r.Rollout.Ended {
			p.running = append(p.running, place{m.Name, *r.Rollout})
		}
	}
	p.Plan.Quiet = bgp.Quiet(p.Plan, fleet)
	p.Verdict = bgp.Judge(p.Plan, fleet, limits)
	p.Waves = bgp.Waves(p.Plan)
	return p, nil
}

// drainedOf returns those VIPs that operations drain on a member now.
func drainedOf(m bgp.Member, vips []string, operations []bgp.Operation) []string {
	return slices.DeleteFunc(slices.Clone(vips), func(vip string) bool { return !drains(bgp.InForce(operations, m, vip, time.Now())) })
}

// drains says whether an operation wants a VIP out; nil: there is none.
func drains(o *bgp.Operation) bool {
	return o != nil && (o.Kind == bgp.Drain || o.Kind == bgp.Maintenance)
}

// Proposal is a plan with what speaks for and against it.
type Proposal struct {
	Plan    bgp.FleetPlan     `json:"plan"`
	Verdict bgp.Verdict       `json:"verdict"`
	Waves   [][]string        `json:"waves"`
	Silent  map[string]string `json:"silent,omitempty"` // nodes that did not answer, and why

	beside  []bgp.Member // that announce VIPs of the plan and have no step in it
	probers []bgp.Member // that lack one, and have no step either
	running []place      // rollouts that are under way
}

// session says what a session with a peer is made with, without its password.
func session(p speaker.Peer) string {
	words := fmt.Sprintf("%s AS %d, hold %s", p.Address, p.ASN, p.Hold)
	for _, option := range []struct {
		on   bool
		word string
	}{
		{p.Local.IsValid(), "from " + p.Local.String()},
		{p.Password != "", "MD5"},
		{p.GTSM, "GTSM"},
		{p.Multihop > 0, fmt.Sprintf("multihop %d", p.Multihop)},
		{p.Passive, "passive"},
		{p.BFD.Interval > 0, fmt.Sprintf("BFD %s x %d", p.BFD.Interval, p.BFD.Multiplier)},
	} {
		if option.on {
			words += ", " + option.word
		}
	}
	return words
}
