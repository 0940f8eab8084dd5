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
	all := map[string]error{"starts": a.crashes(time.Now())}
	for name, v := range a.vips {
		var err error
		if words := a.concerns(v, now); len(words) > 0 {
			err = errors.New(strings.Join(words, "; "))
		}
		all["vip "+name] = a.unfit(v, err)
	}
	for _, p := range a.parts {
		if p.wish.State == bgp.LastResort {
			all["vip "+p.name()] = errors.New(p.lastResort())
		}
	}
	sockets := map[string]bool{}
	for _, v := range a.every() {
		sockets[socketsOf+v.name()] = true
	}
	for what := range a.faults {
		name, announced := strings.CutPrefix(what, announceOf)
		if announced && !a.announces(name) || what == sessionsOfBefore && a.reread {
			all[what] = nil
		}
		if _, has := all[what]; !has && (strings.HasPrefix(what, "vip ") || strings.HasPrefix(what, socketsOf) && !sockets[what]) {
			all[what] = nil // it is gone
		}
	}
	return all
}

// concerns says what is wrong with how a VIP is announced: its state, who hears it, and what keeps
// it from changing. The caller holds the lock.
func (a *Announcer) concerns(v *vip, now time.Duration) (words []string) {
	switch {
	case v.wish.State == bgp.LastResort:
		words = append(words, v.lastResort())
	case v.machine.Damping(now).Suppressed:
		words = append(words, "flaps: it is not announced as planned until the penalty has decayed")
	case v.wish.State == bgp.Degraded:
		words = append(words, "degraded: "+v.wish.Cause)
	}
	switch {
	case v.deaf > 0 && now-v.deaf > deafFor:
		words = append(words, fmt.Sprintf("it is %s, but no peer has %s", v.wish.State, strings.Join(a.unsent(v.spec, *v.wish.Route), ", ")))
	case v.kept != "" && now-v.keptFrom > deafFor:
		words = append(words, v.kept)
	}
	breaker := v.breaker.Open(now, a.announcers(v))
	if breaker != "" && !strings.Contains(strings.Join(words, "; "), breaker) {
		words = append(words, breaker)
	}
	if total, _ := a.announcing(v, now); len(words) == 0 && total < v.spec.MinAnnouncers && now > settleFor && (v.planned || v.wish.State != bgp.Absent) {
		words = append(words, fmt.Sprintf("announced as planned by %s only, as far as is heard, want %d at least", bgp.Counted(total, "node"), v.spec.MinAnnouncers))
	}
	return words
}

// lastResort says why a VIP is the last resort: how that came, and what it waits for now.
func (v *vip) lastResort() string {
	words := "announced as the last resort: " + v.wish.Cause
	if v.wish.Waits != "" {
		words += "; it waits for " + v.wish.Waits
	}
	return words
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
