package lab

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

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
