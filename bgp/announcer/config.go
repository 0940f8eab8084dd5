package announcer

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"net/netip"
	"time"

	"edged/bgp"
	"edged/bgp/speaker"
	"edged/edge"
)

// Config is what an Announcer is started with.
type Config struct {
	Self bgp.Member
	Key  ed25519.PrivateKey // of this node, for promises
	Dir  string             // for vip-state.json and the audit log; made when first written
	Log  *slog.Logger

	Speaker   Speaker
	Addresses Addresses
	Listener  Listener
	Check     Check
	Probe     Probe
	Fleet     Fleet
	Answers   func() bgp.Tally // that the node gave since its start; Flaps is not looked at

	File  File
	Alarm func(overdue bool, detail []string) // all that is wrong now, or overdue; none: nothing
}

// Check asks one round of questions through a VIP, and errs with what is wrong.
// It says how many questions it asked.
type Check func(ctx context.Context, v bgp.VIP) (asked int, err error)

// Probe asks n times through each address of a VIP that this node does not have, and
// returns who answered and how often.
type Probe func(ctx context.Context, v bgp.VIP, n int) map[netip.Prefix]map[string]uint64

// File is what the node's configuration says; it may change while the node runs.
type File struct {
	VIPs     []bgp.VIP
	Peers    []speaker.Peer
	Required map[string]time.Duration // VIPs that pools require, with the longest TTL of their answers
}

// Speaker has the routes. It is [speaker.Speaker].
type Speaker interface {
	Allow([]netip.Prefix) error
	Apply(context.Context, []bgp.Route) (speaker.Diff, error)
	Sent() []speaker.PeerRoutes
	SetPeers([]speaker.Peer) (reset []string, err error)
	Peers() []speaker.PeerStatus
	Events() <-chan struct{}
}

// Addresses has the VIPs' addresses on this machine. It never touches others.
type Addresses interface {
	Ensure(vip string, prefixes []netip.Prefix) error
	Remove(vip string, prefixes []netip.Prefix) error // those that are ours
	Owned() ([]netip.Prefix, error)                   // those that are ours, also from before a restart
}

// Listener answers DNS on further addresses.
type Listener interface {
	Listen(context.Context, []netip.AddrPort) error
	Unlisten(...netip.AddrPort) error
	Queries(netip.AddrPort) uint64
}

// Fleet is the other members, as far as this node knows them.
type Fleet interface {
	Name() string
	Members() []bgp.Member // with this node
	Key(member string) (ed25519.PublicKey, bool)

	// Frozen is why this node cannot know about the others; empty: it can.
	Frozen() string

	// Call has a member carry out a call of Handle's, over a connection on which
	// both know whom they talk to.
	Call(ctx context.Context, member, path string, in, out any) error

	// State tells all members how this node's PoP has a VIP.
	State(vip string, v edge.Verdict, reason string)
}
