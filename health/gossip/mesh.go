package gossip

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Config is what a mesh is started with.
type Config struct {
	Name      string         // this node's, 1 to 63 letters, digits, ".", "-" and "_"; the same after a restart
	PoP       string         // where the node is, at most 63 octets
	Fleet     string         // 1 to 63 octets; nodes of another fleet are not heard
	Bind      netip.AddrPort // UDP and TCP; port 0 takes a free one
	Advertise netip.AddrPort // where others reach the node, never a VIP; invalid: Bind, which must name an address then

	Join     []netip.AddrPort       // members to join, now and whenever they are missing
	Keys     [][]byte               // 32 octets each, 1 to 8; the first encrypts
	Networks []netip.Prefix         // where nodes may be; empty: anywhere
	Link     uint16                 // port at which this node takes members' calls; 0: none
	Allowed  func(name string) bool // whether a node is of the fleet; must not wait; nil: all are
	Receiver Receiver
	Log      *slog.Logger // nil: none

	// Transport carries packets and streams; nil: sockets on Bind. It is the
	// mesh's from then on, and shut down with it.
	Transport memberlist.Transport

	pace *pace // nil: that of production
}

// Receiver takes what arrives. Receive, MergeState and Changed are called by
// one goroutine, one at a time, in no promised order of messages; until one
// returns, what arrives is queued, and dropped when the queue is full. LocalState
// is called from many goroutines at once, also while the others run. They may
// call the mesh's methods, except Stop.
type Receiver interface {
	Receive(msg []byte)      // a broadcast, or a message sent to this node; the slice is the receiver's
	LocalState() []byte      // everything this node knows, for a peer; at most 16 MiB
	MergeState(state []byte) // what a peer's LocalState returned
	Changed()                // nodes came, went, or told something new of themselves: see Alive
}

// Peer is a node that is alive.
type Peer struct {
	Name string
	PoP  string
	Addr netip.AddrPort
	Keys []KeyID // the gossip keys it accepts; it encrypts with the first
	Link uint16  // port at which it takes members' calls; 0: none
}

// lost is where a node was that is not alive any more.
type lost struct {
	addr  netip.AddrPort
	since time.Time
}

// Mesh is this node's part in the gossip. All methods are safe for concurrent
// use.
type Mesh struct {
	config    Config
	list      *memberlist.Memberlist
	transport *transport
	inbox     *inbox
	outbox    *outbox
	stats     counters

	changed chan struct{} // for the receiver; holds one
	rekey   chan struct{} // for the rotation; holds one
	repair  chan struct{} // for the repairs; holds one

	ctx    context.Context // ends with Stop
	cancel context.CancelFunc
	loops  sync.WaitGroup
	once   sync.Once
	rng    *dice

	ringing sync.Mutex // taken before mu: one change of the keyring at a time
	keyring *memberlist.Keyring

	mu    sync.Mutex // guards the rest; no call to memberlist is made under it
	peers map[string]Peer
	lost  map[string]lost
	ring  []secret // what the keyring holds
	want  []secret // what it shall hold
}

// Start begins to gossip and to join the fleet; it does not wait until it has
// joined. It errs on a Config out of bounds, and when the sockets cannot be had.
func Start(c Config) (*Mesh, error) {
	if err := check(&c); err != nil {
		return nil, err
	}
	keys, err := secrets(c.Keys)
	if err != nil {
		return nil, err
	}
	m := &Mesh{
		config:  c,
		changed: make(chan struct{}, 1),
		rekey:   make(chan struct{}, 1),
		repair:  make(chan struct{}, 1),
		rng:     newDice(),
		keyring: &memberlist.Keyring{},
		peers:   map[string]Peer{},
		lost:    map[string]lost{},
		ring:    keys,
		want:    keys,
	}
	m.inbox = newInbox(&m.stats)
	if err := install(m.keyring, keys); err != nil {
		return nil, err
	}
	settings := c.pace.settings()
	m.outbox = newOutbox(m.size, &m.stats)
	m.ctx, m.cancel = context.WithCancel(context.Background())

	logger := newLogger(c.Log)
	inner := c.Transport
	if inner == nil {
		sockets, err := listen(c.Bind, logger)
		if err != nil {
			return nil, err
		}
		settings.BindPort = sockets.GetAutoBindPort()
		settings.AdvertisePort = cmp.Or(int(c.Advertise.Port()), settings.BindPort)
		inner = sockets
	}
	if c.Advertise.IsValid() {
		settings.AdvertiseAddr = c.Advertise.Addr().String()
	}
	m.transport = newTransport(inner, c.Networks)
	for _, p := range c.Networks {
		settings.CIDRsAllowed = append(settings.CIDRsAllowed, ipNet(p))
	}
	settings.Name = c.Name
	settings.Label = "edged/" + c.Fleet
	settings.Keyring = m.keyring
	settings.Transport = m.transport
	settings.Logger = logger
	d := delegate{m}
	settings.Delegate, settings.Events = d, d
	settings.Alive, settings.Merge, settings.Conflict = d, d, d

	m.list, err = memberlist.Create(settings)
	if err != nil {
		m.cancel()
		m.transport.Shutdown()
		return nil, fmt.Errorf("gossip: %w", err)
	}
	m.loops.Go(m.deliver)
	m.loops.Go(m.keepJoined)
	m.loops.Go(m.keepRepaired)
	m.loops.Go(m.keepKeyed)
	return m, nil
}

// check holds a Config against its bounds and fills in what may be left out.
func check(c *Config) error {
	if err := checkName(c.Name); err != nil {
		return err
	}
	if len(c.PoP) > maxPoP {
		return fmt.Errorf("pop %q has %d octets, want at most %d", c.PoP, len(c.PoP), maxPoP)
	}
	if len(c.Fleet) == 0 || len(c.Fleet) > 63 {
		return fmt.Errorf("fleet name %q has %d octets, want 1 to 63", c.Fleet, len(c.Fleet))
	}
	if c.Transport == nil {
		if !c.Bind.IsValid() || c.Bind.Addr().Zone() != "" {
			return fmt.Errorf("gossip cannot bind to %q: want an address without a zone, and a port", c.Bind)
		}
		if c.Bind.Addr().IsUnspecified() && !c.Advertise.IsValid() {
			return fmt.Errorf("gossip binds to %s and does not say where others reach it: set advertise to an address of this node alone", c.Bind)
		}
	}
	if a := c.Advertise.Addr(); c.Advertise.IsValid() && (a.IsUnspecified() || a.IsMulticast() || a.Zone() != "") {
		return fmt.Errorf("gossip cannot advertise %s: want an address of this node alone", c.Advertise)
	}
	if c.Receiver == nil {
		return fmt.Errorf("gossip of node %q has no receiver", c.Name)
	}
	if c.Allowed == nil {
		c.Allowed = func(string) bool { return true }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.pace == nil {
		c.pace = &production
	}
	return nil
}

// checkName errs on what cannot be a node's name.
func checkName(name string) error {
	ok := len(name) > 0 && len(name) <= 63
	for _, r := range []byte(name) {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_')
	}
	if !ok {
		return fmt.Errorf("node name %s: want 1 to 63 letters, digits, dots, hyphens and underscores", strconv.Quote(name[:min(len(name), 80)]))
	}
	return nil
}

// Stop tells the others that the node leaves, closes the sockets and ends all
// that the mesh started. It waits for the farewell at most until the context
// ends, and five seconds. A probe of memberlist's that waits for an answer is
// left to its timeout; it holds no socket and calls nobody.
func (m *Mesh) Stop(ctx context.Context) {
	m.once.Do(func() {
		patience := 5 * time.Second
		if end, ok := ctx.Deadline(); ok {
			patience = min(patience, time.Until(end))
		}
		if ctx.Err() == nil && patience > 0 {
			if err := m.list.Leave(patience); err != nil {
				m.config.Log.Warn("gossip: nobody heard that this node leaves", "error", err)
			}
		}
		m.cancel()
		m.list.Shutdown() // its only error is the transport's, which has none
		m.loops.Wait()
	})
}

// Broadcast sends a message of at most MaxBroadcast octets to some other nodes,
// four at least in a fleet of that size. It reaches all, or nearly all, within a
// second if every node broadcasts again what is new to it. A message takes the
// place of one with the same key that is still being sent; with key "" it
// replaces none.
func (m *Mesh) Broadcast(key string, msg []byte) { m.outbox.put(key, msg) }

// Send hands a message of at most MaxMessage octets to one node, over TCP. It
// returns once the message is on its way, or with an error within the timeout
// for streams (10 s).
func (m *Mesh) Send(node string, msg []byte) error {
	if len(msg) > MaxMessage {
		return fmt.Errorf("message of %d octets for node %q: want at most %d", len(msg), node, MaxMessage)
	}
	m.mu.Lock()
	p, ok := m.peers[node]
	m.mu.Unlock()
	if !ok {
		return fmt.Errorf("node %q is not alive, as far as this node knows", node)
	}
	to := &memberlist.Node{Name: p.Name, Addr: p.Addr.Addr().AsSlice(), Port: p.Addr.Port()}
	if err := m.list.SendReliable(to, msg); err != nil {
		return fmt.Errorf("send to node %q: %w", node, err)
	}
	return nil
}

// Alive returns the nodes that are alive as far as this node knows, by name,
// itself among them. Their Keys must not be changed.
func (m *Mesh) Alive() []Peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Peer, 0, len(m.peers))
	for _, p := range m.peers {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Peer) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// size returns how many nodes are alive.
func (m *Mesh) size() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.peers)
}

// others returns the live peers.
func (m *Mesh) others() []Peer {
	return slices.DeleteFunc(m.Alive(), func(p Peer) bool { return p.Name == m.config.Name })
}

// Suspect says why this node should not be believed just now, or returns "":
// its probes of several others go unanswered, and so do its requests that others
// try. A few deaths of others do not make it suspect, because the rest still
// answers; when many die at once it can be, for some seconds. Nor does being
// alone: nothing would ever clear a node of the suspicion, and that it sees no
// majority it knows without.
func (m *Mesh) Suspect() string {
	score, others := m.list.GetHealthScore(), m.size()-1
	if others < 1 || score < min(suspicious, max(2, others)) {
		return ""
	}
	return fmt.Sprintf("others do not answer this node's gossip (score %d of 7)", score)
}

// Repair asks for an exchange of the whole state with some peer, soon. It does
// not wait for it. Three can follow each other within seconds, then there is one
// in ten seconds.
func (m *Mesh) Repair() { signal(m.repair) }

// SetKeys sets the gossip keys, which the mesh then goes over to as fast as the
// live peers do (see step): the first encrypts when all accept it, and one that
// is not named is let go when none encrypts with it. So the whole fleet is
// re-keyed by giving every node its new keys, in any order. It errs, and changes
// nothing, on keys out of bounds. A node that is away meanwhile must have the new
// key before it comes back.
func (m *Mesh) SetKeys(keys [][]byte) error {
	want, err := secrets(keys)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.want = want
	m.mu.Unlock()
	signal(m.rekey)
	return nil
}

// noteChange tells the loops that membership changed.
func (m *Mesh) noteChange() {
	signal(m.changed)
	signal(m.rekey)
}

// signal leaves a mark in a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
