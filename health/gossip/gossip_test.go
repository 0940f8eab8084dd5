package gossip

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"edged/health/gossip/lossy"
)

// key returns a gossip key made from a word.
func key(word string) []byte {
	sum := sha256.Sum256([]byte(word))
	return sum[:]
}

// place returns the address of node number i, which is on no real network.
func place(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 7946)
}

// ear is a Receiver that keeps what it hears, and sends on what is new to it.
// Its state is the set of what it heard, a line each. A message "digest N ..."
// makes it ask for repair when it has heard less than N.
type ear struct {
	mu      sync.Mutex
	mesh    *Mesh // nil: sends nothing on
	heard   map[string]int
	changed chan struct{} // holds one
}

func newEar() *ear { return &ear{heard: map[string]int{}, changed: make(chan struct{}, 1)} }

func (e *ear) Receive(msg []byte) {
	e.mu.Lock()
	var n int
	if _, err := fmt.Sscanf(string(msg), "digest %d", &n); err == nil {
		if len(e.heard) < n {
			e.mesh.Repair()
		}
		e.mu.Unlock()
		return
	}
	e.heard[string(msg)]++
	if e.mesh != nil && e.heard[string(msg)] == 1 {
		e.mesh.Broadcast("", msg)
	}
	e.mu.Unlock()
	e.Changed()
}

func (e *ear) LocalState() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	var b bytes.Buffer
	for line := range e.heard {
		fmt.Fprintln(&b, line)
	}
	return b.Bytes()
}

func (e *ear) MergeState(state []byte) {
	e.mu.Lock()
	for line := range strings.Lines(string(state)) {
		e.heard[strings.TrimSuffix(line, "\n")]++
	}
	e.mu.Unlock()
	e.Changed()
}

func (e *ear) Changed() {
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

func (e *ear) has(line string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.heard[line] > 0
}

// node is a mesh and what it hears.
type node struct {
	*Mesh
	*ear
}

// fleet is nodes on a network in memory, whose clock is that of the synctest
// bubble.
type fleet struct {
	t     *testing.T
	net   *lossy.Network
	nodes []*node
}

func newFleet(t *testing.T) *fleet { return &fleet{t: t, net: lossy.New(1)} }

// start starts node number i, which joins node 1, at the pace of production.
func (f *fleet) start(i int, change func(*Config)) *node {
	f.t.Helper()
	e := newEar()
	c := Config{
		Name:      fmt.Sprintf("n%d", i),
		PoP:       fmt.Sprintf("pop%d", i),
		Fleet:     "test",
		Join:      []netip.AddrPort{place(1)},
		Keys:      [][]byte{key("old")},
		Receiver:  e,
		Transport: f.net.Transport(place(i)),
	}
	if change != nil {
		change(&c)
	}
	m, err := Start(c)
	if err != nil {
		f.t.Fatal(err)
	}
	e.mu.Lock()
	e.mesh = m
	e.mu.Unlock()
	n := &node{Mesh: m, ear: e}
	f.nodes = append(f.nodes, n)
	return n
}

// startAll starts nodes 1 to n and waits until all see all.
func (f *fleet) startAll(n int, change func(*Config)) {
	f.t.Helper()
	for i := 1; i <= n; i++ {
		f.start(i, change)
	}
	f.await("all nodes to see all", time.Minute, func() bool { return f.whole(f.nodes...) })
}

// whole says whether the nodes see each other and nobody else.
func (f *fleet) whole(nodes ...*node) bool {
	var want []string
	for _, n := range nodes {
		want = append(want, n.config.Name)
	}
	slices.Sort(want)
	for _, n := range nodes {
		if !slices.Equal(names(n.Alive()), want) {
			return false
		}
	}
	return true
}

func names(peers []Peer) []string {
	var all []string
	for _, p := range peers {
		all = append(all, p.Name)
	}
	return all
}

// await waits on the bubble's clock until a thing holds, and returns how long
// it took. It fails the test after the limit.
func (f *fleet) await(what string, limit time.Duration, holds func() bool) time.Duration {
	f.t.Helper()
	begin := time.Now()
	for !holds() {
		if time.Since(begin) > limit {
			for _, n := range f.nodes {
				f.t.Logf("%s sees %v, %+v", n.config.Name, names(n.Alive()), n.Stats())
			}
			f.t.Fatalf("waited %v for %s", limit, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(begin)
}

// stop stops all nodes and gives memberlist's last probes the time to end. A
// goroutine that is left after it fails the bubble.
func (f *fleet) stop() {
	for _, n := range f.nodes {
		n.Stop(f.t.Context())
	}
	time.Sleep(time.Minute)
}

// leaves returns how many deaths the nodes saw.
func leaves(nodes []*node) uint64 {
	var sum uint64
	for _, n := range nodes {
		sum += n.Stats().Leaves
	}
	return sum
}

func at(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }
