package announcer

import (
	"context"
	"net/netip"
	"time"
)

// checkFor bounds one round of questions through a VIP.
const checkFor = time.Second

// check begins a round for each VIP whose turn it is.
func (a *Announcer) check(now time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, v := range a.vips {
		if !v.bound || v.checking || now-v.checked < checkEvery {
			continue
		}
		v.checking, v.checked = true, now
		spec, machine := v.spec, v.machine
		a.beside.Go(func() {
			ctx, cancel := context.WithTimeout(a.ctx, checkFor)
			defer cancel()
			asked, err := a.cfg.Check(ctx, spec)
			a.mu.Lock()
			defer a.mu.Unlock()
			v.checking = false
			v.asked += uint64(asked)
			v.failed = v.failed || err != nil
			if a.ctx.Err() != nil {
				return
			}
			cause := ""
			if err != nil {
				cause = err.Error()
			}
			machine.Check(a.now(), err == nil, cause)
		})
	}
}

// measure counts the queries that come to each VIP, beside those of our own
// checks. It does not wait for the counters.
func (a *Announcer) measure() {
	now := a.now()
	type metered struct {
		vip     *vip
		sockets []netip.AddrPort
		total   uint64
	}
	var all []metered
	a.mu.Lock()
	for _, v := range a.vips {
		if v.bound && (!v.meter.started || now-v.meter.at >= time.Second) {
			all = append(all, metered{vip: v, sockets: v.have})
		}
	}
	a.mu.Unlock()
	if len(all) == 0 || !a.metering.TryLock() {
		return
	}
	a.beside.Go(func() {
		defer a.metering.Unlock()
		for i := range all {
			for _, s := range all[i].sockets {
				all[i].total += a.cfg.Listener.Queries(s)
			}
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, m := range all {
			m.vip.meter.note(now, m.total-min(m.total, m.vip.asked), m.vip.wish.Route != nil)
		}
	})
}
