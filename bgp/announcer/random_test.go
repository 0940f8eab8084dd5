package announcer

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edged/bgp"
	"edged/bgp/speaker"
)

var (
	seeds     = flag.Uint64("seeds", 6, "fleets that TestFleetAtRandom plays; bench/README.md has the figure of 80")
	firstSeed = flag.Uint64("first-seed", 0, "of the fleets that TestFleetAtRandom plays")
)

// TestFleetAtRandom plays fleets of 3 to 6 nodes with two routers each, over IPv4 or both
// families, and two VIPs of up to four addresses. Plans, stored or rolled out, take
// addresses away, add them and have them go over, or want other ports; files are reloaded
// with other routers, timers and groups; engineers drain, hold and announce, here and by PoP,
// by force, too, pause rollouts and take them back; checks fail, nodes crash, stop and are cut off,
// sessions are lost. What must hold is in losing, look and settle.
//
//	go test ./bgp/announcer -run TestFleetAtRandom -first-seed 4711 -seeds 1 -v
func TestFleetAtRandom(t *testing.T) {
	var total tally
	for seed := *firstSeed; seed < *firstSeed+*seeds; seed++ {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, seed)
			defer w.f.stopAll()
			w.play()
			total.withdrawals += w.withdrawals
			total.resets += w.resets
			total.returns += w.returns
			total.done += w.done
			total.aborted += w.aborted
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d fleets: %d prefixes withdrawn and %d sessions made anew by choice, %d times one became the last resort; %d rollouts done and %d aborted",
		*seeds, total.withdrawals, total.resets, total.returns, total.done, total.aborted)
	if total.withdrawals == 0 || total.resets == 0 || total.returns == 0 || total.done == 0 || total.aborted == 0 {
		t.Errorf("nothing was tested: %+v", total)
	}
}

// tally counts what fleets had in them.
type tally struct{ withdrawals, resets, returns, done, aborted int }

// world is one fleet of TestFleetAtRandom.
type world struct {
	tally
	t     *testing.T
	f     *fleet
	seed  uint64
	rng   *rand.Rand
	names []string
	min   int
	both  bool // peers over IPv6 take IPv4, too
	six   bool // there are peers over IPv6

	saying sync.Mutex
	log    []string // guarded by saying: nodes say what they give up

	mu     sync.Mutex                            // guards what follows, and the tally
	losses map[string]map[netip.Prefix]time.Time // against a node's will, by node: no promise can keep that
	excuse map[string]bool                       // nodes that stop
	worst  map[string]bool                       // whether a node announces a prefix with the worst attributes, by both
	seen   map[*bgp.Machine]time.Time            // first
	dark   map[netip.Prefix]time.Time            // since when no router has a prefix that a drained node could announce
	begun  time.Time
}

// prefixes are those that VIPs may have. Each node's plan has each in one VIP at most.
var prefixes = []netip.Prefix{
	first, second, netip.MustParsePrefix("198.51.100.55/32"), netip.MustParsePrefix("2001:db8::53/128"),
}

func newWorld(t *testing.T, seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 45))
	all := []string{"a1", "b1", "a2", "c1", "b2", "c2"}
	w := &world{
		t: t, seed: seed, rng: rng, names: all[:3+rng.IntN(4)], losses: map[string]map[netip.Prefix]time.Time{}, excuse: map[string]bool{}, worst: map[string]bool{}, seen: map[*bgp.Machine]time.Time{}, dark: map[netip.Prefix]time.Time{},
		begun: time.Now(),
	}
	w.min, w.six, w.both = 1+rng.IntN(len(w.names)/2), rng.IntN(3) > 0, rng.IntN(2) == 0
	w.f = newFleet(t, w.names...)
	for _, name := range w.names {
		n := w.f.nodes[name]
		n.anew, n.both = 2*time.Second, w.both
		n.file.Required = map[string]time.Duration{}
		n.file.Peers = w.somePeers()
		n.file.VIPs = w.someVIPs()
		n.lost = func(lost []netip.Prefix, by string) { w.losing(name, lost, by) }
		w.losses[name] = map[netip.Prefix]time.Time{}
	}
	return w
}

func (w *world) say(format string, args ...any) {
	w.saying.Lock()
	defer w.saying.Unlock()
	w.log = append(w.log, fmt.Sprintf("%v "+format, append([]any{time.Since(w.begun)}, args...)...))
}

func (w *world) fail(format string, args ...any) {
	if w.t.Failed() {
		return
	}
	for _, name := range w.names {
		if n := w.f.nodes[name]; n.Announcer != nil {
			s := n.Status()
			w.say("%s: %v; alarm %q", name, s.Operations, n.alarmed())
			if r := n.Rollout(); r != nil {
				w.say("%s: rollout %s %s", name, r, r.Cause)
			}
			for _, v := range s.VIPs {
				w.say("%s: %s %v %s (%s, waits for %q, failing %q, breaker %q) route %q, penalty %.0f, others %d", name, v.Name, v.Prefixes, v.State, v.Cause, v.Waits, v.Failing, v.Breaker, v.Route, v.Penalty, v.Announcers)
			}
		}
	}
	w.saying.Lock()
	defer w.saying.Unlock()
	w.t.Errorf("seed %d, %d nodes, min %d: %s\n%s", w.seed, len(w.names), w.min, fmt.Sprintf(format, args...), strings.Join(w.log, "\n"))
}

// somePeers are some of the routers' sessions, of which one may have another address, and one a
// password that the router does not take.
func (w *world) somePeers() []speaker.Peer {
	peers := w.allPeers()
	if w.rng.IntN(3) == 0 {
		i := w.rng.IntN(len(peers))
		peers = slices.Delete(peers, i, i+1)
	}
	if i := w.rng.IntN(len(peers)); w.rng.IntN(5) == 0 {
		peers[i].Address = peers[i].Address.Next().Next().Next()
	}
	if i := w.rng.IntN(len(peers)); w.rng.IntN(10) == 0 {
		peers[i].Password = "wrong"
	}
	return peers
}

// allPeers are two routers, in groups that VIPs may be for.
func (w *world) allPeers() (peers []speaker.Peer) {
	for i, name := range []string{"tor", "edge"} {
		groups := [][]string{{"fabric"}, {"transit"}, {"fabric", "transit"}}[i]
		if w.rng.IntN(4) == 0 {
			groups = [][]string{{"transit"}, {"fabric", "transit"}, {"fabric"}}[w.rng.IntN(3)]
		}
		p := speaker.Peer{
			Name: name, Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), ASN: 64500, Groups: groups,
			Hold: time.Duration(3*(1+w.rng.IntN(3))) * time.Second,
		}
		peers = append(peers, p)
		if w.six {
			p.Name, p.Address = name+"6", netip.MustParseAddr([]string{"2001:db8:1::1", "2001:db8:1::2"}[i])
			peers = append(peers, p)
		}
	}
	return peers
}

// someVIPs are ns1 and ns2, or one of them, with some of the prefixes.
func (w *world) someVIPs() []bgp.VIP { return w.vips("ns1", "ns1", "ns2", "ns2", "") }

// vips are VIPs that have each prefix by chance, in one of those or, where that is
// empty, in none.
func (w *world) vips(in ...string) (vips []bgp.VIP) {
	of := map[string][]netip.Prefix{}
	for _, p := range prefixes {
		if name := in[w.rng.IntN(len(in))]; name != "" {
			of[name] = append(of[name], p)
		}
	}
	if len(of) == 0 {
		of["ns1"] = prefixes[:1]
	}
	for _, name := range slices.Sorted(maps.Keys(of)) {
		v := with(of[name]...)
		v.Name, v.MinAnnouncers, v.Port = name, w.min, []uint16{53, 53, 53, 5353}[w.rng.IntN(4)]
		v.Groups = [][]string{{"fabric"}, {"transit"}, {"fabric"}, {"transit"}, nil, {"fabric", "transit"}}[w.rng.IntN(6)]
		vips = append(vips, v)
	}
	return vips
}

// losing holds that what no peer of a node has any more, by the node's own will, leaves
// enough others: as many as the VIP wants for a withdrawal, and one for a session that
// is made anew. Those count that lost it against their will since they may have promised.
func (w *world) losing(name string, lost []netip.Prefix, by string) {
	want := w.min
	if by == "sessions" {
		want = 1
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range lost {
		if w.f.givesUp(name, p) {
			continue
		}
		if w.excuse[name] {
			w.losses[name][p] = time.Now() // no promise of its own can be kept either
			continue
		}
		others := 0
		for _, other := range w.names {
			since, was := w.losses[other][p]
			if other != name && (w.f.nodes[other].heard()[p] || was && time.Since(since) < bgp.PromiseFor) {
				others++
			}
		}
		if by == "sessions" {
			w.resets++
		} else {
			w.withdrawals++
		}
		if w.say("%s gives up %s by its %s", name, p, by); others < want {
			w.fail("%s gives up %s by its %s, and leaves %d others, want %d", name, p, by, others, want)
		}
	}
}

// givesUp says whether a node's plan gives up a prefix: an engineer wanted that, or it is
// the plan of before, and nobody announced it before the rollout.
func (f *fleet) givesUp(name string, p netip.Prefix) bool {
	f.mu.Lock()
	a := f.runs[name]
	f.mu.Unlock()
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.plan.GiveUp, p)
}

// loses notes that a node loses all its routes against its will.
func (w *world) loses(n *testNode) {
	heard := n.heard()
	w.mu.Lock()
	defer w.mu.Unlock()
	for p := range heard {
		w.losses[n.self.Name][p] = time.Now()
	}
}

// act has something happen.
func (w *world) act() {
	name := w.names[w.rng.IntN(len(w.names))]
	n := w.f.nodes[name]
	some := w.names[:1+w.rng.IntN(len(w.names))]
	if n.Announcer == nil {
		w.say("%s starts", name)
		w.excused(name, false)
		w.f.start(name)
		return
	}
	switch w.rng.IntN(22) {
	case 0, 1, 2:
		w.takes(n, w.someVIPs())
	case 3: // everywhere the same
		vips := w.someVIPs()
		for _, name := range some {
			if n := w.f.nodes[name]; n.Announcer != nil {
				w.takes(n, vips)
			}
		}
	case 4:
		w.reloads(n, w.somePeers())
	case 5, 6: // everywhere the same
		peers := w.somePeers()
		for _, name := range some {
			if n := w.f.nodes[name]; n.Announcer != nil {
				w.reloads(n, peers)
			}
		}
	case 7, 8, 9:
		w.operates(n)
	case 10, 11:
		if all := n.Status().Operations; len(all) > 0 {
			w.ends(n, all[w.rng.IntN(len(all))])
		}
	case 12:
		broken := []string{"", "", "no answer"}[w.rng.IntN(3)]
		w.say("%s: checks say %q", name, broken)
		n.breakChecks(broken)
	case 13:
		w.f.mu.Lock()
		cut := !w.f.cut[name] && w.rng.IntN(2) == 0
		w.f.cut[name] = cut
		w.f.mu.Unlock()
		w.say("%s is cut off: %v", name, cut)
	case 14:
		up := w.rng.IntN(2) == 0
		w.say("%s has sessions: %v", name, up)
		if w.loses(n); up {
			w.mu.Lock()
			clear(w.losses[name])
			w.mu.Unlock()
		}
		n.setSession(up)
	case 15:
		w.loses(n)
		if w.rng.IntN(2) == 0 {
			w.say("%s crashes", name)
			w.f.kill(name)
			return
		}
		w.say("%s stops", name)
		w.excused(name, true)
		w.f.stop(name)
	case 16, 17, 18, 19:
		w.rollsOut(n)
	case 20, 21:
		w.steers(n)
	}
}

// operates has an engineer ask something of a node or its PoP.
func (w *world) operates(n *testNode) {
	q := Request{Kind: []bgp.OperationKind{bgp.Drain, bgp.Drain, bgp.Drain, bgp.Hold, bgp.Announce}[w.rng.IntN(5)], Node: n.self.Name, Reason: "x", Actor: "ann"}
	switch w.rng.IntN(6) {
	case 0:
		q.Node, q.PoP = "", n.self.PoP
	case 1:
		q.Local = true
	case 2:
		q.VIP = "ns1"
	case 3:
		q.Force = q.Kind == bgp.Drain && w.rng.IntN(2) == 0
	}
	if q.Kind == bgp.Announce {
		q.Node, q.PoP, q.Local, q.VIP = n.self.Name, "", true, []string{"ns1", "ns2"}[w.rng.IntN(2)]
	}
	if q.Force {
		w.excused(n.self.Name, true)
	}
	_, err := n.Operate(w.t.Context(), q)
	w.say("%s: %s %s %s%s local %v force %v: %v", n.self.Name, q.Kind, q.VIP, q.Node, q.PoP, q.Local, q.Force, err)
}

// ends has an engineer end an operation of a node.
func (w *world) ends(n *testNode, o bgp.Operation) {
	q := Request{End: "release", ID: o.ID, Local: o.Local, Node: n.self.Name, Reason: "x", Actor: "ann"}
	if o.Kind == bgp.Drain || o.Kind == bgp.Maintenance {
		q.End = "undrain"
	}
	_, err := n.Operate(w.t.Context(), q)
	w.say("%s: %s %s: %v", n.self.Name, q.End, o, err)
	if !slices.ContainsFunc(n.Status().Operations, func(o bgp.Operation) bool { return o.Force }) {
		w.excused(n.self.Name, false)
	}
}

// rollsOut has all nodes' files want the same VIPs, and an engineer apply that to some.
func (w *world) rollsOut(n *testNode) {
	vips := w.someVIPs()
	for _, name := range w.names {
		other := w.f.nodes[name]
		if other.file.VIPs = vips; other.Announcer != nil {
			other.Use(other.file)
		}
	}
	q := Application{
		Nodes: []string{"all", "pop/" + n.self.PoP, "node/" + w.names[0] + ",node/" + w.names[1]}[w.rng.IntN(3)], Wide: w.rng.IntN(4) > 0, Shift: w.rng.IntN(2) == 0,
		Bake: []time.Duration{-1, 5 * time.Second, 20 * time.Second}[w.rng.IntN(3)], Reason: "x", Actor: "ann",
	}
	if w.rng.IntN(5) == 0 {
		q.GiveUp = []netip.Prefix{prefixes[w.rng.IntN(len(prefixes))]}
	}
	p, err := n.Plan(w.t.Context(), bgp.Selection{Nodes: q.Nodes, GiveUp: q.GiveUp}, bgp.Limits{AllowWide: q.Wide})
	if q.Plan = p.Plan.ID; err == nil {
		_, err = n.Announcer.Apply(w.t.Context(), q)
	}
	w.say("%s rolls out %s to %s, gives up %v: %v", n.self.Name, vipWords(vips), q.Nodes, q.GiveUp, err)
}

// steers has an engineer do something to the last rollout that is known on a node.
func (w *world) steers(n *testNode) {
	q := Steering{Action: []string{"pause", "resume", "abort", "rollback"}[w.rng.IntN(4)], Reason: "x", Actor: "ann"}
	_, err := n.Steer(w.t.Context(), q)
	w.say("%s: %s: %v", n.self.Name, q.Action, err)
}

// couldReturn says whether a node is drained, and fit to be the last resort for a prefix. One
// that has begun, or has the VIP, only now hears others for a while before.
func (w *world) couldReturn(n *testNode, p netip.Prefix) bool {
	n.fleet.mu.Lock()
	cut := n.fleet.cut[n.self.Name]
	n.fleet.mu.Unlock()
	n.mu.Lock()
	broken := n.broken != "" || !n.session
	n.mu.Unlock()
	if n.Announcer == nil || cut || broken {
		return false
	}
	n.Announcer.mu.Lock()
	defer n.Announcer.mu.Unlock()
	v := n.plannedWith(p)
	if v == nil || v.machine.Damping(n.now()).Suppressed {
		return false
	}
	if _, seen := w.seen[v.machine]; !seen {
		w.seen[v.machine] = time.Now()
	}
	if time.Since(w.seen[v.machine]) < 20*time.Second {
		return false
	}
	o := bgp.InForce(n.operations, n.self, v.spec.Name, time.Now())
	carried := slices.ContainsFunc(n.Announcer.peers, func(peer speaker.Peer) bool {
		return Carries(peer, bgp.VIP{Groups: v.groups}, p) && (p.Addr().Is6() || peer.Address.Is4() || n.both) && peer.Password == ""
	})
	return carried && o != nil && o.Kind == bgp.Drain && !o.Force && (v.wish.State == bgp.Withdrawn || v.wish.State == bgp.LastResort)
}

func (w *world) takes(n *testNode, vips []bgp.VIP) {
	w.say("%s takes a plan: %s", n.self.Name, vipWords(vips))
	n.file.VIPs = vips
	n.Announcer.mu.Lock()
	undrained := n.undrains(bgp.Pending(n.plan, vips, nil), false)
	n.Announcer.mu.Unlock()
	if len(undrained) == 0 {
		n.takes(w.t, vips...)
	} else {
		w.say("it refuses, for drains of %v", undrained)
	}
	n.Use(n.file)
}

func (w *world) reloads(n *testNode, peers []speaker.Peer) {
	w.say("%s reloads: %s", n.self.Name, routerWords(peers))
	n.reloads(peers...)
}

func vipWords(vips []bgp.VIP) (all string) {
	for _, v := range vips {
		all += fmt.Sprintf("%s %v %q; ", v.Name, v.Prefixes, v.Groups)
	}
	return all
}

func routerWords(peers []speaker.Peer) (all string) {
	for _, p := range peers {
		all += fmt.Sprintf("%s %v %q; ", p.Name, p.Hold, p.Groups)
	}
	return all
}

// play has things happen for some minutes, and then lets the fleet settle.
func (w *world) play() {
	w.f.start(w.names...)
	time.Sleep(15 * time.Second)
	for range 40 {
		w.act()
		for range w.rng.IntN(60) {
			time.Sleep(200 * time.Millisecond)
			synctest.Wait()
			w.look()
		}
		if w.t.Failed() {
			return
		}
	}
	w.settle()
	for _, name := range w.names {
		w.excused(name, true)
	}
}

// excused notes that what a node withdraws from now on needs nobody's promise, or does again.
func (w *world) excused(name string, yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.excuse[name] = yes
}

// comesBack is how long no router may have a prefix that a drained node could announce: 10 s,
// and what it takes to hear of that.
const comesBack = 14 * time.Second

// look counts prefixes that begin to be announced with the worst attributes, and holds that
// drained nodes come back for a prefix that nobody announces.
func (w *world) look() {
	for _, p := range prefixes {
		able := ""
		for _, name := range w.names {
			if w.couldReturn(w.f.nodes[name], p) {
				able = name
			}
		}
		since, dark := w.dark[p]
		switch {
		case able == "" || w.f.hear(p) > 0:
			delete(w.dark, p)
		case !dark:
			w.dark[p] = time.Now()
		case time.Since(since) > comesBack:
			w.fail("no router has had %s for %v, and %s could announce it", p, time.Since(since), able)
		}
	}
	for _, name := range w.names {
		for _, p := range prefixes {
			is := strings.Contains(w.f.nodes[name].routeTo(p), "graceful-shutdown prepend 3")
			if at := name + " " + p.String(); is != w.worst[at] {
				w.worst[at] = is
				if is {
					w.returns++
				}
			}
		}
	}
}

// abortAll takes back all rollouts that are under way, and holds that they end.
func (w *world) abortAll() {
	for _, name := range w.names {
		n := w.f.nodes[name]
		r := n.Rollout()
		if r == nil {
			continue
		}
		if !r.Ended() {
			_, err := n.Steer(w.t.Context(), Steering{Action: "abort", Plan: r.Plan.ID, Reason: "x", Actor: "ann"})
			w.say("%s aborts %s: %v", name, r.Plan.ID, err)
		}
		for begun := time.Now(); !n.Rollout().Ended() && !w.t.Failed(); time.Sleep(time.Second) {
			if time.Since(begun) > 15*time.Minute {
				w.fail("the rollout of %s does not end", name)
			}
		}
		if n.Rollout().Phase == bgp.PhaseDone {
			w.done++
		} else {
			w.aborted++
		}
	}
}

// settle ends all that is wrong, gives all nodes the same plan and peers, and holds that
// each announces it to each of its peers in the end, without an alarm.
func (w *world) settle() {
	w.say("calm")
	// What is in no plan any more would stay where it is: nobody promises to keep it.
	vips, peers := w.vips("ns1", "ns2"), w.allPeers()
	for i := range vips {
		if vips[i].Groups = nil; !w.six {
			vips[i].Prefixes = slices.DeleteFunc(vips[i].Prefixes, func(p netip.Prefix) bool { return p.Addr().Is6() })
		}
	}
	vips = slices.DeleteFunc(vips, func(v bgp.VIP) bool { return len(v.Prefixes) == 0 })
	for _, name := range w.names {
		n := w.f.nodes[name]
		w.f.mu.Lock()
		w.f.cut[name] = false
		w.f.mu.Unlock()
		n.setSession(true)
		n.breakChecks("")
		if n.Announcer == nil {
			w.excused(name, false)
			w.f.start(name)
		}
	}
	for _, name := range w.names {
		n := w.f.nodes[name]
		for len(n.Status().Operations) > 0 && !w.t.Failed() {
			o := n.Status().Operations[0]
			if w.ends(n, o); slices.Contains(n.Status().Operations, o) {
				w.fail("%s does not end %s", name, o)
			}
		}
	}
	w.abortAll()
	for _, name := range w.names {
		w.takes(w.f.nodes[name], vips)
		w.reloads(w.f.nodes[name], peers)
	}
	time.Sleep(12 * time.Minute)
	synctest.Wait()
	if w.t.Failed() {
		return
	}
	for _, name := range w.names {
		n := w.f.nodes[name]
		for _, v := range vips {
			for _, p := range v.Prefixes {
				if got := n.routeTo(p); got != "64512:100" {
					w.fail("in the end %s announces %s of %s with %q", name, p, v.Name, got)
				}
			}
		}
		want := 0
		for _, v := range vips {
			want += len(v.Prefixes)
		}
		if len(n.heard()) != want {
			w.fail("in the end peers of %s have %v, want %d prefixes", name, n.heard(), want)
		}
		n.mu.Lock()
		n.alarms = slices.DeleteFunc(slices.Clone(n.alarms), func(a string) bool { return strings.HasPrefix(a, "rollout:") }) // stands until the next one
		n.mu.Unlock()
		if got := n.alarmed(); got != "" {
			w.fail("in the end %s has the alarm %q", name, got)
		}
		if got := n.Status(); len(got.Operations) > 0 {
			w.fail("in the end %s has the operations %v", name, got.Operations)
		}
	}
}
