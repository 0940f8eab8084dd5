package speaker

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// Session is the state of a session with a peer (RFC 4271, section 8.2.2).
type Session string

// The states of a session, from the worst to the best. Routes flow in
// Established only.
const (
	Idle        Session = "idle"         // waits before it tries again
	Active      Session = "active"       // connects, or waits for the peer to
	OpenSent    Session = "open-sent"    // connected; waits for the peer's OPEN
	OpenConfirm Session = "open-confirm" // waits for the peer's KEEPALIVE
	Established Session = "established"
)

// BFDState is the state of a BFD session (RFC 5880, section 4.1).
type BFDState string

// The states of a BFD session.
const (
	BFDOff  BFDState = "" // not configured
	BFDDown BFDState = "down"
	BFDInit BFDState = "init"
	BFDUp   BFDState = "up"
)

// PeerStatus is how a peer does.
type PeerStatus struct {
	Name        string     `json:"name"`
	Address     netip.Addr `json:"address"`
	ASN         uint32     `json:"asn"`
	State       Session    `json:"state"`
	Since       time.Time  `json:"since"` // of the last time that the session came up, or went down
	LastError   string     `json:"last_error,omitempty"`
	LastErrorAt time.Time  `json:"last_error_at,omitzero"` // zero: it is so now, as far as the state tells
	Only6       bool       `json:"only_ipv6,omitempty"`    // established, and takes no IPv4 routes
	Note        string     `json:"note,omitempty"`         // what to know of a session that is well
	BFD         BFDState   `json:"bfd,omitempty"`
	Flaps       int        `json:"flaps"` // sessions lost since the peer was configured like this
	Sent        int        `json:"sent"`  // routes that it has from us
}

// Peers returns how all peers do, in the order in which they are configured.
func (s *Speaker) Peers() []PeerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	live := s.live()
	all := make([]PeerStatus, 0, len(s.peers))
	for _, p := range s.peers {
		l := live[p.Address]
		r := s.sessions.get(p.Address)
		status := PeerStatus{
			Name: p.Name, Address: p.Address, ASN: p.ASN, State: l.state, BFD: l.bfd,
			Since: r.since, LastError: r.lastError, LastErrorAt: r.lastErrorAt, Flaps: r.flaps,
		}
		if p.BFD.Interval == 0 {
			status.BFD = BFDOff
		}
		if l.state == Established {
			status.Sent = len(s.sentTo(p))
			if status.Only6 = s.only6(p); status.Only6 && s.misses4(p) {
				status.Note = noExtended
			}
		} else if guess := waiting(p, l.state, r.connected); guess != "" && (r.lastError == "" || r.connected) {
			status.LastError, status.LastErrorAt = guess, time.Time{}
		}
		all = append(all, status)
	}
	return all
}

// live is what GoBGP knows of a peer now.
type live struct {
	state Session
	bfd   BFDState
}

var sessionOf = map[api.PeerState_SessionState]Session{
	api.PeerState_SESSION_STATE_UNSPECIFIED: Idle,
	api.PeerState_SESSION_STATE_IDLE:        Idle,
	api.PeerState_SESSION_STATE_CONNECT:     Active,
	api.PeerState_SESSION_STATE_ACTIVE:      Active,
	api.PeerState_SESSION_STATE_OPENSENT:    OpenSent,
	api.PeerState_SESSION_STATE_OPENCONFIRM: OpenConfirm,
	api.PeerState_SESSION_STATE_ESTABLISHED: Established,
}

func (s *Speaker) live() map[netip.Addr]live {
	bfd := map[netip.Addr]BFDState{}
	s.server.ListBfdPeer(context.Background(), func(address string, state *api.BfdPeerState) {
		a, _ := netip.ParseAddr(address)
		switch state.SessionState {
		case api.BfdSessionState_BFD_SESSION_STATE_UP:
			bfd[a] = BFDUp
		case api.BfdSessionState_BFD_SESSION_STATE_INIT:
			bfd[a] = BFDInit
		default:
			bfd[a] = BFDDown
		}
	})
	found := map[netip.Addr]live{}
	for _, p := range s.peers {
		found[p.Address] = live{state: Idle, bfd: BFDDown}
	}
	// It errs only when the server has stopped: then all is idle.
	_ = s.server.ListPeer(context.Background(), &api.ListPeerRequest{}, func(p *api.Peer) {
		a, err := netip.ParseAddr(p.GetConf().GetNeighborAddress())
		if err != nil {
			return
		}
		l := found[a]
		l.state = sessionOf[p.GetState().GetSessionState()]
		if b, ok := bfd[a]; ok {
			l.bfd = b
		}
		found[a] = l
	})
	return found
}

func (s *Speaker) established() map[netip.Addr]bool {
	up := map[netip.Addr]bool{}
	for a, l := range s.live() {
		up[a] = l.state == Established
	}
	return up
}

// sessions keeps what GoBGP tells once and then forgets: when sessions came and
// went, how often, and why.
type sessions struct {
	log    *slog.Logger
	events chan struct{}
	turned chan struct{} // a peer's record.extended or record.up is another now

	mu      sync.Mutex // held for moments only, and never while GoBGP is called
	records map[netip.Addr]*record
}

type record struct {
	peer        Peer
	up          bool
	watched     bool // by BFD; see watch
	ordered     bool // BFD ordered to end the session, and that did not happen yet
	extended    bool // the peer takes IPv4 routes with IPv6 next hops
	connected   bool // by us, and the peer's OPEN is still missing
	since       time.Time
	lastError   string
	lastErrorAt time.Time
	flaps       int
}

func newSessions(log *slog.Logger) *sessions {
	return &sessions{log: log, events: make(chan struct{}, 1), turned: make(chan struct{}, 1), records: map[netip.Addr]*record{}}
}

func (s *sessions) signal() { signal(s.events) }

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already
	}
}

// configure takes a peer in; anew says that its session starts now.
func (s *sessions) configure(p Peer, anew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.records[p.Address]; r != nil && !anew {
		r.peer = p
		return
	}
	s.records[p.Address] = &record{peer: p, since: time.Now()}
}

func (s *sessions) forget(a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, a)
}

func (s *sessions) get(a netip.Addr) record {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.records[a]; r != nil {
		return *r
	}
	return record{}
}

// note keeps why something went wrong with a peer.
func (s *sessions) note(a netip.Addr, why func(Peer) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[a]
	if r == nil {
		return
	}
	r.connected = false
	if words := why(r.peer); words != "" {
		r.lastError, r.lastErrorAt = words, time.Now()
		s.signal()
	}
}

// connected keeps that a peer took a connection of ours.
func (s *sessions) connected(a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.records[a]; r != nil {
		r.connected = true
	}
}

// sulk is how long a router may hang up on a peer after an error, such as five
// minutes in BIRD by default. Meanwhile that error is the one to know.
const sulk = 5 * time.Minute

// refused keeps that a peer hung up on us before its OPEN.
func (s *sessions) refused(a netip.Addr) {
	s.note(a, func(p Peer) string {
		r := s.records[a]
		words := hungUp(p)
		if r.lastError != "" && r.lastError != words && time.Since(r.lastErrorAt) < sulk {
			return ""
		}
		return words
	})
}

// update takes GoBGP's news of a session.
func (s *sessions) update(event *apiutil.WatchEventMessage_PeerEvent, at time.Time) {
	if event.Type != apiutil.PEER_EVENT_STATE {
		return
	}
	peer := event.Peer
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.signal()
	r := s.records[peer.State.NeighborAddress]
	if r == nil {
		return
	}
	r.connected = false
	lost := false
	if why := disconnected(r.peer, peer.State.DisconnectReason, peer.State.DisconnectMessage); why != "" {
		lost = true
		// When an OPEN was not valid, the NOTIFICATION that we sent says more.
		if why != refusal || at.Sub(r.lastErrorAt) > time.Second {
			r.lastError, r.lastErrorAt = why, at
		}
	}
	if extended := takesExtended(peer.State.RemoteCap); extended != r.extended {
		r.extended = extended
		if r.peer.Address.Is6() {
			signal(s.turned)
		}
	}
	name, address := slog.String("peer", r.peer.Name), slog.String("address", r.peer.Address.String())
	switch up := peer.State.SessionState == gobgp.BGP_FSM_ESTABLISHED; {
	case up && !r.up:
		r.up, r.since = true, at
		signal(s.turned)
		s.log.Info("BGP session up", name, address)
	case !up && r.up:
		r.up, r.since = false, at
		signal(s.turned)
		if lost { // else it is the end of a peer that was changed
			r.flaps++
			s.log.Warn("BGP session down", name, address, slog.String("why", r.lastError))
		}
	}
}

// takesExtended finds the capability of IPv6 next hops for IPv4 (RFC 8950,
// section 4) among those of a peer, which has none while there is no session.
func takesExtended(capabilities []gobgp.ParameterCapabilityInterface) bool {
	for _, c := range capabilities {
		if c, ok := c.(*gobgp.CapExtendedNexthop); ok {
			for _, t := range c.Tuples {
				if t.NLRIAFI == gobgp.AFI_IP && t.NLRISAFI == gobgp.SAFI_UNICAST && t.NexthopAFI == gobgp.AFI_IP6 {
					return true
				}
			}
		}
	}
	return false
}
