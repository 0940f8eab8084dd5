package announcer

import (
	"net/netip"
	"slices"
	"time"

	"edged/bgp"
	"edged/edge"
)

// every returns the VIPs by name, and the parts after them. The caller holds the
// lock.
func (a *Announcer) every() []*vip {
	all := make([]*vip, 0, len(a.vips)+len(a.parts))
	for _, name := range sortedKeys(a.vips) {
		all = append(all, a.vips[name])
	}
	return append(all, a.parts...)
}

// name is what an engineer reads: that of the VIP, with the prefixes of a part.
func (v *vip) name() string {
	if !v.part {
		return v.spec.Name
	}
	return v.words() + " of " + v.spec.Name
}

// words are the prefixes of a part; empty: it is a VIP.
func (v *vip) words() string {
	if !v.part {
		return ""
	}
	return bgp.PrefixWords(v.spec.Prefixes)
}

// split makes a part of each prefix that a VIP announces and is to have no more. It
// goes its own way down, as a VIP does that no plan names, with promises for its
// prefix; the others stay as they are. It is not kept over a restart, for the plan
// does not name it. The caller holds the lock, and gives the VIP what it shall be.
func (a *Announcer) split(v *vip, next bgp.VIP) {
	for _, p := range absent(v.spec.Prefixes, next.Prefixes) {
		if !slices.Contains(v.tried, p) {
			continue // it was never announced: its socket is closed, and that is all
		}
		lost := []netip.Prefix{p}
		part := &vip{part: true, spec: v.spec, groups: v.groups, machine: v.machine.Split(lost), breaker: v.breaker, wish: v.wish}
		part.spec.Prefixes = lost
		part.guard = v.guard.Split(part.spec)
		give(v, part, p)
		a.parts = append(a.parts, part)
	}
}

// handOver makes parts of what VIPs that no plan names any more announce and other VIPs of
// the plan have, so that it goes over there; also when it was announced again as the last
// resort since. A VIP of which nothing else is left goes at once. The caller holds the lock.
func (a *Announcer) handOver() {
	for _, name := range sortedKeys(a.vips) {
		v := a.vips[name]
		if v.planned || v.wish.Route == nil || a.announcedHere(v, time.Now()) {
			continue
		}
		rest := v.spec
		rest.Prefixes = slices.DeleteFunc(slices.Clone(rest.Prefixes), func(p netip.Prefix) bool { return a.plannedWith(p) != nil })
		if len(rest.Prefixes) == len(v.spec.Prefixes) {
			continue
		}
		a.split(v, rest)
		for _, p := range absent(v.spec.Prefixes, rest.Prefixes) {
			give(v, a.plannedWith(p), p) // what never was announced has only a socket, or none
		}
		if v.spec = rest; len(rest.Prefixes) > 0 {
			v.machine.SetVIP(rest)
			continue
		}
		delete(a.vips, name)
		a.cfg.Fleet.State(name, edge.Dead, "not in the plan of "+a.cfg.Self.Name)
	}
}

// whole makes a VIP of a part, when a plan names it again and nothing else is left
// of it. The caller holds the lock.
func (a *Announcer) whole(name string) *vip {
	i := slices.IndexFunc(a.parts, func(p *vip) bool { return p.spec.Name == name })
	if i < 0 {
		return nil
	}
	v := a.parts[i]
	v.part, v.over = false, ""
	a.parts = slices.Delete(a.parts, i, i+1)
	a.vips[name] = v
	return v
}

// rejoin gives parts back to their VIP when a plan names them there again, or to another
// VIP that has the prefix now and is announced, or has nothing yet. While the VIP has no
// route and the part has, or none of its peers has the prefix, it waits else, announced as
// before: nothing shall be withdrawn by that. One that an operator wants out takes nothing over. The
// caller holds the lock.
func (a *Announcer) rejoin() {
	a.handOver()
	a.parts = slices.DeleteFunc(a.parts, func(part *vip) bool {
		p := part.spec.Prefixes[0]
		v := a.plannedWith(p)
		if part.over = ""; v == nil {
			return false
		}
		other, drained := v.spec.Name != part.spec.Name, a.drained(v)
		if part.wish.Route != nil && !drained {
			part.over = v.spec.Name
		}
		_, lost := a.deprived(part, v.groups, a.peers)
		switch {
		case other && part.over != "" && len(v.have) == 0 && (v.wish.Route == nil || lost):
			a.adopt(v, part) // it could not come up beside the part, which has all its sockets
			return true
		case v.wish.Route == nil && (part.wish.Route != nil || other):
			return false
		case lost:
			part.widen(v.groups)
			return false
		}
		give(part, v, p)
		v.guard.Bind(part.guard)
		v.breaker.Join(part.breaker)
		return true
	})
}

// adopt has a VIP without sockets take the place of a part of another one, as that stands.
// The caller holds the lock.
func (a *Announcer) adopt(v, part *vip) {
	v.machine, v.wish, v.groups = part.machine, part.wish, part.groups
	v.machine.SetVIP(v.spec)
	v.guard, v.breaker = part.guard.Split(v.spec), part.breaker.Clone() // bound by the same promises
	v.have, v.tried, v.bound = part.have, part.tried, part.bound
	v.meter, v.asked, v.unheard = meter{}, 0, part.unheard
}

// widen has peers of more groups hear a part, which waits to go over to a VIP of these, until
// one of them has it. The caller holds the lock.
func (part *vip) widen(groups []string) {
	if len(part.groups) == 0 || len(groups) == 0 { // all hear it
		part.groups = nil
	} else {
		part.groups = union(part.groups, groups)
	}
	part.spec.Groups = part.groups
}

// plannedWith returns the VIP of the plan that has a prefix; nil: none has. The caller
// holds the lock.
func (a *Announcer) plannedWith(p netip.Prefix) *vip {
	for _, v := range a.vips {
		if v.planned && slices.Contains(v.spec.Prefixes, p) {
			return v
		}
	}
	return nil
}

// give moves the sockets of a prefix from one to the other, open as they are.
func give(from, to *vip, p netip.Prefix) {
	for _, s := range from.have {
		if hostRoute(s) == p {
			to.have = append(to.have, s)
		}
	}
	if slices.Contains(from.tried, p) {
		to.tried = append(to.tried, p)
	}
	if since, was := from.unheard[p]; was {
		if to.unheard == nil {
			to.unheard = map[netip.Prefix]time.Duration{}
		}
		to.unheard[p] = since
	}
	from.have = slices.DeleteFunc(slices.Clone(from.have), func(s netip.AddrPort) bool { return hostRoute(s) == p })
	from.tried = slices.DeleteFunc(from.tried, func(t netip.Prefix) bool { return t == p })
	from.bound, to.bound = len(from.have) > 0, len(to.have) > 0
}

// elsewhere returns the prefixes that others than v have sockets for, on whatever port: one
// that goes over from one VIP to another is to be closed there first.
func (a *Announcer) elsewhere(v *vip) []netip.Prefix {
	var all []netip.Prefix
	for _, other := range a.every() {
		if other != v {
			all = append(all, hostRoutes(other.have)...)
		}
	}
	return all
}

// absent returns what is in a and not in b.
func absent(a, b []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(a), func(p netip.Prefix) bool { return slices.Contains(b, p) })
}

// common returns what is in a and in b.
func common(a, b []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(a), func(p netip.Prefix) bool { return !slices.Contains(b, p) })
}

func hostRoute(s netip.AddrPort) netip.Prefix { return netip.PrefixFrom(s.Addr(), s.Addr().BitLen()) }
