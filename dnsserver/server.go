package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a server is started with. Changing it takes a restart.
type Config struct {
	Listen  []netip.AddrPort // UDP and TCP; port 0 picks one, the same for both
	Threads int              // sockets and threads for each address; 0: one per usable core
	MaxUDP  int              // largest UDP reply in octets, 512..4096; 1232 keeps clear of fragments (RFC 9715)
	RRL     RRL
	Cookies []CookieSecret // the first makes new cookies; none: random until the next start
	TCPIdle time.Duration  // how long a connection may be silent
	TCPMax  int            // connections in all
	// TCPMaxPerClient bounds the connections of one address (IPv6: one /64).
	TCPMaxPerClient int
	Tap             *Tap // nil: no dnstap
	Log             *slog.Logger
}

// Server answers queries on its addresses from the current view.
type Server struct {
	cfg     Config
	view    atomic.Pointer[View]
	sum     *sum
	cookies atomic.Pointer[cookieJar]
	log     *slog.Logger
	addrs   []netip.AddrPort
	parts   []part
	tcp     *tcpServer
	stop    atomic.Bool
	done    sync.WaitGroup
}

// part is something that answers: a UDP worker or the TCP side.
type part interface {
	serve()
	close()
	// collect adds the part's counters to the sum, waiting briefly.
	collect()
}

// New makes a server. It opens the sockets, so that a port that is taken shows
// here; nothing is answered before Start. On error nothing stays open.
func New(cfg Config, v *View) (*Server, error) {
	if cfg.Threads <= 0 {
		cfg.Threads = runtime.NumCPU()
	}
	if cfg.MaxUDP < minUDP || cfg.MaxUDP > maxUDPQuery {
		return nil, fmt.Errorf("largest UDP reply %d: want %d to %d octets", cfg.MaxUDP, minUDP, maxUDPQuery)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, sum: newSum(), log: cfg.Log}
	s.cookies.Store(newCookieJar(cfg.Cookies))
	s.view.Store(v)
	s.tcp = newTCPServer(s)
	s.parts = append(s.parts, s.tcp)
	for _, addr := range cfg.Listen {
		if err := s.open(addr); err != nil {
			for _, p := range s.parts {
				p.close()
			}
			return nil, err
		}
	}
	return s, nil
}

// open opens the sockets of one address.
func (s *Server) open(addr netip.AddrPort) error {
	ln, err := s.tcp.listen(addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; is another DNS server running there?", addr, err)
	}
	addr = netip.AddrPortFrom(addr.Addr(), ln.Addr().(*net.TCPAddr).AddrPort().Port())
	s.addrs = append(s.addrs, addr)
	workers, err := s.openUDP(addr)
	if err != nil {
		return fmt.Errorf("listen on %s (udp): %w; is another DNS server running there?", addr, err)
	}
	s.parts = append(s.parts, workers...)
	return nil
}

// Addrs returns the addresses in the order of Config.Listen, ports filled in.
func (s *Server) Addrs() []netip.AddrPort { return s.addrs }

// Start begins to answer. It returns at once.
func (s *Server) Start() {
	// A worker keeps its processor while it waits for packets, so the rest of
	// the program needs processors of its own.
	if procs := len(s.parts) + 1; runtime.GOMAXPROCS(0) < procs {
		runtime.GOMAXPROCS(procs)
	}
	for _, p := range s.parts {
		s.done.Go(p.serve)
	}
}

// Swap makes v the current view. Every reply after is from v; replies being
// built are still whole and from the old one.
func (s *Server) Swap(v *View) {
	s.view.Store(v)
	s.tcp.use(v)
}

// SetCookies changes the secrets of server cookies: the first makes new ones, the
// others are still accepted. At least one must be given.
func (s *Server) SetCookies(secrets []CookieSecret) { s.cookies.Store(newCookieJar(secrets)) }

// View returns the current view.
func (s *Server) View() *View { return s.view.Load() }

// Stats returns the counters. It waits a moment for the workers to hand theirs
// in; a worker that is too busy is counted the next time.
func (s *Server) Stats() Totals {
	var wait sync.WaitGroup
	for _, p := range s.parts {
		wait.Go(p.collect)
	}
	wait.Wait()
	return s.sum.read()
}

// Shutdown stops answering, closes the sockets and waits for all goroutines to
// end, or for ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.stop.Swap(true) {
		return nil
	}
	for _, p := range s.parts {
		p.close()
	}
	ended := make(chan struct{})
	go func() {
		s.done.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("dns server: not all workers have ended"), ctx.Err())
	}
}

func (s *Server) newResponder(transport string) *responder {
	r := &responder{
		cfg: &s.cfg, cookies: s.cookies.Load(), limiter: newLimiter(s.cfg.RRL),
		stats: &stats{sum: s.sum, transport: transport},
	}
	r.random.Seed(rand.Uint64(), rand.Uint64())
	return r
}
