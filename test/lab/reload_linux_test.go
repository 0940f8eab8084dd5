package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
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

// All edges read at once that their sessions are to be made anew, and then the same with
// other groups. Each does so while enough others have promised to stay, so that no query is
// lost.
func TestSessionsByReload(t *testing.T) {
	l := newLab(t, Config{})
	for _, e := range l.Edges {
		text, err := os.ReadFile(e.config())
		l.must(err)
		l.must(os.WriteFile(e.config(), []byte(inGroup("fabric")(string(text))), 0o600))
	}
	l.must(l.Start(upWithin, l.Edges...))
	held := func(from, to string) func(string) string {
		return func(text string) string { return strings.ReplaceAll(text, "hold: "+from, "hold: "+to) }
	}
	inTor := inGroup("tor")
	l.resets("other timers", held("9s", "12s"))
	l.resets("other timers and groups", func(text string) string { return held("12s", "15s")(inTor(text)) })
	l.must(Until(time.Minute, func() error {
		return saysAll("router4 stays in fabric, tor, for no other peer would hear 198.51.100.53/32 of ns1", l.Edges...)
	}))
}

// resets has all files of edges changed so that each session is made anew, and holds that
// the minimum is there all the time, and all edges are in the end.
func (l *lab) resets(what string, change func(string) string) {
	l.t.Helper()
	before, err := l.Router.Sessions()
	l.must(err)
	begun := time.Now()
	o := l.under(func() error {
		for _, e := range l.Edges {
			l.edit(e, change)
		}
		return Until(4*time.Minute, func() error {
			after, err := l.Router.Sessions()
			if err != nil {
				return err
			}
			return anew(before, after)
		})
	})
	l.t.Logf("%s: all sessions were made anew within %s", what, o.Done.Sub(o.Begun).Round(time.Second))
	for _, p := range ns1 {
		fewest := len(l.Edges)
		for _, c := range l.FIB.Since(begun, p) {
			fewest = min(fewest, len(c.Edges))
		}
		if fewest != len(l.Edges)-1 {
			l.t.Errorf("%s: %d edges at the least announced %s, want all but one", what, fewest, p)
		}
		l.must(l.Reach(5*time.Second, p, l.Edges...))
	}
	if lost := o.UDP.Lost(); len(lost) > 0 || len(o.UDP) == 0 {
		l.t.Errorf("%s: queries were lost: %v", what, o.UDP)
	}
}

// Routers taken from the files while they are down stay, where no other one could hear a
// prefix, and hear it when they are back.
func TestPeerIsGoneWhileDown(t *testing.T) {
	l := startLab(t, Config{})
	l.must(l.Router.Stop())
	for _, p := range ns1 {
		l.must(l.Reach(5*time.Second, p))
	}
	without := regexp.MustCompile(`(?m)^    - \{name: router6.*\n`)
	for _, e := range l.Edges {
		l.edit(e, func(text string) string { return without.ReplaceAllString(text, "") })
	}
	l.must(Until(time.Minute, func() error {
		return saysAll("the session with router6 stays, for no other peer hears 2001:db8::53/128 of ns1", l.Edges...)
	}))
	l.must(l.Router.Start())
	for _, p := range ns1 {
		l.must(l.Reach(upWithin, p, l.Edges...))
	}
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

// A reload takes the only IPv6 router from all edges, and gives the other one a wrong password.
// What stayed for that is there again after the edges were restarted, one by one.
func TestStayersOverRestarts(t *testing.T) {
	l := startLab(t, Config{Password: "right"})
	router6 := regexp.MustCompile(`(?m)^    - \{name: router6.*\n`)
	for _, e := range l.Edges {
		l.must(os.WriteFile(filepath.Join(e.Dir, "other"), []byte("wrong\n"), 0o600))
		l.edit(e, func(text string) string {
			return strings.Replace(router6.ReplaceAllString(text, ""), "password_file: md5", "password_file: other", 1)
		})
	}
	var lost *Edge // with the promises of the others; nobody can follow it
	l.must(Until(time.Minute, func() error {
		for _, e := range l.Edges {
			if _, has, err := l.Router.PathFrom(vip4, e); err != nil || !has {
				lost = e
				return err
			}
		}
		return errors.New("no edge has tried the wrong password")
	}))
	l.must(Until(time.Minute, func() error {
		return saysAll("the session with router4 is changed when others promise to keep ns1 meanwhile", l.But(lost)...)
	}))
	for i, e := range l.Edges {
		if i > 0 {
			e.Kill()
		} else if _, err := e.Stop(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		l.must(l.Withdrawn(5*time.Second, ns1[1], e))
		l.must(e.Start())
		l.must(l.Reach(upWithin, ns1[1], l.Edges...))
		l.must(Until(upWithin, func() error { // those to come may take their turn with the wrong password meanwhile
			for _, e := range l.Edges[:i+1] {
				if _, has, err := l.Router.PathFrom(vip4, e); err != nil || !has {
					return errors.Join(err, fmt.Errorf("the router does not have %s from %s", vip4, e.Name))
				}
			}
			return nil
		}))
	}
	l.hold(stayersTried, "what stayed is there", func() error {
		return errors.Join(l.Reach(time.Second, ns1[1], l.Edges...), l.Reach(time.Second, vip4, l.Edges...))
	})
}

// An edge is restarted with a file in which a wrong address stands for the router that connected to it.
// The edge listens, though nothing in the file wants that, and is found again.
func TestPassiveStaysOverRestart(t *testing.T) {
	l := startLab(t, Config{})
	bird, err := os.ReadFile(l.Router.file("bird.conf"))
	l.must(err)
	connects := strings.ReplaceAll(string(bird), "passive; direct;", "connect delay time 1; connect retry time 2; direct;")
	l.must(os.WriteFile(l.Router.file("bird.conf"), []byte(connects), 0o600))
	if out, err := l.Router.BIRD("configure"); err != nil || !strings.Contains(out, "Reconfigur") {
		t.Fatalf("%v: %s", err, out)
	}
	e := l.Edges[0]
	restart := func(old, now string) {
		t.Helper()
		text, err := os.ReadFile(e.config())
		l.must(err)
		changed := strings.ReplaceAll(string(text), old, now)
		if changed == string(text) {
			t.Fatalf("%q is not in\n%s", old, text)
		}
		if _, err := e.Stop(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		l.must(os.WriteFile(e.config(), []byte(changed), 0o600))
		l.must(e.Start())
		l.must(l.Reach(upWithin, vip4, l.Edges...))
	}
	asn := fmt.Sprintf("asn: %d, ", RouterASN)
	restart(asn, asn+"passive: true, ")
	wrong := strings.NewReplacer("passive: true, ", "", "address: "+router4.Addr().String(), "address: 192.0.2.99", "address: "+router6.Addr().String(), "address: 2001:db8:0:1::99")
	text, err := os.ReadFile(e.config())
	l.must(err)
	restart(string(text), wrong.Replace(string(text)))
	l.hold(stayersTried, "the router is there", func() error { return l.Reach(time.Second, vip4, l.Edges...) })
}

// stayersTried is longer than a node waits after its start for sessions that stayed before.
const stayersTried = 32 * time.Second

// Files that say nothing of BGP any more, and are no mistake to a parser, take no VIP off: neither a
// reload nor a restart of one edge after the other.
func TestFilesLoseBGP(t *testing.T) {
	l := startLab(t, Config{})
	without := func(text string) string { return text[:strings.Index(text, "\nbgp:\n")+1] }
	begun := time.Now()
	o := l.under(func() error {
		for _, e := range l.Edges {
			text, err := os.ReadFile(e.config())
			l.must(err)
			l.must(os.WriteFile(e.config(), []byte(without(string(text))), 0o600))
			const want = "bgp.asn: not given, but this node announces VIPs by its plan, ns1"
			if out, errOut, err := e.Edged("reload"); err == nil || !strings.Contains(out+errOut, want) {
				t.Errorf("%s takes the file: %v, %s%s", e.Name, err, out, errOut)
			}
			if _, err := e.Stop(10 * time.Second); err != nil {
				return err
			}
			l.must(l.Start(upWithin, e))
		}
		return nil
	})
	if lost := o.UDP.Lost(); len(lost) > 0 || len(o.UDP) == 0 {
		t.Errorf("queries were lost: %v", o.UDP)
	}
	for _, c := range l.FIB.Since(begun, netip.Prefix{}) {
		if len(c.Edges) < 2 {
			t.Errorf("want two edges at all times: %s", c)
		}
	}
	for _, e := range l.Edges {
		if v, err := e.Metric(`edged_alarm{reason="config"}`); err != nil || v != 1 {
			t.Errorf("%s: no alarm that its file is bad: %v, %v", e.Name, v, err)
		}
	}
}
