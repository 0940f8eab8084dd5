package gossip

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func newTestOutbox() (*outbox, *counters) {
	stats := &counters{}
	return newOutbox(func() int { return 5 }, stats), stats
}

// texts returns messages in order.
func texts(msgs [][]byte) []string {
	var all []string
	for _, m := range msgs {
		all = append(all, string(m))
	}
	slices.Sort(all)
	return all
}

func TestOutboxReplacesByKey(t *testing.T) {
	q, _ := newTestOutbox()
	q.put("digest n1", []byte("n1 first"))
	q.put("digest n2", []byte("n2 first"))
	q.take(3, 1000)
	q.put("digest n1", []byte("n1 second"))
	q.put("", []byte("batch"))
	q.put("", []byte("batch")) // equal, and yet another
	want := []string{"batch", "batch", "n1 second", "n2 first"}
	if got := texts(q.take(3, 1000)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOutboxKeepsToTheLimit(t *testing.T) {
	for _, overhead := range []int{0, 3, 10} {
		for limit := 0; limit < 600; limit += 7 {
			q, _ := newTestOutbox()
			for i := range 20 {
				q.put(fmt.Sprint(i), bytes.Repeat([]byte("x"), 10*i+1))
			}
			sum := 0
			for _, m := range q.take(overhead, limit) {
				sum += overhead + len(m)
			}
			if sum > limit {
				t.Fatalf("took %d octets with overhead %d, limit %d", sum, overhead, limit)
			}
			if sum == 0 && limit > overhead+1 {
				t.Fatalf("took nothing with overhead %d, limit %d", overhead, limit)
			}
		}
	}
}

func TestOutboxSendsEachOftenEnough(t *testing.T) {
	q, _ := newTestOutbox()
	q.put("", []byte("news"))
	n := 0
	for len(q.take(3, 1000)) > 0 {
		n++
	}
	if n != spread { // five nodes are one digit
		t.Errorf("sent %d times, want %d", n, spread)
	}
}

func TestOutboxIsBounded(t *testing.T) {
	q, stats := newTestOutbox()
	q.put("", nil)
	q.put("", make([]byte, MaxBroadcast+1))
	if got := stats.tooLong.Load(); got != 2 {
		t.Errorf("%d were of a wrong size, want 2", got)
	}
	for i := range maxOutbox + 10 {
		q.put("", fmt.Appendf(nil, "message %d", i))
	}
	if got := q.queue.NumQueued(); got != maxOutbox {
		t.Errorf("%d are queued, want %d", got, maxOutbox)
	}
	if got := stats.pruned.Load(); got != 10 {
		t.Errorf("%d were pruned, want 10", got)
	}
}

// The longest broadcast fits a packet, with the longest label.
func TestLongestBroadcastFits(t *testing.T) {
	const (
		compound   = 2 + 2 + 1                            // memberlist's marks of a compound message, of an entry, of a user message
		encryption = 1 + 12 + 16                          // version, nonce, tag
		label      = 2 + len("edged/") + 63               // mark, length, text
		room       = 1200 - compound - encryption - label // UDPBufferSize
	)
	if got := production.settings().UDPBufferSize; got != 1200 {
		t.Errorf("packets have %d octets, want 1200", got)
	}
	if MaxBroadcast > room {
		t.Errorf("a packet has room for %d octets, MaxBroadcast is %d", room, MaxBroadcast)
	}
}

func TestInboxCopies(t *testing.T) {
	q := newInbox(&counters{})
	msg := []byte("as sent")
	q.put(msg)
	copy(msg, "changed")
	if got := <-q.messages; string(got) != "as sent" {
		t.Errorf("got %q", got)
	}
}

func TestInboxIsBounded(t *testing.T) {
	stats := &counters{}
	q := newInbox(stats)
	q.put(make([]byte, MaxMessage+1))
	if stats.dropped.Load() != 1 || q.size.Load() != 0 {
		t.Errorf("dropped %d, %d octets queued", stats.dropped.Load(), q.size.Load())
	}
	for range maxInboxSize/MaxMessage + 5 {
		q.put(make([]byte, MaxMessage))
	}
	if got := stats.received.Load(); got != maxInboxSize/MaxMessage {
		t.Errorf("received %d, want %d", got, maxInboxSize/MaxMessage)
	}
	if got := stats.dropped.Load(); got != 6 {
		t.Errorf("dropped %d, want 6", got)
	}
	if got := q.size.Load(); got != maxInboxSize {
		t.Errorf("%d octets queued, want %d", got, maxInboxSize)
	}
}

func TestBucket(t *testing.T) {
	b := bucket{size: 3, every: 10 * time.Second}
	start := time.Unix(1000, 0)
	var got strings.Builder
	for s := range 60 {
		if b.take(start.Add(time.Duration(s) * time.Second)) {
			fmt.Fprint(&got, s, " ")
		}
	}
	if want := "0 1 2 10 20 30 40 50 "; got.String() != want {
		t.Errorf("allowed at %s, want %s", got.String(), want)
	}
	if got := b.wait(); got != time.Second { // after the try at 59 s
		t.Errorf("wait %v, want 1s", got)
	}
}
