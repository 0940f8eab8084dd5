package fleet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edged/edge"
	"edged/health"
	"edged/health/override"
)

// A node that cannot write starts, and tells what it sees: its votes count. It takes no overrides
// before it has written, and has another incarnation after each start.
func TestCannotWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, true)
		w.startAll()
		defer w.stopAll()
		w.stop(2)
		folder := filepath.Join(t.TempDir(), "full")
		w.dirs[2] = folder + ".link"
		if err := os.Symlink(folder, w.dirs[2]); err != nil { // to nowhere
			t.Fatal(err)
		}
		target, err := override.ParseTarget("pop/a")
		if err != nil {
			t.Fatal(err)
		}
		drain := override.Request{Action: override.Drain, Target: target, Owner: "op", Reason: "test", For: time.Hour}
		before := uint64(0)
		for range 2 {
			f := w.start(2, testKey(2))
			w.await("an incarnation", learnFor+time.Second, func() bool { return f.Incarnation() > before })
			before = f.Incarnation()
			if faults := f.Faults(); len(faults) != 1 || !strings.HasSuffix(faults[0], "; until that is written this node cannot take overrides from operators") {
				t.Errorf("faults %q", faults)
			}
			if _, err := f.Submit(t.Context(), drain); err == nil || !strings.HasPrefix(err.Error(), "this node cannot write what would tell its overrides apart: health: ") {
				t.Errorf("an override: %v", err)
			}
			checked := w.plan.Targets[2]
			w.set("n0 "+checked.Address.String(), true)
			w.set("n2 "+checked.Address.String(), true)
			w.await("its vote to count", 20*time.Second, func() bool { return w.say(edge.Dead, checked) })
			w.set("n0 "+checked.Address.String(), false)
			w.set("n2 "+checked.Address.String(), false)
			w.await("all to be well", 30*time.Second, func() bool { return w.say(edge.OK, checked) })
			w.stop(2)
		}
		f := w.start(2, testKey(2))
		w.await("an incarnation", learnFor+time.Second, func() bool { return f.Incarnation() > before })
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		w.await("it to be written", 10*time.Second, func() bool { return len(f.Faults()) == 0 })
		if _, err := f.Submit(t.Context(), drain); err != nil {
			t.Error(err)
		}
		before = f.Incarnation()
		w.stop(2)
		if f = w.start(2, testKey(2)); f.Incarnation() != before+1 || len(f.Faults()) > 0 {
			t.Errorf("incarnation %d after %d, faults %q", f.Incarnation(), before, f.Faults())
		}
	})
}

// A node in no fleet starts likewise.
func TestCannotWriteAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, false)
		folder := filepath.Join(t.TempDir(), "full")
		w.dirs[0] = folder + ".link"
		if err := os.Symlink(folder, w.dirs[0]); err != nil {
			t.Fatal(err)
		}
		w.startAll()
		defer w.stopAll()
		if f := w.nodes[0]; f.Incarnation() == 0 || len(f.Faults()) != 1 {
			t.Errorf("incarnation %d, faults %q", f.Incarnation(), f.Faults())
		}
	})
}

// A node that lost its incarnation, and has an override of its own from before, starts above all
// that it may have used: what it says counts, also where it had started again since the override.
func TestLostIncarnationOfAnOverride(t *testing.T) {
	for starts := range 2 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 3, true)
			vip := Target{health.NewVIP("ns1", testPoPs[2].Name), health.Quorum{Stated: true, Partition: health.Freeze}}
			w.plan.Targets = append(w.plan.Targets, vip)
			for i := range w.nodes {
				w.start(i, testKey(i))
			}
			defer w.stopAll()
			time.Sleep(15 * time.Second)
			target, err := override.ParseTarget("pop/a")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.nodes[2].Submit(t.Context(), override.Request{Action: override.Drain, Target: target, Owner: "op", Reason: "test", For: time.Hour}); err != nil {
				t.Fatal(err)
			}
			for range starts {
				w.stop(2)
				w.start(2, testKey(2))
			}
			for range 20 {
				for _, v := range []edge.Verdict{edge.Dead, edge.OK} {
					w.nodes[2].State(vip.ID, v, "as told")
					time.Sleep(10 * time.Second)
				}
			}
			before := w.nodes[2].Incarnation()
			w.stop(2)
			if err := os.Remove(filepath.Join(w.dirs[2], incarnationFile)); err != nil {
				t.Fatal(err)
			}
			f := w.start(2, testKey(2))
			if f.Incarnation() <= before || len(f.Overrides().Active) != 1 {
				t.Errorf("incarnation %d after %d, overrides %v", f.Incarnation(), before, f.Overrides().Active)
			}
			time.Sleep(20 * time.Second)
			f.State(vip.ID, edge.Dead, "drained")
			time.Sleep(time.Minute)
			if !w.say(edge.Dead, vip) {
				t.Errorf("%d starts after the override: nobody knows that its VIP is dead", starts)
			}
		})
	}
}
