package lab

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A session that cannot be, for the file names another AS, says why in a metric within 10 s,
// and no route goes over it. (B9; bgp/speaker has the other reasons.)
func TestReasonIsAMetric(t *testing.T) {
	l := newLab(t, Config{Edges: 1, PoPs: 1})
	e := l.Edges[0]
	text, err := os.ReadFile(e.config())
	l.must(err)
	wrong := strings.Replace(string(text), fmt.Sprintf("asn: %d, ", RouterASN), "asn: 64999, ", 1) // of router4
	l.must(os.WriteFile(e.config(), []byte(wrong), 0o600))
	l.must(e.Start())
	l.must(Until(10*time.Second, func() error {
		if up, err := e.Metric(`edged_bgp_session_established{peer="router6"}`); err != nil || up != 1 {
			return fmt.Errorf("router6 is up: %v, %w", up, err)
		}
		var text []byte
		if err := e.Get("/metrics", &text); err != nil {
			return err
		}
		why := regexp.MustCompile(`(?m)^edged_bgp_session_down_reason\{peer="router4",reason=".*wrong AS: the peer's is not 64999"\} 1$`)
		if !why.Match(text) || strings.Contains(string(text), `edged_bgp_session_down_reason{peer="router6"`) {
			return fmt.Errorf("no metric says why, or a wrong one does:\n%s", regexp.MustCompile(`(?m)^edged_bgp_session.*$`).FindAll(text, -1))
		}
		return nil
	}))
	l.must(l.Reach(0, vip4))
}

// A reload that changes both peers of an edge makes their sessions anew, one after
// the other. Nothing is lost, and no other session notices.
func TestPeersByReload(t *testing.T) {
	l := startLab(t, Config{BFD: -1}) // whose sessions would be down for a pause of this machine
	e := l.Edges[0]
	before, err := l.Router.Sessions()
	l.must(err)
	pid := e.PID()
	l.Config.Hold = 6 * time.Second
	l.must(l.Write(e, l.Config.VIPs))
	o := l.under(func() error {
		if _, errOut, err := e.Edged("reload"); err != nil || !strings.Contains(errOut, "the sessions with router4, router6 are made anew") {
			return fmt.Errorf("reload: %w: %s", err, errOut)
		}
		return Until(time.Minute, func() error {
			now, err := l.Router.Sessions()
			if err != nil {
				return err
			}
			anew, down := 0, 0
			for _, s := range now {
				i := slices.IndexFunc(before, func(b Session) bool { return b.Edge == s.Edge && b.IPv6 == s.IPv6 })
				changed := i < 0 || s.Since.Sub(before[i].Since).Abs() > 100*time.Millisecond
				switch {
				case changed && s.Edge != e.Name:
					t.Fatalf("another session was made anew: %+v", s)
				case changed && s.Up:
					anew++
				}
				if !s.Up {
					down++
				}
			}
			if down > 1 {
				t.Fatalf("%d sessions are down at once: %+v", down, now)
			}
			if anew < 2 {
				err = fmt.Errorf("%d sessions are made anew, want 2", anew)
			}
			return err
		})
	})
	if lost := o.UDP.Lost(); len(lost) > 0 {
		t.Errorf("queries were lost: %v", o.UDP)
	}
	l.must(l.Settled(upWithin))
	if s, err := e.Status(); err != nil || len(s.Pending) > 0 || e.PID() != pid {
		t.Errorf("pending %+v, %v, process %d, want none and %d", s.Pending, err, e.PID(), pid)
	}
}
