package health

// trail is one observer's own messages from which its registers can be made
// anew: a snapshot, and the batches that follow it. It is what a node hands on,
// because it cannot sign for others. It is empty when it would be too long;
// then the registers are not handed on until the observer's next snapshot.
type trail struct {
	snapshot []byte // nil: the batches begin with the first one
	base     uint64 // the snapshot's sequence
	batches  [][]byte
	broken   bool // empty, for it would not lead to the registers
	size     int  // octets, with what frames them in a state
}

const (
	// A trail is at most so long. The batches may be as long as the longest
	// snapshot.
	maxBatches    = 4096
	maxTrail      = 2 * maxSnapshot
	shortenBy     = 16                                 // batches that a snapshot must replace to be worth its verification
	maxTrails     = MaxState - 1 - maxEntries          // all together, so that a state always has room for them
	maxEntries    = MaxObservers * (6 + 4 + maxDigest) // what a state has beside trails
	messageFrame  = 4                                  // octets around each message of a state
	maxEarly      = 64                                 // batches of one observer that wait for one before them
	maxEarlyTotal = 4096                               // of all observers
)

// at returns the kept batch of a sequence; nil if there is none.
func (t *trail) at(sequence uint64) []byte {
	if i := sequence - t.base - 1; sequence > t.base && i < uint64(len(t.batches)) {
		return t.batches[i]
	}
	return nil
}

// add appends the next batch. total is the size of all trails.
func (t *trail) add(msg []byte, total *int) {
	if t.broken {
		return
	}
	t.batches = append(t.batches, msg)
	t.grow(len(msg), total)
}

// reset begins anew: with a snapshot, or without one at sequence 0.
func (t *trail) reset(snapshot []byte, base uint64, total *int) {
	t.drop(total)
	t.snapshot, t.base, t.broken = snapshot, base, false
	if snapshot != nil {
		t.grow(len(snapshot), total)
	}
}

// shorten puts a snapshot in place of the batches up to its sequence.
func (t *trail) shorten(snapshot []byte, sequence uint64, total *int) {
	var later [][]byte
	if !t.broken {
		later = t.batches[sequence-t.base:]
	}
	t.reset(snapshot, sequence, total)
	for _, msg := range later {
		t.add(msg, total)
	}
}

func (t *trail) grow(octets int, total *int) {
	t.size += octets + messageFrame
	*total += octets + messageFrame
	if t.size > maxTrail || len(t.batches) > maxBatches || *total > maxTrails {
		t.drop(total)
	}
}

// drop empties the trail.
func (t *trail) drop(total *int) {
	*total -= t.size
	*t = trail{broken: true}
}
