package announcer

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edged/bgp"
	"edged/bgp/link"
	"edged/bgp/speaker"
	"edged/edge"
)

// fleet is nodes in one process that call each other directly. It stands in for
// what is around announcers, and nothing of their own.
type fleet struct {
	t     *testing.T
	nodes map[string]*testNode

	mu      sync.Mutex
	cut     map[string]bool // nodes that nobody reaches
	runs    map[string]*Announcer
	calls   map[string]int  // of nodes to each other, by path
	dropped map[string]bool // nodes that are no members any more
	frozen  string
}

// testNode is one node: the announcer and the parts that it works on.
type testNode struct {
	*Announcer
	fleet *fleet
	self  bgp.Member
	key   ed25519.PrivateKey
	dir   string
	file  File

	mu        sync.Mutex
	routes    []bgp.Route // that the peer has
	allowed   []netip.Prefix
	addresses map[netip.Prefix]bool // true: ours
	listening map[netip.AddrPort]uint64
	broken    string               // why checks fail
	mutes     netip.Prefix         // through which nothing answers
	lag       time.Duration        // after which a check tells what it found
	asking    []netip.Prefix       // through which the last check asked
	sluggish  bool                 // the speaker takes its time to say what peers have
	withdrew  map[netip.Prefix]int // how often the peer was told that a prefix is gone
	session   bool
	hidden    bool                                     // no query arrives, whatever it announces
	both      bool                                     // peers over IPv6 take IPv4, too (RFC 8950)
	taken     uint16                                   // a port that cannot be opened
	rejects   error                                    // what the speaker says to other peers
	locked    bool                                     // no address can be added
	peers     [][]speaker.Peer                         // that it was told to have, each time
	secret    string                                   // that routers want; empty: any but "wrong"
	refuses   map[string]bool                          // peers without a session
	stubborn  string                                   // will be one when peers change
	anew      time.Duration                            // until a session that is made anew is up
	upAt      map[netip.Addr]time.Time                 // when those sessions are, by peer
	lost      func(prefixes []netip.Prefix, by string) // told when no peer has them any more, by the node's own will
	said      map[string]edge.Verdict
	alarms    []string
	overdue   []string
	dawdles   string        // an alarm with this takes its time
	dawdling  chan struct{} // closed when it does
	events    chan struct{}
}

var testVIP = bgp.VIP{
	Name: "ns1", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.53/32")}, Port: 53, MinAnnouncers: 1, MinPoPs: 1,
	Communities: []bgp.Community{64512<<16 | 100}, Hold: 3 * time.Second, Linger: 5 * time.Second,
	Ladder: []bgp.Rung{{Kind: bgp.Gshut}, {Kind: bgp.Prepend, Value: 3}, {Kind: bgp.Withdraw}},
}

// newFleet prepares nodes a1, a2, b1, b2… in the PoPs that their first letter
// names.
func newFleet(t *testing.T, names ...string) *fleet {
	f := &fleet{t: t, nodes: map[string]*testNode{}, cut: map[string]bool{}, runs: map[string]*Announcer{}, calls: map[string]int{}, dropped: map[string]bool{}}
	for i, name := range names {
		seed := make([]byte, ed25519.SeedSize)
		seed[0] = byte(i + 1)
		f.nodes[name] = &testNode{
			fleet: f, self: bgp.Member{Name: name, PoP: name[:1]}, key: ed25519.NewKeyFromSeed(seed), dir: t.TempDir(),
			file: File{
				VIPs:     []bgp.VIP{testVIP},
				Peers:    []speaker.Peer{{Name: "tor", Address: netip.MustParseAddr("192.0.2.1"), ASN: 64500}},
				Required: map[string]time.Duration{"ns1": 2 * time.Second},
			},
			addresses: map[netip.Prefix]bool{}, listening: map[netip.AddrPort]uint64{}, session: true,
			withdrew: map[netip.Prefix]int{}, said: map[string]edge.Verdict{}, refuses: map[string]bool{}, upAt: map[netip.Addr]time.Time{}, events: make(chan struct{}, 1),
		}
	}
	return f
}

// announcing starts nodes, waits until all announce, and stops them in the end.
func announcing(t *testing.T, names ...string) *fleet {
	t.Helper()
	f := newFleet(t, names...)
	t.Cleanup(f.stopAll)
	f.start(names...)
	f.await("all announced", 15*time.Second, f.all(bgp.Announced, names...))
	return f
}

func (f *fleet) start(names ...string) {
	f.t.Helper()
	for _, name := range names {
		n := f.nodes[name]
		n.mu.Lock()
		n.peers, n.alarms, n.overdue = nil, nil, nil // it begins with the peers of its file
		clear(n.upAt)
		n.mu.Unlock()
		var says Speaker = n
		if n.sluggish {
			says = slowSpeaker{n}
		}
		a, err := Start(Config{
			Self: n.self, Key: n.key, Dir: n.dir, Log: slog.New(slog.DiscardHandler),
			Speaker: says, Addresses: (*testAddresses)(n), Listener: (*testListener)(n), Check: n.check, Probe: n.probeVIP, Fleet: (*testMembers)(n),
			Answers: func() bgp.Tally { return bgp.Tally{} }, File: n.file, Alarm: n.alarm,
		})
		if err != nil {
			f.t.Fatal(err)
		}
		n.Announcer = a
		f.run(name, a)
	}
}

// stop stops nodes as SIGTERM does.
func (f *fleet) stop(names ...string) {
	f.t.Helper()
	for _, name := range names {
		if n := f.nodes[name]; n.Announcer != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(f.t.Context()), 5*time.Second)
			if err := n.Stop(ctx); err != nil {
				f.t.Errorf("%s: %v", name, err)
			}
			cancel()
			f.run(name, nil)
			n.Announcer = nil
		}
	}
}

func (f *fleet) stopAll() {
	for name := range f.nodes {
		f.stop(name)
	}
}

// kill ends a node as a crash does: nothing is said, and the peer drops its
// routes.
func (f *fleet) kill(name string) {
	n := f.nodes[name]
	n.Announcer.mu.Lock()
	n.Announcer.dirty = false
	n.Announcer.mu.Unlock()
	n.halt()
	<-n.ended
	n.beside.Wait()
	n.audit.Close()
	f.run(name, nil)
	n.Announcer = nil
	n.mu.Lock()
	n.routes = nil
	n.mu.Unlock()
}

// fillDisks has nothing more be written on nodes; emptyDisks ends that.
func (f *fleet) fillDisks(names ...string) {
	f.t.Helper()
	for _, name := range names {
		if err := os.Rename(f.nodes[name].dir, f.nodes[name].dir+".away"); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fleet) emptyDisks(names ...string) {
	f.t.Helper()
	for _, name := range names {
		if err := os.Rename(f.nodes[name].dir+".away", f.nodes[name].dir); err != nil {
			f.t.Fatal(err)
		}
	}
}

// run notes that a node takes calls, or no more.
func (f *fleet) run(name string, a *Announcer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runs[name] = a
}

// reach returns what takes calls of one node to another; nil: nothing does.
func (f *fleet) reach(from, to string) *Announcer {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut[from] || f.cut[to] {
		return nil
	}
	return f.runs[to]
}

// called says how often nodes called each other by a path.
func (f *fleet) called(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[path]
}

// state returns how a node has the VIP ns1.
func (n *testNode) state() bgp.State {
	n.Announcer.mu.Lock()
	defer n.Announcer.mu.Unlock()
	if v := n.vips["ns1"]; v != nil {
		return v.wish.State
	}
	return bgp.Absent
}

// route returns what the peer has of ns1 in words.
func (n *testNode) route() string { return n.routeTo(testVIP.Prefixes[0]) }

// routeTo returns what the peer has of a prefix in words.
func (n *testNode) routeTo(p netip.Prefix) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.routes {
		if r.Prefix == p {
			return r.Attributes.String()
		}
	}
	return "none"
}

// await waits until so holds, and returns how long that took.
func (f *fleet) await(what string, most time.Duration, so func() bool) time.Duration {
	f.t.Helper()
	begun := time.Now()
	for !so() {
		if time.Since(begun) > most {
			for name, n := range f.nodes {
				if n.Announcer != nil {
					text, _ := json.Marshal(n.Status())
					f.t.Logf("%s: %s", name, text)
				}
			}
			f.t.Fatalf("not within %v: %s", most, what)
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
	}
	return time.Since(begun)
}

func (f *fleet) all(want bgp.State, names ...string) func() bool {
	return func() bool {
		return !slices.ContainsFunc(names, func(name string) bool { return f.nodes[name].state() != want })
	}
}

func (n *testNode) check(_ context.Context, v bgp.VIP) (int, error) {
	asked, lag, err := n.checkNow(v)
	time.Sleep(lag)
	return asked, err
}

func (n *testNode) checkNow(v bgp.VIP) (asked int, lag time.Duration, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	lag, n.asking = n.lag, v.Prefixes
	if n.broken != "" {
		return 2, lag, errors.New(n.broken)
	}
	for _, p := range v.Prefixes {
		if !n.addresses[p] {
			return 0, lag, fmt.Errorf("%s is not on this machine", p)
		}
		if p == n.mutes {
			return 2, lag, errors.New("no answer")
		}
	}
	return 2, lag, nil
}

// takeAway removes the addresses behind the node's back; locked, they cannot be added
// again.
func (n *testNode) takeAway(locked bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.addresses)
	n.locked = locked
}

func (n *testNode) unlock() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.locked = false
}

// probeVIP is answered by all nodes alike that announce a prefix, but those that are hidden;
// through an address that the node has itself, by itself alone.
func (n *testNode) probeVIP(_ context.Context, v bgp.VIP, _ int) map[netip.Prefix]map[string]uint64 {
	all := map[netip.Prefix]map[string]uint64{}
	for _, p := range v.Prefixes {
		all[p] = map[string]uint64{}
		if n.hasAddress(p) {
			all[p][n.self.Name] = 16
			continue
		}
		for name, other := range n.fleet.nodes {
			if other.heard()[p] && !other.isHidden() {
				all[p][name] = 16
			}
		}
	}
	return all
}

func (n *testNode) hasAddress(p netip.Prefix) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addresses[p]
}

func (n *testNode) isHidden() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hidden
}

func (n *testNode) hide(yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hidden = yes
}

func (n *testNode) breakChecks(why string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.broken = why
}

func (n *testNode) alarm(overdue bool, detail []string) {
	n.mu.Lock()
	if n.dawdles != "" && slices.Contains(detail, n.dawdles) {
		n.mu.Unlock()
		close(n.dawdling)
		for range 10000 { // others come before, if nothing keeps them from it
			runtime.Gosched()
		}
		n.mu.Lock()
	}
	defer n.mu.Unlock()
	if overdue {
		n.overdue = detail
	} else {
		n.alarms = detail
	}
}

// held counts the addresses on the machine.
func (n *testNode) held() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.addresses)
}

// told returns what the fleet heard of ns1 last.
func (n *testNode) told() edge.Verdict {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.said["ns1"]
}

// setSession ends the session with the peer, or brings it back.
func (n *testNode) setSession(up bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.session = up
}

// others counts the nodes that the node hears announce ns1.
func (n *testNode) others() int {
	n.Announcer.mu.Lock()
	defer n.Announcer.mu.Unlock()
	count, _ := n.Announcer.others(n.vips["ns1"], n.now())
	return count
}

// alarmed returns the alarms that are raised, in a line.
func (n *testNode) alarmed() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(append(slices.Clone(n.alarms), n.overdue...), "; ")
}

// The node is its own speaker, whose peers take all routes.

func (n *testNode) Allow(p []netip.Prefix) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.allowed = p
	return nil
}

func (n *testNode) Apply(_ context.Context, routes []bgp.Route) (speaker.Diff, error) {
	defer n.watch("routes")()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range routes {
		if !slices.Contains(n.allowed, r.Prefix) {
			return speaker.Diff{}, fmt.Errorf("route %s may not leave", r.Prefix)
		}
		if !n.addresses[r.Prefix] {
			n.fleet.t.Errorf("%s announces %s without its address", n.self.Name, r.Prefix)
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(n.listening)), func(s netip.AddrPort) bool { return s.Addr() == r.Prefix.Addr() }) {
			n.fleet.t.Errorf("%s announces %s without a socket", n.self.Name, r.Prefix)
		}
	}
	for _, r := range n.routes {
		if !slices.ContainsFunc(routes, func(now bgp.Route) bool { return now.Prefix == r.Prefix }) {
			n.withdrew[r.Prefix]++
		}
	}
	n.routes = slices.Clone(routes)
	return speaker.Diff{}, nil
}

// watch looks at what peers have before and after something that the node does.
func (n *testNode) watch(by string) (after func()) {
	if n.lost == nil {
		return func() {}
	}
	before := n.heard()
	return func() {
		now := n.heard()
		var lost []netip.Prefix
		for p := range before {
			if !now[p] {
				lost = append(lost, p)
			}
		}
		if len(lost) > 0 {
			n.lost(lost, by)
		}
	}
}

// heard returns what some peer has.
func (n *testNode) heard() map[netip.Prefix]bool {
	all := map[netip.Prefix]bool{}
	for _, p := range n.Sent() {
		for _, r := range p.Routes {
			all[r.Prefix] = true
		}
	}
	return all
}

func (n *testNode) Sent() []speaker.PeerRoutes {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.session {
		return nil
	}
	all := []speaker.PeerRoutes{}
	for _, p := range n.has() {
		r := speaker.PeerRoutes{Peer: p.Name, Only6: p.Address.Is6() && !n.both}
		for _, route := range n.routes {
			if !Carries(p, bgp.VIP{Groups: route.Groups}, route.Prefix) || r.Only6 && route.Prefix.Addr().Is4() {
				continue
			}
			r.Routes = append(r.Routes, speaker.SentRoute{Prefix: route.Prefix, Attributes: route.Attributes})
		}
		if !n.refuses[p.Name] && p.Password != "wrong" && (n.secret == "" || p.Password == n.secret) && !time.Now().Before(n.upAt[p.Address]) {
			all = append(all, r)
		}
	}
	return all
}

// talksTo returns the peers that the node has.
func (n *testNode) talksTo() []speaker.Peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.has()
}

// has returns the peers that the node has. The caller holds the lock.
func (n *testNode) has() []speaker.Peer {
	if len(n.peers) > 0 {
		return n.peers[len(n.peers)-1]
	}
	return n.file.Peers
}

func (n *testNode) SetPeers(peers []speaker.Peer) ([]string, error) {
	defer n.watch("sessions")()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.rejects != nil {
		return nil, n.rejects
	}
	for _, p := range peers {
		if !slices.ContainsFunc(n.has(), p.SameSession) {
			n.upAt[p.Address] = time.Now().Add(n.anew)
		}
	}
	n.peers = append(n.peers, peers)
	n.refuses[n.stubborn] = true
	return nil, nil
}

// refuse has a peer refuse its session from the next change of peers on; empty: none
// does any more.
func (n *testNode) refuse(peer string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stubborn = peer
	clear(n.refuses)
}

// had returns the peers that it was told to have, each time.
func (n *testNode) had() (all []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.peers {
		all = append(all, peerWords(p))
	}
	return all
}

func (n *testNode) Peers() []speaker.PeerStatus {
	return []speaker.PeerStatus{{Name: "tor", State: speaker.Established}}
}
func (n *testNode) Events() <-chan struct{} { return n.events }

type testAddresses testNode

func (a *testAddresses) Ensure(_ string, prefixes []netip.Prefix) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range prefixes {
		if a.locked && !a.addresses[p] {
			return fmt.Errorf("cannot add %s: no right", p)
		}
		a.addresses[p] = true
	}
	return nil
}

func (a *testAddresses) Remove(_ string, prefixes []netip.Prefix) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range prefixes {
		if slices.ContainsFunc(a.routes, func(r bgp.Route) bool { return r.Prefix == p }) {
			a.fleet.t.Errorf("%s removes %s while it is announced", a.self.Name, p)
		}
		if a.addresses[p] {
			delete(a.addresses, p)
		}
	}
	return nil
}

func (a *testAddresses) Owned() ([]netip.Prefix, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []netip.Prefix
	for p, ours := range a.addresses {
		if ours {
			all = append(all, p)
		}
	}
	return all, nil
}

type testListener testNode

func (l *testListener) Listen(_ context.Context, at []netip.AddrPort) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range at {
		if !l.addresses[netip.PrefixFrom(s.Addr(), s.Addr().BitLen())] {
			return fmt.Errorf("%s is not on this machine", s)
		}
		if s.Port() == l.taken {
			return fmt.Errorf("listen %s: address in use", s)
		}
		l.listening[s] = 0
	}
	return nil
}

func (l *testListener) Unlisten(at ...netip.AddrPort) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range at {
		delete(l.listening, s)
	}
	return nil
}

func (l *testListener) Queries(netip.AddrPort) uint64 { return 0 }

type testMembers testNode

func (m *testMembers) Name() string { return "test" }

func (m *testMembers) Members() []bgp.Member {
	var all []bgp.Member
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	for _, name := range sortedKeys(m.fleet.nodes) {
		if !m.fleet.dropped[name] {
			all = append(all, m.fleet.nodes[name].self)
		}
	}
	return all
}

func (m *testMembers) Key(name string) (ed25519.PublicKey, bool) {
	n, ok := m.fleet.nodes[name]
	if !ok {
		return nil, false
	}
	return n.key.Public().(ed25519.PublicKey), true
}

func (m *testMembers) Frozen() string {
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	return m.fleet.frozen
}

func (m *testMembers) Call(ctx context.Context, member, path string, in, out any) error {
	time.Sleep(10 * time.Millisecond)
	n := m.fleet.reach(m.self.Name, member)
	m.fleet.mu.Lock()
	m.fleet.calls[path]++
	m.fleet.mu.Unlock()
	if n == nil {
		return errors.New("connection refused")
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer, err := n.Handle(ctx, m.self.Name, path, body)
	if err != nil {
		return &link.RemoteError{Member: member, Path: path, Text: err.Error()}
	}
	if out == nil {
		return nil
	}
	if body, err = json.Marshal(answer); err != nil {
		return err
	}
	return json.Unmarshal(body, out)
}

func (m *testMembers) State(vip string, v edge.Verdict, _ string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.said[vip] = v
}

// foreign is an address on the machine that is not ours.
var foreign = netip.MustParsePrefix("192.0.2.99/32")
