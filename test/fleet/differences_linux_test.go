package fleet

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edged/test/fleet/rig"
)

// compared is within what time every node has compared itself with the others
// once.
const compared = 40 * time.Second

// One node has another map than the others, and then a pin of its own. All see
// that it answers differently, until it does not any more.
func TestNodesDiffer(t *testing.T) {
	f := newFleet(t, rig.Config{Nodes: 3})
	odd := f.Nodes[2]
	differ := func(what string, want [3]float64) {
		t.Helper()
		f.wait(compared, what, func() error {
			for i, n := range f.Nodes {
				got, err := n.Metric("edged_fleet_differences")
				h, err2 := n.Health()
				if err != nil || err2 != nil || got != want[i] || len(h.Differences) != int(want[i]) {
					return fmt.Errorf("%s counts %v nodes that differ, and names %q, want %v (%v, %v)", n.Name, got, h.Differences, want[i], err, err2)
				}
				if want[i] > 0 && i < 2 && !strings.Contains(h.Differences[0], odd.Name+" answers") {
					return fmt.Errorf("%s says %q, want %s named", n.Name, h.Differences[0], odd.Name)
				}
			}
			return nil
		})
	}
	reload := func() {
		t.Helper()
		if _, errOut, err := odd.Edged("reload"); err != nil {
			t.Fatalf("reload: %v: %s", err, errOut)
		}
	}
	config := filepath.Join(odd.Dir, "edged.yaml")
	before := read(t, config)

	other := filepath.Join(odd.Dir, "other.edmap")
	f.must(odd.BuildMap(other, "lat: -33.95", "lat: -32.95"))
	f.must(os.WriteFile(config, []byte(strings.ReplaceAll(before, program.Map, other)), 0o600))
	reload()
	differ("the other map is seen", [3]float64{1, 1, 2})
	f.must(os.WriteFile(config, []byte(before), 0o600))
	reload()
	differ("nobody differs any more", [3]float64{})

	f.override(odd, "pin-prefix", "84.130.1.0/24", "pop/syd", "--local")
	differ("the node with a pin of its own sees it", [3]float64{0, 0, 2})
	f.override(odd, "clear", "84.130.1.0/24", "--local")
	differ("the pin is gone", [3]float64{})
}
