package gossip

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edged/health/gossip/lossy"
)

// quick is a pace for tests on the real clock.
var quick = pace{
	probe:        100 * time.Millisecond,
	probeTimeout: 40 * time.Millisecond,
	gossip:       10 * time.Millisecond,
	pushPull:     200 * time.Millisecond,
	stream:       5 * time.Second,
	reclaim:      time.Second,
	joinFirst:    20 * time.Millisecond,
	joinMost:     200 * time.Millisecond,
	repairs:      bucket{size: 3, every: time.Second},
	repairGap:    10 * time.Millisecond,
}

// startReal starts a node on a free port of the loopback.
func startReal(t *testing.T, name string, join ...netip.AddrPort) *node {
	t.Helper()
	e := newEar()
	m, err := Start(Config{
		Name: name, Fleet: "test", Bind: at("127.0.0.1:0"), Join: join,
		Keys: [][]byte{key("k")}, Receiver: e, pace: &quick,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &node{Mesh: m, ear: e}
}

// until waits for events at a node's receiver until a thing holds.
func until(t *testing.T, n *node, what string, holds func() bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-n.ear.changed:
		case <-late:
			t.Fatalf("waited 30 s for %s; %s sees %v", what, n.config.Name, names(n.Alive()))
		}
	}
}

func sees(n *node, want ...string) func() bool {
	return func() bool { return slices.Equal(names(n.Alive()), want) }
}

func TestRealSockets(t *testing.T) {
	defer goleak.VerifyNone(t)
	a := startReal(t, "a")
	first := a.Alive()[0].Addr
	b := startReal(t, "b", first)
	c := startReal(t, "c", first)
	nodes := []*node{a, b, c}
	for _, n := range nodes {
		until(t, n, "all to see all", sees(n, "a", "b", "c"))
	}
	c.ear.Receive([]byte("unsent")) // its ear has no mesh: push/pull alone spreads it
	a.Broadcast("", []byte("broadcast"))
	if err := a.Send("c", []byte("sent")); err != nil {
		t.Fatal(err)
	}
	until(t, b, "a broadcast", func() bool { return b.has("broadcast") })
	until(t, c, "a message", func() bool { return c.has("sent") })
	until(t, a, "a state", func() bool { return a.has("unsent") })

	if err := a.SetKeys([][]byte{key("k2")}); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes[1:] {
		if err := n.SetKeys([][]byte{key("k2")}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, a, "the keys to rotate", func() bool {
		for _, p := range a.Alive() {
			if !slices.Equal(p.Keys, []KeyID{secret(key("k2")).id()}) {
				return false
			}
		}
		return true
	})

	c.Stop(t.Context())
	until(t, a, "the farewell", sees(a, "a", "b"))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	b.Stop(gone) // without a farewell
	until(t, a, "the death", sees(a, "a"))
	a.Stop(t.Context())
	a.Stop(t.Context())
}

// Bytes of strangers do a node no harm.
func TestGarbageOnTheSockets(t *testing.T) {
	defer goleak.VerifyNone(t)
	a := startReal(t, "a")
	addr := a.Alive()[0].Addr
	rng := rand.New(rand.NewPCG(1, 2))
	garbage := func(most int) []byte {
		b := make([]byte, 1+rng.IntN(most))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		starts := [][]byte{nil, {244}, append([]byte{244, 10}, "edged/test"...), append([]byte{244, 10}, "edged/test\x0a\x7f\xff\xff\xff"...), append([]byte{244, 10}, "edged/test\x01"...)}
		return append(slices.Clone(starts[rng.IntN(len(starts))]), b...)
	}
	packets, err := net.Dial("udp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	for range 2000 {
		if _, err := packets.Write(garbage(1400)); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
	}
	for range 50 {
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(garbage(5000)) // the node may hang up before it has all
		c.Close()
	}
	b := startReal(t, "b", addr)
	until(t, b, "the node to be joined", sees(b, "a", "b"))
	b.Stop(t.Context())
	a.Stop(t.Context())
}

// Streams that say nothing are few, and do not hold up Stop.
func TestSilentStreams(t *testing.T) {
	defer goleak.VerifyNone(t)
	a := startReal(t, "a")
	addr := a.Alive()[0].Addr.String()
	var open []net.Conn
	for range maxStreamsSource {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	// Streams are admitted in order, so once one more is turned away, all of
	// these are in.
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the ninth stream of one address: %v, want EOF", err)
	}
	if got := a.Stats().Streams; got != 1 {
		t.Errorf("%d streams were refused, want 1", got)
	}
	a.Stop(t.Context())
	for _, c := range open {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a stream is open after Stop")
		}
	}
}

func TestStreamsFromOtherNetworksAreRefused(t *testing.T) {
	defer goleak.VerifyNone(t)
	network := lossy.New(1)
	inner := network.Transport(place(1))
	guard := newTransport(inner, []netip.Prefix{netip.MustParsePrefix("192.0.2.2/31")})
	for i, want := range map[int]bool{2: true, 3: true, 4: false} {
		c, err := network.Transport(place(i)).DialTimeout(place(1).String(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if want {
			s := <-guard.StreamCh()
			if got := s.RemoteAddr().String(); got != place(i).String() {
				t.Errorf("stream from %s, want %s", got, place(i))
			}
			s.Close()
			s.Close() // counts once
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("stream from node %d: %v", i, err)
		}
	}
	if got := guard.refused.Load(); got != 1 {
		t.Errorf("%d were refused, want 1", got)
	}
	if guard.in != 0 || len(guard.from) != 0 || len(guard.open) != 0 {
		t.Errorf("after all were closed: %d in, %v, %d open", guard.in, guard.from, len(guard.open))
	}
	if err := guard.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if _, err := network.Transport(place(9)).DialTimeout(place(1).String(), time.Minute); err == nil {
		t.Error("dialled a node that is shut down")
	}
}
