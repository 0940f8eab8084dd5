package speaker

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

var somePeer = Peer{Name: "tor-a", Address: netip.MustParseAddr("192.0.2.1"), ASN: 64500}.withDefaults()

func TestUnconnected(t *testing.T) {
	local, secret, gtsm, both := somePeer, somePeer, somePeer, somePeer
	local.Local = netip.MustParseAddr("192.0.2.99")
	secret.Password, gtsm.GTSM = "secret", true
	both.Password, both.GTSM = "secret", true
	for _, c := range []struct {
		peer       Peer
		text, want string
	}{
		{somePeer, "dial tcp 0.0.0.0:0->192.0.2.1:179: i/o timeout", "no answer from 192.0.2.1: is it reachable?"},
		{secret, "dial tcp 0.0.0.0:0->192.0.2.1:179: i/o timeout", "no answer from 192.0.2.1: is it reachable, and the password the same at both ends?"},
		{gtsm, "dial tcp 0.0.0.0:0->192.0.2.1:179: i/o timeout", "no answer from 192.0.2.1: is it reachable, is GTSM on at the peer too, and does it want no password?"},
		{both, "dial tcp 0.0.0.0:0->192.0.2.1:179: i/o timeout", "no answer from 192.0.2.1: is it reachable, is the password the same and GTSM on at both ends?"},
		{somePeer, "dial tcp 0.0.0.0:0->192.0.2.1:179: connect: connection refused", "cannot connect to 192.0.2.1: connection refused"},
		{local, "dial tcp 192.0.2.99:0->192.0.2.1:179: bind: cannot assign requested address", "cannot connect from 192.0.2.99: cannot assign requested address"},
	} {
		if got := unconnected(c.peer, c.text); got != c.want {
			t.Errorf("%s\nis told as %q\nwant       %q", c.text, got, c.want)
		}
	}
}

func TestDisconnected(t *testing.T) {
	watched := somePeer
	watched.BFD = BFD{300 * time.Millisecond, 3}
	notified := func(direction string, code, subcode uint8) string { return direction + " " + words(code, subcode) }
	const sent, received = api.PeerState_DISCONNECT_REASON_NOTIFICATION_SENT, api.PeerState_DISCONNECT_REASON_NOTIFICATION_RECEIVED
	for _, c := range []struct {
		reason        api.PeerState_DisconnectReason
		message, want string
	}{
		{api.PeerState_DISCONNECT_REASON_UNSPECIFIED, "dying", ""},
		{api.PeerState_DISCONNECT_REASON_IDLE_TIMER_EXPIRED, "idle-hold-timer-expired", ""},
		{api.PeerState_DISCONNECT_REASON_DECONFIGURED, "unknown", ""},
		{api.PeerState_DISCONNECT_REASON_HOLD_TIMER_EXPIRED, "hold-timer-expired", "the hold time expired (at most 9s): nothing came from the peer; is GTSM on at the peer only?"},
		{api.PeerState_DISCONNECT_REASON_READ_FAILED, "read-failed", "the peer closed the connection"},
		{api.PeerState_DISCONNECT_REASON_WRITE_FAILED, "write-failed", "the connection broke while sending"},
		{api.PeerState_DISCONNECT_REASON_BAD_PEER_AS, "bad-peer-as", "wrong AS: the peer's is not 64500"},
		{api.PeerState_DISCONNECT_REASON_INVALID_MSG, "invalid-msg", refusal},
		{sent, notified("notification-sent", 6, 4), "BFD is down: 3 packets in a row were missing, or the peer said so"},
		{sent, notified("notification-sent", 6, 3), ""},
		{sent, notified("notification-sent", 3, 1), "we ended the session: code 3(update) subcode 1(malformed attribute list)"},
		{received, notified("notification-received", 6, 10), "the peer ended the session: BFD is down"},
		{received, notified("notification-received", 6, 2), "the peer ended the session: code 6(cease) subcode 2(administrative shutdown)"},
	} {
		if got := disconnected(watched, c.reason, c.message); got != c.want {
			t.Errorf("%s %q is told as %q, want %q", c.reason, c.message, got, c.want)
		}
	}
}

// GoBGP's log tells what its events do not, and only its warnings are passed on
// as more than debugging.
func TestTap(t *testing.T) {
	var out bytes.Buffer
	s := newSessions(slog.New(slog.DiscardHandler))
	s.configure(somePeer, true)
	log := slog.New(&tap{next: slog.NewTextHandler(&out, nil), sessions: s}).With("Topic", "Peer", "Key", "192.0.2.1")

	last := func(want string) {
		t.Helper()
		if got := s.get(somePeer.Address).lastError; got != want {
			t.Errorf("last error %q, want %q", got, want)
		}
	}
	log.Debug("failed to connect", slog.String("Error", errors.New("dial tcp: connect: no route to host").Error()))
	last("cannot connect to 192.0.2.1: no route to host")
	log.Info("sent notification", slog.Int("Code", gobgp.BGP_ERROR_OPEN_MESSAGE_ERROR), slog.Int("Subcode", gobgp.BGP_ERROR_SUB_BAD_PEER_AS))
	last("wrong AS: the peer's is not 64500")
	log.Debug("outgoing connection established")
	if !s.get(somePeer.Address).connected {
		t.Error("a connection was not noticed")
	}
	log.Debug("outgoing connection IO error") // the router sulks
	last("wrong AS: the peer's is not 64500")
	if s.get(somePeer.Address).connected {
		t.Error("the end of a connection was not noticed")
	}
	s.configure(somePeer, true)
	log.Debug("outgoing connection IO error")
	last(hungUp(somePeer))
	log.Info("sent notification", slog.Int("Code", gobgp.BGP_ERROR_CEASE), slog.Int("Subcode", gobgp.BGP_ERROR_SUB_PEER_DECONFIGURED))
	last(hungUp(somePeer))

	log.With("Key", "192.0.2.77").Debug("failed to connect", slog.String("Error", "x: y")) // nobody's
	log.WithGroup("g").Info("Peer Up")
	if out.Len() != 0 {
		t.Errorf("passed on %q", out.String())
	}
	log.Warn("odd")
	if !bytes.Contains(out.Bytes(), []byte(`level=WARN msg=odd Topic=Peer Key=192.0.2.1`)) {
		t.Errorf("passed on %q, want the warning", out.String())
	}
}

// Sessions that come and go are counted, but not those that end because their
// peer was changed.
func TestSessions(t *testing.T) {
	s := newSessions(slog.New(slog.DiscardHandler))
	s.configure(somePeer, true)
	at := time.Unix(1_000_000, 0)
	event := func(state gobgp.FSMState, reason api.PeerState_DisconnectReason) {
		at = at.Add(time.Second)
		s.update(&apiutil.WatchEventMessage_PeerEvent{
			Type: apiutil.PEER_EVENT_STATE,
			Peer: apiutil.Peer{State: apiutil.PeerState{NeighborAddress: somePeer.Address, SessionState: state, DisconnectReason: reason}},
		}, at)
	}
	holds := func(up bool, flaps int, since time.Time, lastError string) {
		t.Helper()
		r := s.get(somePeer.Address)
		if r.up != up || r.flaps != flaps || !r.since.Equal(since) || r.lastError != lastError {
			t.Errorf("up %v, flaps %d, since %s, last error %q; want %v, %d, %s, %q", r.up, r.flaps, r.since, r.lastError, up, flaps, since, lastError)
		}
	}
	event(gobgp.BGP_FSM_ESTABLISHED, api.PeerState_DISCONNECT_REASON_UNSPECIFIED)
	first := at
	holds(true, 0, first, "")
	event(gobgp.BGP_FSM_IDLE, api.PeerState_DISCONNECT_REASON_READ_FAILED)
	holds(false, 1, at, "the peer closed the connection")
	down := at
	event(gobgp.BGP_FSM_ACTIVE, api.PeerState_DISCONNECT_REASON_IDLE_TIMER_EXPIRED)
	holds(false, 1, down, "the peer closed the connection")
	event(gobgp.BGP_FSM_ESTABLISHED, api.PeerState_DISCONNECT_REASON_UNSPECIFIED)
	holds(true, 1, at, "the peer closed the connection")
	event(gobgp.BGP_FSM_IDLE, api.PeerState_DISCONNECT_REASON_UNSPECIFIED) // of a peer that is deleted
	holds(false, 1, at, "the peer closed the connection")
}
