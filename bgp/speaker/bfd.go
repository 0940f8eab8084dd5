package speaker

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"
)

// goneWithin bounds the wait until GoBGP has let go of a BFD session.
const goneWithin = 2 * time.Second

// watch has BFD run with a peer while the session is established, and only then.
//
// GoBGP would have it run all the time. When BFD gives up on a peer whose session
// is down already, GoBGP keeps the order to end that session for the next one,
// and ends that as soon as it is up. The router then forgets its BFD session, ours
// gives up again, and no session lives ever after.
//
// One peer is changed at a time, and waited for: BFD's loop waits for a session's
// end, and a session that is just giving up waits for the main loop, which a queue
// of changes would block. The caller holds s.mu.
func (s *Speaker) watch(ctx context.Context, p Peer) {
	want := s.sessions.get(p.Address).up
	if p.BFD.Interval == 0 || want == s.sessions.get(p.Address).watched {
		return
	}
	if _, err := s.server.UpdatePeer(ctx, &api.UpdatePeerRequest{Peer: p.request(want)}); err != nil {
		s.sessions.log.Error("BFD cannot be turned on or off", slog.String("peer", p.Name), slog.Any("error", err))
		return
	}
	s.sessions.setWatched(p.Address, want)
	for end := time.Now().Add(goneWithin); !want && s.hasBFD(p.Address) && ctx.Err() == nil && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if !want && s.sessions.get(p.Address).ordered {
		s.addAnew(ctx, p)
	}
}

// addAnew takes a peer without a session from GoBGP and gives it back. With it goes the
// order of BFD to end a session, which came when there was none any more: as after a
// pause of the whole process, in which the router gave up, too.
func (s *Speaker) addAnew(ctx context.Context, p Peer) {
	err := s.remove(ctx, p)
	if err == nil {
		err = s.server.AddPeer(ctx, &api.AddPeerRequest{Peer: p.request(false)})
	}
	if err != nil {
		s.sessions.log.Error("a BGP peer cannot be added anew after what BFD said", slog.String("peer", p.Name), slog.Any("error", err))
		return
	}
	s.sessions.setOrdered(p.Address, false)
}

// hasBFD says whether GoBGP has a BFD session with a peer.
func (s *Speaker) hasBFD(peer netip.Addr) bool {
	found := false
	s.server.ListBfdPeer(context.Background(), func(address string, _ *api.BfdPeerState) {
		a, _ := netip.ParseAddr(address)
		found = found || a == peer
	})
	return found
}

// setOrdered notes that BFD ordered the end of a peer's session, or that it was ended so.
func (s *sessions) setOrdered(a netip.Addr, ordered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.records[a]; r != nil {
		r.ordered = ordered
	}
}

func (s *sessions) setWatched(a netip.Addr, watched bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.records[a]; r != nil {
		r.watched = watched
	}
}
