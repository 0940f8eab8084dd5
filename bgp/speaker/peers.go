package speaker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/api"
	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// Peer is a router that we talk to, of another AS.
type Peer struct {
	Name     string        `json:"name"`
	Address  netip.Addr    `json:"address"`
	ASN      uint32        `json:"asn"`
	Local    netip.Addr    `json:"local,omitzero"`     // our address; the zero value lets the system choose
	Password string        `json:"-"`                  // for TCP MD5 signatures, at most 80 bytes; empty: none
	GTSM     bool          `json:"gtsm,omitempty"`     // the peer is directly connected, and both ends hold each other to that
	Multihop int           `json:"multihop,omitempty"` // hops to the peer, 2 to 255; 0: directly connected
	Passive  bool          `json:"passive,omitempty"`  // wait for the peer to connect
	Hold     time.Duration `json:"hold,omitempty"`     // whole seconds, at least 3; 0: DefaultHold. A keepalive goes out every third of it
	BFD      BFD           `json:"bfd,omitzero"`
	Groups   []string      `json:"groups,omitempty"` // which routes with groups must share to be heard here
}

// BFD is how a path is watched. The zero value does not watch it. Its packets come
// from the address that the system chooses, whatever Peer.Local says.
type BFD struct {
	Interval   time.Duration `json:"interval"`             // between packets, both ways; at least 50 ms
	Multiplier int           `json:"multiplier,omitempty"` // how many must be missing, 1 to 255; 0: 3
}

// DefaultHold is long enough for a router that is busy for a moment, and short
// enough that a silent path without BFD does not stay for long.
const DefaultHold = 9 * time.Second

// How fast a session comes (back) up, in seconds. GoBGP's defaults are 120 and
// 30: too long to be without a router.
const (
	connectRetry       = 5
	idleHoldAfterReset = 5
)

const (
	minHold        = 3 * time.Second // RFC 4271, section 4.2
	maxHold        = 65535 * time.Second
	minBFDInterval = 50 * time.Millisecond // below, a pause of the process is taken for a cut
	maxPassword    = 80                    // TCP_MD5SIG_MAXKEYLEN of Linux
)

// withDefaults fills in what was left open.
func (p Peer) withDefaults() Peer {
	if p.Hold == 0 {
		p.Hold = DefaultHold
	}
	if p.BFD.Interval > 0 && p.BFD.Multiplier == 0 {
		p.BFD.Multiplier = 3
	}
	p.Groups = newGroups(p.Groups)
	return p
}

// families are what a session carries: its own, and IPv4 over IPv6 (RFC 8950).
// IPv6 over IPv4 has no next hop of ours to give.
func (p Peer) families() []gobgp.Family {
	if p.Address.Is4() {
		return families[:1]
	}
	return families
}

func (p Peer) prefix() netip.Prefix { return netip.PrefixFrom(p.Address, p.Address.BitLen()) }

// SameSession says whether a session goes on when p becomes q.
func (p Peer) SameSession(q Peer) bool {
	p, q = p.withDefaults(), q.withDefaults()
	return p.Address == q.Address && p.ASN == q.ASN && p.Local == q.Local && p.Password == q.Password &&
		p.GTSM == q.GTSM && p.Multihop == q.Multihop && p.Passive == q.Passive && p.Hold == q.Hold && p.BFD == q.BFD
}

// Resets returns the names of the peers, as they are in now, whose sessions end
// and start anew when SetPeers takes now after before. Names and groups alone
// reset nothing; a new peer has no session to reset.
func Resets(before, now []Peer) []string {
	var names []string
	for _, q := range now {
		i := slices.IndexFunc(before, func(p Peer) bool { return p.Address == q.Address })
		if i < 0 { // a peer that moves to another address
			i = slices.IndexFunc(before, func(p Peer) bool { return p.Name == q.Name })
		}
		if i >= 0 && !before[i].SameSession(q) {
			names = append(names, q.Name)
		}
	}
	return names
}

// SetPeers makes peers the whole set of peers, and returns [Resets]. It errs
// before anything changed when a peer cannot work.
func (s *Speaker) SetPeers(peers []Peer) (reset []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	if err := s.checkPeers(peers); err != nil {
		return nil, err
	}
	now := make([]Peer, len(peers))
	for i, p := range peers {
		now[i] = p.withDefaults()
	}
	ctx := context.Background()
	before := s.peers
	reset = Resets(before, now)
	// s.peers is at all times what GoBGP has, so that the call after one that
	// failed does the rest.
	running := map[netip.Addr]bool{}
	for _, p := range before {
		if slices.ContainsFunc(now, p.SameSession) {
			running[p.Address] = true
			continue
		}
		if err := s.remove(ctx, p); err != nil {
			return nil, err
		}
		s.sessions.forget(p.Address)
		s.peers = slices.DeleteFunc(slices.Clone(s.peers), func(q Peer) bool { return q.Address == p.Address })
	}
	// A new peer's policy stands before its session can.
	s.peers = now
	have, err := s.table()
	if err == nil {
		err = s.setPolicy(ctx, have)
	}
	for _, p := range now {
		s.sessions.configure(p, !running[p.Address])
		if err == nil && !running[p.Address] {
			if err = s.server.AddPeer(ctx, &api.AddPeerRequest{Peer: p.request(false)}); err != nil {
				err = fmt.Errorf("cannot add BGP peer %q (%s): %w", p.Name, p.Address, err)
			} else {
				running[p.Address] = true
			}
		}
	}
	if err != nil {
		s.peers = slices.DeleteFunc(now, func(p Peer) bool { return !running[p.Address] })
	}
	s.sessions.signal()
	return reset, err
}

func (s *Speaker) remove(ctx context.Context, p Peer) error {
	delete(s.readings, p.Address)
	if s.listen != 0 && p.Password != "" {
		// GoBGP takes a key off the listening socket when it is changed, but not
		// when the peer is deleted: the peer could not connect without one again.
		p.Password = ""
		if _, err := s.server.UpdatePeer(ctx, &api.UpdatePeerRequest{Peer: p.request(s.sessions.get(p.Address).watched)}); err != nil {
			return fmt.Errorf("cannot take the password off BGP peer %q (%s): %w", p.Name, p.Address, err)
		}
	}
	if err := s.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: p.Address.String()}); err != nil {
		return fmt.Errorf("cannot delete BGP peer %q (%s): %w", p.Name, p.Address, err)
	}
	return nil
}

// request is the peer in GoBGP's words; watched says whether its path is watched
// by BFD, if that is configured.
func (p Peer) request(watched bool) *api.Peer {
	hold := uint64(p.Hold / time.Second)
	local := ""
	if p.Local.IsValid() {
		local = p.Local.String()
	}
	r := &api.Peer{
		Conf: &api.PeerConf{NeighborAddress: p.Address.String(), PeerAsn: p.ASN, AuthPassword: p.Password},
		Timers: &api.Timers{
			Config: &api.TimersConfig{
				HoldTime: hold, KeepaliveInterval: hold / 3,
				ConnectRetry: connectRetry, IdleHoldTimeAfterReset: idleHoldAfterReset,
			},
			// What holds until a first session was negotiated. Without it GoBGP would
			// wait for the peer's first KEEPALIVE for ever.
			State: &api.TimersState{NegotiatedHoldTime: hold, KeepaliveInterval: hold / 3},
		},
		Transport:    &api.Transport{LocalAddress: local, PassiveMode: p.Passive},
		TtlSecurity:  &api.TtlSecurity{Enabled: p.GTSM, TtlMin: 255},
		EbgpMultihop: &api.EbgpMultihop{Enabled: p.Multihop > 0, MultihopTtl: uint32(p.Multihop)},
		Bfd:          &api.BfdPeerConfig{},
	}
	if us := uint32(p.BFD.Interval.Microseconds()); us > 0 && watched {
		r.Bfd = &api.BfdPeerConfig{
			Enabled: true, DesiredMinimumTxInterval: us, RequiredMinimumReceive: us, DetectionMultiplier: uint32(p.BFD.Multiplier),
		}
	}
	for _, f := range p.families() {
		r.AfiSafis = append(r.AfiSafis, &api.AfiSafi{Config: &api.AfiSafiConfig{
			Family: &api.Family{Afi: api.Family_Afi(f.Afi()), Safi: api.Family_Safi(f.Safi())}, Enabled: true,
		}})
	}
	return r
}

// checkPeers errs on the first peer that cannot work.
func (s *Speaker) checkPeers(peers []Peer) error {
	names, addresses := map[string]bool{}, map[netip.Addr]bool{}
	for _, p := range peers {
		if err := p.withDefaults().check(s.asn, s.listen); err != nil {
			return fmt.Errorf("BGP peer %q (%s): %w", p.Name, p.Address, err)
		}
		if names[p.Name] || addresses[p.Address] {
			return fmt.Errorf("BGP peer %q (%s): name or address is given twice", p.Name, p.Address)
		}
		names[p.Name], addresses[p.Address] = true, true
	}
	return nil
}

func (p Peer) check(asn uint32, listen uint16) error {
	switch {
	case p.Name == "":
		return errors.New("it has no name")
	case !p.Address.IsValid() || p.Address.IsUnspecified() || p.Address.IsMulticast() || p.Address.Is4In6() || p.Address.Zone() != "":
		return errors.New("want a unicast address without a zone")
	case p.Local.IsValid() && (p.Local.Is4() != p.Address.Is4() || p.Local.IsUnspecified()):
		return fmt.Errorf("our address %q is not one of the same family", p.Local)
	case p.ASN == 0:
		return errors.New("it has no AS number")
	case p.ASN == asn:
		return fmt.Errorf("it has our own AS number %d: only peers of other ASes are possible, for inside one AS a prepended route is a loop", asn)
	case len(p.Password) > maxPassword:
		return fmt.Errorf("the password has %d bytes, want at most %d", len(p.Password), maxPassword)
	case p.GTSM && p.Multihop > 0:
		return errors.New("GTSM is for directly connected peers, not with multihop")
	case p.Multihop != 0 && (p.Multihop < 2 || p.Multihop > 255):
		return fmt.Errorf("multihop %d: want 2 to 255, or 0 for a directly connected peer", p.Multihop)
	case p.Passive && listen == 0:
		return errors.New("a passive peer needs a port to connect to; set the port to listen on")
	case p.Hold < minHold || p.Hold > maxHold || p.Hold%time.Second != 0:
		return fmt.Errorf("hold time %s: want whole seconds, at least %s", p.Hold, minHold)
	case p.BFD.Interval == 0 && p.BFD.Multiplier == 0:
		return nil
	case p.BFD.Interval < minBFDInterval || p.BFD.Interval > time.Minute:
		return fmt.Errorf("BFD interval %s: want %s to %s", p.BFD.Interval, minBFDInterval, time.Minute)
	case p.BFD.Multiplier < 1 || p.BFD.Multiplier > 255:
		return fmt.Errorf("BFD multiplier %d: want 1 to 255", p.BFD.Multiplier)
	case p.Multihop > 0:
		return errors.New("BFD is for directly connected peers, not with multihop")
	}
	return nil
}
