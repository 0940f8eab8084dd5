package page

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"edged/mapper/beacon"
	"edged/mapper/beacon/token"
)

// Config is what a server is started with.
type Config struct {
	Listen []netip.AddrPort // HTTPS
	Dir    string           // of segments
	Node   string           // its name
	Log    *slog.Logger

	// Asked takes a question for a name below the beacon's wildcard out of the DNS
	// side; ok is false when there is none now.
	Asked func() (a Asked, ok bool)
}

// Site is what a server serves from. It is not changed after Use.
type Site struct {
	Certificate *tls.Certificate
	Keys        []token.Key // the first makes tokens, all check them
	Origins     []string    // of pages that may measure

	// Candidates returns the PoPs that a client may measure, the closest first, and
	// the index of the one in force. It may be called by several goroutines.
	Candidates   func(client netip.Addr) (list []Candidate, inForce int)
	AllowPrivate bool // take addresses that are not public
}

// The bounds on a request.
const (
	maxHeader     = 8 << 10 // octets
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 15 * time.Second
	idleTimeout   = 30 * time.Second
	maxStreams    = 32 // of one HTTP/2 connection at a time
)

// Server serves a beacon. Its methods may be called by several goroutines.
type Server struct {
	config    Config
	site      atomic.Pointer[Site]
	http      *http.Server
	listeners []net.Listener
	limiter   *limiter
	keeper    *keeper
	used      token.Used
	counters  counters
	stopping  chan struct{}
	running   sync.WaitGroup
}

// New makes a server. It opens the sockets, so that a port that is taken shows
// here. On error nothing stays open.
func New(c Config, site *Site) (*Server, error) {
	writer, err := beacon.NewWriter(c.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{config: c, limiter: newLimiter(), stopping: make(chan struct{})}
	s.keeper = newKeeper(writer, c.Node, c.Log, &s.counters)
	s.site.Store(site)
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.certificate},
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader,
		HTTP2:          &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:       log.New(io.Discard, "", 0), // anybody can make it say something at any rate
	}
	for _, a := range c.Listen {
		l, err := net.Listen("tcp", a.String())
		if err != nil {
			for _, l := range s.listeners {
				l.Close()
			}
			return nil, err
		}
		s.listeners = append(s.listeners, newBounded(l, func() { s.count(refusedConn) }))
	}
	return s, nil
}

func (s *Server) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.site.Load().Certificate, nil
}

// Addrs returns where the server listens.
func (s *Server) Addrs() []net.Addr {
	var all []net.Addr
	for _, l := range s.listeners {
		all = append(all, l.Addr())
	}
	return all
}

// Start begins to answer. It returns at once.
func (s *Server) Start() {
	s.keeper.start()
	for _, l := range s.listeners {
		s.running.Go(func() {
			if err := s.http.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
				s.config.Log.Error("the beacon's server has ended", "address", l.Addr(), "error", err)
			}
		})
	}
	s.running.Go((&watcher{Server: s, seen: map[seenKey]int64{}}).run)
}

// Use puts a site in the place of the one before.
func (s *Server) Use(site *Site) { s.site.Store(site) }

// Shutdown ends the server. Reports that have come are on disk, and answered,
// when it returns, unless ctx ends first.
func (s *Server) Shutdown(ctx context.Context) error {
	select {
	case <-s.stopping:
		return nil
	default:
		close(s.stopping)
	}
	// Rounds end first: a report that waits is answered then, and its connection
	// comes to rest.
	s.keeper.stop()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("the beacon's server: %w", err), s.http.Close())
	}
	for _, l := range s.listeners { // those that were never served
		l.Close()
	}
	s.running.Wait()
	return err
}

func (s *Server) count(w what) { s.counters.whats[w].Add(1) }
