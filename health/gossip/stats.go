package gossip

import "sync/atomic"

// Stats is what a mesh counted since it started, but for the last three.
type Stats struct {
	Received  uint64 // messages, queued for the receiver
	States    uint64 // whole states, queued for the receiver
	Dropped   uint64 // messages and states: the queue was full, or they were too long
	TooLong   uint64 // broadcasts that were not sent, being empty or over MaxBroadcast
	StateBig  uint64 // own states that were not sent, being over 16 MiB
	Pruned    uint64 // broadcasts that were not sent as often as they should
	Joins     uint64 // nodes that came alive, this one among them
	Leaves    uint64 // nodes that left or were given up
	Refused   uint64 // claims of nodes that are not of the fleet
	Conflicts uint64 // claims of a name that another node has
	Streams   uint64 // incoming streams that were refused
	Exchanges uint64 // whole states exchanged to join or repair
	Repairs   uint64 // exchanges begun for Repair
	Rekeyed   uint64 // steps of key rotations
	Queued    int    // broadcasts still being sent
	Score     int    // memberlist's own health, 0 (good) to 7
	Keys      int    // gossip keys accepted
}

// counters are the counts behind Stats.
type counters struct {
	received, states, dropped, tooLong, statesTooLong, pruned atomic.Uint64
	joins, leaves, refused, conflicts                         atomic.Uint64
	exchanges, repairs, rekeyed                               atomic.Uint64
}

// Stats returns what the mesh counted so far.
func (m *Mesh) Stats() Stats {
	c := &m.stats
	m.mu.Lock()
	keys := len(m.ring)
	m.mu.Unlock()
	return Stats{
		Received:  c.received.Load(),
		States:    c.states.Load(),
		Dropped:   c.dropped.Load(),
		TooLong:   c.tooLong.Load(),
		StateBig:  c.statesTooLong.Load(),
		Pruned:    c.pruned.Load(),
		Joins:     c.joins.Load(),
		Leaves:    c.leaves.Load(),
		Refused:   c.refused.Load(),
		Conflicts: c.conflicts.Load(),
		Streams:   m.transport.refused.Load(),
		Exchanges: c.exchanges.Load(),
		Repairs:   c.repairs.Load(),
		Rekeyed:   c.rekeyed.Load(),
		Queued:    m.outbox.queue.NumQueued(),
		Score:     m.list.GetHealthScore(),
		Keys:      keys,
	}
}
