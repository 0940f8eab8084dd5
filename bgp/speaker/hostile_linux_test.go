package speaker

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/api"

	"edged/bgp"
)

// rogue is a BGP peer that we write by hand. It takes connections, says what
// brings a session up, and then whatever it is given.
type rogue struct {
	peer     Peer
	listener net.Listener
	sessions chan net.Conn // each is up
	mute     bool          // sends its OPEN, and nothing after it
	wait     sync.WaitGroup
}

// rogues makes that many peers, with addresses of their own in the router.
func (r *router) rogues(count int, mute bool) []*rogue {
	r.t.Helper()
	var all []*rogue
	for i := range count {
		address := fmt.Sprintf("192.0.2.%d", 100+i)
		must(r.t, r.IP("address add "+address+"/24 dev eth0"))
		v := &rogue{sessions: make(chan net.Conn), mute: mute}
		v.peer = Peer{Name: fmt.Sprintf("rogue%d", i), Address: netip.MustParseAddr(address), ASN: theirASN}
		must(r.t, r.Do(func() (err error) {
			v.listener, err = net.Listen("tcp", address+":179")
			return err
		}))
		v.wait.Go(v.serve)
		r.t.Cleanup(func() {
			v.listener.Close()
			for c := range v.sessions {
				c.Close()
			}
			v.wait.Wait()
		})
		all = append(all, v)
	}
	return all
}

func (v *rogue) serve() {
	defer close(v.sessions)
	for {
		c, err := v.listener.Accept()
		if err != nil {
			return
		}
		if v.greet(c) != nil {
			c.Close()
			continue
		}
		v.sessions <- c
	}
}

// greet exchanges OPENs and KEEPALIVEs. The hold time is 0: nobody needs to send
// more of them.
func (v *rogue) greet(c net.Conn) error {
	if err := readMessage(c); err != nil {
		return err
	}
	id := v.peer.Address.As4()
	open := binary.BigEndian.AppendUint16([]byte{4}, theirASN)
	open = append(open, 0, 0)
	open = append(open, id[:]...)
	open = append(open, 14, 2, 12, 1, 4, 0, 1, 0, 1, 65, 4, 0, 0, 0xfb, 0xf4) // IPv4, four-octet AS
	hello := message(1, open)
	if !v.mute {
		hello = append(hello, message(4, nil)...)
	}
	if _, err := c.Write(hello); err != nil {
		return err
	}
	return readMessage(c)
}

// readMessage reads one and drops it.
func readMessage(r io.Reader) error {
	header := make([]byte, 19)
	if _, err := io.ReadFull(r, header); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint16(header[16:]))-19)
	return err
}

// witness is a good router beside the bad ones: its session must stay as it is.
type witness struct {
	*bird
	s     *Speaker
	since time.Time
}

func newWitness(t *testing.T, l *lab, bad []*rogue) witness {
	t.Helper()
	r := l.router(1)
	b := r.bird(r.session4(""))
	peers := []Peer{r.peer()}
	for _, v := range bad {
		peers = append(peers, v.peer)
	}
	s := speak(t, Config{Peers: peers})
	allow(t, s, vip4)
	apply(t, s, plain(vip4))
	up1 := func() string { return string(s.Peers()[0].State) }
	until(t, 10*time.Second, func() string {
		if up1() != string(Established) {
			return "r1 is " + up1()
		}
		return ""
	})
	b.has(vip4 + " as_path 64512 next_hop 192.0.2.11")
	return witness{b, s, s.Peers()[0].Since}
}

// untouched holds that nothing changed for the good router, and that it still
// hears of changes.
func (w witness) untouched(t *testing.T) {
	t.Helper()
	if p := w.s.Peers()[0]; p.State != Established || p.Since != w.since || p.Flaps != 0 {
		t.Errorf("the good peer is %s since %s with %d flaps, want established since %s", p.State, p.Since, p.Flaps, w.since)
	}
	have, err := w.s.table()
	if err != nil || !slices.Equal(slices.Collect(maps.Keys(have)), []netip.Prefix{netip.MustParsePrefix(vip4)}) {
		t.Errorf("the table holds %v, %v, want our VIP alone", have, err)
	}
	route := plain(vip4)
	route.Attributes.Communities = []bgp.Community{bgp.GracefulShutdown}
	apply(t, w.s, route)
	w.has(vip4 + " as_path 64512 next_hop 192.0.2.11 community (65535,0)")
}

// The malformed UPDATEs of old incidents cost at most the session that they came
// by. (B12)
func TestMalformedUpdates(t *testing.T) {
	l := newLab(t, "bird", "birdc")
	bad := l.router(2).rogues(len(malformed), false)
	w := newWitness(t, l, bad)
	for i, name := range slices.Sorted(maps.Keys(malformed)) {
		v := bad[i]
		c := <-v.sessions
		until(t, 5*time.Second, func() string {
			if p := w.s.Peers()[i+1]; p.State != Established {
				return p.Name + " is " + string(p.State)
			}
			return ""
		})
		// It was read when what follows it was taken, or the session has ended.
		follow := message(2, update(nil, slices.Concat(origin, asPath, nextHop), []byte{24, 203, 0, 114}))
		_, err := c.Write(append(message(2, malformed[name]), follow...))
		must(t, err)
		until(t, 5*time.Second, func() string {
			p := w.s.Peers()[i+1]
			if p.State == Established && taken(t, w.s) == 0 {
				return name + ": not read yet"
			}
			return ""
		})
		p := w.s.Peers()[i+1]
		t.Logf("%s: session %s %s", name, p.State, p.LastError)
		c.Close()
		until(t, 5*time.Second, func() string {
			if taken(t, w.s) != 0 {
				return "its routes are still kept"
			}
			return ""
		})
	}
	w.untouched(t)
}

// A peer that falls silent after its OPEN is given up after the hold time, at the
// first session too.
func TestSilentOpen(t *testing.T) {
	l := newLab(t)
	v := l.router(2).rogues(1, true)[0]
	v.peer.Hold = 3 * time.Second
	s := speak(t, Config{Peers: []Peer{v.peer}})
	c := <-v.sessions
	defer c.Close()
	until(t, 10*time.Second, func() string {
		p := s.Peers()[0]
		if want := "the hold time expired (at most 3s): nothing came from the peer; is GTSM on at the peer only?"; p.LastError != want {
			return fmt.Sprintf("the peer is %s: %q, want %q", p.State, p.LastError, want)
		}
		return ""
	})
}

// GoBGP may leave the goroutine of a peer's send queue behind, when something was
// still in it as the peer was deleted: one for each peer, however often its session
// was lost, and one for the watched events.
func TestLeftOver(t *testing.T) {
	queues := func() int {
		stacks := make([]byte, 1<<20)
		return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "infiniteBuffer(")
	}
	l := newLab(t)
	bad := l.router(2).rogues(4, false)
	before := queues()
	var peers []Peer
	for _, v := range bad {
		peers = append(peers, v.peer)
	}
	s := speak(t, Config{Peers: peers})
	for range 3 {
		for _, v := range bad {
			c := <-v.sessions
			c.Close()
		}
	}
	end(t, s)
	until(t, 5*time.Second, func() string {
		if left, most := queues()-before, len(bad)+1; left > most {
			return fmt.Sprintf("%d queues are left over, want at most %d", left, most)
		}
		return ""
	})
	t.Logf("%d queues are left over", queues()-before)
}

// Ten thousand random UPDATEs over several sessions do no harm either. (B12)
func TestRandomUpdates(t *testing.T) {
	l := newLab(t, "bird", "birdc")
	bad := l.router(2).rogues(16, false)
	w := newWitness(t, l, bad)
	const want = 10_000
	ctx, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	var all sync.WaitGroup
	for i, v := range bad {
		rnd := rand.New(rand.NewPCG(7, uint64(i)))
		all.Go(func() {
			for {
				select {
				case c := <-v.sessions:
					pester(ctx, c, rnd)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	until(t, time.Minute, func() string {
		if n := judged(t, w.s); n < want {
			return fmt.Sprintf("only %d UPDATEs were read", n)
		}
		return ""
	})
	done()
	all.Wait()
	resets := 0
	for _, p := range w.s.Peers()[1:] {
		resets += p.Flaps
	}
	t.Logf("%d random UPDATEs were read, %d sessions ended", judged(t, w.s), resets)
	w.untouched(t)
}

// judged counts the messages after an OPEN that were taken for UPDATEs, or for
// nothing.
func judged(t testing.TB, s *Speaker) (n int) {
	t.Helper()
	must(t, s.server.ListPeer(t.Context(), &api.ListPeerRequest{}, func(p *api.Peer) {
		m := p.GetState().GetMessages().GetReceived()
		n += int(m.GetUpdate() + m.GetDiscarded())
	}))
	return n
}

// pester sends random UPDATEs until the session or ctx ends.
func pester(ctx context.Context, c net.Conn, rnd *rand.Rand) {
	ended, end := context.WithCancel(ctx)
	defer context.AfterFunc(ended, func() { c.Close() })()
	defer c.Close()
	go func() {
		defer end()
		for readMessage(c) == nil {
		}
	}()
	for ended.Err() == nil {
		if _, err := c.Write(message(2, randomUpdate(rnd))); err != nil {
			return
		}
	}
}

// randomUpdate is an UPDATE with random attributes in a random order, of which
// some values are wrong. Most of what is wrong does not end the session, so that
// more can follow; one in a thousand may.
func randomUpdate(rnd *rand.Rand) []byte {
	attributes := [][]byte{
		origin, asPath, nextHop,
		{0x80, 4, 4, 0, 0, 0, 1},
		{0x40, 5, 4, 0, 0, 0, 200},
		{0x40, 6, 0},
		{0xc0, 8, 4, 0xff, 0xff, 0, 0},
		{0xc0, 17, 6, 2, 1, 0, 0, 0xfb, 0xf4},
		{0xc0, 32, 12, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3},
		{0xc0, 200, 2, 1, 2},
	}
	rnd.Shuffle(len(attributes), func(i, j int) { attributes[i], attributes[j] = attributes[j], attributes[i] })
	var chosen []byte
	for _, a := range attributes[:rnd.IntN(len(attributes)+1)] {
		a = slices.Clone(a)
		if len(a) > 3 && rnd.IntN(3) == 0 {
			a[3+rnd.IntN(len(a)-3)] = byte(rnd.Uint32())
		}
		chosen = append(chosen, a...)
	}
	if len(chosen) > 0 && rnd.IntN(1000) == 0 {
		chosen[rnd.IntN(len(chosen))] = byte(rnd.Uint32())
	}
	routes := slices.Clone(someRoute)
	routes[3] = byte(rnd.Uint32())
	return update(nil, chosen, routes)
}
