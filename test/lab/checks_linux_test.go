package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"
)

// breaks has the checks of an edge fail, as a bad setting of the machine would:
// packets for the VIP's address are delivered no more. The address itself would be
// put back.
func breaks(e *Edge) error { return e.IP("route del table local local " + vip4.String() + " dev lo") }

// mends takes that back.
func mends(e *Edge) error {
	return e.IP("route add table local local " + vip4.String() + " dev lo proto kernel scope host")
}

// The checks of all edges fail at once. Nobody can vouch for anybody, so nobody
// withdraws: they stay, as the last resort.
func TestAllChecksFail(t *testing.T) {
	l := startLab(t, Config{})
	begun := time.Now()
	for _, e := range l.Edges {
		l.must(breaks(e))
	}
	all := func() error {
		paths, err := l.Router.Paths(vip4)
		if err == nil && len(paths) < len(l.Edges) {
			err = fmt.Errorf("the router has only %v", paths)
		}
		return err
	}
	l.hold(45*time.Second, "all edges announce", all)
	for _, c := range l.FIB.Since(begun, vip4) {
		if len(c.Edges) == 0 {
			t.Errorf("packets had nowhere to go: %v", c)
		}
	}
	paths, err := l.Router.Paths(vip4)
	l.must(err)
	for _, p := range paths {
		if !slices.Contains(p.Communities, GracefulShutdown) {
			t.Errorf("%v: want it less preferred", p)
		}
	}
	for _, e := range l.Edges {
		v, err := e.VIP("ns1")
		l.must(err)
		if v.State != "last-resort" && v.State != "degraded" {
			t.Errorf("%s is %s: %s", e.Name, v.State, v.Cause)
		}
		l.must(mends(e))
	}
	l.must(Await(time.Minute, "ns1", "announced", l.Edges...))
	l.must(l.Reach(time.Second, vip4, l.Edges...))
}

// The checks of two edges of five fail: those leave, and the three others stay.
func TestTwoOfFiveFail(t *testing.T) {
	l := startLab(t, Config{Edges: 5, PoPs: 3})
	bad := l.Edges[:2]
	good := l.But(bad...)
	begun := time.Now()
	l.must(errors.Join(breaks(bad[0]), breaks(bad[1])))
	at, err := l.ReachAt(20*time.Second, vip4, good...)
	l.must(err)
	t.Logf("out of the FIB after %s", at.Sub(begun))
	if took := at.Sub(begun); took > 8*time.Second { // three checks, one a second, and 5 s
		t.Errorf("they were in the FIB for %s, want three checks and 5 s at most", took)
	}
	l.must(Until(90*time.Second, func() error {
		paths, err := l.Router.Paths(vip4)
		if err == nil && len(paths) > len(good) {
			err = fmt.Errorf("the router still has %v", paths)
		}
		return err
	}))
	for _, c := range l.FIB.Since(begun, vip4) {
		for _, e := range good {
			if !slices.Contains(c.Edges, e.Name) {
				t.Errorf("%s left too: %v", e.Name, c)
			}
		}
	}
	l.must(Await(time.Second, "ns1", "announced", good...))
}

// watched are five servers that edges check, on the client.
const watched = `pools:
  web:
    policy: failover
    check: {kind: tcp, port: 80, interval: 1s, timeout: 500ms}
    endpoints: [{pop: fra, address: 203.0.113.81}, {pop: fra, address: 203.0.113.82}, {pop: iad, address: 203.0.113.83}, {pop: iad, address: 203.0.113.84}, {pop: iad, address: 203.0.113.85}]
names: {web.example.com: {pool: web}}
`

// An edge whose own network is broken says that all is down. It is the one that
// is suspected, and no route changes.
func TestObserverIsBroken(t *testing.T) {
	l := newLab(t, Config{Extra: watched})
	var servers net.Listener
	l.must(l.Client.IP("address add 203.0.113.81/24 dev clients", "address add 203.0.113.82/24 dev clients",
		"address add 203.0.113.83/24 dev clients", "address add 203.0.113.84/24 dev clients", "address add 203.0.113.85/24 dev clients"))
	l.must(l.Client.Do(func() (err error) {
		servers, err = net.Listen("tcp4", ":80")
		return err
	}))
	t.Cleanup(func() { servers.Close() })
	go func() {
		for {
			conn, err := servers.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	l.must(l.Start(upWithin, l.Edges...))
	l.must(Until(30*time.Second, func() error { return l.suspected() }))

	begun := time.Now()
	broken := l.Edges[0]
	o := l.under(func() error {
		if err := broken.IP("route add blackhole 203.0.113.80/29"); err != nil {
			return err
		}
		err := Until(15*time.Second, func() error { return l.suspected(broken) })
		t.Logf("suspected after %s", time.Since(begun))
		time.Sleep(10 * time.Second)
		return err
	})
	if lost := o.UDP.Lost(); len(lost) > 0 {
		t.Errorf("queries were lost: %v", o.UDP)
	}
	l.unchanged(begun)
	l.must(Await(time.Second, "ns1", "announced", l.Edges...))
}

// observer is an edge as another one sees it.
type observer struct {
	Name, Suspect string
	Fresh         bool
	Targets       int
}

// suspected errs unless all edges hear each other, and suspect just these.
func (l *lab) suspected(edges ...*Edge) error {
	for _, at := range l.Edges {
		out, errOut, err := at.Edged("health", "--json")
		if err != nil {
			return fmt.Errorf("%s: %w: %s", at.Name, err, errOut)
		}
		var h struct {
			Observers []observer
		}
		if err := json.Unmarshal([]byte(out), &h); err != nil {
			return err
		}
		for _, e := range l.Edges {
			i := slices.IndexFunc(h.Observers, func(o observer) bool { return o.Name == e.Name })
			if i < 0 || !h.Observers[i].Fresh || h.Observers[i].Targets == 0 {
				return fmt.Errorf("%s does not hear what %s checks", at.Name, e.Name)
			}
			if s := h.Observers[i].Suspect; (s != "") != slices.Contains(edges, e) {
				return fmt.Errorf("%s suspects %s: %q, want %v", at.Name, e.Name, s, slices.Contains(edges, e))
			}
		}
	}
	return nil
}
