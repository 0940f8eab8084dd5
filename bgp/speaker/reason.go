package speaker

import (
	"fmt"
	"strings"

	"github.com/osrg/gobgp/v4/api"
	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// waiting says what an attempt at a session waits for, when nothing went wrong
// yet. connected says that the peer took our connection.
func waiting(p Peer, s Session, connected bool) string {
	switch {
	case s == Active && connected, s == OpenSent:
		return "the peer is connected, but has sent no OPEN yet: " + oneSided(p)
	case s == Active && p.Passive:
		return "the peer has not connected yet"
	case s == OpenConfirm:
		return "the peer has sent its OPEN, but no KEEPALIVE yet: " + oneSided(p)
	}
	return ""
}

// noExtended is about a session over IPv6 with a peer that takes no IPv4 routes.
const noExtended = "no IPv4 routes go here: extended next hop (RFC 8950) is off at the peer"

// oneSided guesses at what lets packets through one way only.
func oneSided(p Peer) string {
	if p.GTSM {
		return "is GTSM on at the peer too?"
	}
	return "is GTSM on at the peer only?"
}

// unconnected says why a connection could not be made. text is Go's error, such
// as "dial tcp 192.0.2.1:179: connect: connection refused".
func unconnected(p Peer, text string) string {
	if strings.HasSuffix(text, "i/o timeout") {
		hint := "is it reachable?"
		switch {
		case p.Password != "" && p.GTSM:
			hint = "is it reachable, is the password the same and GTSM on at both ends?"
		case p.Password != "":
			hint = "is it reachable, and the password the same at both ends?"
		case p.GTSM:
			hint = "is it reachable, is GTSM on at the peer too, and does it want no password?"
		}
		return fmt.Sprintf("no answer from %s: %s", p.Address, hint)
	}
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	if p.Local.IsValid() && strings.Contains(text, "assign requested address") {
		return fmt.Sprintf("cannot connect from %s: %s", p.Local, text)
	}
	return fmt.Sprintf("cannot connect to %s: %s", p.Address, text)
}

// hungUp says that the peer accepts connections but hangs up before its OPEN.
func hungUp(p Peer) string {
	return fmt.Sprintf("%s closed the connection before its OPEN: does it have us as a peer, and from this address?", p.Address)
}

// disconnected says why a session, or the attempt at one, ended; empty when
// nothing went wrong. message is GoBGP's, which for a NOTIFICATION has its codes.
func disconnected(p Peer, reason api.PeerState_DisconnectReason, message string) string {
	switch reason {
	case api.PeerState_DISCONNECT_REASON_HOLD_TIMER_EXPIRED:
		return fmt.Sprintf("the hold time expired (at most %s): nothing came from the peer; %s", p.Hold, oneSided(p))
	case api.PeerState_DISCONNECT_REASON_NOTIFICATION_SENT:
		return sent(p, strings.TrimPrefix(message, "notification-sent "))
	case api.PeerState_DISCONNECT_REASON_NOTIFICATION_RECEIVED:
		return received(p, strings.TrimPrefix(message, "notification-received "))
	case api.PeerState_DISCONNECT_REASON_READ_FAILED:
		return "the peer closed the connection"
	case api.PeerState_DISCONNECT_REASON_WRITE_FAILED:
		return "the connection broke while sending"
	case api.PeerState_DISCONNECT_REASON_INVALID_MSG:
		return refusal
	case api.PeerState_DISCONNECT_REASON_BAD_PEER_AS:
		return sent(p, words(gobgp.BGP_ERROR_OPEN_MESSAGE_ERROR, gobgp.BGP_ERROR_SUB_BAD_PEER_AS))
	}
	return ""
}

// words are GoBGP's for the codes of a NOTIFICATION.
func words(code, subcode uint8) string { return gobgp.NewNotificationErrorCode(code, subcode).String() }

var (
	badPeerAS    = words(gobgp.BGP_ERROR_OPEN_MESSAGE_ERROR, gobgp.BGP_ERROR_SUB_BAD_PEER_AS)
	reset        = words(gobgp.BGP_ERROR_CEASE, gobgp.BGP_ERROR_SUB_ADMINISTRATIVE_RESET)
	unexpected   = words(gobgp.BGP_ERROR_FSM_ERROR, 1) // another message than an OPEN
	bfdDown      = words(gobgp.BGP_ERROR_CEASE, 10)    // RFC 9384; GoBGP has no word for it
	holdExpired  = words(gobgp.BGP_ERROR_HOLD_TIMER_EXPIRED, 0)
	deconfigured = words(gobgp.BGP_ERROR_CEASE, gobgp.BGP_ERROR_SUB_PEER_DECONFIGURED)
)

// refusal is all there is to say of a NOTIFICATION in answer to our OPEN: GoBGP
// does not look into it.
const refusal = "the peer refused our OPEN, and its log says why: does it expect another AS of us?"

// sent says why we ended a session by a NOTIFICATION.
func sent(p Peer, what string) string {
	switch what {
	case badPeerAS:
		return fmt.Sprintf("wrong AS: the peer's is not %d", p.ASN)
	case reset: // nothing else here resets sessions
		return fmt.Sprintf("BFD is down: %d packets in a row were missing, or the peer said so", p.BFD.Multiplier)
	case unexpected:
		return refusal
	case deconfigured:
		return "" // SetPeers or Close
	}
	return "we ended the session: " + what
}

// received says why the peer ended a session by a NOTIFICATION.
func received(p Peer, what string) string {
	switch what {
	case holdExpired:
		return "the peer ended the session: its hold time expired, so nothing of ours reached it; is GTSM on at the peer only?"
	case bfdDown:
		return "the peer ended the session: BFD is down"
	}
	return "the peer ended the session: " + what
}
