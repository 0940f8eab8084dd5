package link

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// MaxBody is the largest body of a call or an answer, in octets.
const MaxBody = 1 << 20

// Config is what a link is made with.
type Config struct {
	Name string // of this member
	Key  ed25519.PrivateKey
	// KeyOf gives the public key of a member; false: there is no such member. It
	// is asked for each connection and each call, and must not wait for anything.
	KeyOf func(name string) (ed25519.PublicKey, bool)
	Log   *slog.Logger // nil: none
}

// Handler answers a call. The caller is a member's name, known for certain. The
// answer is sent as JSON; an error's text is sent to the caller. The context ends
// when the caller does not wait any more.
type Handler func(ctx context.Context, caller, path string, body []byte) (any, error)

// Link is one member's end of the calls among members.
type Link struct {
	cfg    Config
	self   tls.Certificate
	limits limits
	counts counts

	closing sync.WaitGroup // of peers' connections, for keys that have changed

	mu     sync.Mutex
	closed bool             // guarded by mu
	peers  map[string]*peer // members called, by name; guarded by mu
	door   *door            // nil until Listen; guarded by mu
	server *http.Server     // nil until Serve; guarded by mu
}

// New makes a link that can call. It errs when the key or the name is none.
func New(cfg Config) (*Link, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	self, err := certificate(cfg.Name, cfg.Key)
	if err != nil {
		return nil, err
	}
	return &Link{cfg: cfg, self: self, limits: defaultLimits, peers: map[string]*peer{}}, nil
}

// Listen opens the port for calls; port 0 picks one. Calls wait until Serve.
func (l *Link) Listen(bind netip.AddrPort) (netip.AddrPort, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.door != nil {
		return netip.AddrPort{}, fmt.Errorf("listen for members' calls on %s: the link is closed, or listens already", bind)
	}
	ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(bind))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("listen for members' calls on %s: %w", bind, err)
	}
	l.door = newDoor(l, ln)
	return ln.Addr().(*net.TCPAddr).AddrPort(), nil
}

// Serve begins to answer calls by a handler. It returns at once, and errs when
// Listen was not called, or Serve was.
func (l *Link) Serve(h Handler) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.door == nil || l.server != nil {
		return errors.New("members' calls are served once, after Listen and before Close")
	}
	l.server = l.newServer(h)
	l.door.open(l.server)
	return nil
}

// Close stops listening, lets the calls that are being answered end, or ctx, and
// closes all connections. Calls of this member end with an error.
func (l *Link) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	door, server, peers := l.door, l.server, l.peers
	l.peers = nil
	l.mu.Unlock()
	for _, p := range peers {
		p.close()
	}
	l.closing.Wait()
	var err error
	if door != nil {
		err = door.shut(ctx)
	}
	if server != nil {
		server.Close()
	}
	return err
}

// limits bound what others can cost.
type limits struct {
	handshake  time.Duration // a TLS handshake takes at most
	request    time.Duration // from a call's first octet to its last
	answer     time.Duration // from there until the answer is sent
	idle       time.Duration // a connection without calls is kept
	pending    int           // handshakes at once
	perSource  int           // of them from one address (IPv6: /64)
	strangers  rate          // handshakes of one address
	everybody  rate          // handshakes in all
	sources    int           // addresses that are told apart
	perMember  int           // connections of one member
	concurrent int           // calls of one member at once
	calls      rate          // calls of one member
}

// defaultLimits leave a fleet of some hundred members room: members call when a
// VIP changes, and keep their connections. All the handshakes that strangers can
// cause take about an eighth of one core.
var defaultLimits = limits{
	handshake: 3 * time.Second, request: 5 * time.Second, answer: 15 * time.Second, idle: 2 * time.Minute,
	pending: 32, perSource: 4, strangers: rate{burst: 20, every: 200 * time.Millisecond},
	everybody: rate{burst: 100, every: 5 * time.Millisecond}, sources: 1024,
	perMember: 4, concurrent: 16, calls: rate{burst: 200, every: 10 * time.Millisecond},
}
