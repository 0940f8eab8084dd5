package announcer

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"edged/bgp"
	"edged/bgp/speaker"
)

// A reload, or a plan, may want that other peers hear a VIP. Nobody is told that a
// prefix is gone before somebody else has it: that would be a withdrawal without
// promises.

const (
	resetAsks  = 5 * time.Second  // promises are asked for after a session waited for them
	resetTries = 12 * time.Second // it waits for them, before it rests
	resetRests = 15 * time.Second // to 30, when it does not get them
)

// loses says why a session that is up should not end, though the file wants it; empty:
// each prefix that the peer hears is heard by another one, too, or enough other nodes promise
// to stay until the session is back, and nothing else speaks against a withdrawal. The
// caller holds the lock.
func (a *Announcer) loses(p speaker.Peer, back bool, frozen string, now time.Duration) string {
	var alone []*vip // that no other peer hears, or some of it
	for _, v := range a.every() {
		announced := v.answered()
		i := slices.IndexFunc(announced, func(prefix netip.Prefix) bool { return a.only(v, prefix, p.Name) })
		if i < 0 {
			continue
		}
		if !back {
			return stays(p, v, announced[i])
		}
		o := bgp.InForce(a.operations, a.cfg.Self, v.spec.Name, time.Now())
		switch breaker := v.breaker.Open(now, a.announcers(v)); {
		case o != nil && o.Kind == bgp.Hold:
			return fmt.Sprintf("the session with %s alone has %s, which is held: release it before, or drain the node", p.Name, v.spec.Name)
		case frozen != "":
			return fmt.Sprintf("the session with %s alone has %s, and is not changed while the node is frozen: %s", p.Name, v.spec.Name, frozen)
		case breaker != "":
			return fmt.Sprintf("the session with %s alone has %s, and is not changed meanwhile: %s", p.Name, v.spec.Name, breaker)
		case a.alone(v) && len(a.cfg.Fleet.Members()) > 1:
			return fmt.Sprintf("the session with %s alone has %s, which no other node has: drain the node of it by force before", p.Name, v.spec.Name)
		}
		alone = append(alone, v)
	}
	return a.promised(p, alone, now)
}

func stays(p speaker.Peer, v *vip, prefix netip.Prefix) string {
	return fmt.Sprintf("the session with %s stays, for no other peer hears %s of %s: take that away by a plan, or drain the node, before", p.Name, prefix, v.spec.Name)
}

// promised says which VIP wants promises before a session is made anew; empty: none does. It
// asks for them, for a while, and then not for a while: who promises cannot leave. The
// caller holds the lock.
func (a *Announcer) promised(p speaker.Peer, alone []*vip, now time.Duration) (waits string) {
	var names []string
	for _, v := range alone {
		names = append(names, v.name())
	}
	for _, v := range alone {
		have, unheard := a.havers(v)
		if permit, promises := v.guard.PermitBriefly(now, have); !permit {
			if len(unheard) > 0 {
				promises += fmt.Sprintf("; %s, not heard since the start of this node, may have it, too", strings.Join(unheard, ", "))
			}
			waits = fmt.Sprintf("the session with %s is changed when others promise to keep %s meanwhile, or once a drain has withdrawn that", p.Name, strings.Join(names, ", "))
			a.moving.detail, a.moving.detailOf = v.name()+" has "+promises, waits
			break
		}
	}
	m := &a.moving
	switch {
	case waits == "":
		m.asking = 0
		return ""
	case m.asking == 0 && now >= m.rest:
		m.asking = now
	case m.asking > 0 && now-m.asking > resetTries:
		m.asking, m.rest = 0, now+resetRests+rand.N(resetRests)
	}
	if m.asking > 0 {
		for _, v := range alone {
			v.resets = now + resetAsks
		}
	}
	return waits
}

// needs says why a peer should not go, with a session or without, though the file does not name it
// any more; empty: others of the file carry all that it may, and are up if it ever was. The caller
// holds the lock.
func (a *Announcer) needs(p speaker.Peer, want []speaker.Peer) string {
	_, was := a.proven[p.Address]
	carries := func(q speaker.Peer, heardBy bgp.VIP, prefix netip.Prefix) bool {
		_, up := a.up[q.Name]
		return (up || !was) && Carries(q, heardBy, prefix) && a.takes(q, prefix, false)
	}
	for _, name := range sortedKeys(a.vips) {
		v := a.vips[name]
		if !a.meant(v) || v.wish.Route == nil && a.drained(v) {
			continue
		}
		heardBy := bgp.VIP{Groups: v.groups}
		for _, prefix := range v.spec.Prefixes {
			other := slices.ContainsFunc(want, func(q speaker.Peer) bool { return carries(q, heardBy, prefix) })
			if Carries(p, heardBy, prefix) && a.takes(p, prefix, true) && !other {
				return stays(p, v, prefix)
			}
		}
	}
	return ""
}

// havers counts the other nodes that have a VIP, whatever they do with it now, by PoP. Who was
// not heard since the start may have it, too: those are named. The caller holds the lock.
func (a *Announcer) havers(v *vip) (all map[string]int, unheard []string) {
	all = map[string]int{}
	for _, m := range a.cfg.Fleet.Members() {
		h, was := a.heard[m.Name]
		switch {
		case m.Name == a.cfg.Self.Name:
		case !was:
			all[m.PoP]++
			unheard = append(unheard, m.Name)
		case v.all(h.has):
			all[m.PoP]++
		}
	}
	return all, unheard
}

// alone says whether no other node has a VIP. The caller holds the lock.
func (a *Announcer) alone(v *vip) bool {
	have, _ := a.havers(v)
	return len(have) == 0
}

// only says whether a peer has a prefix of a VIP, and no other one that goes on hearing it.
// The caller holds the lock.
func (a *Announcer) only(v *vip, prefix netip.Prefix, peer string) bool {
	now := bgp.VIP{Groups: v.groups}
	has, other := false, false
	for _, r := range a.sent[prefix] {
		has = has || r.peer == peer
		other = other || r.peer != peer && slices.ContainsFunc(a.peers, func(p speaker.Peer) bool { return p.Name == r.peer && Carries(p, now, prefix) })
	}
	return has && !other
}

// keepGroups has peers stay in the groups that they had, beside those that the file
// wants, while a prefix would be heard by nobody without. The caller holds the lock.
func (a *Announcer) keepGroups(next []speaker.Peer, waits string) ([]speaker.Peer, string) {
	stay := slices.DeleteFunc(slices.Clone(next), func(p speaker.Peer) bool { // without the session that is made anew now
		return named(a.peers, p.Address) && !slices.ContainsFunc(a.peers, p.SameSession)
	})
	for _, v := range a.every() {
		prefix, lost := a.deprived(v, v.groups, stay)
		if !lost && a.toldGroups(v) {
			continue
		}
		kept := slices.Clone(next)
		for i, p := range kept {
			had := slices.IndexFunc(a.peers, func(q speaker.Peer) bool { return q.Address == p.Address })
			if had < 0 || slices.Equal(a.peers[had].Groups, p.Groups) {
				continue
			}
			kept[i].Groups = union(a.peers[had].Groups, p.Groups)
			if !lost {
				continue // it will be, as soon as the speaker knows
			}
			waits = cmp.Or(waits, fmt.Sprintf("%s stays in %s, for no other peer would hear %s of %s: change the VIP by a plan",
				p.Name, strings.Join(kept[i].Groups, ", "), prefix, v.spec.Name))
		}
		return kept, waits
	}
	return next, waits
}

// keptPeer is what a node keeps of a peer that it had a session with.
type keptPeer struct {
	Groups []string `json:"groups,omitempty"`
	IPv4   bool     `json:"ipv4,omitempty"` // it took IPv4, over whatever
}

// keptGroups returns the peers of a file as a node starts with them. Those that it had
// sessions with before stay in the groups of then, too, where else none of them would hear
// a prefix of the VIPs any more.
func keptGroups(file []speaker.Peer, before map[netip.Addr]keptPeer, vips []bgp.VIP) []speaker.Peer {
	next := slices.Clone(file)
	for _, v := range vips {
		for _, p := range v.Prefixes {
			var heard []int // in next, of those that did
			stays := false
			for i, peer := range file {
				was, had := before[peer.Address]
				then := speaker.Peer{Address: peer.Address, Groups: was.Groups}
				if !had || !Carries(then, v, p) || p.Addr().Is4() && !was.IPv4 {
					continue
				}
				heard, stays = append(heard, i), stays || Carries(next[i], v, p)
			}
			if stays {
				continue
			}
			for _, i := range heard {
				next[i].Groups = union(next[i].Groups, before[next[i].Address].Groups)
			}
		}
	}
	return next
}

// known returns what is kept of peers: as of when they had a session last; while there is none, or the
// node has not begun with those of before, also of these. The caller holds the lock.
func (a *Announcer) known() map[netip.Addr]keptPeer {
	if len(a.up) == 0 || a.beginning {
		return a.kept
	}
	all := map[netip.Addr]keptPeer{}
	for _, p := range a.peers {
		if now, is := a.up[p.Name]; is {
			all[p.Address] = keptPeer{p.Groups, now.ipv4}
		} else if was, had := a.kept[p.Address]; had {
			all[p.Address] = was
		}
	}
	return all
}

// toldGroups says whether the speaker knows of the groups in which a VIP is now.
func (a *Announcer) toldGroups(v *vip) bool {
	return !slices.ContainsFunc(a.told, func(r bgp.Route) bool {
		return slices.Contains(v.spec.Prefixes, r.Prefix) && !slices.Equal(r.Groups, v.groups)
	})
}

// settle has peers of other groups hear a VIP, as its plan wants. Those that heard it
// before do so until each prefix was sent to one of the others. The caller holds the lock.
func (a *Announcer) settle(v *vip, now time.Duration) {
	if v.part { // it goes, or over to another VIP: see widen
		return
	}
	prefix, lost := a.deprived(v, v.spec.Groups, a.peers)
	if slices.Equal(v.groups, v.spec.Groups) || !lost {
		v.groups, v.kept, v.keptFrom = v.spec.Groups, "", 0
		return
	}
	if len(v.groups) > 0 { // none: all hear it
		v.groups = union(v.groups, v.spec.Groups)
	}
	if v.wish.Route == nil { // they will, when it is announced
		v.kept, v.keptFrom = "", 0
		return
	}
	if v.kept == "" {
		v.keptFrom = now
	}
	who := "all peers"
	if len(v.groups) > 0 {
		who = "peers of " + strings.Join(v.groups, ", ")
	}
	v.kept = fmt.Sprintf("%s still hear it, for none of %s has %s", who, strings.Join(v.spec.Groups, ", "), prefix)
}

// deprived finds a prefix of a VIP that peers hear now, and that none of them would hear if
// these were the peers, and the VIP in those groups. While no peer has it, yet or any more,
// each that could have it counts. The caller holds the lock.
func (a *Announcer) deprived(v *vip, groups []string, peers []speaker.Peer) (netip.Prefix, bool) {
	if v.wish.Route == nil && (!a.meant(v) || a.drained(v)) {
		return netip.Prefix{}, false
	}
	now, then := bgp.VIP{Groups: v.groups}, bgp.VIP{Groups: groups}
	for _, prefix := range v.spec.Prefixes {
		sent := a.sent[prefix]
		hears := slices.DeleteFunc(slices.Clone(a.peers), func(p speaker.Peer) bool {
			has := slices.ContainsFunc(sent, func(r route) bool { return r.peer == p.Name })
			return !Carries(p, now, prefix) || len(sent) > 0 && !has || len(sent) == 0 && !a.takes(p, prefix, true)
		})
		stays := func(p speaker.Peer) bool {
			return slices.ContainsFunc(peers, func(q speaker.Peer) bool { return q.Address == p.Address && Carries(q, then, prefix) })
		}
		lost := !slices.ContainsFunc(hears, stays)
		if len(sent) == 0 { // none of them may go before one has it
			lost = slices.ContainsFunc(hears, func(p speaker.Peer) bool { return !stays(p) })
		}
		if len(hears) > 0 && lost {
			return prefix, true
		}
	}
	return netip.Prefix{}, false
}

// meant says whether a VIP is to be announced here, by the plan or by the node's own word. The
// caller holds the lock.
func (a *Announcer) meant(v *vip) bool { return v.planned || !v.part && a.announces(v.spec.Name) }

// drained says whether an operator wants a VIP out here. The caller holds the lock.
func (a *Announcer) drained(v *vip) bool {
	return drains(bgp.InForce(a.operations, a.cfg.Self, v.spec.Name, time.Now()))
}

// takes says whether a session carries a prefix: IPv4 over IPv6 only when the peer said so
// when it had one last. While it never had any that is unknown. The caller holds the lock.
func (a *Announcer) takes(p speaker.Peer, prefix netip.Prefix, unknown bool) bool {
	if prefix.Addr().Is6() || p.Address.Is4() {
		return prefix.Addr().Is4() || p.Address.Is6()
	}
	if ipv4, known := a.ipv4[p.Address]; known {
		return ipv4
	}
	return unknown
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
