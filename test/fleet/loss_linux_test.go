package fleet

import (
	"fmt"
	"testing"
	"time"

	"edged/test/fleet/rig"
)

// visible is within what time all nodes hold a record though 30 % of the gossip
// is lost: a push/pull round and a little.
const visible = 35 * time.Second

// Eight nodes lose 30 % of the packets of their gossip. What each of them finds is known to all soon, and all say the same of
// every server.
func TestGossipLosesPackets(t *testing.T) {
	f := newFleet(t, rig.Config{Nodes: 8, Observers: 8})
	watches := f.watch(f.Nodes, "www")
	f.must(f.Lose(0.3))
	begun := time.Now()
	victim, next := f.Server("syd"), map[string]string{"syd": "nrt"}
	for range 2 {
		for _, up := range []bool{false, true} {
			if up {
				f.must(victim.Start())
			} else {
				victim.Kill()
			}
			first := time.Time{}
			f.wait(time.Minute, fmt.Sprintf("all nodes have all %d records, up %v", len(f.Nodes), up), func() error {
				missing, some := f.records(victim, up)
				if some && first.IsZero() {
					first = time.Now()
				}
				if missing == nil && time.Since(first) > visible {
					return fmt.Errorf("only %v after the first", time.Since(first))
				}
				return missing
			})
			t.Logf("the last record was with the last node %.1f s after the first was with the first", time.Since(first).Seconds())
			if up {
				f.wait(10*time.Second, "all nodes agree", func() error { return f.Alike(f.Nodes) })
				f.wait(5*time.Second, "it is answered", func() error { return f.Answered(watches, "www", nil) })
			} else {
				f.wait(10*time.Second, "all nodes agree", func() error { return f.Alike(f.Nodes, victim) })
				f.wait(5*time.Second, "it is not answered", func() error { return f.Answered(watches, "www", next) })
			}
		}
	}
	looks, whole := 0, 0
	f.hold(time.Until(begun.Add(time.Minute)), "while packets are lost", func() error {
		looks++
		if f.Agreed(f.Nodes) == nil {
			whole++
		}
		return f.Alike(f.Nodes)
	})
	t.Logf("at %d of %d looks every node heard every other", whole, looks)
	noneBad(t, watches)
	passed, lost := f.Lost()
	share := float64(lost) / float64(passed+lost)
	t.Logf("%d of %d packets were lost, %.1f %%", lost, passed+lost, 100*share)
	if passed+lost < 3_000 || share < 0.28 || share > 0.32 {
		t.Errorf("%d of %d packets were lost, want 30 %% of many", lost, passed+lost)
	}
}

// records errs unless each node has from each that it says of a server whether
// that is up; some says whether any node has such a record.
func (f *fleet) records(s *rig.Server, up bool) (missing error, some bool) {
	for _, n := range f.Nodes {
		h, err := n.Health()
		if err != nil {
			return err, some
		}
		votes, err := h.Votes(s)
		if err != nil {
			return err, some
		}
		have := 0
		for _, v := range votes {
			if (v.Verdict == 0) == up {
				have++
			}
		}
		some = some || have > 0
		if have < len(f.Nodes) {
			missing = fmt.Errorf("%s has %d records, want %d", n.Name, have, len(f.Nodes))
		}
	}
	return missing, some
}
