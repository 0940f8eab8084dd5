// Package lossy is a network in memory for tests of the gossip: it loses a
// share of the packets, as asked, and can be split into sides that do not reach
// each other.
//
// A packet is delivered at once or not at all; one that finds its receiver's
// queue full is lost, as with a real socket. Streams lose nothing, but break
// when a split comes between their ends, and a dial across a split ends by its
// timeout, not by a refusal. All waiting is on channels and timers, so a whole
// fleet runs in a testing/synctest bubble, minutes within milliseconds.
//
// All methods are safe for concurrent use.
package lossy

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

// queued is how many packets wait for a receiver before more are lost.
const queued = 512

// Network joins the transports made by it. Its zero value is not ready; see New.
type Network struct {
	mu    sync.Mutex // guards all below; held for no wait
	rng   *rand.Rand
	loss  float64
	side  map[netip.AddrPort]int
	at    map[netip.AddrPort]*Transport
	conns map[*conn]bool
	stats Stats
}

// Stats is what went over a network so far.
type Stats struct {
	Packets uint64 // sent, whether they arrived or not
	Octets  uint64 // in those packets
	Lost    uint64 // by the share of loss, by a full queue, or by a split
	Streams uint64 // dialled with success
}

// New returns a network that loses nothing yet. The seed settles which packets
// it will lose.
func New(seed uint64) *Network {
	return &Network{
		rng:   rand.New(rand.NewPCG(seed, 0)),
		at:    map[netip.AddrPort]*Transport{},
		conns: map[*conn]bool{},
	}
}

// Lose sets the share of packets that are lost, 0 to 1.
func (n *Network) Lose(share float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = share
}

// Split makes a side of its own of the addresses given; all others are the
// other side. It takes the place of an earlier split. Streams across it break.
func (n *Network) Split(side ...netip.AddrPort) {
	n.mu.Lock()
	n.side = map[netip.AddrPort]int{}
	for _, addr := range side {
		n.side[addr] = 1
	}
	var broken []*conn
	for c := range n.conns {
		if n.side[c.local] != n.side[c.remote] {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	for _, c := range broken {
		c.Close()
	}
}

// Heal ends the split.
func (n *Network) Heal() { n.Split() }

// Stats returns what went over the network so far.
func (n *Network) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats
}

// Transport returns a node's end of the network at an address, which must not
// be in use: it panics otherwise. After Shutdown the address is free again.
func (n *Network) Transport(addr netip.AddrPort) *Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.at[addr] != nil {
		panic(fmt.Sprintf("address %s is in use", addr))
	}
	t := &Transport{
		net:     n,
		addr:    addr,
		packets: make(chan *memberlist.Packet, queued),
		streams: make(chan net.Conn),
		done:    make(chan struct{}),
	}
	n.at[addr] = t
	return t
}

// Transport is one node's end.
type Transport struct {
	net     *Network
	addr    netip.AddrPort
	packets chan *memberlist.Packet
	streams chan net.Conn
	once    sync.Once
	done    chan struct{} // closed by Shutdown
}

var _ memberlist.Transport = (*Transport)(nil)

// FinalAdvertiseAddr returns the transport's own address, whatever is asked.
func (t *Transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.addr.Addr().AsSlice(), int(t.addr.Port()), nil
}

// WriteTo sends a packet. What becomes of it the sender does not learn; it errs
// only on an address that is none.
func (t *Transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	now := time.Now()
	n := t.net
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stats.Packets++
	n.stats.Octets += uint64(len(b))
	peer := n.at[to]
	if peer == nil || n.side[t.addr] != n.side[to] || n.rng.Float64() < n.loss {
		n.stats.Lost++
		return now, nil
	}
	packet := &memberlist.Packet{Buf: append([]byte(nil), b...), From: net.UDPAddrFromAddrPort(t.addr), Timestamp: now}
	select {
	case peer.packets <- packet:
	default:
		n.stats.Lost++
	}
	return now, nil
}

// PacketCh returns where packets arrive.
func (t *Transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh returns where streams arrive.
func (t *Transport) StreamCh() <-chan net.Conn { return t.streams }

// DialTimeout opens a stream. It errs with ECONNREFUSED when nobody has the
// address, and with os.ErrDeadlineExceeded when the other end does not take the
// stream in time or lies across a split.
func (t *Transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	late := time.NewTimer(timeout)
	defer late.Stop()

	n := t.net
	n.mu.Lock()
	peer, split := n.at[to], n.side[t.addr] != n.side[to]
	n.mu.Unlock()
	if split {
		select {
		case <-late.C:
			return nil, fmt.Errorf("dial %s: %w", to, os.ErrDeadlineExceeded)
		case <-t.done:
			return nil, net.ErrClosed
		}
	}
	if peer == nil {
		return nil, fmt.Errorf("dial %s: %w", to, syscall.ECONNREFUSED)
	}
	ours, theirs := n.pipe(t.addr, to)
	select {
	case peer.streams <- theirs:
		return ours, nil
	case <-peer.done:
		err = fmt.Errorf("dial %s: %w", to, syscall.ECONNREFUSED)
	case <-late.C:
		err = fmt.Errorf("dial %s: %w", to, os.ErrDeadlineExceeded)
	case <-t.done:
		err = net.ErrClosed
	}
	ours.Close()
	theirs.Close()
	return nil, err
}

// Shutdown frees the address and breaks the transport's streams.
func (t *Transport) Shutdown() error {
	t.once.Do(func() {
		close(t.done)
		n := t.net
		n.mu.Lock()
		delete(n.at, t.addr)
		var open []*conn
		for c := range n.conns {
			if c.local == t.addr {
				open = append(open, c)
			}
		}
		n.mu.Unlock()
		for _, c := range open {
			c.Close()
		}
	})
	return nil
}

// conn is one end of a stream, known to its network until it is closed.
type conn struct {
	net.Conn
	net           *Network
	local, remote netip.AddrPort
}

// pipe makes a stream and enters both ends.
func (n *Network) pipe(from, to netip.AddrPort) (ours, theirs *conn) {
	a, b := net.Pipe()
	ours = &conn{Conn: a, net: n, local: from, remote: to}
	theirs = &conn{Conn: b, net: n, local: to, remote: from}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns[ours], n.conns[theirs] = true, true
	n.stats.Streams++
	return ours, theirs
}

func (c *conn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (c *conn) Close() error {
	c.net.mu.Lock()
	delete(c.net.conns, c)
	c.net.mu.Unlock()
	return c.Conn.Close()
}
