package fleet

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edged/edge"
	"edged/health/gossip"
	"edged/test/fleet/rig"
)

// The gossip key is changed under way, while one node is off. No node loses
// another, no verdict changes, and the node that was off comes back.
func TestGossipKeyRotates(t *testing.T) {
	f := newFleet(t, fiveNodes)
	stay, off := f.Nodes[:4], f.Nodes[4]
	watches := f.watch(stay, "www")
	before := history(t, stay)
	f.must(off.Stop())

	old := strings.TrimSpace(read(t, filepath.Join(off.Dir, "gossip.key")))
	fresh := rig.NewGossipKey()
	for _, keys := range [][]string{{fresh, old}, {fresh}} {
		f.must(f.SetGossipKeys(stay, keys...))
		f.do("reload", stay, func(n *rig.Node) error {
			_, errOut, err := n.Edged("reload")
			if err != nil {
				return fmt.Errorf("%w: %s", err, errOut)
			}
			return nil
		})
		f.hold(20*time.Second, "after a reload", func() error { return heard(stay) })
	}
	f.must(f.SetGossipKeys(f.Nodes, fresh))
	f.must(off.Start())
	f.waitAgreed(time.Minute, f.Nodes)
	unchanged(t, watches, "www")
	if after := history(t, stay); after != before {
		t.Errorf("verdicts changed:\n%s\nbefore it was\n%s", after, before)
	}
}

// heard errs unless the nodes hear each other and are not frozen.
func heard(nodes []*rig.Node) error {
	for _, n := range nodes {
		h, err := n.Health()
		if err != nil {
			return err
		}
		for _, m := range nodes {
			if o := h.Observer(m.Name); !o.Fresh || o.Suspect != "" || h.Frozen != "" {
				return fmt.Errorf("%s, frozen %q, sees %+v", n.Name, h.Frozen, o)
			}
		}
	}
	return nil
}

func history(t *testing.T, nodes []*rig.Node) string {
	t.Helper()
	var all strings.Builder
	for _, n := range nodes {
		out, errOut, err := n.Edged("health", "--history", "--json")
		if err != nil {
			t.Fatalf("%s: %v: %s", n.Name, err, errOut)
		}
		fmt.Fprintf(&all, "%s: %s\n", n.Name, out)
	}
	return all.String()
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Somebody has the gossip key and the name of a member, but nobody's signing
// key. What it says in its own name, in another's, and again, moves nothing.
func TestForgedRecords(t *testing.T) {
	key, _, err := ed25519.GenerateKey(nil) // nobody will have the other half
	if err != nil {
		t.Fatal(err)
	}
	f := newFleet(t, rig.Config{Nodes: 5, Guests: []rig.Guest{{Name: "n6", PoP: "fra", Key: gossip.FormatNodeKey(key)}}})
	watches := f.watch(f.Nodes, "www")

	h, err := f.Nodes[0].Health()
	f.must(err)
	o := orders{
		Name: "n6", As: []string{"n6", "n1", "n2"}, Address: f.Guests[0].Address, Join: f.Nodes[0].Address,
	}
	o.GossipKey, err = base64.StdEncoding.DecodeString(strings.TrimSpace(read(t, filepath.Join(f.Nodes[0].Dir, "gossip.key"))))
	f.must(err)
	for _, target := range h.Targets {
		o.Targets = append(o.Targets, target.ID)
	}
	text, err := json.Marshal(o)
	f.must(err)
	self, err := os.Executable()
	f.must(err)
	forger := exec.Command(self, forgerArgument, string(text))
	forger.Stderr = os.Stderr
	f.must(f.Guests[0].Start(forger))
	t.Cleanup(func() {
		_ = forger.Process.Kill()
		_ = forger.Wait()
	})

	for _, reason := range []string{"forged", "replayed"} {
		f.wait(30*time.Second, "all nodes count what is "+reason, func() error {
			for _, n := range f.Nodes {
				metric := fmt.Sprintf("edged_health_records_refused_total{reason=%q}", reason)
				if v, err := n.Metric(metric); err != nil || v < 10 {
					return fmt.Errorf("%s: %s is %v, %v", n.Name, metric, v, err)
				}
			}
			return nil
		})
	}
	f.hold(failover, "while records are forged", func() error {
		if err := f.healthy(); err != nil {
			return err
		}
		for _, n := range f.Nodes {
			h, err := n.Health()
			if err != nil {
				return err
			}
			if h.Observer("n6").Fresh {
				return fmt.Errorf("%s believes the forger", n.Name)
			}
		}
		return heard(f.Nodes)
	})
	unchanged(t, watches, "www")
	for _, n := range f.Nodes {
		if v, err := n.Metric(fmt.Sprintf("edged_health_targets{verdict=%q}", edge.OK)); err != nil || v != float64(len(f.Servers)) {
			t.Errorf("%s counts %v servers that are ok, %v", n.Name, v, err)
		}
	}
}
