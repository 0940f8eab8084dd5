package gossip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist calls a Mesh by. It calls some of these with its
// own locks held and others in the loop that receives packets, so none of them
// waits, or calls memberlist.
type delegate struct{ *Mesh }

var (
	_ memberlist.Delegate         = delegate{}
	_ memberlist.EventDelegate    = delegate{}
	_ memberlist.AliveDelegate    = delegate{}
	_ memberlist.MergeDelegate    = delegate{}
	_ memberlist.ConflictDelegate = delegate{}
)

// NodeMeta returns what this node tells of itself.
func (d delegate) NodeMeta(int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := meta{pop: d.config.PoP, link: d.config.Link}
	for _, k := range d.ring {
		m.keys = append(m.keys, k.id())
	}
	return m.appendTo(nil)
}

// NotifyMsg queues a copy of a message for the receiver.
func (d delegate) NotifyMsg(msg []byte) { d.inbox.put(msg) }

// GetBroadcasts returns what to send along, the least sent first.
func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.outbox.take(overhead, limit)
}

// LocalState returns the receiver's whole state for a peer.
func (d delegate) LocalState(bool) []byte {
	state := d.config.Receiver.LocalState()
	if len(state) > maxState {
		d.stats.statesTooLong.Add(1)
		return nil
	}
	return state
}

// MergeRemoteState queues a peer's whole state for the receiver. The octets
// are the mesh's own: memberlist read them into memory made for them.
func (d delegate) MergeRemoteState(state []byte, _ bool) { d.inbox.putState(state) }

// NotifyAlive refuses nodes that are not of the fleet, or that nobody could
// reach.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	err := d.admit(n)
	if err != nil {
		d.stats.refused.Add(1)
	}
	return err
}

func (d delegate) admit(n *memberlist.Node) error {
	if n.Name == d.config.Name {
		return nil
	}
	if err := checkName(n.Name); err != nil {
		return err
	}
	if !d.config.Allowed(n.Name) {
		return errors.New("not a member of the fleet")
	}
	if addr := address(n); !addr.IsValid() || addr.Port() == 0 || addr.Addr().IsUnspecified() || addr.Addr().IsMulticast() {
		return fmt.Errorf("address %s cannot be a node's", addr)
	}
	_, err := parseMeta(n.Meta)
	return err
}

// NotifyMerge refuses to join with a fleet in which no live node is one of ours.
// Strangers among members are left out one by one, by NotifyAlive.
func (d delegate) NotifyMerge(peers []*memberlist.Node) error {
	for _, n := range peers {
		if n.State == memberlist.StateAlive && d.admit(n) == nil {
			return nil
		}
	}
	d.stats.refused.Add(1)
	return errors.New("no member of the fleet among the peer's nodes")
}

// NotifyConflict counts that a node claims the name of another that is alive.
// memberlist keeps the one it knows, and logs both addresses.
func (d delegate) NotifyConflict(_, other *memberlist.Node) {
	if other.Name == d.config.Name || d.config.Allowed(other.Name) {
		d.stats.conflicts.Add(1)
	}
}

// NotifyJoin enters a node that is alive.
func (d delegate) NotifyJoin(n *memberlist.Node) { d.enter(n) }

// NotifyUpdate enters what a node tells of itself anew.
func (d delegate) NotifyUpdate(n *memberlist.Node) { d.enter(n) }

// NotifyLeave takes a node out that has left, or that nobody reaches.
func (d delegate) NotifyLeave(n *memberlist.Node) {
	d.mu.Lock()
	if p, ok := d.peers[n.Name]; ok && n.Name != d.config.Name {
		delete(d.peers, n.Name)
		d.lost[n.Name] = lost{addr: p.Addr, since: time.Now()}
	}
	d.mu.Unlock()
	d.stats.leaves.Add(1)
	d.noteChange()
}

// enter notes a node as alive. The copy spares readers memberlist's own record,
// which it changes without their knowing.
func (d delegate) enter(n *memberlist.Node) {
	m, err := parseMeta(n.Meta)
	if err != nil {
		return // NotifyAlive let no such node in
	}
	d.mu.Lock()
	_, known := d.peers[n.Name]
	d.peers[n.Name] = Peer{Name: n.Name, PoP: m.pop, Addr: address(n), Keys: m.keys, Link: m.link}
	delete(d.lost, n.Name)
	d.mu.Unlock()
	if !known {
		d.stats.joins.Add(1)
	}
	d.noteChange()
}

// address returns where a node is; invalid when it does not say.
func address(n *memberlist.Node) netip.AddrPort {
	return netip.AddrPortFrom(addrOf(n.Addr), n.Port)
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
