package announcer

import (
	"context"
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
}

// heard is what another node said last, and when.
type heard struct {
	standing Standing
	at       time.Duration
}

// listenToOthers asks all other members how they stand, and does not wait for
// the answers. A member that still owes one is not asked again.
func (a *Announcer) listenToOthers() {
	a.mu.Lock()
	none := len(a.vips) == 0
	a.mu.Unlock()
	if none || !a.hearing.TryLock() {
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
	now := a.now()
	a.heard[m.Name] = heard{standing: s, at: now}
	for name, v := range a.vips {
		if state, has := s.VIPs[name]; has || h.standing.VIPs[name] != bgp.Absent {
			v.breaker.Note(now, m.Name, state.Announces() && !slices.Contains(s.Mute, name))
		}
	}
}

// noteSilence has the breakers take a node that is not heard any more for one
// that left. The caller holds the lock.
func (a *Announcer) noteSilence(now time.Duration) {
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

// others counts the other nodes that announce a VIP as planned, and their PoPs.
// The caller holds the lock.
func (a *Announcer) others(v *vip, now time.Duration) (nodes, pops int) {
	var in []string
	for _, s := range a.lately(now) {
		if s.VIPs[v.spec.Name] != bgp.Announced || slices.Contains(s.Mute, v.spec.Name) {
			continue
		}
		nodes++
		if !slices.Contains(in, s.PoP) {
			in = append(in, s.PoP)
		}
	}
	return nodes, len(in)
}

// announcers is how many nodes have a VIP, this one included, as far as was ever
// heard. The caller holds the lock.
func (a *Announcer) announcers(v *vip) int {
	n := 1
	for _, h := range a.heard {
		if _, has := h.standing.VIPs[v.spec.Name]; has {
			n++
		}
	}
	return n
}

// standing is what this node says of itself.
func (a *Announcer) standing() Standing {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Standing{Node: a.cfg.Self.Name, PoP: a.cfg.Self.PoP, VIPs: map[string]bgp.State{}}
	for name, v := range a.vips {
		s.VIPs[name] = v.wish.State
		if v.mute > 0 && a.now()-v.mute > muteFor {
			s.Mute = append(s.Mute, name)
		}
	}
	return s
}
