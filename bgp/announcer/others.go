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

	Own  []bgp.Operation `json:"own,omitempty"`  // asked on the node itself, at most maxOwn
	More int             `json:"more,omitempty"` // how many there are beside these
}

// maxOwn bounds the operations of its own that a node tells: it is asked each second.
const maxOwn = 8

// heard is what another node said last, and when.
type heard struct {
	standing  Standing
	at        time.Duration
	announced map[netip.Prefix]bool // as planned, for whatever VIP
}

// has says whether a node has a VIP, or announces all its prefixes for another one.
func (h *heard) has(v *vip) bool {
	_, named := h.standing.VIPs[v.spec.Name]
	return named || !slices.ContainsFunc(v.spec.Prefixes, func(p netip.Prefix) bool { return !h.announced[p] })
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
		return // it is silent: see lately
	}
	h := a.heard[m.Name]
	s.Node, s.PoP = m.Name, m.PoP
	s.Own = slices.DeleteFunc(s.Own[:min(len(s.Own), maxOwn)], func(o bgp.Operation) bool {
		return o.Check() != nil || !o.Local || o.Node != m.Name
	})
	now := a.now()
	a.heard[m.Name] = heard{standing: s, at: now, announced: s.announced()}
	for name, v := range a.vips {
		if state, has := s.VIPs[name]; has || h.standing.VIPs[name] != bgp.Absent {
			v.breaker.Note(now, m.Name, state.Announces() && !slices.Contains(s.Mute, name))
			for _, p := range absent(h.standing.still(name), s.still(name)) {
				if slices.Contains(v.spec.Prefixes, p) || slices.Contains(a.going(name), p) {
					v.breaker.Lost(now, m.Name)
				}
			}
		}
	}
}

// still returns all prefixes of a VIP that a node announces.
func (s *Standing) still(vip string) []netip.Prefix { return slices.Concat(s.Out[vip], s.Going[vip]) }

// going returns the prefixes of a VIP that are on their way out, and still announced. The
// caller holds the lock.
func (a *Announcer) going(vip string) (all []netip.Prefix) {
	for _, p := range a.parts {
		if p.spec.Name == vip && p.wish.Route != nil {
			all = append(all, p.spec.Prefixes...)
		}
	}
	return all
}

// awoke makes up for a time in which the node itself stood still: nobody was heard in
// it, and nobody was silent. The caller holds the lock.
func (a *Announcer) awoke(now time.Duration) {
	if slept := now - a.stepped; slept > hearEvery {
		for name, h := range a.heard {
			h.at = min(h.at+slept, now)
			a.heard[name] = h
		}
	}
	a.stepped = now
}

// noteSilence has the breakers take a node that is not heard any more for one
// that left. When most are not heard it is this node that is cut off: that says nothing
// of them. The caller holds the lock.
func (a *Announcer) noteSilence(now time.Duration) {
	if heard := len(a.lately(now)); 2*heard < len(a.heard) {
		return
	}
	for name, h := range a.heard {
		if now-h.at < hearFor {
			continue
		}
		for vip := range h.standing.VIPs {
			if v := a.vips[vip]; v != nil {
				v.breaker.Note(now, name, false)
			}
		}
	}
}

// lately returns what was heard of members a short while ago, by name. The caller
// holds the lock.
func (a *Announcer) lately(now time.Duration) []Standing {
	var all []Standing
	for _, name := range sortedKeys(a.heard) {
		if h := a.heard[name]; now-h.at < hearFor {
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
		lacks := func(p netip.Prefix) bool { return !h.announced[p] }
		if now-h.at >= hearFor || slices.ContainsFunc(v.spec.Prefixes, lacks) {
			continue
		}
		nodes++
		if !slices.Contains(in, h.standing.PoP) {
			in = append(in, h.standing.PoP)
		}
	}
	return nodes, len(in)
}

// announced returns the prefixes that a node announces as planned.
func (s *Standing) announced() map[netip.Prefix]bool {
	all := map[netip.Prefix]bool{}
	for vip, prefixes := range s.Out {
		if s.VIPs[vip] != bgp.Announced {
			continue
		}
		for _, p := range prefixes {
			all[p] = true
		}
	}
	return all
}

// announcing counts the nodes, this one among them, that announce a VIP as planned, and
// those that announce it otherwise: less preferred, without a prefix that it has here, or
// on their way in or out. One from which no peer has it is neither. The caller holds the
// lock.
func (a *Announcer) announcing(v *vip, now time.Duration) (planned, otherwise int) {
	count := func(state bgp.State, mute bool, out []netip.Prefix) {
		switch {
		case mute:
		case state == bgp.Announced && len(absent(v.spec.Prefixes, out)) == 0:
			planned++
		case state.Announces():
			otherwise++
		}
	}
	count(v.wish.State, v.isMute(now), v.out(now))
	for _, h := range a.heard {
		_, named := h.standing.VIPs[v.spec.Name]
		switch {
		case now-h.at >= hearFor:
		case !named && h.has(v):
			planned++
		default:
			count(h.standing.VIPs[v.spec.Name], slices.Contains(h.standing.Mute, v.spec.Name), h.standing.Out[v.spec.Name])
		}
	}
	return planned, otherwise
}

// isMute says whether no peer has had any prefix of the VIP for a while, though one
// should. The caller holds the lock.
func (v *vip) isMute(now time.Duration) bool {
	return v.wish.Route != nil && !slices.ContainsFunc(v.spec.Prefixes, func(p netip.Prefix) bool { return !v.isUnheard(p, now) })
}

// isUnheard says whether no peer has had a prefix of the VIP for a while. The caller
// holds the lock.
func (v *vip) isUnheard(p netip.Prefix, now time.Duration) bool {
	since, is := v.unheard[p]
	return is && now-since > muteFor
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
		if h.has(v) {
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
		if v.isMute(now) {
			s.Mute = append(s.Mute, name)
		}
	}
	for _, p := range a.parts {
		if p.wish.Route != nil {
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
