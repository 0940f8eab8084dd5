package announcer

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"edged/bgp"
)

// checkFor bounds one round of questions through a VIP.
const checkFor = time.Second

// check begins a round for each VIP whose turn it is, and for prefixes on their way out. Prefixes that came to a VIP
// which is announced are asked through for themselves: until they answer they are
// not announced, and say nothing of the others.
func (a *Announcer) check(now time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, v := range a.every() {
		known, fresh := v.toTry()
		if v.checking || now-v.checked < checkEvery || !v.bound && v.wish.Route == nil {
			continue
		}
		v.checked = now
		if len(known) == 0 {
			v.machine.Check(now, false, firstOf(v.fault, "no socket"))
			continue
		}
		v.checking = true
		if len(fresh) == 0 {
			v.untried = ""
		}
		spec, machine := v.spec, v.machine
		a.beside.Go(func() {
			why, ended := a.try(v, spec, known)
			if !ended {
				a.mu.Lock()
				machine.Check(a.now(), why == "", why)
				a.mu.Unlock()
			}
			if len(fresh) > 0 {
				a.tryFresh(v, spec, fresh)
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			v.checking = false
		})
	}
}

// served returns the port on which a prefix of the VIP is answered: while the one that a plan
// wants is not open, that of before; 0: on none. The caller holds the lock.
func (v *vip) served(p netip.Prefix) (port uint16) {
	for _, s := range v.have {
		if hostRoute(s) == p && port != v.spec.Port {
			port = s.Port()
		}
	}
	return port
}

// toTry returns the prefixes of a VIP with a socket through which checks have
// passed, and those through which none has yet. When there are none of the former
// all count. The caller holds the lock.
func (v *vip) toTry() (known, fresh []netip.Prefix) {
	for _, p := range v.spec.Prefixes {
		switch {
		case v.served(p) == 0:
		case slices.Contains(v.tried, p):
			known = append(known, p)
		default:
			fresh = append(fresh, p)
		}
	}
	if len(known) == 0 {
		return fresh, nil
	}
	return known, fresh
}

// try asks one round through prefixes of a VIP, and says why it failed; empty: it
// passed. ended says that the announcer has, and the round says nothing.
func (a *Announcer) try(v *vip, spec bgp.VIP, prefixes []netip.Prefix) (why string, ended bool) {
	ctx, cancel := context.WithTimeout(a.ctx, checkFor)
	defer cancel()
	at := map[uint16][]netip.Prefix{} // by port
	a.mu.Lock()
	for _, p := range prefixes {
		port := cmp.Or(v.served(p), spec.Port)
		at[port] = append(at[port], p)
	}
	a.mu.Unlock()
	var err error
	asked := 0
	for port, prefixes := range at {
		spec.Port, spec.Prefixes = port, prefixes
		n, fault := a.cfg.Check(ctx, spec)
		asked, err = asked+n, errors.Join(err, fault)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	v.asked += uint64(asked)
	v.failed = v.failed || err != nil
	if err != nil {
		return err.Error(), a.ctx.Err() != nil
	}
	if !v.planned && !v.part && len(v.tried) == 0 && !a.announcedHere(v, time.Now()) {
		return "", a.ctx.Err() != nil // it goes, and shall not be announced before
	}
	open := hostRoutes(v.have) // a plan may have taken some from the VIP meanwhile
	for _, p := range prefixes {
		if slices.Contains(open, p) && !slices.Contains(v.tried, p) {
			v.tried = append(v.tried, p)
		}
	}
	return "", a.ctx.Err() != nil
}

// tryFresh asks through prefixes that a plan added.
func (a *Announcer) tryFresh(v *vip, spec bgp.VIP, prefixes []netip.Prefix) {
	why, _ := a.try(v, spec, prefixes)
	if why != "" {
		why = "checks through " + bgp.PrefixWords(prefixes) + " fail: " + why
	}
	a.mu.Lock()
	v.untried = why
	a.mu.Unlock()
	a.poke()
}

// measure counts the queries that come to each VIP, beside those of our own
// checks. It does not wait for the counters.
func (a *Announcer) measure() {
	now := a.now()
	type metered struct {
		vip     *vip
		sockets []netip.AddrPort
		counts  map[netip.AddrPort]uint64
	}
	var all []metered
	a.mu.Lock()
	for _, v := range a.every() {
		if v.bound && (!v.meter.started || now-v.meter.at >= time.Second) {
			all = append(all, metered{v, slices.Clone(v.have), map[netip.AddrPort]uint64{}})
		}
	}
	a.mu.Unlock()
	if len(all) == 0 || !a.metering.TryLock() {
		return
	}
	a.beside.Go(func() {
		defer a.metering.Unlock()
		for _, m := range all {
			for _, s := range m.sockets {
				m.counts[s] = a.cfg.Listener.Queries(s)
			}
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, m := range all {
			total := m.vip.meter.add(m.counts)
			m.vip.meter.note(now, total-min(total, m.vip.asked), m.vip.wish.Route != nil)
		}
	})
}
