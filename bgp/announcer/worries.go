package announcer

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"edged/bgp"
)

// worries says of each VIP what an engineer should look at; nil: nothing. The
// caller holds the lock.
func (a *Announcer) worries(now time.Duration) map[string]error {
	all := map[string]error{}
	for name, v := range a.vips {
		var err error
		breaker := v.breaker.Open(now, a.announcers(v))
		total, _ := a.announcing(v, now)
		switch {
		case v.wish.State == bgp.LastResort:
			err = v.lastResort()
		case breaker != "":
			err = errors.New(breaker)
		case v.machine.Damping(now).Suppressed:
			err = errors.New("flaps: it is not announced as planned until the penalty has decayed")
		case v.wish.State == bgp.Degraded:
			err = fmt.Errorf("degraded: %s", v.wish.Cause)
		case v.deaf > 0 && now-v.deaf > deafFor:
			err = fmt.Errorf("it is %s, but no peer has %s", v.wish.State, strings.Join(a.unsent(v.spec, *v.wish.Route), ", "))
		case v.kept != "" && now-v.keptFrom > deafFor:
			err = errors.New(v.kept)
		case total < v.spec.MinAnnouncers && now > settleFor:
			err = fmt.Errorf("announced as planned by %s only, as far as is heard, want %d at least", bgp.Counted(total, "node"), v.spec.MinAnnouncers)
		}
		all["vip "+name] = a.unfit(v, err)
	}
	for _, p := range a.parts {
		if p.wish.State == bgp.LastResort {
			all["vip "+p.name()] = p.lastResort()
		}
	}
	sockets := map[string]bool{}
	for _, v := range a.every() {
		sockets[socketsOf+v.name()] = true
	}
	for what := range a.faults {
		if _, has := all[what]; !has && (strings.HasPrefix(what, "vip ") || strings.HasPrefix(what, socketsOf) && !sockets[what]) {
			all[what] = nil // it is gone
		}
	}
	return all
}

// lastResort says why a VIP is the last resort: how that came, and what it waits for now.
func (v *vip) lastResort() error {
	if v.wish.Waits == "" {
		return fmt.Errorf("announced as the last resort: %s", v.wish.Cause)
	}
	return fmt.Errorf("announced as the last resort: %s; it waits for %s", v.wish.Cause, v.wish.Waits)
}

// unfit adds to what is to be said of a VIP that it is announced although its checks
// fail now. The caller holds the lock.
func (a *Announcer) unfit(v *vip, said error) error {
	if v.failing == "" || !v.wish.State.Announces() || said != nil && strings.Contains(said.Error(), "checks fail: ") {
		return said
	}
	fails := "its checks fail: " + v.failing
	if o := bgp.InForce(a.operations, a.cfg.Self, v.spec.Name, time.Now()); o != nil && o.Kind == bgp.Hold {
		fails = "held, but " + fails
	}
	if said != nil {
		return fmt.Errorf("%w; %s", said, fails)
	}
	return errors.New(fails)
}

// heardBy notes since when no peer has a prefix of the VIP. The caller holds the lock.
func (v *vip) heardBy(a *Announcer, now time.Duration) {
	switch {
	case v.wish.Route == nil || len(a.unsent(v.spec, *v.wish.Route)) == 0:
		v.deaf = 0
	case v.deaf == 0:
		v.deaf = now
	}
	if v.unheard == nil {
		v.unheard = map[netip.Prefix]time.Duration{}
	}
	for _, p := range v.spec.Prefixes {
		switch since, was := v.unheard[p]; {
		case v.wish.Route == nil:
			delete(v.unheard, p)
		case len(a.sent[p]) > 0:
			v.unheard[p] = 0
		case was && since == 0:
			v.unheard[p] = now
		}
	}
}
