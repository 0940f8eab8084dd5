package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// door takes connections and shakes hands. As a net.Listener it yields those of
// members only, so what comes behind it never meets a stranger.
type door struct {
	*net.TCPListener
	link    *Link
	tls     *tls.Config
	known   chan *tls.Conn // of members, who are let in
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	pending int                    // handshakes; guarded by mu
	all     bucket                 // guarded by mu
	sources map[netip.Addr]*source // by block; guarded by mu
	members map[string][]*guest    // connections, oldest first; guarded by mu
	guests  map[*guest]struct{}    // all connections; guarded by mu
	left    chan struct{}          // closed when all have gone after the port was closed; guarded by mu
}

// source is a block of addresses that connections come from.
type source struct {
	pending int // handshakes
	recent  bucket
}

// guest is a connection under its TLS.
type guest struct {
	*net.TCPConn
	door *door
	from netip.Addr
	name string // of the member; guarded by door.mu
	busy bool   // answers calls, or shakes hands; guarded by door.mu
}

func newDoor(l *Link, ln *net.TCPListener) *door {
	d := &door{
		TCPListener: ln, link: l, tls: l.serverTLS(), known: make(chan *tls.Conn),
		sources: map[netip.Addr]*source{}, members: map[string][]*guest{}, guests: map[*guest]struct{}{},
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// open begins to take connections, for a server.
func (d *door) open(s *http.Server) {
	d.running.Go(d.receive)
	d.running.Go(func() { _ = s.Serve(d) }) // ends when the door is closed
}

// shut closes the port, then each connection as soon as its calls are answered,
// or when ctx ends. It waits for the handshakes, which end by that.
func (d *door) shut(ctx context.Context) (err error) {
	d.Close()
	left := make(chan struct{})
	d.mu.Lock()
	d.left = left
	idle := d.those(func(g *guest) bool { return !g.busy })
	d.leave()
	d.mu.Unlock()
	for _, g := range idle {
		g.dismiss()
	}
	select {
	case <-left:
	case <-ctx.Done():
		err = fmt.Errorf("members' calls are cut off: %w", ctx.Err())
		d.mu.Lock()
		rest := d.those(func(*guest) bool { return true })
		d.mu.Unlock()
		for _, g := range rest {
			g.Close()
		}
	}
	d.running.Wait()
	return err
}

// those returns the guests for whom something holds. The caller holds mu.
func (d *door) those(holds func(*guest) bool) (some []*guest) {
	for g := range d.guests {
		if holds(g) {
			some = append(some, g)
		}
	}
	return some
}

// leave tells shut when nobody is left. The caller holds mu.
func (d *door) leave() {
	if d.left != nil && len(d.guests) == 0 {
		close(d.left)
		d.left = nil
	}
}

// state notes whether a connection answers calls. It is http.Server's hook: a
// connection is active until its last answer has been written.
func state(conn net.Conn, state http.ConnState) {
	g := conn.(*tls.Conn).NetConn().(*guest)
	g.door.mu.Lock()
	g.busy = state == http.StateNew || state == http.StateActive
	done := state == http.StateIdle && g.door.left != nil
	g.door.mu.Unlock()
	if done {
		g.dismiss()
	}
}

// dismiss has the member close the connection when it has read all, for what is
// under way from it would make TCP take back what is under way to it. It leaves
// package http a moment, which calls a connection idle just before it has written
// the last octets.
func (g *guest) dismiss() {
	time.AfterFunc(20*time.Millisecond, func() { g.CloseWrite() })
	g.SetReadDeadline(time.Now().Add(time.Second))
}

// Close closes the port. It is the listener's, for http.Server.
func (d *door) Close() error {
	d.cancel()
	return d.TCPListener.Close()
}

// Accept returns the next connection of a member.
func (d *door) Accept() (net.Conn, error) {
	select {
	case conn := <-d.known:
		return conn, nil
	case <-d.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (d *door) receive() {
	for {
		conn, err := d.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, most likely
			d.link.cfg.Log.Error("members' calls: accept failed", "error", err)
			select {
			case <-d.ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		g := &guest{TCPConn: conn, door: d, from: block(conn.RemoteAddr()), busy: true}
		if !d.admit(g, time.Now()) {
			d.link.counts.refused(Crowd)
			conn.Close()
			continue
		}
		d.running.Go(func() { d.greet(g) })
	}
}

// admit enters a connection for a handshake, if there are not too many.
func (d *door) admit(g *guest, now time.Time) bool {
	limits := &d.link.limits
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sources[g.from]
	if s == nil {
		if len(d.sources) >= limits.sources {
			d.forget(now)
		}
		if len(d.sources) >= limits.sources {
			return false
		}
		s = &source{}
		d.sources[g.from] = s
	}
	if d.ctx.Err() != nil || d.pending >= limits.pending || s.pending >= limits.perSource ||
		!s.recent.take(limits.strangers, now) || !d.all.take(limits.everybody, now) {
		return false
	}
	d.pending++
	s.pending++
	d.guests[g] = struct{}{}
	return true
}

// forget drops sources that have done nothing lately. The caller holds mu.
func (d *door) forget(now time.Time) {
	for from, s := range d.sources {
		if s.pending == 0 && s.recent.idle(now) {
			delete(d.sources, from)
		}
	}
}

// block is what one host may have many addresses of: a /64 in IPv6.
func block(addr net.Addr) netip.Addr {
	a := addr.(*net.TCPAddr).AddrPort().Addr().Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64) // no error: 64 is a valid length
		return p.Addr()
	}
	return a
}

// greet shakes hands with a guest, and lets it in if it is a member.
func (d *door) greet(g *guest) {
	ctx, cancel := context.WithTimeout(d.ctx, d.link.limits.handshake)
	defer cancel()
	conn := tls.Server(g, d.tls)
	err := conn.HandshakeContext(ctx)
	d.mu.Lock()
	d.pending--
	d.sources[g.from].pending--
	d.mu.Unlock()
	if err != nil {
		defer g.Close()
		if d.ctx.Err() == nil {
			d.link.counts.refused(reasonOf(err))
			d.link.cfg.Log.Info("refused a connection for members' calls", "from", g.RemoteAddr().String(), "why", err)
		}
		return
	}
	d.enter(g, conn.ConnectionState().PeerCertificates[0].Subject.CommonName)
	select {
	case d.known <- conn:
	case <-d.ctx.Done():
		g.Close()
	}
}

// enter notes whose connection it is. The member's oldest one goes when it has
// too many: a member that has started again has no use for it.
func (d *door) enter(g *guest, name string) {
	d.mu.Lock()
	g.name = name
	d.members[name] = append(d.members[name], g)
	var oldest *guest
	if list := d.members[name]; len(list) > d.link.limits.perMember {
		oldest = list[0]
	}
	d.mu.Unlock()
	if oldest != nil {
		oldest.Close()
	}
}

// Close ends the connection and gives its place back.
func (g *guest) Close() error {
	d := g.door
	d.mu.Lock()
	delete(d.guests, g)
	d.leave()
	if list := without(d.members[g.name], g); len(list) > 0 {
		d.members[g.name] = list
	} else {
		delete(d.members, g.name)
	}
	d.mu.Unlock()
	return g.TCPConn.Close()
}

func without(list []*guest, g *guest) []*guest {
	var rest []*guest
	for _, other := range list {
		if other != g {
			rest = append(rest, other)
		}
	}
	return rest
}
