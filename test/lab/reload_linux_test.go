package lab

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// edit changes an edge's file, which has to change by it, and has it read.
func (l *lab) edit(e *Edge, change func(text string) string) {
	l.t.Helper()
	before, err := os.ReadFile(e.config())
	l.must(err)
	after := change(string(before))
	if after == string(before) {
		l.t.Fatalf("nothing is changed in\n%s", before)
	}
	l.must(os.WriteFile(e.config(), []byte(after), 0o600))
	if out, errOut, err := e.Edged("reload"); err != nil {
		l.t.Fatalf("reload: %v: %s%s", err, out, errOut)
	}
}

// inGroup puts an edge's routers and its VIP into a group, by its file.
func inGroup(group string) func(string) string {
	peers, vip := regexp.MustCompile(`(?m)(, groups: \[\w+\])?\}$`), regexp.MustCompile(`(?m)^(  ns1: .*?)(, groups: \[\w+\])?\}$`)
	return func(text string) string {
		head, vips, _ := strings.Cut(text, "\nvips:\n")
		begin := strings.Index(head, "  peers:\n")
		return head[:begin] + peers.ReplaceAllString(head[begin:], ", groups: ["+group+"]}") + "\nvips:\n" + vip.ReplaceAllString(vips, "$1, groups: ["+group+"]}")
	}
}

// All edges read at once that their routers, and the VIP, are in another group. Until a
// plan says so for the VIP, and afterwards, the routes stay where they are.
func TestGroupsByReload(t *testing.T) {
	l := newLab(t, Config{})
	for _, e := range l.Edges {
		text, err := os.ReadFile(e.config())
		l.must(err)
		l.must(os.WriteFile(e.config(), []byte(inGroup("fabric")(string(text))), 0o600))
	}
	l.must(l.Start(upWithin, l.Edges...))
	begun := time.Now()
	o := l.under(func() error {
		for _, e := range l.Edges {
			l.edit(e, inGroup("tor"))
		}
		l.hold(8*time.Second, "no route changes by the reload", func() error { return changed(l.FIB.Since(begun, netip.Prefix{})) })
		id := l.plan(l.Edges[0], "--nodes", "all", "--allow-wide")
		l.vip(l.Edges[0], "apply", id, "--nodes", "all", "--allow-wide", "--reason", "test", "--bake", "1s")
		l.reached(2*time.Minute, l.Edges[0], "done")
		l.hold(3*time.Second, "nor by the plan", func() error { return changed(l.FIB.Since(begun, netip.Prefix{})) })
		return nil
	})
	if lost := o.UDP.Lost(); len(lost) > 0 || len(o.UDP) == 0 {
		t.Errorf("queries were lost: %v", o.UDP)
	}
	l.unchanged(begun)
}

// All edges read at once that their sessions are to be made anew. Each does so while
// others have promised to stay, so that no query is lost.
func TestSessionsByReload(t *testing.T) {
	l := startLab(t, Config{})
	before, err := l.Router.Sessions()
	l.must(err)
	fewest := len(l.Edges)
	begun := time.Now()
	o := l.under(func() error {
		for _, e := range l.Edges {
			l.edit(e, func(text string) string { return strings.ReplaceAll(text, "hold: 9s", "hold: 12s") })
		}
		return Until(3*time.Minute, func() error {
			after, err := l.Router.Sessions()
			if err != nil {
				return err
			}
			return anew(before, after)
		})
	})
	t.Logf("all sessions were made anew within %s", o.Done.Sub(o.Begun).Round(time.Second))
	for _, c := range l.FIB.Since(begun, vip4) {
		fewest = min(fewest, len(c.Edges))
	}
	if lost := o.UDP.Lost(); len(lost) > 0 || len(o.UDP) == 0 || fewest < 1 {
		t.Errorf("%d edges at the least announced it, want one: %v", fewest, o.UDP)
	}
	l.must(l.Settled(upWithin))
}

// All edges read at once that the router which alone hears IPv4 is gone from their files.
// It stays, and each says why.
func TestLastPeerByReload(t *testing.T) {
	l := startLab(t, Config{})
	begun := time.Now()
	without := regexp.MustCompile(`(?m)^    - \{name: router4.*\n`)
	for _, e := range l.Edges {
		l.edit(e, func(text string) string { return without.ReplaceAllString(text, "") })
	}
	const why = "the session with router4 stays, for no other peer hears 198.51.100.53/32 of ns1: take that away by a plan, or drain the node, before"
	l.must(Until(time.Minute, func() error { return saysAll(why, l.Edges...) }))
	l.unchanged(begun)
	e := l.Edges[0]
	l.vip(e, "drain", "node/e1", "--reason", "test")
	l.must(l.Withdrawn(20*time.Second, vip4, e))
	l.must(Until(20*time.Second, func() error { return gone("router4", e) }))
}

// changed errs when the FIB did.
func changed(changes []Change) error {
	if len(changes) > 0 {
		return fmt.Errorf("the FIB changed: %v", changes)
	}
	return nil
}

// saysAll errs unless all edges logged some words.
func saysAll(words string, edges ...*Edge) error {
	for _, e := range edges {
		if !strings.Contains(e.Log(), words) {
			return fmt.Errorf("%s does not say %q", e.Name, words)
		}
	}
	return nil
}

// gone errs while an edge has a peer.
func gone(peer string, e *Edge) error {
	s, err := e.Status()
	if slices.ContainsFunc(s.Peers, func(p PeerStatus) bool { return p.Name == peer }) {
		err = fmt.Errorf("%s still has the peer %s", e.Name, peer)
	}
	return err
}

// anew errs unless all sessions are up, and came up since then.
func anew(before, after []Session) error {
	for _, a := range after {
		same := slices.ContainsFunc(before, func(b Session) bool {
			return a.Edge == b.Edge && a.IPv6 == b.IPv6 && a.Since.Sub(b.Since).Abs() < 100*time.Millisecond
		})
		if !a.Up || same {
			return fmt.Errorf("the session of %s (IPv6: %v) is up: %v, the old one: %v", a.Edge, a.IPv6, a.Up, same)
		}
	}
	return nil
}
