package speaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/config/oc"
	"github.com/osrg/gobgp/v4/pkg/server"
)

// Config is what a speaker starts with.
type Config struct {
	ASN      uint32
	RouterID netip.Addr // IPv4, unique among the neighbours of each peer
	Listen   uint16     // the TCP port for peers that connect to us; 0: none may
	Peers    []Peer
	Log      *slog.Logger // nil: no log
}

// Speaker is a running BGP speaker.
type Speaker struct {
	asn      uint32
	listen   uint16
	server   *server.BgpServer
	sessions *sessions
	unwatch  context.CancelFunc

	mu      sync.Mutex              // one change at a time; guards what follows
	peers   []Peer                  // as configured, with defaults
	allowed map[netip.Prefix]bool   // may leave
	groups  map[netip.Prefix]groups // of an allowed prefix, as last applied
	heard   map[netip.Addr]prefixes // what the export policy lets each peer hear
	closed  bool

	readings map[netip.Addr]reading // of adjacent-out tables
	changed  time.Time              // when routes, policy or peers last did
}

// New starts a speaker that announces nothing and allows nothing. It errs when
// the configuration cannot work, or the port is taken.
func New(c Config) (*Speaker, error) {
	if c.ASN == 0 {
		return nil, errors.New("BGP needs an AS number of our own; set bgp.asn")
	}
	if !c.RouterID.Is4() {
		return nil, fmt.Errorf("BGP router ID %q: want an IPv4 address", c.RouterID)
	}
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Speaker{
		asn: c.ASN, listen: c.Listen,
		sessions: newSessions(log),
		allowed:  map[netip.Prefix]bool{}, groups: map[netip.Prefix]groups{}, heard: map[netip.Addr]prefixes{}, readings: map[netip.Addr]reading{},
	}
	if err := s.checkPeers(c.Peers); err != nil {
		return nil, err
	}
	s.server = server.NewBgpServer(server.LoggerOption(slog.New(&tap{next: log.Handler(), sessions: s.sessions}), nil))
	go s.server.Serve()
	if err := s.start(c); err != nil {
		s.server.Stop()
		return nil, err
	}
	return s, nil
}

// tables are the families that GoBGP keeps tables for. Its default is all it knows,
// at half a megabyte each.
var tables = []uint32{uint32(oc.AFI_SAFI_TYPE_IPV4_UNICAST.ToInt()), uint32(oc.AFI_SAFI_TYPE_IPV6_UNICAST.ToInt())}

// start brings the server up in an order that lets nothing in or out before the
// policy stands.
func (s *Speaker) start(c Config) error {
	port := int32(c.Listen)
	if port == 0 {
		port = -1 // to GoBGP 0 is the default port
	}
	ctx := context.Background()
	global := &api.Global{Asn: c.ASN, RouterId: c.RouterID.String(), ListenPort: port, Families: tables}
	if err := s.server.StartBgp(ctx, &api.StartBgpRequest{Global: global}); err != nil {
		return fmt.Errorf("cannot start BGP with AS %d, port %d: %w", c.ASN, c.Listen, err)
	}
	if err := s.startPolicy(ctx); err != nil {
		return err
	}
	watching, unwatch := context.WithCancel(ctx)
	s.unwatch = unwatch
	callbacks := server.WatchEventMessageCallbacks{OnPeerUpdate: s.sessions.update}
	if err := s.server.WatchEvent(watching, callbacks, server.WatchPeer()); err != nil {
		unwatch()
		return fmt.Errorf("cannot watch BGP sessions: %w", err)
	}
	go s.follow(watching)
	_, err := s.SetPeers(c.Peers)
	return err
}

// follow keeps the policy in step with what peers turn out to be able to, and BFD
// in step with the sessions.
func (s *Speaker) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.sessions.turned:
		}
		s.mu.Lock()
		if !s.closed {
			have, err := s.table()
			if err == nil {
				err = s.setPolicy(context.Background(), have)
			}
			if err != nil {
				s.sessions.log.Error("BGP peers hear of routes too late", slog.Any("error", err))
			}
			for _, p := range s.peers {
				s.watch(ctx, p)
			}
		}
		s.mu.Unlock()
	}
}

// Events gets a value after sessions or routes changed, but not when BFD alone
// did. Changes in quick succession may share one.
func (s *Speaker) Events() <-chan struct{} { return s.sessions.events }

// Close ends all sessions at once, and with them every route. It errs when ctx
// ends first; the sessions then end with the process.
func (s *Speaker) Close(ctx context.Context) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.closed {
			s.closed = true
			s.unwatch()
			s.server.Stop()
		}
	}()
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("BGP did not stop in time: %w", ctx.Err())
	}
}

var errClosed = errors.New("the BGP speaker is closed")
