package announcer

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"edged/bgp/speaker"
)

const (
	peersEvery = 5 * time.Second  // between attempts that fail
	peersLate  = 30 * time.Second // until a change of peers that waits is an alarm
)

// moving is how far the node is on the way to the peers that its file wants.
type moving struct {
	alive map[netip.Addr]bool // had a session when the file was read, and is to have it again
	since time.Duration       // when the last peer was changed, or the file was read
	next  time.Duration       // no attempt before

	asking time.Duration // since when promises are asked for; 0: they are not
	rest   time.Duration // not again before

	waits    string // what the rest waits for, in words
	detail   string // what there was of promises last, and what waited for them
	detailOf string
}

// words says what the rest waits for, as it is now.
func (m *moving) words() string {
	if m.waits != "" && m.waits == m.detailOf {
		return m.waits + ": " + m.detail
	}
	return m.waits
}

// nextPeers returns the peers to have next on the way from those that the node
// has to those that its file wants, and in words what the rest waits for. What
// costs no session is done at once. Sessions are ended one at a time: only while
// all others that were alive are up, so that the node is never without a router
// for a mistake in its file. The last peer stays, and so does each while loses says
// why it should, if it is to come back or not, and one that is to go, with a session or without,
// while needs says why.
func nextPeers(have, want []speaker.Peer, up, alive map[netip.Addr]bool, loses func(p speaker.Peer, back bool) string, needs func(p speaker.Peer) string) (next []speaker.Peer, waits string) {
	if len(want) == 0 {
		if len(have) > 0 {
			waits = "the last peers stay until a restart, which drains first"
		}
		return have, waits
	}
	missing := func(but netip.Addr) string {
		for _, p := range have {
			if p.Address != but && alive[p.Address] && !up[p.Address] {
				return p.Name
			}
		}
		return ""
	}
	lone := len(have) == 1 && len(want) == 1 && have[0].Address == want[0].Address
	ended := false // one that is up: the others wait for their turn
	mayEnd := func(p speaker.Peer, back bool) bool {
		if !back {
			if why := needs(p); why != "" {
				waits = cmp.Or(waits, why)
				return false
			}
		}
		if !up[p.Address] {
			return true
		}
		name := missing(p.Address)
		others := slices.ContainsFunc(have, func(q speaker.Peer) bool { return q.Address != p.Address && up[q.Address] })
		switch {
		case ended:
			waits = fmt.Sprintf("the session with %s is changed when the one before is up", p.Name)
		case name != "":
			waits = fmt.Sprintf("the session with %s is changed when the one with %s is up", p.Name, name)
		case !others && !lone:
			waits = fmt.Sprintf("the session with %s is changed when another one is up: it is the last", p.Name)
		default:
			why := loses(p, back)
			if why == "" {
				ended = true
				return true
			}
			waits = why
		}
		return false
	}
	matched := map[netip.Addr]bool{}
	for _, w := range want {
		i := slices.IndexFunc(have, func(p speaker.Peer) bool { return p.Address == w.Address })
		if i < 0 { // or it moves to another address: then that one comes before the old one goes
			next = append(next, w)
			continue
		}
		matched[have[i].Address] = true
		if have[i].SameSession(w) || mayEnd(have[i], true) {
			next = append(next, w)
		} else {
			stays := have[i]
			stays.Name = w.Name // that costs nothing
			next = append(next, stays)
		}
	}
	for _, p := range have {
		if !matched[p.Address] && !mayEnd(p, false) {
			for slices.ContainsFunc(next, func(q speaker.Peer) bool { return q.Name == p.Name }) {
				p.Name += "-before" // the file gives its name to another one
			}
			next = append(next, p)
		}
	}
	return next, waits
}

// named says whether one of the peers has the address.
func named(peers []speaker.Peer, a netip.Addr) bool {
	return slices.ContainsFunc(peers, func(p speaker.Peer) bool { return p.Address == a })
}

// Peers returns those that the node's file wants, as it was read last.
func (a *Announcer) Peers() []speaker.Peer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.file.Peers
}

// movePeers takes the next step towards the peers that the file wants.
func (a *Announcer) movePeers(now time.Duration, frozen string) {
	a.mu.Lock()
	if a.stopping { // what stays is for the next start, though nothing hangs on it now
		a.mu.Unlock()
		return
	}
	if a.beginning {
		wait := now < a.moving.next
		a.mu.Unlock()
		if !wait {
			a.begin(now)
		}
		return
	}
	up := map[netip.Addr]bool{}
	for _, p := range a.peers {
		_, up[p.Address] = a.up[p.Name]
	}
	rising := a.rising(up, now)
	defer a.fault(sessionsBack, a.fallBack(up, now))
	have, want, m := a.peers, a.wants(), &a.moving
	same := slices.EqualFunc(have, want, samePeer)
	if same {
		m.waits = ""
	}
	if now < m.next || same {
		a.mu.Unlock()
		if same {
			a.fault("peers", nil)
		}
		return
	}
	if m.waits = rising; m.waits != "" {
		a.mu.Unlock()
		return
	}
	if m.alive == nil {
		m.alive, m.since = up, now
	}
	next, waits := nextPeers(have, want, up, m.alive,
		func(p speaker.Peer, back bool) string { return a.loses(p, back, frozen, now) },
		func(p speaker.Peer) string { return a.needs(p, want) })
	next, waits = a.keepGroups(next, waits)
	a.ending = slices.ContainsFunc(have, func(p speaker.Peer) bool { return !slices.ContainsFunc(next, p.SameSession) })
	m.waits = waits
	late := now-m.since > peersLate
	a.mu.Unlock()

	var err error
	if waits != "" && late {
		err = errors.New(waits)
	}
	if !slices.EqualFunc(have, next, samePeer) {
		err = a.setPeers(have, next)
		a.mu.Lock()
		if m.since = now; err != nil {
			m.next = now + peersEvery
			a.refused(now)
		}
		a.mu.Unlock()
	}
	a.fault("peers", err)
}

func samePeer(p, q speaker.Peer) bool {
	return p.Name == q.Name && p.SameSession(q) && slices.Equal(p.Groups, q.Groups)
}

// setPeers has the speaker talk to other peers.
func (a *Announcer) setPeers(have, next []speaker.Peer) error {
	reset, err := a.tellPeers(have, next)
	if err != nil {
		return err
	}
	var names []string
	for _, p := range next {
		names = append(names, p.Name)
	}
	a.recordOperation("edged", fmt.Sprintf("peers: %s; sessions made anew: %s", strings.Join(names, " "), firstOf(strings.Join(reset, " "), "none")), "the node's file")
	return nil
}

// tellPeers tells the speaker, which counts the lost sessions of those anew that it begins
// anew with: what they had is counted here.
func (a *Announcer) tellPeers(have, next []speaker.Peer) (reset []string, err error) {
	a.flapping.Lock()
	defer a.flapping.Unlock()
	lost := uint64(0)
	for _, s := range a.cfg.Speaker.Peers() {
		if !slices.ContainsFunc(next, func(p speaker.Peer) bool {
			return p.Address == s.Address && slices.ContainsFunc(have, p.SameSession)
		}) {
			lost += uint64(s.Flaps)
		}
	}
	if reset, err = a.cfg.Speaker.SetPeers(next); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.peers, a.flaps, a.dirty = next, a.flaps+lost, true
	maps.DeleteFunc(a.proven, func(address netip.Addr, _ speaker.Peer) bool { return !named(next, address) })
	return reset, nil
}
