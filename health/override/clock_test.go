package override

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A drain for 30 minutes ends after 30 minutes on all nodes, whichever of them
// has a clock that is an hour off and whichever accepts it.
func TestEndsWhereverTheClockIsWrong(t *testing.T) {
	for _, off := range []time.Duration{time.Hour, -time.Hour, 0} {
		for _, accepts := range []string{"a", "c"} {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, "a", "b", "c")
				begin := time.Now()
				f.engines["c"].cfg.Now = func() time.Time { return time.Now().Add(off) }
				if _, err := f.submit(accepts, "drain pop/fra", Flags{For: "30m"}); err != nil {
					t.Fatalf("c is off by %v, %s accepts: %v", off, accepts, err)
				}
				f.exchange()
				for _, at := range []struct {
					after time.Duration
					want  int
				}{{time.Second, 1}, {30*time.Minute - 5*time.Second, 1}, {30*time.Minute + 5*time.Second, 0}} {
					time.Sleep(at.after - time.Since(begin))
					for name, e := range f.engines {
						if got := len(e.View().Active); got != at.want {
							t.Errorf("c is off by %v, %s accepts: after %v %s has %d in force, want %d", off, accepts, at.after, name, got, at.want)
						}
					}
				}
			})
		}
	}
}

// What a node knows of other clocks outlives its restart, and a clock that is
// mended is noticed.
func TestClockIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b", "c")
		path := filepath.Join(t.TempDir(), "overrides.json")
		wrong := func() time.Time { return time.Now().Add(time.Hour) }
		f.engines["c"] = f.engine("c", 1, path)
		f.engines["c"].cfg.Now = wrong
		if _, err := f.submit("a", "drain pop/fra", Flags{For: "30m"}); err != nil {
			t.Fatal(err)
		}
		f.exchange()
		again := f.engine("c", 2, path)
		again.cfg.Now = wrong
		v := again.View()
		if len(v.Active) != 1 || len(v.Clocks) != 1 || v.Clocks[0] != (Clock{Node: "a", Ahead: time.Hour}) {
			t.Fatalf("after a restart %d are in force, clocks %+v", len(v.Active), v.Clocks)
		}
		if want := v.Active[0].Expires.Add(time.Hour); !v.Next.Equal(want) {
			t.Errorf("the next end is %v by this node's clock, want %v", v.Next, want)
		}
		f.engines["c"] = again
		again.cfg.Now = time.Now
		if _, err := f.submit("a", "drain pop/ams", Flags{For: "30m"}); err != nil {
			t.Fatal(err)
		}
		f.exchange()
		if v := again.View(); len(v.Active) != 2 || len(v.Clocks) != 0 {
			t.Errorf("with its clock mended %d are in force, clocks %+v", len(v.Active), v.Clocks)
		}
	})
}

// exchange has all nodes tell each other all, as push/pull does. It mends what
// came in an order that made no sense: a commit before its proposal.
func (f *fleet) exchange() {
	f.t.Helper()
	synctest.Wait()
	for _, e := range f.engines {
		for _, other := range f.engines {
			if _, err := e.Merge(other.State()); err != nil {
				f.t.Fatal(err)
			}
		}
	}
}
