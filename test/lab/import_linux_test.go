package lab

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// resident is the edge's memory, in KiB.
func (e *Edge) resident() (kib int, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.PID()))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	_, err = fmt.Sscan(after, &kib)
	return kib, err
}

// A router sends a default route and ten thousand others to edges that run. None takes
// them, or 30 MB of memory for them, and a drain goes on as ever. (B10)
func TestRouterSendsRoutes(t *testing.T) {
	l := startLab(t, Config{})
	const many, most = 10_000, 30_000_000 / 1024
	var before [3]int
	for i, e := range l.Edges {
		kib, err := e.resident()
		l.must(err)
		before[i] = kib
	}
	begun := time.Now()
	text := strings.ReplaceAll(l.Router.birdConfig(), "ipv4 { import filter edges4; import limit 5000 action block; export none; }",
		"ipv4 { import filter edges4; import limit 5000 action block; export where source = RTS_STATIC; }")
	var b strings.Builder
	b.WriteString(text + "protocol static { ipv4; route 0.0.0.0/0 blackhole;\n")
	for i := range many {
		fmt.Fprintf(&b, "route 10.%d.%d.0/24 blackhole;\n", i/256, i%256)
	}
	b.WriteString("}\n")
	l.must(os.WriteFile(l.Router.file("bird.conf"), []byte(b.String()), 0o600))
	_, err := l.Router.BIRD("configure")
	l.must(err)
	want := fmt.Sprintf("%d exported", many+1)
	l.must(Until(20*time.Second, func() error {
		for _, e := range l.Edges {
			if out, err := l.Router.BIRD("show protocols all " + e.Name + "_4"); err != nil || !strings.Contains(out, want) {
				return fmt.Errorf("%s has not been sent %s: %w\n%s", e.Name, want, err, out)
			}
		}
		return nil
	}))
	var grown [3]int
	l.hold(5*time.Second, "memory", func() error {
		for i, e := range l.Edges {
			kib, err := e.resident()
			if grown[i] = max(grown[i], kib-before[i]); err != nil || grown[i] > most {
				return errors.Join(err, fmt.Errorf("%s grew from %d KiB by %d, want at most %d", e.Name, before[i], grown[i], most))
			}
		}
		return nil
	})
	t.Logf("memory grew by %v KiB from %v", grown, before)
	l.unchanged(begun)
	for _, e := range l.Edges {
		s, err := e.Status()
		l.must(err)
		for _, p := range s.Peers {
			if p.State != "established" || p.Flaps != 0 || p.Sent != 1 {
				t.Errorf("%s: %+v, want one route sent in a session that was never lost", e.Name, p)
			}
		}
	}
	l.vip(l.Edges[0], "drain", "node/e1", "--reason", "test")
	l.must(l.Withdrawn(20*time.Second, vip4, l.Edges[0]))
}
