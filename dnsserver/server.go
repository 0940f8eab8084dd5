package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a server is started with. Changing it takes a restart.
type Config struct {
	Listen  []netip.AddrPort // UDP and TCP; port 0 picks one, the same for both
	Threads int              // sockets and threads for each address, threads for all that Listen opens; 0: one per usable core
	MaxUDP  int              // largest UDP reply in octets, 512..4096; 1232 keeps clear of fragments (RFC 9715)
	RRL     RRL
	Cookies []CookieSecret // the first makes new cookies; none: random until the next start
	TCPIdle time.Duration  // how long a connection may be silent
	TCPMax  int            // connections in all
	// TCPMaxPerClient bounds the connections of one address (IPv6: one /64).
	TCPMaxPerClient int
	Tap             *Tap   // nil: no dnstap
	Watch           *Watch // nil: nobody wants to know who asks for watched names
	Log             *slog.Logger
}

// Server answers queries on its addresses from the current view.
type Server struct {
	cfg     Config
	view    atomic.Pointer[View]
	sum     *sum
	cookies atomic.Pointer[cookieJar]
	log     *slog.Logger
	tcp     *tcpServer

	yielding atomic.Int32 // calls of Yield that are in force

	mu        sync.Mutex
	listeners []*listener // guarded by mu
	started   bool        // guarded by mu
	ended     bool        // guarded by mu
	shared    []worker    // of all addresses that Listen opened; guarded by mu
	sharing   int         // of them that run; guarded by mu

	sharedRunning sync.WaitGroup

	collecting sync.Mutex // one at a time asks the workers for their counters
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
	for _, addr := range cfg.Listen {
		l, err := s.open(context.Background(), addr, s.openUDP)
		if err != nil {
			for _, l := range s.listeners {
				l.abandon()
			}
			return nil, err
		}
		l.fixed = true
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

// Start begins to answer. It returns at once.
func (s *Server) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	s.serve(s.listeners)
}

// Yield makes busy workers (of 20,000 queries/s and more) gather queries for up to
// 250 µs before they look for more, until done is called: they take less of the
// processor, and what shares it, such as building the next view, is ready sooner.
// done may be called more than once. On systems without such workers Yield does
// nothing.
func (s *Server) Yield() (done func()) {
	s.yielding.Add(1)
	return sync.OnceFunc(func() { s.yielding.Add(-1) })
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
	s.collect(s.current())
	s.collectShared()
	s.tcp.collect()
	return s.sum.read()
}

// Shutdown stops answering, closes the sockets and waits for all goroutines to
// end, or for ctx. As for Unlisten, what clients have sent before is answered.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return nil
	}
	s.ended = true
	started, listeners, shared := s.started, s.listeners, s.shared
	s.mu.Unlock()
	if !started {
		for _, l := range listeners {
			l.abandon()
		}
		for _, w := range shared {
			w.close()
		}
		return nil
	}
	for _, l := range listeners {
		s.end(l)
	}
	ended := make(chan struct{})
	go func() {
		for _, l := range listeners {
			l.running.Wait()
		}
		for _, w := range shared {
			w.stop()
		}
		s.sharedRunning.Wait()
		s.tcp.collect()
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
