package gossip

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// memberlist reads up to 20 MiB from a stream before it knows that its sender
// has a key, so the streams of strangers are few.
const (
	maxStreams       = 64 // incoming, at once
	maxStreamsSource = 8  // of them from one address
)

// transport is memberlist's transport with bounds: incoming streams are limited
// and come from allowed networks, and Shutdown breaks all streams and dials, so
// that nobody waits on them any more.
type transport struct {
	memberlist.Transport
	dial     func(ctx context.Context, addr string, timeout time.Duration) (net.Conn, error)
	networks []netip.Prefix // streams may come from; empty: any
	refused  atomic.Uint64  // incoming streams

	ctx     context.Context // ends with Shutdown
	cancel  context.CancelFunc
	once    sync.Once
	streams chan net.Conn
	stopped chan struct{} // closed once the inner transport is down
	done    sync.WaitGroup

	mu   sync.Mutex // guards the rest
	open map[*stream]bool
	from map[netip.Addr]int // open incoming streams by source
	in   int                // their number
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// listen opens the sockets of a node, UDP and TCP on one port. With port 0 a
// port is chosen that both have free.
func listen(bind netip.AddrPort, logger *log.Logger) (*memberlist.NetTransport, error) {
	tries := 1
	if bind.Port() == 0 {
		tries = 10
	}
	var err error
	for range tries {
		var t *memberlist.NetTransport
		t, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{bind.Addr().String()},
			BindPort:  int(bind.Port()),
			Logger:    logger,
		})
		if err == nil {
			return t, nil
		}
	}
	return nil, fmt.Errorf("gossip cannot listen on %s: %w", bind, err)
}

// newTransport puts the bounds around a transport.
func newTransport(inner memberlist.Transport, networks []netip.Prefix) *transport {
	t := &transport{
		Transport: inner,
		networks:  networks,
		streams:   make(chan net.Conn),
		stopped:   make(chan struct{}),
		open:      map[*stream]bool{},
		from:      map[netip.Addr]int{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.dial = func(_ context.Context, addr string, timeout time.Duration) (net.Conn, error) {
		return inner.DialTimeout(addr, timeout)
	}
	if _, real := inner.(*memberlist.NetTransport); real {
		t.dial = func(ctx context.Context, addr string, timeout time.Duration) (net.Conn, error) {
			return (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", addr)
		}
	}
	t.done.Go(t.accept)
	return t
}

// WriteToAddress sends a packet; nodes are told apart by address alone.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// DialAddressTimeout opens a stream, on which nothing waits longer than the
// timeout until memberlist sets a deadline of its own.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	c, err := t.dial(t.ctx, a.Addr, timeout)
	if err != nil {
		return nil, err
	}
	s := t.track(c, netip.Addr{})
	if s == nil {
		return nil, net.ErrClosed
	}
	return s, s.SetDeadline(time.Now().Add(timeout))
}

// StreamCh returns where admitted streams arrive.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// accept admits incoming streams until the inner transport is down. It takes
// them during Shutdown too, because NetTransport waits for that.
func (t *transport) accept() {
	for {
		select {
		case c := <-t.Transport.StreamCh():
			s := t.track(c, source(c))
			if s == nil {
				continue
			}
			select {
			case t.streams <- s:
			case <-t.ctx.Done():
				s.Close()
			}
		case <-t.stopped:
			return
		}
	}
}

// source returns where a stream comes from; invalid when it does not say.
func source(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// track enters a stream, from a source when it is an incoming one. It closes
// the stream and returns nil when there are too many, when it comes from a
// network that is not allowed, and after Shutdown.
func (t *transport) track(c net.Conn, from netip.Addr) *stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		c.Close()
		return nil
	}
	s := &stream{Conn: c, t: t, from: from}
	if from.IsValid() {
		if t.in >= maxStreams || t.from[from] >= maxStreamsSource || !allowed(t.networks, from) {
			t.refused.Add(1)
			c.Close()
			return nil
		}
		t.in++
		t.from[from]++
	}
	t.open[s] = true
	return s
}

// allowed says whether an address is in one of the networks, or there are none.
func allowed(networks []netip.Prefix, a netip.Addr) bool {
	for _, p := range networks {
		if p.Contains(a) {
			return true
		}
	}
	return len(networks) == 0
}

// Shutdown closes the sockets and breaks all streams and dials.
func (t *transport) Shutdown() error {
	var err error
	t.once.Do(func() {
		t.mu.Lock()
		t.cancel()
		var open []*stream
		for s := range t.open {
			open = append(open, s)
		}
		t.mu.Unlock()
		for _, s := range open {
			s.Close()
		}
		err = t.Transport.Shutdown()
		close(t.stopped)
		t.done.Wait()
	})
	return err
}

// stream is a stream that its transport knows until it is closed.
type stream struct {
	net.Conn
	t    *transport
	from netip.Addr // of incoming ones
}

// Close closes the stream.
func (s *stream) Close() error {
	t := s.t
	t.mu.Lock()
	if t.open[s] {
		delete(t.open, s)
		if s.from.IsValid() {
			t.in--
			if t.from[s.from]--; t.from[s.from] == 0 {
				delete(t.from, s.from)
			}
		}
	}
	t.mu.Unlock()
	return s.Conn.Close()
}
