package gossip

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// joinsAtOnce bounds how many members are joined at the same time.
	joinsAtOnce = 8
	// rememberLost is how long a node that is gone is tried again though it is
	// not among the members to join.
	rememberLost = time.Hour
	// maxLost bounds how many of them are remembered.
	maxLost = 1024
)

// deliver hands what arrives to the receiver, until the mesh stops.
func (m *Mesh) deliver() {
	r := m.config.Receiver
	for {
		select {
		case msg := <-m.inbox.messages:
			m.inbox.size.Add(-int64(len(msg)))
			r.Receive(msg)
		case state := <-m.inbox.states:
			r.MergeState(state)
		case <-m.changed:
			r.Changed()
		case <-m.ctx.Done():
			return
		}
	}
}

// keepJoined joins the members that are missing: at once, then ever more
// seldom while nobody answers, then every half minute. Without it a partition
// that outlasts memberlist's memory of the dead would never heal.
func (m *Mesh) keepJoined() {
	p := m.config.pace
	wait := p.joinFirst
	for {
		if m.joinMissing() {
			wait = min(2*wait, p.joinMost)
		} else {
			wait = p.joinMost
		}
		if !m.pause(m.rng.around(wait)) {
			return
		}
	}
}

// pause waits, and says whether the mesh still runs.
func (m *Mesh) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-m.ctx.Done():
		return false
	}
}

// joinMissing joins the members that are not alive, and says whether this node
// is still alone after it. While it is alone it encrypts with one after the
// other of the keys it accepts: perhaps the others went on to another while it
// was away.
func (m *Mesh) joinMissing() (alone bool) {
	for range m.Stats().Keys {
		missing := m.missing(time.Now())
		m.joinAll(missing)
		if len(missing) == 0 || len(m.others()) > 0 {
			return false
		}
		m.setRing(func(ring []secret) []secret {
			return append(slices.Clone(ring[1:]), ring[0])
		})
	}
	return true
}

// joinAll joins the nodes at the addresses, several at a time.
func (m *Mesh) joinAll(addrs []netip.AddrPort) {
	turn := make(chan struct{}, joinsAtOnce)
	var all sync.WaitGroup
	for _, addr := range addrs {
		turn <- struct{}{}
		all.Go(func() {
			m.join("join", addr)
			<-turn
		})
	}
	all.Wait()
}

// join exchanges the whole state with the node at an address. A failure is
// memberlist's to log.
func (m *Mesh) join(name string, addr netip.AddrPort) {
	if m.ctx.Err() != nil {
		return
	}
	// memberlist wants a name with each address, which no transport of ours reads.
	if n, _ := m.list.Join([]string{name + "/" + addr.String()}); n > 0 {
		m.stats.exchanges.Add(1)
	}
}

// missing returns the addresses to join: those asked for and those of nodes
// that were here, without those of nodes that are alive.
func (m *Mesh) missing(now time.Time) []netip.AddrPort {
	m.mu.Lock()
	defer m.mu.Unlock()
	alive := map[netip.AddrPort]bool{}
	for _, p := range m.peers {
		alive[p.Addr] = true
	}
	var all []netip.AddrPort
	for _, addr := range m.config.Join {
		if addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()); !alive[addr] {
			all = append(all, addr)
		}
	}
	for name, l := range m.lost {
		if now.Sub(l.since) > rememberLost || len(m.lost) > maxLost || !m.config.Allowed(name) {
			delete(m.lost, name)
		} else if !alive[l.addr] && !slices.Contains(all, l.addr) {
			all = append(all, l.addr)
		}
	}
	return all
}

// keepRepaired exchanges the whole state with a random peer when Repair asks
// for it, within limits.
func (m *Mesh) keepRepaired() {
	limit := m.config.pace.repairs
	for {
		select {
		case <-m.repair:
		case <-m.ctx.Done():
			return
		}
		if !limit.take(time.Now()) {
			if !m.pause(limit.wait()) {
				return
			}
			limit.take(time.Now())
		}
		if peers := m.others(); len(peers) > 0 {
			p := peers[rand.IntN(len(peers))]
			m.stats.repairs.Add(1)
			m.join(p.Name, p.Addr)
		}
		if !m.pause(m.config.pace.repairGap) {
			return
		}
	}
}

// keepKeyed takes the next step of a rotation whenever keys were set or peers
// changed.
func (m *Mesh) keepKeyed() {
	for {
		select {
		case <-m.rekey:
		case <-m.ctx.Done():
			return
		}
		var ids [][]KeyID
		for _, p := range m.others() {
			ids = append(ids, p.Keys)
		}
		cutOff := len(ids) == 0 && len(m.missing(time.Now())) > 0
		m.setRing(func(ring []secret) []secret { return step(ring, m.want, ids, cutOff) })
	}
}

// setRing makes other keys of those of the ring, and tells the others. The
// function is called with the mesh locked.
func (m *Mesh) setRing(change func(ring []secret) []secret) {
	m.ringing.Lock()
	defer m.ringing.Unlock()
	m.mu.Lock()
	next := change(m.ring)
	same := slices.Equal(m.ring, next)
	m.ring = next
	m.mu.Unlock()
	if same {
		return
	}
	if err := install(m.keyring, next); err != nil {
		panic(err) // keys of the right length, and one at least
	}
	m.stats.rekeyed.Add(1)
	// Nobody may hear it within the second; push/pull tells them later.
	_ = m.list.UpdateNode(time.Second)
}
