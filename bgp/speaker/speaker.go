package speaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/server"

	"edged/bgp"
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
		allowed:  map[netip.Prefix]bool{}, groups: map[netip.Prefix]groups{}, heard: map[netip.Addr]prefixes{},
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

// start brings the server up in an order that lets nothing in or out before the
// policy stands.
func (s *Speaker) start(c Config) error {
	port := int32(c.Listen)
	if port == 0 {
		port = -1 // to GoBGP 0 is the default port
	}
	ctx := context.Background()
	global := &api.Global{Asn: c.ASN, RouterId: c.RouterID.String(), ListenPort: port}
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

// follow keeps the policy in step with what peers turn out to be able to.
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

// Diff says what a call of Apply changed, in the order of prefixes.
type Diff struct {
	Announced []netip.Prefix `json:"announced,omitempty"`
	Changed   []netip.Prefix `json:"changed,omitempty"` // in their attributes or groups
	Withdrawn []netip.Prefix `json:"withdrawn,omitempty"`
}

// Empty says that nothing changed.
func (d Diff) Empty() bool { return len(d.Announced)+len(d.Changed)+len(d.Withdrawn) == 0 }

// batch is how many paths GoBGP gets with one call. It holds its lock meanwhile.
const batch = 256

// Apply makes routes the whole set of what is announced. New and changed ones go
// out first, a change as one UPDATE without a gap; then the rest is withdrawn.
//
// It errs before anything changed when a route is not allowed or not possible,
// and half way when ctx ends: the Diff is then what was meant, and the next call
// does the rest.
func (s *Speaker) Apply(ctx context.Context, routes []bgp.Route) (Diff, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Diff{}, errClosed
	}
	if err := s.checkRoutes(routes); err != nil {
		return Diff{}, err
	}
	have, err := s.table()
	if err != nil {
		return Diff{}, err
	}

	var d Diff
	var add, remove []*apiutil.Path
	wanted := prefixes{}
	regroup := prefixes{}
	sorted := append([]bgp.Route(nil), routes...)
	bgp.SortRoutes(sorted)
	for _, r := range sorted {
		wanted[r.Prefix] = true
		moved := !s.groups[r.Prefix].equal(r.Groups)
		if moved {
			regroup[r.Prefix] = true
			s.groups[r.Prefix] = newGroups(r.Groups)
		}
		before, known := have[r.Prefix]
		switch {
		case !known:
			d.Announced = append(d.Announced, r.Prefix)
		case moved || !before.Equal(r.Attributes):
			d.Changed = append(d.Changed, r.Prefix)
		}
		if !known || !before.Equal(r.Attributes) {
			add = append(add, encode(s.asn, r))
		}
	}
	for p := range have {
		if !wanted[p] {
			d.Withdrawn = append(d.Withdrawn, p)
		}
	}
	sortPrefixes(d.Withdrawn)
	for _, p := range d.Withdrawn {
		remove = append(remove, encode(s.asn, bgp.Route{Prefix: p}))
	}

	if len(regroup) > 0 {
		if err := s.setPolicy(ctx, have); err != nil {
			return Diff{}, err
		}
	}
	err = inBatches(ctx, add, func(paths []*apiutil.Path) error {
		_, err := s.server.AddPath(apiutil.AddPathRequest{Paths: paths})
		return err
	})
	if err != nil {
		return d, fmt.Errorf("cannot announce all of %d routes: %w", len(add), err)
	}
	err = inBatches(ctx, remove, func(paths []*apiutil.Path) error {
		return s.server.DeletePath(apiutil.DeletePathRequest{Paths: paths})
	})
	if err != nil {
		return d, fmt.Errorf("cannot withdraw all of %d routes: %w", len(remove), err)
	}
	if !d.Empty() {
		s.sessions.signal()
	}
	return d, nil
}

func inBatches(ctx context.Context, paths []*apiutil.Path, do func([]*apiutil.Path) error) error {
	for len(paths) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(batch, len(paths))
		if err := do(paths[:n]); err != nil {
			return err
		}
		paths = paths[n:]
	}
	return nil
}

// checkRoutes errs on the first route that must not be announced.
func (s *Speaker) checkRoutes(routes []bgp.Route) error {
	seen := prefixes{}
	for _, r := range routes {
		switch a := r.Attributes; {
		case !s.allowed[r.Prefix]:
			return fmt.Errorf("route %s is not one of the %d VIP prefixes that may be announced", r.Prefix, len(s.allowed))
		case seen[r.Prefix]:
			return fmt.Errorf("route %s is given twice", r.Prefix)
		case a.Prepend < 0 || a.Prepend > maxPrepend:
			return fmt.Errorf("route %s: AS prepended %d times: want at most %d", r.Prefix, a.Prepend, maxPrepend)
		}
		seen[r.Prefix] = true
	}
	return nil
}
