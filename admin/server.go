package admin

import (
	"context"
	"crypto/tls"
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
	TLS     bool                // over TCP only with TLS; see SetCertificate
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

	certificate atomic.Pointer[tls.Certificate]
	uploads     atomic.Int64 // that run
	quotas      quotas
}

// New returns a Server that accepts no token yet and does not listen yet.
func New(c Config, n Node) *Server {
	s := &Server{config: c, node: n, log: c.Log, quotas: quotas{now: time.Now, used: map[string]usage{}}}
	if s.log == nil {
		s.log = slog.Default()
	}
	return s
}

// SetTokens replaces the tokens accepted. nil: none.
func (s *Server) SetTokens(t *Tokens) { s.tokens.Store(t) }

// SetCertificate replaces the certificate of new connections.
func (s *Server) SetCertificate(c *tls.Certificate) { s.certificate.Store(c) }

// tls is how connections over TCP are secured. A client may show a certificate;
// the handshake proves its key, and identify judges it.
func (s *Server) tls() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		ClientAuth: tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := s.certificate.Load(); c != nil {
				return c, nil
			}
			return nil, errors.New("there is no certificate")
		},
	}
}

// Start listens and serves in the background. It errs when it cannot listen.
func (s *Server) Start() error {
	var socket net.Listener
	if s.config.Socket != "" {
		var err error
		if socket, err = listenSocket(s.config.Socket); err != nil {
			return err
		}
	}
	if s.config.Listen.IsValid() {
		var err error
		if s.tcp, err = net.Listen("tcp", s.config.Listen.String()); err != nil {
			err = fmt.Errorf("listen.admin: %w", err)
			if socket != nil {
				err = errors.Join(err, socket.Close())
			}
			return err
		}
	}
	handler := s.handler() // nobody is answered before all is open
	if socket != nil {
		s.serve(netutil.LimitListener(socket, maxConnections), handler, localConn)
	}
	if s.tcp != nil {
		l := netutil.LimitListener(s.tcp, maxConnections)
		if s.config.TLS { // outermost: the HTTP server looks for it
			l = tls.NewListener(l, s.tls())
		}
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
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
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
