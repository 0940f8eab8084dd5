package announcer

import (
	"fmt"
	"time"
)

const (
	keepStarts   = 32               // the last ones
	crashesFor   = 10 * time.Minute // starts count for so long
	crashesAlarm = 3                // ends that were not in order, within that
)

// startsWith adds a start to those that did not end in order, the oldest first, and drops
// what is long ago, or not yet: clocks are set.
func startsWith(starts []time.Time, now time.Time) (all []time.Time) {
	for _, s := range starts {
		if age := now.Sub(s); age >= 0 && age < crashesFor {
			all = append(all, s)
		}
	}
	all = append(all, now)
	return all[max(0, len(all)-keepStarts):]
}

// crashes says that the node ends again and again, whatever becomes of its VIPs meanwhile: one that
// never lives until these are announced has no penalty. The caller holds the lock.
func (a *Announcer) crashes(now time.Time) error {
	n := 0
	for _, s := range a.starts[:max(0, len(a.starts)-1)] {
		if now.Sub(s) < crashesFor {
			n++
		}
	}
	if n < crashesAlarm {
		return nil
	}
	return fmt.Errorf("this node started %d times in the last %s and then ended without having stopped in order: what it logged last says why", n, crashesFor)
}
