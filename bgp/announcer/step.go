package announcer

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"edged/bgp"
	"edged/bgp/speaker"
	"edged/edge"
)

// run steps until every VIP is gone after Stop, or until the context ends.
func (a *Announcer) run() {
	defer close(a.ended)
	tick := time.NewTicker(stepEvery)
	defer tick.Stop()
	hear := time.NewTicker(hearEvery)
	defer hear.Stop()
	for a.ctx.Err() == nil {
		a.step()
		if a.gone() {
			return
		}
		select {
		case <-a.ctx.Done():
		case <-tick.C:
		case <-a.wake:
		case <-a.cfg.Speaker.Events():
		case <-hear.C:
			a.listenToOthers()
		}
	}
}

// step looks, decides and makes it so.
func (a *Announcer) step() {
	peers := a.cfg.Speaker.Sent()
	sent, up := routesOf(peers), map[string]takes{}
	for _, p := range peers {
		up[p.Peer] = takes{ipv4: !p.Only6}
	}
	a.measure()
	members, frozen := a.cfg.Fleet.Members(), a.cfg.Fleet.Frozen()
	a.mu.Lock()
	a.sent, a.up, a.ending = sent, up, false
	for _, p := range a.peers {
		if now, is := up[p.Name]; is {
			a.ipv4[p.Address], a.proven[p.Address] = now.ipv4, p
		}
	}
	a.dirty = a.dirty || !reflect.DeepEqual(a.known(), a.kept) || !sameSessions(a.sessions(), a.had)
	now := a.now()
	a.noteSilence(now)
	confirmed := a.confirm()
	changes := a.decide(now, members, frozen)
	wishes := a.wishes()
	asks := a.asks(now)
	worries := a.worries(now)
	narrow := a.narrow
	a.narrow = false
	a.mu.Unlock()
	if narrow {
		a.fault("export policy", a.allow())
	}
	for what, err := range worries {
		a.fault(what, err)
	}
	for _, e := range confirmed {
		a.record(e)
	}
	for _, c := range changes {
		a.tell(c)
	}
	a.stateAll(now)
	a.keep()
	a.recordAgain(now)
	a.remind(time.Now())
	a.movePeers(now, frozen)
	a.makeSo(wishes)
	a.check(now)
	a.askAll(asks)
}

// gone says whether the node stops and all VIPs are down.
func (a *Announcer) gone() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.stopping {
		return false
	}
	return !slices.ContainsFunc(a.every(), func(v *vip) bool { return v.wish.State != bgp.Absent || v.bound })
}

// change is a VIP that went into another state.
type change struct {
	vip, plan     string
	part          string // of the VIP; empty: all of it
	before, after bgp.Wish
	evidence      string
}

// decide has each machine take a step. The caller holds the lock.
func (a *Announcer) decide(now time.Duration, members []bgp.Member, frozen string) []change {
	var changes []change
	a.replanned = false
	clock := time.Now()
	plan := sync.OnceValue(a.plan.ID)
	a.rejoin()
	maps.DeleteFunc(a.heard, func(name string, _ heard) bool {
		return !slices.ContainsFunc(members, func(m bgp.Member) bool { return m.Name == name })
	})
	for _, v := range a.every() {
		v.guard.Set(v.spec, members)
		f := a.facts(v, now, clock, frozen)
		wish := v.machine.Step(f)
		if wish.State != v.wish.State || !sameRoute(wish.Route, v.wish.Route) {
			changes = append(changes, change{vip: v.spec.Name, part: v.words(), plan: plan(), before: v.wish, after: wish, evidence: f.Promises})
			a.dirty = true
			v.unconfirmed = v.unconfirmed || !sameRoute(wish.Route, v.wish.Route)
		}
		if v.part && v.wish.State.Announces() && !wish.State.Announces() && !v.isUnheard(v.spec.Prefixes[0], now) {
			v.breaker.Lost(now, a.cfg.Self.Name)
		}
		v.wish = wish
		a.settle(v, now)
		if why := v.machine.Failing(); why == "" || v.failing == "" {
			v.failing = why
		}
		v.heardBy(a, now)
		if !v.part {
			v.breaker.Note(now, a.cfg.Self.Name, wish.State.Announces() && !v.isMute(now))
		}
	}
	a.forgetRefusals()
	a.forget()
	return changes
}

// forgetRefusals drops why members did not promise, once neither a VIP nor a part of it
// asks them any more: that was then. The caller holds the lock.
func (a *Announcer) forgetRefusals() {
	asks := map[string]bool{}
	for _, v := range a.every() {
		asks[v.spec.Name] = asks[v.spec.Name] || v.wish.Ask
	}
	for name, v := range a.vips {
		if !asks[name] {
			v.refusals = nil
		}
	}
}

// forget drops what no plan names and nothing is left of. The caller holds the
// lock.
func (a *Announcer) forget() {
	gone := func(v *vip) bool {
		yes := !v.planned && v.wish.State == bgp.Absent && !v.bound && !a.stopping && !v.wish.Address && (v.part || !a.announces(v.spec.Name))
		a.dirty, a.narrow = a.dirty || yes, a.narrow || yes
		return yes
	}
	maps.DeleteFunc(a.vips, func(_ string, v *vip) bool { return gone(v) })
	a.parts = slices.DeleteFunc(a.parts, gone)
}

func sameRoute(a, b *bgp.Attributes) bool {
	return (a == nil) == (b == nil) && (a == nil || a.Equal(*b))
}

// facts gathers what a step of a VIP depends on. The caller holds the lock.
func (a *Announcer) facts(v *vip, now time.Duration, clock time.Time, frozen string) bgp.Facts {
	permit, promises := v.guard.Permit(now)
	f := bgp.Facts{
		Now: now, Planned: v.planned || v.over != "" || a.announcedHere(v, clock), Frozen: frozen, Bound: v.bound, Quiet: v.meter.quiet(now),
		Permit: permit, Promises: promises,
	}
	v.givenUp = v.givenUp && !f.Planned // what is wanted again is not given up a second time
	f.Forced, f.Unheard = v.givenUp, !f.Planned && !a.hearable(v)
	if !v.part {
		f.AnswerTTL = a.file.Required[v.spec.Name] // answers name the PoP also without the part
	}
	if a.stopping {
		f.Leave = bgp.Stopping
	} else if o := bgp.InForce(a.operations, a.cfg.Self, v.spec.Name, clock); o != nil {
		switch o.Kind {
		case bgp.Hold:
			f.Hold = true
		case bgp.Announce: // see announcedHere
		default:
			f.Leave, f.Forced = bgp.Out, o.Force || f.Forced
		}
	}
	f.Others, f.OtherPoPs = a.others(v, now)
	f.Breaker = v.breaker.Open(now, a.announcers(v))
	f.Heard = slices.ContainsFunc(v.spec.Prefixes, func(p netip.Prefix) bool { return len(a.sent[p]) > 0 })
	f.Sent = v.wish.Route != nil && a.wasSent(v.spec, *v.wish.Route)
	return f
}

// hearable says whether a peer has something of a VIP, or could have: it was announced, and is
// for a peer of these. The caller holds the lock.
func (a *Announcer) hearable(v *vip) bool {
	groups := bgp.VIP{Groups: v.groups}
	return slices.ContainsFunc(v.tried, func(p netip.Prefix) bool {
		return len(a.sent[p]) > 0 || slices.ContainsFunc(a.peers, func(peer speaker.Peer) bool {
			return Carries(peer, groups, p) && a.takes(peer, p, true)
		})
	})
}

// announces says whether the node is to announce a VIP by its own word, now or later. The
// caller holds the lock.
func (a *Announcer) announces(vip string) bool {
	return slices.ContainsFunc(a.operations, func(o bgp.Operation) bool { return o.Kind == bgp.Announce && o.VIP == vip })
}

// announcedHere says whether a VIP is to be announced by the node's own word, also while
// a hold goes before that. The caller holds the lock.
func (a *Announcer) announcedHere(v *vip, clock time.Time) bool {
	return !v.part && slices.ContainsFunc(a.operations, func(o bgp.Operation) bool {
		return o.Kind == bgp.Announce && o.Matches(a.cfg.Self, v.spec.Name) && o.Begun(clock)
	})
}

// wasSent says whether some prefix of a VIP was sent to a peer with the
// attributes, and every one that a peer with a session can carry. What only waits
// for a session is for the alarm. The caller holds the lock.
func (a *Announcer) wasSent(v bgp.VIP, want bgp.Attributes) bool {
	some := false
	for _, p := range v.Prefixes {
		switch {
		case slices.ContainsFunc(a.sent[p], func(r route) bool { return r.attributes.Equal(want) }):
			some = true
		case slices.ContainsFunc(a.peers, func(peer speaker.Peer) bool {
			up, is := a.up[peer.Name]
			return is && Carries(peer, v, p) && (up.ipv4 || p.Addr().Is6())
		}):
			return false
		}
	}
	return some
}

// unsent names the prefixes of a VIP that no peer has with the attributes. The caller
// holds the lock.
func (a *Announcer) unsent(v bgp.VIP, want bgp.Attributes) (missing []string) {
	for _, p := range v.Prefixes {
		if !slices.ContainsFunc(a.sent[p], func(r route) bool { return r.attributes.Equal(want) }) {
			missing = append(missing, p.String())
		}
	}
	return missing
}

// Carries says whether a peer is to hear a VIP's prefix: IPv6 goes over IPv6
// only, and groups must meet.
func Carries(peer speaker.Peer, v bgp.VIP, p netip.Prefix) bool {
	meet := len(v.Groups) == 0 || slices.ContainsFunc(v.Groups, func(g string) bool { return slices.Contains(peer.Groups, g) })
	return meet && (p.Addr().Is4() || peer.Address.Is6())
}

func routesOf(peers []speaker.PeerRoutes) map[netip.Prefix][]route {
	all := map[netip.Prefix][]route{}
	for _, p := range peers {
		for _, r := range p.Routes {
			all[r.Prefix] = append(all[r.Prefix], route{p.Peer, r.Attributes})
		}
	}
	return all
}

// tell has the fleet and the audit log know of a change.
func (a *Announcer) tell(c change) {
	a.cfg.Log.Info("vip changed", "vip", c.vip, "part", c.part, "from", c.before.State, "to", c.after.State, "route", words(c.after.Route), "cause", c.after.Cause)
	a.recordChange(c)
}

// stateAll tells the fleet how this node has its VIPs.
func (a *Announcer) stateAll(now time.Duration) {
	type stated struct {
		verdict edge.Verdict
		reason  string
	}
	all := map[string]stated{}
	a.mu.Lock()
	for name, v := range a.vips {
		s := stated{edge.Dead, v.wish.State.String()}
		if v.wish.Cause != "" {
			s.reason += ": " + v.wish.Cause
		}
		switch {
		case !v.wish.Answer:
		case v.isMute(now):
			s.reason = "no peer has it: no session is established"
		case v.wish.State == bgp.Announced:
			s.verdict = edge.OK
		default:
			s.verdict = edge.Degraded
		}
		all[name] = s
	}
	a.mu.Unlock()
	for _, name := range sortedKeys(all) {
		a.cfg.Fleet.State(name, all[name].verdict, all[name].reason)
	}
}

func words(route *bgp.Attributes) string {
	if route == nil {
		return "none"
	}
	return route.String()
}
