package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"edged/health/override"
	"edged/test/fleet/rig"
)

// override runs a command on a node that must be accepted.
func (f *fleet) override(n *rig.Node, args ...string) {
	f.t.Helper()
	if _, errOut, err := n.Edged(append(args, "--reason", "test")...); err != nil {
		f.t.Fatalf("%s: edged %q: %v: %s", n.Name, args, err, errOut)
	}
}

// overrides errs unless just these are in force on a node.
func overrides(n *rig.Node, want ...string) error {
	out, errOut, err := n.Edged("overrides", "--json")
	if err != nil {
		return fmt.Errorf("%s: %w: %s", n.Name, err, errOut)
	}
	var v override.View
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		return err
	}
	var got []string
	for _, o := range v.Active {
		got = append(got, o.What())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || len(v.Suspended) > 0 {
		return fmt.Errorf("%s has %q in force, and %d suspended, want %q", n.Name, got, len(v.Suspended), want)
	}
	return nil
}

// A drain holds everywhere, outlives all nodes, and needs a majority.
func TestOverridesHold(t *testing.T) {
	f := newFleet(t, fiveNodes)
	watches := f.watch(f.Nodes, "www")
	drained := map[string]string{"nrt": "syd"}
	f.override(f.Nodes[1], "drain", "pop/nrt")
	f.wait(10*time.Second, "the drain is in force everywhere", func() error {
		for _, n := range f.Nodes {
			if err := overrides(n, "drain pop/nrt"); err != nil {
				return err
			}
		}
		return f.Answered(watches, "www", drained)
	})
	noneBad(t, watches)

	f.do("kill", f.Nodes, func(n *rig.Node) error { n.Kill(); return nil })
	for _, w := range watches {
		w.Stop()
	}
	begun := time.Now()
	watches = f.watch(f.Nodes, "www")
	f.do("start", f.Nodes, (*rig.Node).Start)
	f.waitAgreed(time.Minute, f.Nodes)
	f.wait(10*time.Second, "the drain is in force again", func() error {
		for _, n := range f.Nodes {
			if err := overrides(n, "drain pop/nrt"); err != nil {
				return err
			}
		}
		return f.Answered(watches, "www", drained)
	})
	for _, w := range watches {
		if named := w.LastNamed(f.Server("nrt").Address); !named.IsZero() {
			t.Errorf("%s answered with the drained PoP %v after the restart", w.Node().Name, named.Sub(begun))
		}
	}

	f.do("kill", f.Nodes[2:], func(n *rig.Node) error { n.Kill(); return nil })
	n := f.Nodes[0]
	_, errOut, err := n.Edged("drain", "pop/fra", "--reason", "test")
	if exit := new(exec.ExitError); !errors.As(err, &exit) {
		t.Errorf("two of five nodes commit a drain: %v", err)
	}
	for _, absent := range f.Nodes[2:] {
		if !strings.Contains(errOut, absent.Name) {
			t.Errorf("the refusal does not name %s: %s", absent.Name, errOut)
		}
	}
	f.hold(5*time.Second, "the drain that was refused", func() error { return f.Answered(watches[:2], "www", drained) })

	f.override(n, "drain", "pop/fra", "--local")
	local := map[string]string{"nrt": "syd", "fra": "iad"}
	f.wait(5*time.Second, "the local drain is in force", func() error { return f.Answered(watches[:1], "www", local) })
	f.hold(3*time.Second, "the other node", func() error {
		return errors.Join(f.Answered(watches[:1], "www", local), f.Answered(watches[1:2], "www", drained), overrides(f.Nodes[1], "drain pop/nrt"))
	})
}

// When all else is dead, a drained PoP stays out unless its pool lets it back.
func TestNothingIsLeft(t *testing.T) {
	f := newFleet(t, rig.Config{Nodes: 3, Pools: map[string]string{
		"strict":  "",
		"lenient": "fail_open: {drained: true}",
	}})
	settling := f.watch(f.Nodes, "strict", "lenient")
	drained := map[string]string{"iad": "fra"}
	f.override(f.Nodes[2], "drain", "pop/iad")
	f.wait(10*time.Second, "the drain is in force", func() error {
		return errors.Join(f.Answered(settling, "strict", drained), f.Answered(settling, "lenient", drained))
	})
	noneBad(t, settling)

	watches := f.watch(f.Nodes, "strict")
	var dead []*rig.Server
	for _, s := range f.Servers {
		if s.PoP != "iad" {
			s.Kill()
			dead = append(dead, s)
		}
	}
	f.waitAgreed(30*time.Second, f.Nodes, dead...)
	f.wait(5*time.Second, "dead servers are answered, in their order", func() error {
		return errors.Join(f.Answered(settling, "strict", drained), f.Answered(settling, "lenient", drained))
	})
	noneBad(t, watches)

	for _, s := range dead {
		f.override(f.Nodes[0], "force-down", "endpoint/lenient/"+s.Address.String())
		f.override(f.Nodes[1], "force-down", "endpoint/strict/"+s.Address.String())
	}
	back := map[string]string{}
	for _, s := range rig.Sites {
		back[s.PoP] = "iad"
	}
	f.wait(10*time.Second, "the drained PoP is back where it may be", func() error { return f.Answered(settling, "lenient", back) })
	f.wait(10*time.Second, "elsewhere nothing is left, for nobody", func() error {
		for _, w := range watches {
			for _, q := range rig.Questions("strict") {
				if a, ok := w.Now(q); !ok || a != (rig.Answer{Rcode: dns.RcodeSuccess}) {
					return fmt.Errorf("%s, %s: %v, want NOERROR without an address and scope /0", w.Node().Name, q, a)
				}
			}
		}
		return nil
	})
	for _, w := range watches {
		if named := w.LastNamed(f.Server("iad").Address); !named.IsZero() {
			t.Errorf("%s answered with the drained PoP: %v", w.Node().Name, w.Spans(rig.Questions("strict")[1]))
		}
	}
}
