package dnsserver

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	tcpReadBuffer  = 4096                 // holds many queries; it grows for one that is longer
	tcpWriteBuffer = 2 * (maxMessage + 2) // replies are written once this is half full
)

// tcpServer answers over TCP (RFC 7766): one goroutine for each connection,
// which drains all queries that have arrived and writes their replies in one
// go. Nothing blocks an answer, so replies are in order.
type tcpServer struct {
	server  *Server
	shards  []*tcpShard
	buffers sync.Pool // of *[tcpWriteBuffer]byte, held only while answering

	mu      sync.Mutex
	conns   map[*tcpConn]struct{} // guarded by mu
	clients map[netip.Addr]int    // connections by client block; guarded by mu
}

// tcpShard is a responder that connections take turns on.
type tcpShard struct {
	mu        sync.Mutex
	responder *responder // guarded by mu, as is query
	query     query
}

type tcpConn struct {
	net.Conn
	listener *listener
	client   netip.AddrPort
	local    []netip.AddrPort // the one address asked
	active   atomic.Int64     // Unix nanoseconds of the last query
}

func newTCPServer(s *Server) *tcpServer {
	t := &tcpServer{server: s, conns: map[*tcpConn]struct{}{}, clients: map[netip.Addr]int{}}
	t.buffers.New = func() any { return new([tcpWriteBuffer]byte) }
	for range 2 * runtime.NumCPU() {
		t.shards = append(t.shards, &tcpShard{responder: s.newResponder("tcp")})
	}
	return t
}

func listenTCP(ctx context.Context, addr netip.AddrPort) (net.Listener, error) {
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp6"
	}
	return new(net.ListenConfig).Listen(ctx, network, addr.String())
}

// end gives the connections of a listener that has stopped unlistenWait more,
// or less when they come to the end of what they were answering.
func (t *tcpServer) end(l *listener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.conns {
		if c.listener == l {
			c.SetDeadline(time.Now().Add(unlistenWait))
		}
	}
}

func (t *tcpServer) collect() {
	for _, s := range t.shards {
		s.mu.Lock()
		s.responder.stats.flush()
		s.mu.Unlock()
	}
}

// use has all shards let go of the view before v.
func (t *tcpServer) use(v *View) {
	for _, s := range t.shards {
		s.mu.Lock()
		s.responder.stats.use(v)
		s.mu.Unlock()
	}
}

func (t *tcpServer) event(e event) {
	s := t.shards[0]
	s.mu.Lock()
	s.responder.stats.event(e)
	s.mu.Unlock()
}

// accept takes a listener's connections until it is closed.
func (t *tcpServer) accept(l *listener) {
	for n := 0; ; n++ {
		conn, err := l.tcp.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, most likely
			t.server.log.Error("tcp accept failed", "address", l.addr, "error", err)
			t.evict()
			time.Sleep(receiveWait)
			continue
		}
		c := &tcpConn{Conn: conn, listener: l, client: conn.RemoteAddr().(*net.TCPAddr).AddrPort()}
		c.local = []netip.AddrPort{conn.LocalAddr().(*net.TCPAddr).AddrPort()}
		if !t.admit(c) {
			t.event(eventTCPRefused)
			conn.Close()
			continue
		}
		t.event(eventTCPAccepted)
		shard := t.shards[n%len(t.shards)]
		l.running.Go(func() {
			defer t.release(c)
			t.converse(c, shard)
		})
	}
}

// admit registers a connection, if its client has not too many. When all places
// are taken, the connection that was silent longest makes room.
func (t *tcpServer) admit(c *tcpConn) bool {
	c.active.Store(time.Now().UnixNano())
	t.mu.Lock()
	full := len(t.conns) >= t.server.cfg.TCPMax
	block := clientBlock(c.client.Addr())
	refused := c.listener.stop.Load() || t.clients[block] >= t.server.cfg.TCPMaxPerClient
	if !refused {
		t.clients[block]++
		t.conns[c] = struct{}{}
	}
	t.mu.Unlock()
	if full && !refused {
		t.evict()
	}
	return !refused
}

// evict closes the connection that was silent longest.
func (t *tcpServer) evict() {
	t.mu.Lock()
	var oldest *tcpConn
	for c := range t.conns {
		if oldest == nil || c.active.Load() < oldest.active.Load() {
			oldest = c
		}
	}
	delete(t.conns, oldest) // its place is free from now on; release does the rest
	t.mu.Unlock()
	if oldest != nil {
		t.event(eventTCPClosedIdle)
		oldest.Close()
	}
}

func (t *tcpServer) release(c *tcpConn) {
	c.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
	block := clientBlock(c.client.Addr())
	if t.clients[block]--; t.clients[block] == 0 {
		delete(t.clients, block)
	}
}

// clientBlock is what one client may use many addresses of: a /64 in IPv6.
func clientBlock(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64) // no error: 64 is a valid length
		return p.Addr()
	}
	return a
}

// converse reads queries until the client is silent for too long, or goes away,
// or sends what is no query. Only whole queries count as a sign of life, so that
// a client that sends one octet at a time is cut off too.
func (t *tcpServer) converse(c *tcpConn, shard *tcpShard) {
	in := make([]byte, tcpReadBuffer)
	have := 0
	armed, ending := int64(0), false
	idle := int64(t.server.cfg.TCPIdle)
	for {
		if active := c.active.Load(); active-armed > idle/8 && !ending {
			armed = active
			c.SetDeadline(time.Unix(0, active+idle))
			if ending = c.listener.stop.Load(); ending { // else the deadline of end would be lost
				c.SetDeadline(time.Now().Add(unlistenWait))
			}
		}
		n, err := c.Read(in[have:])
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && !c.listener.stop.Load() {
				t.event(eventTCPClosedIdle)
			}
			return
		}
		have += n
		used, ok := t.drain(c, shard, in[:have])
		if !ok {
			return
		}
		if used > 0 {
			c.active.Store(time.Now().UnixNano())
			have = copy(in, in[used:have])
		}
		if have == len(in) { // a query longer than any that makes sense, but allowed
			in = append(make([]byte, 0, maxMessage+2), in...)[:maxMessage+2]
		}
	}
}

// drain answers all whole queries in data and returns how many octets they
// took. ok is false when the connection is to be closed.
func (t *tcpServer) drain(c *tcpConn, shard *tcpShard, data []byte) (used int, ok bool) {
	if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
		return 0, true
	}
	out := t.buffers.Get().(*[tcpWriteBuffer]byte)
	defer t.buffers.Put(out)
	for {
		n, size, alive := t.answer(c, shard, data[used:], out[:])
		used += n
		if size > 0 {
			if _, err := c.Write(out[:size]); err != nil {
				return used, false
			}
		}
		if n == 0 || !alive {
			return used, alive
		}
	}
}

// answer answers queries while there are whole ones in data and the buffer is
// not half full.
func (t *tcpServer) answer(c *tcpConn, shard *tcpShard, data, out []byte) (used, size int, alive bool) {
	shard.mu.Lock()
	defer shard.mu.Unlock()
	r, q := shard.responder, &shard.query
	v := t.server.view.Load()
	r.begin(t.server, v, time.Now())
	before := r.stats.events[eventReceived]
	defer func() {
		q.node = nil // a shard at rest holds no old view
		c.listener.queriesNow.Add(r.stats.events[eventReceived] - before)
	}()
	for size <= maxMessage {
		if len(data)-used < 2 {
			break
		}
		n := int(binary.BigEndian.Uint16(data[used:]))
		if len(data)-used < 2+n {
			break
		}
		msg := out[size+2:][:maxMessage:maxMessage]
		copy(msg, data[used+2:used+2+n])
		used += 2 + n
		r.stats.event(eventReceived)
		state := q.parse(msg[:n])
		if state == drop {
			r.stats.event(eventDropped)
			runtime.KeepAlive(v)
			return used, size, false
		}
		v.locate(q, &r.client)
		tapped := t.server.cfg.Tap.query(msg[:n], c.client, c.local, overTCP)
		length := r.respond(v, msg, q, state, c.client, overTCP)
		if tapped {
			t.server.cfg.Tap.response(msg[:length], c.client, c.local, overTCP)
		}
		binary.BigEndian.PutUint16(out[size:], uint16(length))
		size += 2 + length
	}
	runtime.KeepAlive(v) // the tables of its covers are not the collector's
	return used, size, true
}
