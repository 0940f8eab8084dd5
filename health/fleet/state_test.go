package fleet

import (
	"net/netip"
	"slices"
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

// TestStatements holds that what nodes say of their own PoPs, beside all plans,
// gets to the others, and is not theirs to say of another PoP.
func TestStatements(t *testing.T) {
	t.Run("configured members", func(t *testing.T) { testStatements(t, true) })
	t.Run("any members", func(t *testing.T) { testStatements(t, false) })
}

func testStatements(t *testing.T, configured bool) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, configured)
		for i := range w.nodes {
			w.start(i, testKey(i))
		}
		defer w.stopAll()
		of := func(pop string) health.TargetID { return health.NewLoad(pop).ID }
		own := w.nodes[0].cfg.Self.PoP
		w.nodes[0].State(of(own), edge.Unknown, "load 7")
		w.nodes[0].State(of("elsewhere"), edge.Unknown, "load 9")
		w.await("it to be heard", 30*time.Second, func() bool {
			return slices.Equal(w.nodes[2].Statements(of), []Statement{{"n0", own, "load 7"}})
		})
		if _, judged := w.nodes[2].View().Targets[of(own)]; judged {
			t.Error("a load has a verdict")
		}
		w.stop(0)
		time.Sleep(time.Minute)
		if got := w.nodes[2].Statements(of); len(got) != 1 {
			t.Errorf("of a node that is gone its last word is %v", got)
		}
		w.start(0, testKey(0))
		w.nodes[0].State(of(own), edge.Unknown, "load 8")
		w.await("the next word", 30*time.Second, func() bool {
			return slices.Equal(w.nodes[2].Statements(of), []Statement{{"n0", own, "load 8"}})
		})
		w.nodes[0].Unstate(of(own))
		w.await("it to be taken back", 10*time.Second, func() bool { return len(w.nodes[2].Statements(of)) == 0 })
	})
}
