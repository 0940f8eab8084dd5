package speaker

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/api"

	"edged/bgp"
)

// groups are names of groups of peers, sorted. None stand for all peers.
type groups []string

func newGroups(names []string) groups { return slices.Compact(slices.Sorted(slices.Values(names))) }

// include says whether a peer in those groups is meant.
func (g groups) include(names []string) bool {
	return len(g) == 0 || slices.ContainsFunc(names, func(n string) bool { return slices.Contains(g, n) })
}

// Allow makes prefixes the whole set of what may be announced: host routes, those
// of the configured VIPs. It errs on any other. Routes that are announced and no
// longer allowed are withdrawn from all peers; the next Apply must not name them.
func (s *Speaker) Allow(allowed []netip.Prefix) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	now := map[netip.Prefix]bool{}
	for _, p := range allowed {
		if !p.IsSingleIP() || !p.Addr().IsGlobalUnicast() || p.Addr().Is4In6() {
			return fmt.Errorf("prefix %q may not be announced: want the host route of a VIP, as in 198.51.100.53/32", p)
		}
		now[p] = true
	}
	have, err := s.table()
	if err != nil {
		return err
	}
	s.allowed = now
	for p := range s.groups {
		if !now[p] {
			delete(s.groups, p)
		}
	}
	return s.setPolicy(context.Background(), have)
}

const (
	importPolicy = "own routes only"
	exportPolicy = "allowed routes only"
)

// startPolicy sets what never changes: both directions reject what no statement
// accepts. The import policy has to let pass what we originate, for GoBGP asks it
// about that too.
func (s *Speaker) startPolicy(ctx context.Context) error {
	if err := s.setPolicy(ctx, nil); err != nil {
		return err
	}
	for direction, name := range map[api.PolicyDirection]string{
		api.PolicyDirection_POLICY_DIRECTION_IMPORT: importPolicy,
		api.PolicyDirection_POLICY_DIRECTION_EXPORT: exportPolicy,
	} {
		err := s.server.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
			Name: "global", Direction: direction,
			Policies:      []*api.Policy{{Name: name}},
			DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT,
		}})
		if err != nil {
			return fmt.Errorf("cannot set the BGP policy %q: %w", name, err)
		}
	}
	return nil
}

// setPolicy makes the whole policy anew from the allowed prefixes, their groups
// and the peers, and puts it in place in one step. Peers that may hear more or
// less of what is announced are told; that ends no session.
func (s *Speaker) setPolicy(ctx context.Context, announced map[netip.Prefix]bgp.Attributes) error {
	defer func() { s.changed = time.Now() }()
	request := &api.SetPoliciesRequest{}
	export := &api.Policy{Name: exportPolicy}
	heard := map[netip.Addr]prefixes{}
	for _, p := range s.peers {
		address := p.Address.String()
		mine := s.hears(p)
		heard[p.Address] = mine
		request.DefinedSets = append(request.DefinedSets, &api.DefinedSet{
			DefinedType: api.DefinedType_DEFINED_TYPE_NEIGHBOR, Name: address, List: []string{p.prefix().String()},
		})
		for _, family := range p.families() {
			set := &api.DefinedSet{DefinedType: api.DefinedType_DEFINED_TYPE_PREFIX, Name: address + " " + family.String()}
			for prefix := range mine {
				if familyOf(prefix.Addr()) == family {
					bits := uint32(prefix.Bits())
					set.Prefixes = append(set.Prefixes, &api.Prefix{IpPrefix: prefix.String(), MaskLengthMin: bits, MaskLengthMax: bits})
				}
			}
			if len(set.Prefixes) == 0 {
				continue // no statement: rejected
			}
			request.DefinedSets = append(request.DefinedSets, set)
			export.Statements = append(export.Statements, &api.Statement{
				Name: set.Name,
				Conditions: &api.Conditions{
					NeighborSet: &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: address},
					PrefixSet:   &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: set.Name},
					RouteType:   api.Conditions_ROUTE_TYPE_LOCAL,
				},
				Actions: &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
			})
		}
	}
	request.Policies = []*api.Policy{export, {Name: importPolicy, Statements: []*api.Statement{{
		Name:       "own",
		Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
		Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
	}}}}
	if err := s.server.SetPolicies(ctx, request); err != nil {
		return fmt.Errorf("cannot set the BGP policies: %w", err)
	}
	before := s.heard
	s.heard = heard
	for address, now := range heard {
		if then, known := before[address]; known && differ(then, now, announced) {
			err := s.server.ResetPeer(ctx, &api.ResetPeerRequest{
				Address: address.String(), Soft: true, Direction: api.ResetPeerRequest_DIRECTION_OUT,
			})
			if err != nil {
				return fmt.Errorf("cannot tell peer %s of a changed policy: %w", address, err)
			}
			s.sessions.signal()
		}
	}
	return nil
}

// hears returns the allowed prefixes that a peer may hear of. IPv4 ones with an
// IPv6 next hop are only for a peer that said it takes them (RFC 8950, section 4),
// which GoBGP does not mind.
func (s *Speaker) hears(p Peer) prefixes {
	takes4 := p.Address.Is4() || s.sessions.get(p.Address).extended
	mine := prefixes{}
	for prefix := range s.allowed {
		if s.groups[prefix].include(p.Groups) && (takes4 || prefix.Addr().Is6()) {
			mine[prefix] = true
		}
	}
	return mine
}

// only6 says whether a peer with a session takes no IPv4 routes.
func (s *Speaker) only6(p Peer) bool {
	return p.Address.Is6() && !s.sessions.get(p.Address).extended
}

// misses4 says whether there are IPv4 routes for a peer, if it took them.
func (s *Speaker) misses4(p Peer) bool {
	for prefix := range s.allowed {
		if prefix.Addr().Is4() && s.groups[prefix].include(p.Groups) {
			return true
		}
	}
	return false
}

// differ says whether two sets differ in what is announced.
func differ(a, b prefixes, announced map[netip.Prefix]bgp.Attributes) bool {
	for p := range announced {
		if a[p] != b[p] {
			return true
		}
	}
	return false
}
