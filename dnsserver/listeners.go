package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// unlistenWait is how long an address that is being closed still takes what
// clients had sent before: queued datagrams, and queries on open connections.
const unlistenWait = 100 * time.Millisecond

// listener is one address that the server answers on, over UDP and TCP.
type listener struct {
	addr    netip.AddrPort // the port filled in
	fixed   bool           // one of Config.Listen: open until Shutdown
	tcp     net.Listener
	workers []worker
	stop    atomic.Bool    // the workers answer what is queued, and end
	running sync.WaitGroup // workers, the accepting goroutine, connections

	queriesUDP uint64        // guarded by sum.mu; workers hand theirs over with their counters
	queriesNow atomic.Uint64 // connections add theirs, those of a read together, and shared workers, those of a batch
}

// worker serves one UDP socket of a listener.
type worker interface {
	// serve answers until the listener stops, then closes the socket.
	serve()
	// stop interrupts a wait for packets, where that has no bound of its own.
	stop()
	// close gives the socket of a worker back that never served.
	close()
	// collect has the worker's counters handed over, waiting briefly.
	collect()
	// threads is how many threads it keeps for itself.
	threads() int
}

// Listen opens further addresses, UDP and TCP, and answers on them like on those
// of Config.Listen once the server has started. It opens all of them or none; an
// address that an earlier Listen has opened stays as it is. It errs when an
// address is not on this machine, when its port is taken (also by the server
// itself, on the unspecified address), and after Shutdown.
//
// Each address takes Config.Threads sockets. The threads, Config.Threads of them too,
// are for all such addresses together.
func (s *Server) Listen(ctx context.Context, addrs []netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return errors.New("listen: the server has been shut down")
	}
	var opened []*listener
	for _, addr := range addrs {
		known := slices.IndexFunc(s.listeners, func(l *listener) bool { return l.addr == addr })
		twice := slices.ContainsFunc(opened, func(l *listener) bool { return l.addr == addr })
		if twice || known >= 0 && !s.listeners[known].fixed {
			continue
		}
		l, err := s.openFurther(ctx, addr)
		if err != nil {
			for _, l := range opened {
				l.abandon()
			}
			return err
		}
		opened = append(opened, l)
	}
	s.listeners = append(s.listeners, opened...)
	if s.started {
		s.serve(opened)
	}
	return nil
}

// openFurther opens an address beside those of Config.Listen, and errs when
// packets to it come to one of them already.
func (s *Server) openFurther(ctx context.Context, addr netip.AddrPort) (*listener, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	for _, l := range s.listeners {
		wild := l.addr.Addr().IsUnspecified() && l.addr.Addr().Is4() == addr.Addr().Is4()
		if l.fixed && l.addr.Port() == addr.Port() && (wild || l.addr == addr) {
			return nil, fmt.Errorf("listen on %s: the server was started on %s; an address to be opened later must be left out there", addr, l.addr)
		}
	}
	return s.open(ctx, addr, s.openFurtherUDP)
}

// Unlisten closes addresses that Listen opened, and waits for their workers and
// connections to end. What clients have sent before is answered: datagrams in
// the queues, and queries that arrive on open connections within a tenth of a
// second. An address that is not open is passed over; one of Config.Listen is an
// error, and nothing is closed then.
func (s *Server) Unlisten(addrs ...netip.AddrPort) error {
	s.mu.Lock()
	var closing, staying []*listener
	for _, l := range s.listeners {
		switch named := slices.Contains(addrs, l.addr); {
		case named && l.fixed:
			s.mu.Unlock()
			return fmt.Errorf("stop listening on %s: the server was started on it", l.addr)
		case named:
			closing = append(closing, l)
		default:
			staying = append(staying, l)
		}
	}
	s.listeners = staying
	started := s.started
	s.mu.Unlock()
	for _, l := range closing {
		if started {
			s.end(l)
		} else {
			l.abandon()
		}
	}
	for _, l := range closing {
		l.running.Wait()
	}
	return nil
}

// Queries returns how many queries have arrived on an address since it was
// opened, over UDP and TCP; 0 when it is not open. Like Stats, it waits a moment
// for the workers.
func (s *Server) Queries(addr netip.AddrPort) uint64 {
	listeners := s.current()
	at := slices.IndexFunc(listeners, func(l *listener) bool { return l.addr == addr })
	if at < 0 {
		return 0
	}
	l := listeners[at]
	s.collect(listeners[at : at+1])
	s.sum.mu.Lock()
	defer s.sum.mu.Unlock()
	return l.queriesUDP + l.queriesNow.Load()
}

// Addrs returns the addresses that are open: those of Config.Listen in their
// order, with ports filled in, then those of Listen.
func (s *Server) Addrs() []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, l := range s.current() {
		addrs = append(addrs, l.addr)
	}
	return addrs
}

// current returns the listeners that are open.
func (s *Server) current() []*listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.listeners)
}

// open opens the sockets of one address. Port 0 picks one, the same for both.
func (s *Server) open(ctx context.Context, addr netip.AddrPort, openUDP func(*listener) ([]worker, error)) (*listener, error) {
	ln, err := listenTCP(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w%s", addr, err, hint(err))
	}
	addr = netip.AddrPortFrom(addr.Addr(), ln.Addr().(*net.TCPAddr).AddrPort().Port())
	l := &listener{addr: addr, tcp: ln}
	if l.workers, err = openUDP(l); err != nil {
		ln.Close()
		return nil, fmt.Errorf("listen on %s (udp): %w%s", addr, err, hint(err))
	}
	return l, nil
}

// hint says what may have kept a socket from being opened.
func hint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "; is the address on this machine?"
	case errors.Is(err, syscall.EACCES):
		return "; ports below 1024 need root or CAP_NET_BIND_SERVICE"
	}
	return "; is another DNS server running there?"
}

// serve begins to answer on listeners. The caller holds s.mu.
func (s *Server) serve(listeners []*listener) {
	// A worker keeps its processor while it waits for packets, so the rest of
	// the program needs processors of its own. They are not given back: an idle
	// one costs nothing, and a change stops everything for a moment.
	procs := 2 + len(s.shared)
	for _, l := range s.listeners {
		for _, w := range l.workers {
			procs += w.threads()
		}
	}
	if runtime.GOMAXPROCS(0) < procs {
		runtime.GOMAXPROCS(procs)
	}
	for _, w := range s.shared[s.sharing:] {
		s.sharedRunning.Go(w.serve)
	}
	s.sharing = len(s.shared)
	for _, l := range listeners {
		for _, w := range l.workers {
			l.running.Go(w.serve)
		}
		l.running.Go(func() { s.tcp.accept(l) })
	}
}

// end has a listener that serves take no more, and end by itself.
func (s *Server) end(l *listener) {
	l.stop.Store(true)
	for _, w := range l.workers {
		w.stop()
	}
	l.tcp.Close()
	s.tcp.end(l)
}

// abandon closes a listener that never served.
func (l *listener) abandon() {
	l.tcp.Close()
	for _, w := range l.workers {
		w.close()
	}
}

// collect has all counters of listeners' workers added up.
func (s *Server) collect(listeners []*listener) {
	s.collecting.Lock()
	defer s.collecting.Unlock()
	var wait sync.WaitGroup
	for _, l := range listeners {
		for _, w := range l.workers {
			wait.Go(w.collect)
		}
	}
	wait.Wait()
}

// collectShared does the same for the workers of further addresses.
func (s *Server) collectShared() {
	s.mu.Lock()
	shared := s.shared[:s.sharing]
	s.mu.Unlock()
	var wait sync.WaitGroup
	for _, w := range shared {
		wait.Go(w.collect)
	}
	wait.Wait()
}
