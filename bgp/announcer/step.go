package announcer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
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
	a.sent, a.up = sent, up
	now := a.now()
	a.noteSilence(now)
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
	for _, c := range changes {
		a.tell(c)
	}
	a.stateAll(now)
	a.keep()
	a.remind(time.Now())
	a.movePeers(now)
	a.makeSo(wishes)
	a.check(now)
	for _, ask := range asks {
		a.ask(ask)
	}
}

// gone says whether the node stops and all VIPs are down.
func (a *Announcer) gone() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.stopping {
		return false
	}
	for _, v := range a.vips {
		if v.wish.State != bgp.Absent || v.bound {
			return false
		}
	}
	return true
}

// change is a VIP that went into another state.
type change struct {
	vip, plan     string
	before, after bgp.Wish
	evidence      string
}

// decide has each machine take a step. The caller holds the lock.
func (a *Announcer) decide(now time.Duration, members []bgp.Member, frozen string) []change {
	var changes []change
	clock := time.Now()
	for _, name := range sortedKeys(a.vips) {
		v := a.vips[name]
		v.guard.Set(v.spec, members)
		f := a.facts(v, now, clock, frozen)
		wish := v.machine.Step(f)
		v.spec = v.machine.VIP()
		if wish.State != v.wish.State || !sameRoute(wish.Route, v.wish.Route) {
			changes = append(changes, change{vip: name, plan: a.plan.ID(), before: v.wish, after: wish, evidence: f.Promises})
			a.dirty = true
		}
		v.wish = wish
		v.heardBy(a, now)
		v.breaker.Note(now, a.cfg.Self.Name, wish.State.Announces())
		if !v.planned && wish.State == bgp.Absent && !v.bound && !a.stopping && !wish.Address {
			delete(a.vips, name) // nothing is left of it
			a.dirty, a.narrow = true, true
		}
	}
	return changes
}

// worries says of each VIP what an engineer should look at; nil: nothing. The
// caller holds the lock.
func (a *Announcer) worries(now time.Duration) map[string]error {
	all := map[string]error{}
	for name, v := range a.vips {
		var err error
		breaker := v.breaker.Open(now, a.announcers(v))
		others, _ := a.others(v, now)
		total := others
		if v.wish.State == bgp.Announced {
			total++
		}
		switch {
		case v.wish.State == bgp.LastResort:
			err = fmt.Errorf("announced as the last resort: %s", v.wish.Cause)
		case breaker != "":
			err = errors.New(breaker)
		case v.machine.Damping(now).Suppressed:
			err = errors.New("flaps: it is not announced as planned until the penalty has decayed")
		case v.wish.State == bgp.Degraded:
			err = fmt.Errorf("degraded: %s", v.wish.Cause)
		case v.deaf > 0 && now-v.deaf > deafFor:
			err = fmt.Errorf("it is %s, but no peer has %s", v.wish.State, strings.Join(a.unsent(v.spec, *v.wish.Route), ", "))
		case total < v.spec.MinAnnouncers && now > settleFor:
			err = fmt.Errorf("only %d nodes announce it as planned, as far as is heard, want %d at least", total, v.spec.MinAnnouncers)
		}
		all["vip "+name] = err
	}
	for what := range a.faults {
		if name, ok := strings.CutPrefix(what, "vip "); ok && a.vips[name] == nil {
			all[what] = nil // it is gone
		}
	}
	return all
}

// heardBy notes since when a peer should have a prefix of the VIP and none has.
// The caller holds the lock.
func (v *vip) heardBy(a *Announcer, now time.Duration) {
	switch {
	case v.wish.Route == nil || len(a.unsent(v.spec, *v.wish.Route)) == 0:
		v.deaf = 0
	case v.deaf == 0:
		v.deaf = now
	}
	none := v.wish.Route != nil && !slices.ContainsFunc(v.spec.Prefixes, func(p netip.Prefix) bool { return len(a.sent[p]) > 0 })
	if !none {
		v.mute = 0
	} else if v.mute == 0 {
		v.mute = now
	}
}

func sameRoute(a, b *bgp.Attributes) bool {
	return (a == nil) == (b == nil) && (a == nil || a.Equal(*b))
}

// facts gathers what a step of a VIP depends on. The caller holds the lock.
func (a *Announcer) facts(v *vip, now time.Duration, clock time.Time, frozen string) bgp.Facts {
	permit, promises := v.guard.Permit(now)
	f := bgp.Facts{
		Now: now, Planned: v.planned, Frozen: frozen, Bound: v.bound,
		AnswerTTL: a.file.Required[v.spec.Name], Quiet: v.meter.quiet(now),
		Permit: permit, Promises: promises,
	}
	if a.stopping {
		f.Leave = bgp.Stopping
	} else if o := bgp.InForce(a.operations, a.cfg.Self, v.spec.Name, clock); o != nil {
		switch o.Kind {
		case bgp.Hold:
			f.Hold = true
		case bgp.Announce:
			f.Planned = true
		default:
			f.Leave, f.Forced = bgp.Out, o.Force
		}
	}
	f.Others, f.OtherPoPs = a.others(v, now)
	f.Breaker = v.breaker.Open(now, a.announcers(v))
	f.Sent = v.wish.Route != nil && a.wasSent(v.spec, *v.wish.Route)
	return f
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

// unsent names the prefixes of a VIP that a peer should have and none has with the
// attributes. The caller holds the lock.
func (a *Announcer) unsent(v bgp.VIP, want bgp.Attributes) (missing []string) {
	for _, p := range v.Prefixes {
		has := slices.ContainsFunc(a.sent[p], func(r route) bool { return r.attributes.Equal(want) })
		if !has && slices.ContainsFunc(a.peers, func(peer speaker.Peer) bool { return Carries(peer, v, p) }) {
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

// wished is what should be for a VIP.
type wished struct {
	vip  *vip
	spec bgp.VIP
	wish bgp.Wish
}

// wishes lists what should be. The caller holds the lock.
func (a *Announcer) wishes() []wished {
	all := make([]wished, 0, len(a.vips))
	for _, name := range sortedKeys(a.vips) {
		v := a.vips[name]
		all = append(all, wished{v, v.spec, v.wish})
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
	var routes []bgp.Route
	for _, w := range all {
		if w.wish.Route == nil {
			continue
		}
		for _, p := range a.answered(w) {
			routes = append(routes, bgp.Route{Prefix: p, Attributes: *w.wish.Route, Groups: w.spec.Groups})
		}
	}
	bgp.SortRoutes(routes)
	if err := a.announce(routes); err != nil {
		return // nothing is closed while its route may still be out
	}
	for _, w := range all {
		a.close(w)
	}
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

// answered returns the prefixes of a VIP that there is a socket for: one that a
// plan adds to a VIP that is announced may still have none.
func (a *Announcer) answered(w wished) []netip.Prefix {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []netip.Prefix
	for i, s := range sockets(w.spec) {
		if slices.Contains(w.vip.have, s) {
			all = append(all, w.spec.Prefixes[i])
		}
	}
	return all
}

// sockets are where DNS is answered on a VIP.
func sockets(v bgp.VIP) []netip.AddrPort {
	var all []netip.AddrPort
	for _, p := range v.Prefixes {
		all = append(all, netip.AddrPortFrom(p.Addr(), v.Port))
	}
	return all
}

// open brings the addresses and sockets of a VIP that are not there yet. After a
// check that failed it makes sure of the addresses too: something else may have taken
// one away.
func (a *Announcer) open(w wished) {
	want := sockets(w.spec)
	a.mu.Lock()
	have, failed := w.vip.have, w.vip.failed
	w.vip.failed = false
	a.mu.Unlock()
	missing := without(want, have)
	if len(missing) == 0 && !failed {
		a.have(w, have, true)
		return
	}
	err := a.cfg.Addresses.Ensure(w.spec.Name, w.spec.Prefixes)
	if err == nil && len(missing) > 0 {
		ctx, cancel := context.WithTimeout(a.ctx, 5*time.Second)
		err = a.cfg.Listener.Listen(ctx, missing)
		cancel()
	}
	a.fault("address and socket of vip "+w.spec.Name, err)
	if err != nil {
		a.mu.Lock()
		w.vip.fault, w.vip.failed = err.Error(), true // so that it is tried again
		a.mu.Unlock()
		return
	}
	a.have(w, append(slices.Clone(have), missing...), true)
}

// close takes away the sockets and addresses of a VIP that should not be there.
func (a *Announcer) close(w wished) {
	var want []netip.AddrPort
	if w.wish.Listen {
		want = sockets(w.spec)
	}
	a.mu.Lock()
	have := w.vip.have
	a.mu.Unlock()
	over := without(have, want)
	if len(over) == 0 {
		return
	}
	err := a.cfg.Listener.Unlisten(over...)
	if err == nil {
		err = a.cfg.Addresses.Remove(w.spec.Name, unused(over, want))
	}
	a.fault("address and socket of vip "+w.spec.Name, err)
	if err == nil {
		a.have(w, without(have, over), w.wish.Listen)
	}
}

// have notes where a VIP is answered.
func (a *Announcer) have(w wished, now []netip.AddrPort, bound bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w.vip.bound == bound && len(w.vip.have) == len(now) && w.vip.fault == "" {
		return
	}
	w.vip.have, w.vip.bound, w.vip.fault = now, bound, ""
	if !bound {
		w.vip.meter, w.vip.asked = meter{}, 0
	}
	a.poke()
}

// without returns what is in a and not in b.
func without(a, b []netip.AddrPort) []netip.AddrPort {
	return slices.DeleteFunc(slices.Clone(a), func(s netip.AddrPort) bool { return slices.Contains(b, s) })
}

// unused returns the addresses of sockets that no socket of others has.
func unused(sockets, others []netip.AddrPort) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range sockets {
		if !slices.ContainsFunc(others, func(o netip.AddrPort) bool { return o.Addr() == s.Addr() }) {
			all = append(all, netip.PrefixFrom(s.Addr(), s.Addr().BitLen()))
		}
	}
	return all
}

// tell has the fleet and the audit log know of a change.
func (a *Announcer) tell(c change) {
	a.cfg.Log.Info("vip changed", "vip", c.vip, "from", c.before.State, "to", c.after.State, "route", words(c.after.Route), "cause", c.after.Cause)
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
		case v.mute > 0 && now-v.mute > muteFor:
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
