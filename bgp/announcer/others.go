package announcer

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"edged/bgp"
)

// Standing is what a node tells others of itself when asked.
type Standing struct {
	Node string               `json:"node"`
	PoP  string               `json:"pop"`
	VIPs map[string]bgp.State `json:"vips"`
	Mute []string             `json:"mute,omitempty"` // VIPs that no peer of it has

	// Out names of each VIP what answered and is announced: without prefixes that no peer
	// has. A VIP of one name may be one address more or less on other nodes.
	Out map[string][]netip.Prefix `json:"out"`

	Going map[string][]netip.Prefix `json:"going,omitempty"` // likewise, still announced and on their way out
	Idle  []netip.Prefix            `json:"idle,omitempty"`  // of its VIPs, and not among Out

	Own  []bgp.Operation `json:"own,omitempty"`  // asked on the node itself, at most maxOwn
	More int             `json:"more,omitempty"` // how many there are beside these
}

// maxOwn bounds the operations of its own that a node tells: it is asked each second.
const maxOwn = 8

// heard is what another node said last, and when. Prefixes count for whatever VIP it has them.
type heard struct {
	standing Standing
	at       time.Duration
	missed   int                   // calls since that were not answered
	planned  map[netip.Prefix]bool // announced as planned
	still    map[netip.Prefix]bool // announced, however; none once it is silent
	has      map[netip.Prefix]bool // of its plan, whatever it does with them
}

func newHeard(s Standing, at time.Duration) heard {
	h := heard{standing: s, at: at, planned: map[netip.Prefix]bool{}, still: map[netip.Prefix]bool{}, has: map[netip.Prefix]bool{}}
	for vip, prefixes := range s.Out {
		for _, p := range prefixes {
			h.still[p], h.has[p] = true, true
			if s.VIPs[vip] == bgp.Announced {
				h.planned[p] = true
			}
		}
	}
	for _, prefixes := range s.Going {
		for _, p := range prefixes {
			h.still[p] = true
		}
	}
	for _, p := range s.Idle {
		h.has[p] = true
	}
	return h
}

// silent says whether a node is not heard any more. Where the own node stood still for a
// while nobody was heard in it, and nobody was silent: they are asked first.
func (h heard) silent(now time.Duration) bool {
	return now-h.at >= hearFor && h.missed >= hearMisses
}

// all says whether all prefixes of a VIP are among some.
func (v *vip) all(among map[netip.Prefix]bool) bool {
	return !slices.ContainsFunc(v.spec.Prefixes, func(p netip.Prefix) bool { return !among[p] })
}

// any says whether one is.
func (v *vip) any(among map[netip.Prefix]bool) bool {
	return slices.ContainsFunc(v.spec.Prefixes, func(p netip.Prefix) bool { return among[p] })
}

// listenToOthers asks all other members how they stand, and does not wait for
// the answers. A member that still owes one is not asked again.
func (a *Announcer) listenToOthers() {
	if !a.hearing.TryLock() {
		return
	}
	a.beside.Go(func() {
		defer a.hearing.Unlock()
		ctx, cancel := context.WithTimeout(a.ctx, hearEvery)
		defer cancel()
		var calls sync.WaitGroup
		for _, m := range a.cfg.Fleet.Members() {
			if m.Name == a.cfg.Self.Name {
				continue
			}
			calls.Go(func() {
				var s Standing
				err := a.cfg.Fleet.Call(ctx, m.Name, pathStanding, struct{}{}, &s)
				a.hear(m, s, err)
			})
		}
		calls.Wait()
		a.poke()
	})
}

// hear takes what a member said of itself.
func (a *Announcer) hear(m bgp.Member, s Standing, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		if h, was := a.heard[m.Name]; was {
			h.missed++
			a.heard[m.Name] = h
		}
		return
	}
	s.Node, s.PoP = m.Name, m.PoP
	s.Own = slices.DeleteFunc(s.Own[:min(len(s.Own), maxOwn)], func(o bgp.Operation) bool {
		return o.Check() != nil || !o.Local || o.Node != m.Name
	})
	before, now := a.heard[m.Name].still, a.now()
	h := newHeard(s, now)
	a.heard[m.Name] = h
	a.noteLeft(m.Name, before, h.still, now)
}

// noteLeft has the breakers of VIPs and parts know that a node announces a prefix of theirs
// no more. The caller holds the lock.
func (a *Announcer) noteLeft(node string, before, still map[netip.Prefix]bool, now time.Duration) {
	for _, v := range a.every() {
		if slices.ContainsFunc(v.spec.Prefixes, func(p netip.Prefix) bool { return before[p] && !still[p] }) {
			v.breaker.Lost(now, node)
		}
	}
}

// noteSilence has the breakers take a node that is not heard any more for one
// that left. When most are not heard it is this node that is cut off: that says nothing
// of them. The caller holds the lock.
func (a *Announcer) noteSilence(now time.Duration) {
	if heard := len(a.lately(now)); 2*heard < len(a.heard) {
		return
	}
	for name, h := range a.heard {
		if !h.silent(now) {
			continue
		}
		a.noteLeft(name, h.still, nil, now)
		h.still = nil
		a.heard[name] = h
	}
}

// lately returns what was heard of members a short while ago, by name. The caller
// holds the lock.
func (a *Announcer) lately(now time.Duration) []Standing {
	var all []Standing
	for _, name := range sortedKeys(a.heard) {
		if h := a.heard[name]; !h.silent(now) {
			all = append(all, h.standing)
		}
	}
	return all
}

// others counts the other nodes that announce as planned all the prefixes that a VIP has
// here, for whatever VIP they do, and their PoPs. The caller holds the lock.
func (a *Announcer) others(v *vip, now time.Duration) (nodes, pops int) {
	var in []string
	for _, h := range a.heard {
		if h.silent(now) || !v.all(h.planned) {
			continue
		}
		nodes++
		if !slices.Contains(in, h.standing.PoP) {
			in = append(in, h.standing.PoP)
		}
	}
	return nodes, len(in)
}

// announcing counts the nodes, this one among them, that announce all prefixes that a VIP has
// here as planned, and those that announce some, or otherwise: less preferred, or on their
// way in or out. One from which no peer has it is neither. The caller holds the lock.
func (a *Announcer) announcing(v *vip, now time.Duration) (planned, otherwise int) {
	switch {
	case !v.wish.State.Announces() || v.isMute(now):
	case v.wish.State == bgp.Announced && len(absent(v.spec.Prefixes, v.out(now))) == 0:
		planned++
	default:
		otherwise++
	}
	for _, h := range a.heard {
		switch {
		case h.silent(now):
		case v.all(h.planned):
			planned++
		case v.any(h.still):
			otherwise++
		}
	}
	return planned, otherwise
}

// isMute says whether no peer has had any prefix of the VIP for a while, or yet, though one
// should. The caller holds the lock.
func (v *vip) isMute(now time.Duration) bool {
	return v.wish.Route != nil && !slices.ContainsFunc(v.spec.Prefixes, func(p netip.Prefix) bool { return !v.isUnheard(p, now) })
}

// isUnheard says whether no peer has had a prefix of the VIP for a while, or yet. The caller
// holds the lock.
func (v *vip) isUnheard(p netip.Prefix, now time.Duration) bool {
	since, was := v.unheard[p]
	return !was || since > 0 && now-since > muteFor
}

// out returns the prefixes of a VIP that answered and that are announced, without those
// that no peer has had for a while. The caller holds the lock.
func (v *vip) out(now time.Duration) (all []netip.Prefix) {
	if v.wish.Route == nil {
		return nil
	}
	for _, p := range v.spec.Prefixes {
		if slices.Contains(v.tried, p) && !v.isUnheard(p, now) {
			all = append(all, p)
		}
	}
	return all
}

// announcers is how many nodes have a VIP, this one included, as far as was ever
// heard. The caller holds the lock.
func (a *Announcer) announcers(v *vip) int {
	n := 1
	for _, h := range a.heard {
		if v.all(h.has) {
			n++
		}
	}
	return n
}

// standing is what this node says of itself.
func (a *Announcer) standing() Standing {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	s := Standing{Node: a.cfg.Self.Name, PoP: a.cfg.Self.PoP, VIPs: map[string]bgp.State{}, Out: map[string][]netip.Prefix{}, Going: map[string][]netip.Prefix{}}
	for name, v := range a.vips {
		s.VIPs[name], s.Out[name] = v.wish.State, v.out(now)
		if v.planned {
			s.Idle = append(s.Idle, absent(v.spec.Prefixes, s.Out[name])...)
		}
		if v.isMute(now) {
			s.Mute = append(s.Mute, name)
		}
	}
	for _, p := range a.parts {
		if p.wish.Route != nil && !p.isUnheard(p.spec.Prefixes[0], now) {
			s.Going[p.spec.Name] = append(s.Going[p.spec.Name], p.spec.Prefixes...)
		}
	}
	for _, o := range a.operations {
		switch {
		case !o.Local:
		case len(s.Own) < maxOwn:
			s.Own = append(s.Own, o)
		default:
			s.More++
		}
	}
	return s
}
