package fleet

import (
	"testing"
	"testing/synctest"
	"time"

	"edged/edge"
)

// A node that has lost everything knows what is dead before it answers.
func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, true)
		w.startAll()
		defer w.stopAll()
		target := w.plan.Targets[1]
		w.set(target.Address.String(), true)
		w.await("the verdict", 15*time.Second, func() bool { return w.say(edge.Dead, target) })
		time.Sleep(10 * time.Second) // two votes are enough for it: let all find it dead

		w.stop(2)
		w.dirs[2] = t.TempDir()
		f := w.start(2, testKey(2))
		if v := f.View().Targets[target.ID].Verdict; v != edge.Unknown {
			t.Fatalf("before it heard from anybody, %v: want unknown", v)
		}
		f.Settle()
		if v := f.View().Targets[target.ID].Verdict; v != edge.Dead {
			t.Errorf("settled, %v: want dead", v)
		}
	})
}

// Nobody is there to wait for, or nothing to wait for.
func TestSettleEnds(t *testing.T) {
	for name, c := range map[string]struct {
		nodes int
		again bool // the node starts a second time, with verdicts
		waits time.Duration
	}{
		"alone":         {nodes: 1},
		"nobody else":   {nodes: 3, waits: settleFor},
		"with verdicts": {nodes: 3, again: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, c.nodes, true)
				defer w.stopAll()
				if c.again {
					w.startAll()
					for i := range w.nodes {
						w.stop(i)
					}
				}
				f := w.start(0, testKey(0))
				before := time.Now()
				f.Settle()
				if took := time.Since(before); took != c.waits {
					t.Errorf("it took %v, want %v", took, c.waits)
				}
			})
		})
	}
}
