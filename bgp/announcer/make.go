package announcer

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"edged/bgp"
)

// wished is what should be for a VIP.
type wished struct {
	vip  *vip
	name string
	spec bgp.VIP
	wish bgp.Wish

	groups []string // of the peers that shall hear it
}

// wishes lists what should be. The caller holds the lock.
func (a *Announcer) wishes() []wished {
	var all []wished
	for _, v := range a.every() {
		all = append(all, wished{v, v.name(), v.spec, v.wish, v.groups})
	}
	return all
}

// makeSo brings about what should be: what is opened is opened before routes are
// told, and what is closed is closed after.
func (a *Announcer) makeSo(all []wished) {
	for _, w := range all {
		if w.wish.Address && w.wish.Listen {
			a.open(w)
		}
	}
	routes, late := a.routes(all)
	if late || a.announce(routes) != nil {
		return // nothing is closed while its route may still be out
	}
	for _, w := range all {
		a.close(w)
	}
}

// routes returns what peers should be told. It is late when a plan has come since it was
// decided what should be: then prefixes may have gone from one VIP to another.
func (a *Announcer) routes(all []wished) (routes []bgp.Route, late bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.replanned {
		return nil, true
	}
	for _, w := range all {
		if w.wish.Route == nil {
			continue
		}
		for _, p := range w.vip.answered() {
			routes = append(routes, bgp.Route{Prefix: p, Attributes: *w.wish.Route, Groups: w.groups})
		}
	}
	bgp.SortRoutes(routes)
	return routes, false
}

// announce has peers told these routes and no others. That nothing changed is
// made sure of now and then.
func (a *Announcer) announce(routes []bgp.Route) error {
	same := slices.EqualFunc(routes, a.told, func(a, b bgp.Route) bool {
		return a.Prefix == b.Prefix && a.Attributes.Equal(b.Attributes) && slices.Equal(a.Groups, b.Groups)
	})
	if same && a.now()-a.toldAt < tellEvery {
		return nil
	}
	ctx, cancel := context.WithTimeout(a.ctx, 5*time.Second)
	defer cancel()
	_, err := a.cfg.Speaker.Apply(ctx, routes)
	a.fault("routes", err)
	if err == nil {
		a.told, a.toldAt = routes, a.now()
	} else {
		a.toldAt = -tellEvery
	}
	return err
}

// answered returns the prefixes of a VIP through which checks have passed since
// there is a socket for them: one that a plan adds to a VIP that is announced has
// to show it first. A socket of another port serves until there is that of the plan.
// The caller holds the lock.
func (v *vip) answered() []netip.Prefix {
	open := hostRoutes(v.have)
	return slices.DeleteFunc(slices.Clone(v.spec.Prefixes), func(p netip.Prefix) bool {
		return !slices.Contains(open, p) || !slices.Contains(v.tried, p)
	})
}

// sockets are where DNS is answered on a VIP.
func sockets(v bgp.VIP) []netip.AddrPort {
	var all []netip.AddrPort
	for _, p := range v.Prefixes {
		all = append(all, netip.AddrPortFrom(p.Addr(), v.Port))
	}
	return all
}

const socketsOf = "address and socket of vip " // and its name: what an alarm is about

// open brings the addresses and sockets of a VIP that are not there yet. After a
// check that failed it makes sure of the addresses too: something else may have taken
// one away.
func (a *Announcer) open(w wished) {
	want := sockets(w.spec)
	a.mu.Lock()
	have, failed := w.vip.have, w.vip.failed
	w.vip.failed = false
	missing := without(want, have)
	if len(missing) > 0 { // another VIP may still have one of the addresses
		elsewhere := a.elsewhere(w.vip)
		want = slices.DeleteFunc(want, func(s netip.AddrPort) bool { return slices.Contains(elsewhere, hostRoute(s)) })
		missing = without(want, have)
	}
	a.mu.Unlock()
	if len(want) == 0 || len(missing) == 0 && !failed {
		a.opened(w.vip, nil, len(want) > 0)
		return
	}
	err := a.cfg.Addresses.Ensure(w.spec.Name, hostRoutes(want))
	if err == nil && len(missing) > 0 {
		ctx, cancel := context.WithTimeout(a.ctx, 5*time.Second)
		err = a.cfg.Listener.Listen(ctx, missing)
		cancel()
	}
	a.fault(socketsOf+w.name, err)
	if err != nil {
		a.mu.Lock()
		w.vip.fault, w.vip.failed = err.Error(), true // so that it is tried again
		a.mu.Unlock()
		return
	}
	a.opened(w.vip, missing, true)
}

// close takes away the sockets and addresses of a VIP that should not be there.
func (a *Announcer) close(w wished) {
	var want []netip.AddrPort
	if w.wish.Listen {
		want = sockets(w.spec)
	}
	a.mu.Lock()
	late := hostRoutes(without(want, w.vip.have)) // another port is not open yet: the one before stays meanwhile
	over := slices.DeleteFunc(without(w.vip.have, want), func(s netip.AddrPort) bool { return slices.Contains(late, hostRoute(s)) })
	if len(over) == 0 {
		a.mu.Unlock()
		return
	}
	stay := append(hostRoutes(want), a.elsewhere(w.vip)...)
	a.mu.Unlock()
	err := a.cfg.Listener.Unlisten(over...)
	if err == nil {
		err = a.cfg.Addresses.Remove(w.spec.Name, absent(hostRoutes(over), stay))
	}
	a.fault(socketsOf+w.name, err)
	if err == nil {
		a.closed(over)
	}
}

// opened notes sockets that a VIP has now, beside those that it had.
func (a *Announcer) opened(v *vip, now []netip.AddrPort, bound bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if v.bound == bound && len(now) == 0 && v.fault == "" {
		return
	}
	v.have, v.bound, v.fault = append(v.have, now...), bound, ""
	a.poke()
}

// closed notes sockets that nobody has any more.
func (a *Announcer) closed(gone []netip.AddrPort) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, v := range a.every() {
		left := without(v.have, gone)
		if len(left) == len(v.have) {
			continue
		}
		v.have, v.fault = left, ""
		v.tried = slices.DeleteFunc(v.tried, func(p netip.Prefix) bool { return !slices.Contains(hostRoutes(left), p) })
		if len(left) == 0 {
			v.bound, v.meter, v.asked, v.untried = false, meter{}, 0, ""
		}
		a.poke()
	}
}

// without returns what is in a and not in b.
func without(a, b []netip.AddrPort) []netip.AddrPort {
	return slices.DeleteFunc(slices.Clone(a), func(s netip.AddrPort) bool { return slices.Contains(b, s) })
}

func hostRoutes(sockets []netip.AddrPort) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range sockets {
		all = append(all, hostRoute(s))
	}
	return all
}
