package fleet

import "time"

// settleFor is how long a node that knows nothing waits for the others: time to
// join them over some round trips, and to try once more.
const settleFor = 2 * time.Second

// Settle has a node that starts without any verdicts wait for those of another
// node, so that the first answer does not name what the fleet has given up. It
// returns at once when this node has verdicts, or is alone, and after settleFor
// when nobody is heard.
func (f *Fleet) Settle() {
	if f.alone() || !f.blank {
		return
	}
	select {
	case <-f.told:
	case <-time.After(settleFor):
	}
	f.locked(f.judge)
}

// noteTold notes that another node has told what it knows. The caller holds the
// lock.
func (f *Fleet) noteTold() {
	select {
	case <-f.told:
	default:
		close(f.told)
	}
}
