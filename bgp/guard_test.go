package bgp

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var (
	guarded     = VIP{Name: "ns1", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.53/32")}, MinAnnouncers: 2, MinPoPs: 2}
	guardFleet  = []Member{{"ams1", "ams"}, {"fra1", "fra"}, {"fra2", "fra"}, {"lon1", "lon"}}
	steadfast   = Standing{Healthy: true, Announcing: true, Confirmed: true}
	first, next = Nonce{1}, Nonce{2}
)

func guardOf(i int) *Guard { return NewGuard(guarded, guardFleet[i], guardFleet) }

func grantTo(asker, granter string, n Nonce) Grant {
	return Grant{Nonce: n, Granter: granter, Asker: asker, VIP: "ns1"}
}

func wantPermit(t *testing.T, g *Guard, now time.Duration, ok bool, words string) {
	t.Helper()
	if got, why := g.Permit(now); got != ok || why != words {
		t.Errorf("at %v the permit is %v, %q, want %v, %q", now, got, why, ok, words)
	}
}

// TestGuardPermit holds which grants make a permit, and for how long: they are
// counted from when they were asked for, in enough PoPs.
func TestGuardPermit(t *testing.T) {
	g := guardOf(0)
	wantPermit(t, g, 0, false, "0 promises in 0 PoPs, want 2 in 2")

	const asked = 5 * time.Second
	ask := g.Begin(asked, first)
	if ask.Asker != "ams1" || ask.VIP != "ns1" || ask.Nonce != first || len(ask.Prefixes) != 1 {
		t.Errorf("the ask is %+v", ask)
	}
	if got := g.Due(); got != asked+2*time.Second {
		t.Errorf("the next ask is due at %v, want 2 s after the first", got)
	}
	for _, name := range []string{"fra1", "fra2"} {
		if err := g.Take(6*time.Second, grantTo("ams1", name, first)); err != nil {
			t.Error(err)
		}
	}
	wantPermit(t, g, 6*time.Second, false, "2 promises in 1 PoP, want 2 in 2")
	if err := g.Take(14*time.Second, grantTo("ams1", "lon1", first)); err != nil {
		t.Error(err)
	}
	wantPermit(t, g, asked+PromiseFor-1, true, "3 promises in 2 PoPs, want 2 in 2")
	wantPermit(t, g, asked+PromiseFor, false, "0 promises in 0 PoPs, want 2 in 2")

	// A later round prolongs what it renews, and a late grant of the first does not shorten that.
	g = guardOf(0)
	g.Begin(0, first)
	g.Begin(2*time.Second, next)
	for _, grant := range []Grant{grantTo("ams1", "fra1", next), grantTo("ams1", "fra1", first), grantTo("ams1", "lon1", next)} {
		if err := g.Take(3*time.Second, grant); err != nil {
			t.Error(err)
		}
	}
	wantPermit(t, g, 2*time.Second+PromiseFor-1, true, "2 promises in 2 PoPs, want 2 in 2")
}

// TestGuardDrops holds which grants and asks are dropped and counted.
func TestGuardDrops(t *testing.T) {
	g := guardOf(0)
	g.Begin(0, first)
	for _, c := range []struct {
		name  string
		now   time.Duration
		grant Grant
		want  error
	}{
		{"another asker", 1, grantTo("lon1", "fra1", first), ErrForeign},
		{"another VIP", 1, Grant{first, "fra1", "ams1", "ns2"}, ErrForeign},
		{"of no member", 1, grantTo("ams1", "par1", first), ErrForeign},
		{"of itself", 1, grantTo("ams1", "ams1", first), ErrForeign},
		{"another nonce", 1, grantTo("ams1", "fra1", next), ErrReplayed},
		{"in time", PromiseFor - 1, grantTo("ams1", "fra1", first), nil},
		{"too late", PromiseFor, grantTo("ams1", "fra1", first), ErrReplayed},
	} {
		if err := g.Take(c.now, c.grant); !errors.Is(err, c.want) {
			t.Errorf("a grant %s: %v, want %v", c.name, err, c.want)
		}
	}
	for _, ask := range []Ask{{Asker: "par1", VIP: "ns1"}, {Asker: "fra1", VIP: "ns2"}, {Asker: "ams1", VIP: "ns1"}} {
		if _, err := g.Consider(1, ask, steadfast); !errors.Is(err, ErrForeign) {
			t.Errorf("ask %+v: %v, want %v", ask, err, ErrForeign)
		}
	}
	if got, want := g.Counts(), (GuardCounts{Asked: 1, Taken: 1, Foreign: 7, Replayed: 2}); got != want {
		t.Errorf("it counts %+v, want %+v", got, want)
	}
}

// TestGuardConsider holds who promises, and why not.
func TestGuardConsider(t *testing.T) {
	ask := Ask{Nonce: first, Asker: "fra1", VIP: "ns1", Prefixes: guarded.Prefixes}
	wider := ask
	wider.Prefixes = append(wider.Prefixes[:1:1], netip.MustParsePrefix("2001:db8::53/128"))
	for _, c := range []struct {
		ask  Ask
		s    Standing
		want string
	}{
		{ask, steadfast, ""},
		{ask, Standing{Announcing: true, Confirmed: true}, "ams1 does not promise fra1 to keep ns1: its checks fail"},
		{ask, Standing{Healthy: true, Confirmed: true}, "ams1 does not promise fra1 to keep ns1: it does not announce it as planned"},
		{ask, Standing{Healthy: true, Announcing: true}, "ams1 does not promise fra1 to keep ns1: no peer was sent the route"},
		{ask, Standing{true, true, true, true}, "ams1 does not promise fra1 to keep ns1: it is leaving itself"},
		{wider, steadfast, "ams1 does not promise fra1 to keep ns1: it does not announce 2001:db8::53/128"},
	} {
		g := guardOf(0)
		grant, err := g.Consider(0, c.ask, c.s)
		switch {
		case err != nil:
			if err.Error() != c.want {
				t.Errorf("standing %+v: %q, want %q", c.s, err, c.want)
			}
			if g.Counts().Refused != 1 {
				t.Errorf("standing %+v: the refusal is not counted", c.s)
			}
		case c.want != "":
			t.Errorf("standing %+v: granted, want %q", c.s, c.want)
		case grant != grantTo("fra1", "ams1", first):
			t.Errorf("the grant is %+v", grant)
		}
	}
}

// TestGuardKeepsPromise holds that a node which promised withdraws nothing for
// 10 s, and that the same ask prolongs nothing while a new one does.
func TestGuardKeepsPromise(t *testing.T) {
	g := guardOf(0)
	g.Begin(0, first)
	for _, name := range []string{"fra2", "lon1"} {
		if err := g.Take(1, grantTo("ams1", name, first)); err != nil {
			t.Fatal(err)
		}
	}
	wantPermit(t, g, time.Second, true, "2 promises in 2 PoPs, want 2 in 2")
	consider := func(now time.Duration, n Nonce) {
		t.Helper()
		if _, err := g.Consider(now, Ask{Nonce: n, Asker: "fra1", VIP: "ns1"}, steadfast); err != nil {
			t.Fatal(err)
		}
	}
	consider(2*time.Second, first)
	consider(7*time.Second, first)
	wantPermit(t, g, 9*time.Second, false, "promised fra1 to stay for another 3s")
	consider(9*time.Second, next)
	wantPermit(t, g, 12*time.Second, false, "promised fra1 to stay for another 7s")
	wantPermit(t, g, 19*time.Second, false, "0 promises in 0 PoPs, want 2 in 2")
	if got := g.Counts().Granted; got != 2 {
		t.Errorf("it counts %d promises, want 2", got)
	}
}

// TestGuardAlone holds that a node without a fleet is told why nothing permits.
func TestGuardAlone(t *testing.T) {
	g := NewGuard(guarded, guardFleet[0], guardFleet[:1])
	wantPermit(t, g, 0, false, "no other member of the fleet could promise to stay")
}

// TestGuardSet holds what a new plan or fleet does to what is held: grants of who
// is gone, and for other prefixes, count no more; promises stay.
// TestGuardSplit: a part is bound by what was promised for the whole, and asks for
// itself.
func TestGuardSplit(t *testing.T) {
	g := guardOf(0)
	if _, err := g.Consider(0, Ask{Nonce: first, Asker: "fra1", VIP: "ns1", Prefixes: guarded.Prefixes}, steadfast); err != nil {
		t.Fatal(err)
	}
	g.Begin(0, next)
	if err := g.Take(time.Second, grantTo("ams1", "lon1", next)); err != nil {
		t.Fatal(err)
	}
	part := g.Split(guarded)
	part.Set(guarded, guardFleet)
	wantPermit(t, part, 4*time.Second, false, "promised fra1 to stay for another 6s")
	wantPermit(t, part, PromiseFor, false, "0 promises in 0 PoPs, want 2 in 2")
	if err := part.Take(time.Second, grantTo("ams1", "lon1", next)); !errors.Is(err, ErrReplayed) {
		t.Errorf("a grant that the whole asked for: %v, want it dropped", err)
	}
}

func TestGuardSet(t *testing.T) {
	g := guardOf(0)
	take := func() {
		g.Begin(0, first)
		for _, name := range []string{"fra1", "lon1"} {
			if err := g.Take(1, grantTo("ams1", name, first)); err != nil {
				t.Fatal(err)
			}
		}
	}
	take()
	g.Set(guarded, guardFleet[:3])
	wantPermit(t, g, 2, false, "1 promise in 1 PoP, want 2 in 2")

	g.Set(guarded, guardFleet)
	take()
	other := guarded
	other.Prefixes = []netip.Prefix{netip.MustParsePrefix("198.51.100.54/32")}
	g.Set(other, guardFleet)
	wantPermit(t, g, 2, false, "0 promises in 0 PoPs, want 2 in 2")

	if _, err := g.Consider(3, Ask{Asker: "fra1", VIP: "ns1"}, steadfast); err != nil {
		t.Fatal(err)
	}
	g.Set(guarded, guardFleet)
	wantPermit(t, g, 3, false, "promised fra1 to stay for another 10s")
}

// TestPermitBriefly: for a session that is made anew as many promises are wanted as for a
// withdrawal, or those of all that have the VIP, and none to others may be outstanding.
func TestPermitBriefly(t *testing.T) {
	v := testVIP("ns1", "198.51.100.53/32")
	v.MinAnnouncers, v.MinPoPs = 2, 2
	a := Member{"ams1", "ams"}
	members := []Member{a, {"fra1", "fra"}, {"fra2", "fra"}, {"lhr1", "lhr"}}
	for _, c := range []struct {
		have   map[string]int // others that have it, by PoP
		grants string
		want   string
	}{
		{nil, "", "0 promises in 0 PoPs, want 1 in 1"},
		{map[string]int{"fra": 1}, "", "0 promises in 0 PoPs, want 1 in 1"},
		{map[string]int{"fra": 1}, "fra1", ""},
		{map[string]int{"fra": 2}, "fra1", "1 promise in 1 PoP, want 2 in 1"},
		{map[string]int{"fra": 2}, "fra1 fra2", ""},
		{map[string]int{"fra": 2, "lhr": 1}, "fra1 fra2", "2 promises in 1 PoP, want 2 in 2"},
		{map[string]int{"fra": 2, "lhr": 1}, "fra1 lhr1", ""},
	} {
		g := NewGuard(v, a, members)
		ask := g.Begin(0, Nonce{1})
		for granter := range strings.FieldsSeq(c.grants) {
			if err := g.Take(0, Grant{Nonce: ask.Nonce, Granter: granter, Asker: "ams1", VIP: "ns1"}); err != nil {
				t.Fatal(err)
			}
		}
		if ok, why := g.PermitBriefly(0, c.have); ok != (c.want == "") || !ok && why != c.want {
			t.Errorf("%v have it, %q promised: permitted %v (%s), want %q", c.have, c.grants, ok, why, c.want)
		}
		if ok, _ := g.PermitBriefly(PromiseFor, c.have); ok {
			t.Errorf("%v have it, %q promised: permitted when the promises are over", c.have, c.grants)
		}
	}

	g, have := NewGuard(v, a, members), map[string]int{"fra": 1}
	ask := g.Begin(0, Nonce{2})
	if err := g.Take(0, Grant{Nonce: ask.Nonce, Granter: "fra1", Asker: "ams1", VIP: "ns1"}); err != nil {
		t.Fatal(err)
	}
	fit := Standing{Healthy: true, Announcing: true, Confirmed: true}
	if _, err := g.Consider(0, Ask{Nonce: Nonce{3}, Asker: "lhr1", VIP: "ns1", Prefixes: v.Prefixes}, fit); err != nil {
		t.Fatal(err)
	}
	if ok, why := g.PermitBriefly(0, have); ok || why != "promised lhr1 to stay for another 10s" {
		t.Errorf("permitted %v while it has promised to stay: %s", ok, why)
	}
	if ok, why := NewGuard(v, a, members).Split(v).PermitBriefly(0, have); ok || why != "0 promises in 0 PoPs, want 1 in 1" {
		t.Errorf("a part that nobody promised for is permitted %v: %s", ok, why)
	}
	if ok, _ := NewGuard(v, a, members[:1]).PermitBriefly(0, nil); !ok {
		t.Error("not permitted where nobody could promise")
	}
}
