package fleet

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"edged/edge"
	"edged/health"
)

// TestState follows what one node says of itself to another one.
func TestState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, true)
		vip := Target{health.NewVIP("ns1", testPoPs[0].Name), health.Quorum{Stated: true, Partition: health.Freeze}}
		probed := w.plan.Targets
		w.plan.Targets = append(w.plan.Targets, vip)
		for i := range w.nodes {
			w.start(i, testKey(i))
		}
		defer w.stopAll()
		w.await("what is probed to be ok", 30*time.Second, func() bool { return w.say(edge.OK, probed...) })
		w.await("a VIP that nobody speaks of to stay unknown, and keep nobody starting", 30*time.Second, func() bool {
			return w.say(edge.Unknown, vip) && !w.nodes[2].Starting()
		})
		for _, v := range []edge.Verdict{edge.OK, edge.Dead, edge.OK} {
			w.nodes[0].State(vip.ID, v, "as told")
			w.await(v.String(), 3*time.Second, func() bool { return w.say(v, vip) })
		}
		w.nodes[0].Unstate(vip.ID)
		w.nodes[0].State(vip.ID, edge.Dead, "gone")
		w.await("the last word", 3*time.Second, func() bool { return w.say(edge.Dead, vip) })
		if got := w.nodes[1].View().Targets[vip.ID].Reason; got != "gone" {
			t.Errorf("got the reason %q, want %q", got, "gone")
		}
		if got := w.nodes[1].Link("n0"); got != netip.AddrPortFrom(place(0).Addr(), 7947) {
			t.Errorf("n0 takes calls at %v", got)
		}
		w.stop(0)
		time.Sleep(time.Minute)
		if !w.say(edge.Dead, vip) {
			t.Error("the last word of a node that is gone is not kept")
		}
	})
}
