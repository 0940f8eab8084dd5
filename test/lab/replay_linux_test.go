package lab

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"edged/bgp"
	"edged/bgp/announcer"
	"edged/bgp/link"
)

// impostor has an edge's key and stands in its place on the link between members.
// It says that it announces, and answers asks with a promise that was given before.
type impostor struct {
	name string
	key  ed25519.PrivateKey
	keys func(string) (ed25519.PublicKey, bool)

	mu       sync.Mutex // guards what follows
	first    []byte     // the first ask, as it came
	recorded []byte     // the promise in answer to it, which was not sent then
	answer   []byte     // what is answered now; nil: an error
	honest   bool       // each ask gets its own promise
}

// handle answers a call of another member.
func (i *impostor) handle(_ context.Context, _, path string, body []byte) (any, error) {
	switch path {
	case "/vips/standing":
		return announcer.Standing{VIPs: map[string]bgp.State{"ns1": bgp.Announced}, Out: map[string][]netip.Prefix{"ns1": ns1}}, nil
	case "/vips/promises":
	default:
		return nil, errors.New("not here")
	}
	var carried questions
	if err := json.Unmarshal(body, &carried); err != nil {
		return nil, err
	}
	if len(carried.Messages) != 1 {
		return nil, fmt.Errorf("%d asks of one VIP", len(carried.Messages))
	}
	ask, err := bgp.OpenAsk("lab", i.keys, carried.Messages[0])
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	promise := bgp.Grant{Nonce: ask.Nonce, Granter: i.name, Asker: ask.Asker, VIP: ask.VIP}.Seal("lab", i.key)
	if i.recorded == nil {
		i.first, i.recorded = carried.Messages[0], promise
	}
	switch {
	case i.honest:
		return answers{[]answer{{Grant: promise}}}, nil
	case i.answer == nil:
		return nil, errors.New("not now")
	}
	return answers{[]answer{{Grant: i.answer}}}, nil
}

// say has the impostor answer so from now on; nil: each ask with its own promise.
func (i *impostor) say(answer []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer, i.honest = answer, answer == nil
}

// record returns the first ask and the promise in answer to it, once there are any.
func (i *impostor) record() (ask, promise []byte, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.recorded == nil {
		err = errors.New("nobody has asked yet")
	}
	return i.first, i.recorded, err
}

// A promise counts once. An edge that wants to withdraw gets one that was given to an
// earlier ask of its own, and one that was given to another edge, each over a
// connection and with a key that are right. It takes neither and stays, until it gets
// the promise that it asked for.
func TestReplayedPromises(t *testing.T) {
	l := startLab(t, Config{})
	victim, bad, other := l.Edges[0], l.Edges[1], l.Edges[2]
	keys := map[string]ed25519.PublicKey{}
	for _, e := range l.Edges {
		keys[e.Name] = l.key(e).Public().(ed25519.PublicKey)
	}
	keyOf := func(name string) (ed25519.PublicKey, bool) { k, ok := keys[name]; return k, ok }

	// What the other edge promised to the bad one, when that asked.
	f := forger{from: bad, at: netip.AddrPortFrom(management(3).Addr(), 7947)}
	foreign, err := f.promise(shows(t, bad.Name, l.key(bad)), newAsk(bad.Name).Seal("lab", l.key(bad)))
	if l.must(err); foreign.Grant == nil {
		t.Fatalf("a member that asks for a promise: %s", foreign.Error)
	}

	bad.Kill()
	i := &impostor{name: bad.Name, key: l.key(bad), keys: keyOf}
	at, err := link.New(link.Config{Name: bad.Name, Key: i.key, KeyOf: keyOf})
	l.must(err)
	t.Cleanup(func() { at.Close(context.Background()) })
	l.must(bad.Do(func() error {
		_, err := at.Listen(netip.AddrPortFrom(management(2).Addr(), 7947))
		return err
	}))
	l.must(at.Serve(i.handle))
	l.must(Until(20*time.Second, func() error {
		if hears, err := l.heard(victim, bad); err != nil || !hears {
			return errors.Join(fmt.Errorf("%s does not hear %s", victim.Name, bad.Name), err)
		}
		return nil
	}))

	l.vip(victim, "drain", "--local", "--reason", "test")
	var ask, old []byte
	l.must(Until(20*time.Second, func() (err error) { ask, old, err = i.record(); return err }))
	time.Sleep(bgp.PromiseFor + time.Second)
	dropped := func(e *Edge, reason string) float64 {
		v, err := e.Metric(fmt.Sprintf("edged_vip_promises_dropped_total{reason=%q}", reason))
		l.must(err)
		return v
	}
	for _, c := range []struct {
		reason  string
		promise []byte
	}{{"replayed", old}, {"foreign", foreign.Grant}} {
		before := dropped(victim, c.reason)
		i.say(c.promise)
		l.hold(8*time.Second, "it stays", func() error {
			if _, ok, err := l.Router.PathFrom(vip4, victim); err != nil || !ok {
				return errors.Join(fmt.Errorf("%s: the route is there: %v", c.reason, ok), err)
			}
			return nil
		})
		if after := dropped(victim, c.reason); after < before+2 {
			t.Errorf("%s: %v promises were dropped, want two at least: it asks every 2 s", c.reason, after-before)
		}
	}
	if v, err := victim.VIP("ns1"); err != nil || v.State != "last-resort" {
		t.Errorf("it is %+v, %v; want it there as the last resort", v, err)
	}

	// Nor is an ask worth anything in another member's hand.
	before := dropped(other, "foreign")
	if a, err := f.promise(shows(t, bad.Name, l.key(bad)), ask); err != nil || a.Error == "" || a.Grant != nil {
		t.Errorf("an ask of %s from %s: %+v, %v", victim.Name, bad.Name, a, err)
	}
	if after := dropped(other, "foreign"); after != before+1 {
		t.Errorf("dropped went from %v to %v, want one more", before, after)
	}

	i.say(nil)
	l.must(l.Withdrawn(20*time.Second, vip4, victim))
}

// heard says whether one edge hears of another that it announces ns1.
func (l *lab) heard(at, of *Edge) (bool, error) {
	var s struct {
		VIPs []struct {
			Nodes []struct {
				Node, State string
				Silent      bool
			}
		}
	}
	if err := at.Get("/v1/vips", &s); err != nil {
		return false, err
	}
	for _, v := range s.VIPs {
		for _, n := range v.Nodes {
			if n.Node == of.Name && n.State == "announced" && !n.Silent {
				return true, nil
			}
		}
	}
	return false, nil
}
