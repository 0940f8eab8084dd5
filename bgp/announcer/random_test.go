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

// TestFleetAtRandom plays fleets of 3 to 6 nodes with two routers each and two VIPs of up to
// three addresses each. Plans take addresses away, add them and have them go over, files
// are reloaded with other timers and groups, engineers drain and hold, checks fail, nodes
// crash, stop and are cut off, sessions are lost. What must hold is in losing and settled.
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
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d fleets: %d prefixes withdrawn and %d sessions made anew by choice, %d times one became the last resort", *seeds, total.withdrawals, total.resets, total.returns)
	if total.withdrawals == 0 || total.resets == 0 || total.returns == 0 {
		t.Errorf("nothing was tested: %+v", total)
	}
}

// tally counts what fleets had in them.
type tally struct{ withdrawals, resets, returns int }

// world is one fleet of TestFleetAtRandom.
type world struct {
	tally
	t     *testing.T
	f     *fleet
	seed  uint64
	rng   *rand.Rand
	names []string
	min   int

	saying sync.Mutex
	log    []string // guarded by saying: nodes say what they give up

	mu     sync.Mutex                            // guards what follows, and the tally
	losses map[string]map[netip.Prefix]time.Time // against a node's will, by node: no promise can keep that
	excuse map[string]bool                       // nodes that stop
	worst  map[string]bool                       // whether a node announces a prefix with the worst attributes, by both
	dark   map[netip.Prefix]time.Time            // since when no router has a prefix that a drained node could announce
	begun  time.Time
}

// prefixes are those that VIPs may have. Each node's plan has each in one VIP at most.
var prefixes = []netip.Prefix{
	first, second, netip.MustParsePrefix("198.51.100.55/32"), netip.MustParsePrefix("198.51.100.56/32"),
}

func newWorld(t *testing.T, seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 45))
	all := []string{"a1", "b1", "a2", "c1", "b2", "c2"}
	w := &world{
		t: t, seed: seed, rng: rng, names: all[:3+rng.IntN(4)], losses: map[string]map[netip.Prefix]time.Time{}, excuse: map[string]bool{}, worst: map[string]bool{}, dark: map[netip.Prefix]time.Time{},
		begun: time.Now(),
	}
	w.min = 1 + rng.IntN(len(w.names)/2)
	w.f = newFleet(t, w.names...)
	for _, name := range w.names {
		n := w.f.nodes[name]
		n.anew = 2 * time.Second
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
			for _, v := range s.VIPs {
				w.say("%s: %s %v %s (%s, waits for %q, failing %q, breaker %q) route %q, penalty %.0f, others %d", name, v.Name, v.Prefixes, v.State, v.Cause, v.Waits, v.Failing, v.Breaker, v.Route, v.Penalty, v.Announcers)
			}
		}
	}
	w.saying.Lock()
	defer w.saying.Unlock()
	w.t.Errorf("seed %d, %d nodes, min %d: %s\n%s", w.seed, len(w.names), w.min, fmt.Sprintf(format, args...), strings.Join(w.log, "\n"))
}

// somePeers are two routers, in groups that VIPs may be for.
func (w *world) somePeers() (peers []speaker.Peer) {
	for i, name := range []string{"tor", "edge"} {
		groups := [][]string{{"fabric"}, {"transit"}, {"fabric", "transit"}}[i]
		if w.rng.IntN(4) == 0 {
			groups = [][]string{{"transit"}, {"fabric", "transit"}, {"fabric"}}[w.rng.IntN(3)]
		}
		peers = append(peers, speaker.Peer{
			Name: name, Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), ASN: 64500, Groups: groups,
			Hold: time.Duration(3*(1+w.rng.IntN(3))) * time.Second,
		})
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
		v.Name, v.MinAnnouncers = name, w.min
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
		if w.excuse[name] {
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
	switch w.rng.IntN(16) {
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
		kind := []bgp.OperationKind{bgp.Drain, bgp.Drain, bgp.Drain, bgp.Hold}[w.rng.IntN(4)]
		_, err := n.Operate(w.t.Context(), Request{Kind: kind, Node: name, Reason: "x", Actor: "ann"})
		w.say("%s: %s: %v", name, kind, err)
	case 10, 11:
		end := []string{"undrain", "release"}[w.rng.IntN(2)]
		_, err := n.Operate(w.t.Context(), Request{End: end, Node: name, Reason: "x", Actor: "ann"})
		w.say("%s: %s: %v", name, end, err)
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
	}
}

// couldReturn says whether a node is drained, and fit to be the last resort for a prefix.
func (n *testNode) couldReturn(p netip.Prefix) bool {
	n.fleet.mu.Lock()
	cut := n.fleet.cut[n.self.Name]
	n.fleet.mu.Unlock()
	n.mu.Lock()
	broken := n.broken != "" || !n.session
	n.mu.Unlock()
	if n.Announcer == nil || cut || broken || n.now() < 20*time.Second {
		return false
	}
	n.Announcer.mu.Lock()
	defer n.Announcer.mu.Unlock()
	v := n.plannedWith(p)
	if v == nil || v.machine.Damping(n.now()).Suppressed {
		return false
	}
	o := bgp.InForce(n.operations, n.self, v.spec.Name, time.Now())
	carried := slices.ContainsFunc(n.Announcer.peers, func(peer speaker.Peer) bool { return Carries(peer, bgp.VIP{Groups: v.groups}, p) })
	return carried && o != nil && o.Kind == bgp.Drain && (v.wish.State == bgp.Withdrawn || v.wish.State == bgp.LastResort)
}

func (w *world) takes(n *testNode, vips []bgp.VIP) {
	w.say("%s takes a plan: %s", n.self.Name, vipWords(vips))
	n.file.VIPs = vips
	n.takes(w.t, vips...)
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
			if w.f.nodes[name].couldReturn(p) {
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

// settle ends all that is wrong, gives all nodes the same plan and peers, and holds that
// each announces it to each of its peers in the end, without an alarm.
func (w *world) settle() {
	w.say("calm")
	// What is in no plan any more would stay where it is: nobody promises to keep it.
	vips, peers := w.vips("ns1", "ns2"), w.somePeers()
	for i := range vips {
		vips[i].Groups = nil
	}
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
		w.takes(n, vips)
		w.reloads(n, peers)
		for _, end := range []string{"undrain", "release"} {
			for _, o := range n.Status().Operations {
				_, _ = n.Operate(w.t.Context(), Request{End: end, ID: o.ID, Reason: "x", Actor: "ann"}) // it may be the other one
			}
		}
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
		if got := n.alarmed(); got != "" {
			w.fail("in the end %s has the alarm %q", name, got)
		}
		if got := n.Status(); len(got.Operations) > 0 {
			w.fail("in the end %s has the operations %v", name, got.Operations)
		}
	}
}
