package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"
)

// The bounds on what one client can hold.
const (
	maxConnections = 256      // per listener
	maxHeader      = 16 << 10 // octets
	maxBody        = 64 << 10 // octets
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 2 * time.Minute // a CPU profile takes 30 s, a reload of large zones some
	idleTimeout    = time.Minute
)

// Config says where and to whom the API is served.
type Config struct {
	Listen  netip.AddrPort      // TCP; the zero value: none
	Hosts   []string            // lower-case names under which TCP clients may ask
	Socket  string              // path of the control socket; empty: none
	Pprof   bool                // serve profiles on the control socket
	Metrics prometheus.Gatherer // what /metrics shows
	Log     *slog.Logger        // nil: slog.Default
}

// Server serves the API of one node.
type Server struct {
	config  Config
	node    Node
	tokens  atomic.Pointer[Tokens]
	log     *slog.Logger
	servers []*http.Server
	serving sync.WaitGroup // one per server
	refused atomic.Int64   // Unix time of the last refusal that was logged
	tcp     net.Listener
}

// New returns a Server that accepts no token yet and does not listen yet.
func New(c Config, n Node) *Server {
	s := &Server{config: c, node: n, log: c.Log}
	if s.log == nil {
		s.log = slog.Default()
	}
	return s
}

// SetTokens replaces the tokens accepted. nil: none.
func (s *Server) SetTokens(t *Tokens) { s.tokens.Store(t) }

// Start listens and serves in the background. It errs when it cannot listen.
func (s *Server) Start() error {
	handler := s.handler()
	if s.config.Socket != "" {
		l, err := listenSocket(s.config.Socket)
		if err != nil {
			return err
		}
		s.serve(l, handler, localConn)
	}
	if s.config.Listen.IsValid() {
		l, err := net.Listen("tcp", s.config.Listen.String())
		if err != nil {
			return errors.Join(fmt.Errorf("listen.admin: %w", err), s.Shutdown(context.Background()))
		}
		s.tcp = l
		s.serve(l, handler, nil)
	}
	return nil
}

func (s *Server) serve(l net.Listener, h http.Handler, conn func(context.Context, net.Conn) context.Context) {
	srv := &http.Server{
		Handler:           h,
		ConnContext:       conn,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.servers = append(s.servers, srv)
	s.serving.Go(func() {
		if err := srv.Serve(netutil.LimitListener(l, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("admin API stopped", "address", l.Addr().String(), "error", err)
		}
	})
}

// Addr returns the TCP address listened on, nil when there is none.
func (s *Server) Addr() net.Addr {
	if s.tcp == nil {
		return nil
	}
	return s.tcp.Addr()
}

// Shutdown stops listening and waits for running requests until ctx is done,
// then cuts them off.
func (s *Server) Shutdown(ctx context.Context) error {
	var errs []error
	for _, srv := range s.servers {
		if err := srv.Shutdown(ctx); err != nil {
			errs = append(errs, err, srv.Close())
		}
	}
	s.serving.Wait() // each has closed its listener when it returns
	return errors.Join(errs...)
}
