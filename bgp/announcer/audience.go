package announcer

import (
	"cmp"
	"fmt"
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

// resetAsks is how long promises are asked for after a session waited for them.
const resetAsks = 5 * time.Second

// loses says why a session that is up should not end, though the file wants it; empty:
// each prefix that the peer hears is heard by another one, too, or another node promises to
// stay until the session is back. The caller holds the lock.
func (a *Announcer) loses(p speaker.Peer, back bool, now time.Duration) string {
	for _, v := range a.every() {
		i := slices.IndexFunc(v.spec.Prefixes, func(prefix netip.Prefix) bool { return a.only(prefix, p.Name) })
		if i < 0 {
			continue
		}
		if !back {
			return fmt.Sprintf("the session with %s stays, for no other peer hears %s of %s: take that away by a plan, or drain the node, before", p.Name, v.spec.Prefixes[i], v.spec.Name)
		}
		v.resets = now + resetAsks
		if permit, promises := v.guard.PermitBriefly(now); !permit {
			return fmt.Sprintf("the session with %s is changed when another node promises to keep %s meanwhile, or when the node is drained: %s", p.Name, v.spec.Name, promises)
		}
	}
	return ""
}

// only says whether a peer has a prefix and no other one does. The caller holds the lock.
func (a *Announcer) only(prefix netip.Prefix, peer string) bool {
	routes := a.sent[prefix]
	return len(routes) > 0 && !slices.ContainsFunc(routes, func(r route) bool { return r.peer != peer })
}

// keepGroups has peers stay in the groups that they had, beside those that the file
// wants, while a prefix would be heard by nobody without. The caller holds the lock.
func (a *Announcer) keepGroups(next []speaker.Peer, waits string) ([]speaker.Peer, string) {
	for _, v := range a.every() {
		prefix, lost := a.deprived(v, v.groups, next)
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

// toldGroups says whether the speaker knows of the groups in which a VIP is now.
func (a *Announcer) toldGroups(v *vip) bool {
	return !slices.ContainsFunc(a.told, func(r bgp.Route) bool {
		return slices.Contains(v.spec.Prefixes, r.Prefix) && !slices.Equal(r.Groups, v.groups)
	})
}

// settle has peers of other groups hear a VIP, as its plan wants. Those that heard it
// before do so until each prefix was sent to one of the others. The caller holds the lock.
func (a *Announcer) settle(v *vip, now time.Duration) {
	prefix, lost := a.deprived(v, v.spec.Groups, a.peers)
	if slices.Equal(v.groups, v.spec.Groups) || !lost {
		v.groups, v.kept, v.keptFrom = v.spec.Groups, "", 0
		return
	}
	if v.kept == "" {
		v.keptFrom = now
	}
	if len(v.groups) > 0 { // none: all hear it
		v.groups = union(v.groups, v.spec.Groups)
	}
	who := "all peers"
	if len(v.groups) > 0 {
		who = "peers of " + strings.Join(v.groups, ", ")
	}
	v.kept = fmt.Sprintf("%s still hear it, for none of %s has %s", who, strings.Join(v.spec.Groups, ", "), prefix)
}

// deprived finds a prefix of a VIP that peers hear now, and that none of them would hear if
// these were the peers, and the VIP in those groups. What no peer has is for any that
// could have it. The caller holds the lock.
func (a *Announcer) deprived(v *vip, groups []string, peers []speaker.Peer) (netip.Prefix, bool) {
	if v.wish.Route == nil {
		return netip.Prefix{}, false
	}
	now, then := bgp.VIP{Groups: v.groups}, bgp.VIP{Groups: groups}
	for _, prefix := range v.spec.Prefixes {
		sent := a.sent[prefix]
		hears := slices.DeleteFunc(slices.Clone(a.peers), func(p speaker.Peer) bool {
			has := slices.ContainsFunc(sent, func(r route) bool { return r.peer == p.Name })
			return !Carries(p, now, prefix) || len(sent) > 0 && !has
		})
		stays := slices.ContainsFunc(peers, func(p speaker.Peer) bool {
			up, is := a.up[p.Name]
			could := len(sent) == 0 && !(is && !up.ipv4 && prefix.Addr().Is4())
			return Carries(p, then, prefix) && (could || named(hears, p.Address))
		})
		if len(hears) > 0 && !stays {
			return prefix, true
		}
	}
	return netip.Prefix{}, false
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
