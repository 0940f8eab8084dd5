package page

import (
	"hash/maphash"
	"net"
	"net/netip"
	"sync"
	"time"
)

// What one source may ask. A page's session takes six requests of a node; many
// clients may share an address.
const (
	perSecond = 50
	burst     = 500
	slots     = 1 << 15 // sources in view; some 2 MB
)

// source is who asks: an address of IPv4, or the /64 of one of IPv6.
func source(a netip.Addr) netip.Addr {
	if a.Is6() {
		p, _ := a.Prefix(64) // no error: 64 is a valid length
		return p.Addr()
	}
	return a
}

// limiter bounds the requests of each source by a bucket of tokens. Its size is
// fixed: of two sources that share a slot, the newer takes it over.
type limiter struct {
	seed maphash.Seed

	mu      sync.Mutex
	buckets [slots]bucket // guarded by mu
}

type bucket struct {
	of     netip.Addr
	at     time.Time
	tokens float64
}

func newLimiter() *limiter { return &limiter{seed: maphash.MakeSeed()} }

// allow says whether a client may make a request at a time.
func (l *limiter) allow(client netip.Addr, now time.Time) bool {
	of := source(client)
	i := maphash.Comparable(l.seed, of) % slots
	l.mu.Lock()
	defer l.mu.Unlock()
	b := &l.buckets[i]
	if b.of != of {
		*b = bucket{of, now, burst}
	}
	if since := now.Sub(b.at).Seconds(); since > 0 {
		b.tokens, b.at = min(burst, b.tokens+since*perSecond), now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// The bounds on connections.
const (
	maxConns          = 8192
	maxConnsPerSource = 256
)

// bounded is a listener that closes connections above the bounds at once.
type bounded struct {
	net.Listener
	refused func()

	mu    sync.Mutex
	total int                // guarded by mu, as is the next
	by    map[netip.Addr]int // connections of each source
}

func newBounded(l net.Listener, refused func()) *bounded {
	return &bounded{Listener: l, refused: refused, by: map[netip.Addr]int{}}
}

// Accept implements net.Listener.
func (l *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		of := source(addrOf(conn.RemoteAddr().String()))
		if l.take(of) {
			return &boundedConn{Conn: conn, gone: sync.OnceFunc(func() { l.leave(of) })}, nil
		}
		l.refused()
		conn.Close()
	}
}

func (l *bounded) take(of netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= maxConns || l.by[of] >= maxConnsPerSource {
		return false
	}
	l.total++
	l.by[of]++
	return true
}

func (l *bounded) leave(of netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.by[of]--; l.by[of] == 0 {
		delete(l.by, of)
	}
}

type boundedConn struct {
	net.Conn
	gone func()
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	c.gone()
	return c.Conn.Close()
}

// addrOf reads the address of "address:port"; IPv4-mapped ones become IPv4.
func addrOf(hostport string) netip.Addr {
	a, _ := netip.ParseAddrPort(hostport) // invalid: nobody is that
	return a.Addr().Unmap().WithZone("")
}
