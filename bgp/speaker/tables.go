package speaker

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"edged/bgp"
)

type prefixes map[netip.Prefix]bool

// PeerRoutes is what one peer was sent.
type PeerRoutes struct {
	Peer   string      `json:"peer"`
	Only6  bool        `json:"only_ipv6,omitempty"` // it takes no IPv4 routes
	Routes []SentRoute `json:"routes,omitempty"`    // in the order of prefixes
}

// SentRoute is a route as a peer has it from us.
type SentRoute struct {
	Prefix     netip.Prefix   `json:"prefix"`
	Attributes bgp.Attributes `json:"attributes"`
	NextHop    netip.Addr     `json:"next_hop"`
}

// Sent returns, for each peer with a session, its adjacent-out table: the routes
// that passed the export policy and were given to the session to send, in the
// order in which peers are configured. While nothing changes it is read every ten
// seconds. The routes must not be changed.
func (s *Speaker) Sent() []PeerRoutes {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	up := s.established()
	var all []PeerRoutes
	for _, p := range s.peers {
		if up[p.Address] {
			all = append(all, PeerRoutes{Peer: p.Name, Only6: s.only6(p), Routes: s.sentTo(p)})
		}
	}
	return all
}

// reading is a peer's adjacent-out table as it was read last. GoBGP makes the table
// anew for each look, with thousands of maps: nodes that look five times a second
// at what is the same would do little else.
type reading struct {
	routes  []SentRoute
	at      time.Time
	session time.Time // since when it was up
}

const (
	readAgain = 10 * time.Second
	settled   = time.Second // after a change each look is a reading
)

// holds says whether a reading will do now, with the session as it is and after
// the last change of routes, policy or peers.
func (r reading) holds(session record, changed, now time.Time) bool {
	return session.up && session.since.Equal(r.session) && r.at.Sub(session.since) >= settled &&
		r.at.Sub(changed) >= settled && now.Sub(r.at) < readAgain
}

func (s *Speaker) sentTo(p Peer) []SentRoute {
	now, session := time.Now(), s.sessions.get(p.Address)
	r := s.readings[p.Address]
	if !r.holds(session, s.changed, now) {
		r = reading{routes: s.readSent(p), at: now, session: session.since}
		s.readings[p.Address] = r
	}
	return r.routes
}

func (s *Speaker) readSent(p Peer) []SentRoute {
	var routes []SentRoute
	for _, family := range p.families() {
		request := apiutil.ListPathRequest{TableType: api.TableType_TABLE_TYPE_ADJ_OUT, Name: p.Address.String(), Family: family}
		// It errs when the peer is gone meanwhile: then nothing is with it.
		_ = s.server.ListPath(request, func(nlri gobgp.NLRI, paths []*apiutil.Path) {
			prefix, ok := prefixOf(nlri)
			if !ok || len(paths) == 0 {
				return
			}
			a, hop := decode(paths[0])
			a.Prepend-- // the session's own
			routes = append(routes, SentRoute{Prefix: prefix, Attributes: a, NextHop: hop})
		})
	}
	slices.SortFunc(routes, func(a, b SentRoute) int { return a.Prefix.Compare(b.Prefix) })
	return routes
}

// table returns what is announced: GoBGP's table, which holds nothing of others.
func (s *Speaker) table() (map[netip.Prefix]bgp.Attributes, error) {
	have := map[netip.Prefix]bgp.Attributes{}
	for _, family := range families {
		request := apiutil.ListPathRequest{TableType: api.TableType_TABLE_TYPE_GLOBAL, Family: family}
		err := s.server.ListPath(request, func(nlri gobgp.NLRI, paths []*apiutil.Path) {
			if prefix, ok := prefixOf(nlri); ok && len(paths) > 0 {
				have[prefix], _ = decode(paths[0])
			}
		})
		if err != nil {
			return nil, fmt.Errorf("cannot read the BGP table: %w", err)
		}
	}
	return have, nil
}
