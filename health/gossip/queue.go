package gossip

import (
	"bytes"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/memberlist"
)

const (
	// MaxBroadcast bounds a broadcast message, in octets, so that it fits a
	// packet beside the label, the encryption and memberlist's own marks.
	MaxBroadcast = 1000
	// MaxMessage bounds a message that is sent to one node, in octets.
	MaxMessage = 64 << 10

	// spread is how often a node sends a broadcast, times the number of digits
	// of the fleet's size. If all nodes send it on, one in e^spread misses it;
	// with 30 % of the packets lost, one in 270. memberlist's own 4 would leave
	// out one in 16 then, and each miss costs an exchange of the whole state.
	spread = 8

	maxState     = 16 << 20 // octets of a whole state
	maxOutbox    = 4096     // broadcasts that are still being sent
	maxInbox     = 4096     // messages that wait for the receiver
	maxInboxSize = 8 << 20  // octets of them
	maxStates    = 4        // whole states that wait for the receiver
)

// inbox holds what arrived until the receiver takes it. What does not fit is
// dropped and counted: a broadcast comes from several nodes, and push/pull
// repairs the rest.
type inbox struct {
	messages chan []byte
	states   chan []byte
	size     atomic.Int64 // octets of the messages
	stats    *counters
}

func newInbox(stats *counters) *inbox {
	return &inbox{messages: make(chan []byte, maxInbox), states: make(chan []byte, maxStates), stats: stats}
}

// put queues a copy of a message.
func (q *inbox) put(msg []byte) {
	size := int64(len(msg))
	if q.size.Add(size) <= maxInboxSize && size <= MaxMessage {
		select {
		case q.messages <- bytes.Clone(msg):
			q.stats.received.Add(1)
			return
		default:
		}
	}
	q.size.Add(-size)
	q.stats.dropped.Add(1)
}

// putState queues a whole state without copying it.
func (q *inbox) putState(state []byte) {
	select {
	case q.states <- state:
		q.stats.states.Add(1)
	default:
		q.stats.dropped.Add(1)
	}
}

// outbox holds the broadcasts that are still to be sent, each so many times as
// the fleet's size asks for.
type outbox struct {
	mu    sync.Mutex // held while a message is put in and the queue cut to size
	queue memberlist.TransmitLimitedQueue
	stats *counters
}

func newOutbox(nodes func() int, stats *counters) *outbox {
	return &outbox{queue: memberlist.TransmitLimitedQueue{RetransmitMult: spread, NumNodes: nodes}, stats: stats}
}

// put queues a message. One with a key takes the place of the one queued with
// that key. When there are too many, those that were sent most often go.
func (q *outbox) put(key string, msg []byte) {
	if len(msg) == 0 || len(msg) > MaxBroadcast {
		q.stats.tooLong.Add(1)
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	b := broadcast(bytes.Clone(msg))
	if key == "" {
		q.queue.QueueBroadcast(single{b})
	} else {
		q.queue.QueueBroadcast(keyed{b, key})
	}
	if over := q.queue.NumQueued() - maxOutbox; over > 0 {
		q.queue.Prune(maxOutbox)
		q.stats.pruned.Add(uint64(over))
	}
}

// take returns messages that fit the limit, each counted with the overhead.
func (q *outbox) take(overhead, limit int) [][]byte {
	return q.queue.GetBroadcasts(overhead, limit)
}

// broadcast is a message in the outbox.
type broadcast []byte

func (b broadcast) Message() []byte                     { return b }
func (broadcast) Invalidates(memberlist.Broadcast) bool { return false } // the queue compares names itself
func (broadcast) Finished()                             {}

// keyed is a broadcast that a later one of its key replaces.
type keyed struct {
	broadcast
	key string
}

func (k keyed) Name() string { return k.key }

// single is a broadcast that nothing replaces.
type single struct{ broadcast }

func (single) UniqueBroadcast() {}

var (
	_ memberlist.NamedBroadcast  = keyed{}
	_ memberlist.UniqueBroadcast = single{}
)
