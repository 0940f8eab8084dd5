package fleet

import (
	"fmt"
	"testing"
	"time"

	"edged/test/fleet/rig"
)

// One node's uplink breaks, and later its gossip too. Nothing is wrong with the
// servers, and no client may be told otherwise.
func TestUplinkBreaks(t *testing.T) {
	f := newFleet(t, fiveNodes)
	watches := f.watch(f.Nodes, "www")
	lame := f.Nodes[2]

	begun := time.Now()
	f.must(lame.Cut(rig.Uplink))
	f.wait(15*time.Second, "all nodes suspect it, and it itself too", func() error {
		for _, n := range f.Nodes {
			h, err := n.Health()
			if err != nil {
				return err
			}
			if o := h.Observer(lame.Name); o.Suspect == "" || o.Down != len(f.Servers) {
				return fmt.Errorf("%s sees %+v", n.Name, o)
			}
		}
		return nil
	})
	f.hold(20*time.Second-time.Since(begun), "while the uplink is cut", f.healthy)
	unchanged(t, watches, "www")

	f.must(lame.Cut(rig.Gossip))
	f.waitFrozen(f.Nodes[2:3], 20*time.Second)
	f.hold(10*time.Second, "while the node is alone", func() error {
		for _, n := range f.Nodes {
			if h, err := n.Health(); err != nil || n != lame && h.Frozen != "" {
				return fmt.Errorf("%s is frozen: %q, %v", n.Name, h.Frozen, err)
			}
		}
		return f.healthy()
	})
	unchanged(t, watches, "www")

	f.must(lame.Join(rig.Gossip))
	f.must(lame.Join(rig.Uplink))
	f.waitAgreed(time.Minute, f.Nodes)
	unchanged(t, watches, "www")
}

// healthy errs unless all nodes say that all servers are up.
func (f *fleet) healthy() error {
	for _, n := range f.Nodes {
		h, err := n.Health()
		if err != nil {
			return err
		}
		for _, s := range f.Servers {
			if v, err := h.Verdict(s); err != nil || v != 0 {
				return fmt.Errorf("%s says that the server of %s is %s, %v", n.Name, s.PoP, v, err)
			}
		}
	}
	return nil
}

// waitFrozen waits until nodes say that they see no majority.
func (f *fleet) waitFrozen(nodes []*rig.Node, limit time.Duration) {
	f.t.Helper()
	f.wait(limit, fmt.Sprintf("%d nodes are frozen", len(nodes)), func() error {
		for _, n := range nodes {
			if h, err := n.Health(); err != nil || h.Frozen == "" {
				return fmt.Errorf("%s is not, %v", n.Name, err)
			}
		}
		return nil
	})
}

// All gossip is lost at once: nobody judges, and the answers stay.
func TestGossipIsLost(t *testing.T) {
	f := newFleet(t, fiveNodes)
	watches := f.watch(f.Nodes, "www")
	f.do("cut", f.Nodes, func(n *rig.Node) error { return n.Cut(rig.Gossip) })
	f.waitFrozen(f.Nodes, 15*time.Second)

	victim := f.Server("gru")
	victim.Kill()
	f.hold(failover+3*time.Second, "while no node judges", f.healthy)
	unchanged(t, watches, "www")

	f.do("mend", f.Nodes, func(n *rig.Node) error { return n.Join(rig.Gossip) })
	f.waitAgreed(time.Minute, f.Nodes, victim)
	f.wait(5*time.Second, "the dead server leaves the answers", func() error {
		return f.Answered(watches, "www", map[string]string{"gru": "iad"})
	})
	noneBad(t, watches)
}

// The fleet breaks in two: three nodes go on, two keep what they knew.
func TestFleetSplits(t *testing.T) {
	f := newFleet(t, fiveNodes)
	watches := f.watch(f.Nodes, "www")
	most, few := f.Nodes[:3], f.Nodes[3:]
	f.do("part", few, (*rig.Node).Part)
	f.waitFrozen(few, 20*time.Second)

	victim := f.Server("nrt")
	victim.Kill()
	next := map[string]string{"nrt": "syd"}
	f.wait(15*time.Second, "the larger side gives up a dead server", func() error { return f.Answered(watches[:3], "www", next) })
	apart := failover
	if *long {
		apart = 2 * time.Minute
	}
	f.hold(apart, "while the fleet is split", func() error { return f.Answered(watches[:3], "www", next) })
	unchanged(t, watches[3:], "www")
	for _, n := range most {
		if h, err := n.Health(); err != nil || h.Frozen != "" {
			t.Errorf("%s is frozen: %q, %v", n.Name, h.Frozen, err)
		}
	}

	f.do("mend", few, func(n *rig.Node) error { return n.Join(rig.Gossip) })
	f.waitAgreed(time.Minute, f.Nodes, victim)
	f.wait(5*time.Second, "all sides answer alike", func() error { return f.Answered(watches, "www", next) })
	noneBad(t, watches)
}
