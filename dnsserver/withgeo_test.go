package dnsserver

import (
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"edged/edge"
	"edged/geo"
	"edged/zone"
)

// reverdict returns a view of the same zones in which all endpoints have a state.
func reverdict(t testing.TB, v *View, s geo.State) *View {
	t.Helper()
	g, err := v.Geo().WithVerdicts(func(string, geo.Member) geo.State { return s })
	if err != nil {
		t.Fatal(err)
	}
	next, err := v.WithGeo(g)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// TestTTLFollowsStates has a pool with a TTL of 30 to 60 seconds: whatever it
// answers lives until the next possible change of a state, within these bounds,
// and NODATA no longer than that.
func TestTTLFollowsStates(t *testing.T) {
	pool := failover(1, address("192.0.2.1"))
	withFallback := pool
	withFallback.FallbackCNAME = "last.example.net."
	plainZone := strings.ReplaceAll(poolZone, "www ", "other ")
	short := "@ 45 SOA ns host 1 7200 3600 1209600 40" + poolZone[strings.Index(poolZone, "\n@ NS"):]
	const soa = " SOA ns.example.com. host.example.com. 1 7200 3600 1209600 "
	for _, tc := range []struct {
		what     string
		pool     geo.Pool
		zoneText string
		qtype    uint16
		state    geo.State
		want     string
	}{
		{"no limit", pool, poolZone, dns.TypeA, geo.State{}, "www.example.com. 60 IN A 192.0.2.1"},
		{"a change ahead", pool, poolZone, dns.TypeA, geo.State{TTL: 40}, "www.example.com. 40 IN A 192.0.2.1"},
		{"a change close ahead", pool, poolZone, dns.TypeA, geo.State{TTL: 2}, "www.example.com. 30 IN A 192.0.2.1"},
		{
			"hints", pool, poolZone, dns.TypeHTTPS,
			geo.State{TTL: 40},
			`www.example.com. 40 IN HTTPS 1 . alpn="h2" ipv4hint="192.0.2.1" ech="AAAA" key667="x"`,
		},
		{"all drained", pool, poolZone, dns.TypeA, geo.State{Verdict: edge.Drained}, "example.com. 60 IN" + soa + "60"},
		{"all disabled, a change ahead", pool, poolZone, dns.TypeA, geo.State{Verdict: edge.Disabled, TTL: 33}, "example.com. 33 IN" + soa + "33"},
		{"another family", pool, poolZone, dns.TypeAAAA, geo.State{TTL: 2}, "example.com. 30 IN" + soa + "30"},
		{"a zone with a shorter one", pool, short, dns.TypeAAAA, geo.State{}, "example.com. 40 IN" + soa + "40"},
		{"one between", pool, short, dns.TypeAAAA, geo.State{TTL: 35}, "example.com. 35 IN" + soa + "35"},
		{"fallback", withFallback, plainZone, dns.TypeMX, geo.State{Verdict: edge.Drained, TTL: 50}, "www.example.com. 50 IN CNAME last.example.net."},
	} {
		v := reverdict(t, poolView(t, tc.pool, edge.OK, tc.zoneText, "www.example.com."), tc.state)
		got := ask(t, v, question("www.example.com.", tc.qtype), false)
		if text := section(append(got.Answer, got.Ns...)); got.Rcode != dns.RcodeSuccess || text != tc.want {
			t.Errorf("%s: got %s, %s\nwant %s", tc.what, dns.RcodeToString[got.Rcode], text, tc.want)
		}
	}
	// Names without a pool keep the zone's SOA.
	v := poolView(t, pool, edge.Disabled, poolZone, "www.example.com.")
	for range 2 {
		if got, want := section(ask(t, v, question("ns.example.com.", dns.TypeAAAA), false).Ns), "example.com. 3600 IN"+soa+"3600"; got != want {
			t.Errorf("a name without pool: got %s, want %s", got, want)
		}
		ask(t, v, question("www.example.com.", dns.TypeA), false)
	}
}

// TestNoDataInTheRootZone has an owner that no pointer leads to.
func TestNoDataInTheRootZone(t *testing.T) {
	pool := failover(1, address("192.0.2.1"))
	g, err := geo.Build(geo.Config{Node: "n", PoP: "a", PoPs: []edge.PoP{{Name: "a"}}, Pools: []geo.Pool{pool}})
	if err != nil {
		t.Fatal(err)
	}
	z := mustZone(t, ".", "@ 3600 SOA ns.example. host.example. 1 7200 3600 1209600 3600\n@ NS ns.example.\nns.example. A 192.0.2.53\n", "www.example.")
	v, err := BuildView(ViewConfig{Zones: []*zone.Zone{z}, Geo: g, Names: map[string]string{"www.example.": "www"}})
	if err != nil {
		t.Fatal(err)
	}
	got := section(ask(t, v, question("www.example.", dns.TypeAAAA), false).Ns)
	if want := ". 60 IN SOA ns.example. host.example. 1 7200 3600 1209600 60"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWithGeoRefusesOtherPools(t *testing.T) {
	v := poolView(t, failover(1, address("192.0.2.1")), edge.OK, poolZone, "www.example.com.")
	other := poolView(t, failover(1, address("192.0.2.2")), edge.OK, poolZone, "www.example.com.")
	for what, g := range map[string]*geo.View{"other members": other.Geo(), "none": nil} {
		if _, err := v.WithGeo(g); err == nil || !strings.Contains(err.Error(), "build the view anew") {
			t.Errorf("%s: error %v", what, err)
		}
	}
	if _, err := mustView(t, mustZone(t, "example.com.", smallZone)).WithGeo(v.Geo()); err == nil {
		t.Error("a view without pools took some")
	}
}

// TestWithGeoKeepsCounters counts on over views that differ in verdicts only,
// with no lock taken and nothing allocated at the change.
func TestWithGeoKeepsCounters(t *testing.T) {
	v := poolView(t, failover(1, address("192.0.2.1"), address("2001:db8::1")), edge.OK, poolZone, "www.example.com.")
	r := &responder{cfg: &Config{MaxUDP: 1232}, stats: &stats{sum: newSum()}, cookies: newCookieJar(nil)}
	r.stats.use(v)
	before := &r.stats.replies[0]
	views := []*View{reverdict(t, v, geo.State{Verdict: edge.Dead}), reverdict(t, v, geo.State{Verdict: edge.Drained}), v}
	if n := testing.AllocsPerRun(10, func() {
		for _, next := range views {
			if !r.stats.use(next) {
				t.Fatal("another view, and the owner is not told")
			}
		}
	}); n != 0 || &r.stats.replies[0] != before {
		t.Errorf("%v allocations for new verdicts, want 0, and the same counters", n)
	}
	msg := make([]byte, maxUDPQuery)
	for _, next := range views {
		r.stats.use(next)
		pkt, err := question("www.example.com.", dns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		var q query
		copy(msg, pkt)
		state := q.parse(msg[:len(pkt)])
		next.locate(&q, &r.client)
		r.respond(next, msg, &q, state, testSource, overUDP)
	}
	r.stats.flush()
	got := r.stats.sum.read()
	if n := got.Replies[ReplyKey{"example.com.", "A", "NOERROR", ""}]; n != 3 {
		t.Errorf("replies %v, want 3", got.Replies)
	}
	if a, no := got.Decisions[DecisionKey{"www", "a", "none"}], got.Decisions[DecisionKey{"www", "", "none"}]; a != 2 || no != 1 {
		t.Errorf("decisions %v, want 2 for PoP a and 1 for none", got.Decisions)
	}
}

// TestSwapVerdictsUnderLoad changes verdicts of a server that answers: each reply
// is from one view or another, and all are counted. It is for the race detector.
func TestSwapVerdictsUnderLoad(t *testing.T) {
	ok := poolView(t, failover(1, address("192.0.2.1")), edge.OK, poolZone, "www.example.com.")
	gone := reverdict(t, ok, geo.State{Verdict: edge.Disabled})
	s := startServer(t, ok, nil)
	const each = 50
	var clients sync.WaitGroup
	for _, network := range []string{"udp", "tcp"} {
		clients.Go(func() {
			for range each {
				got := exchange(t, network, s.Addrs()[0], question("www.example.com.", dns.TypeA))
				if got == nil || got.Rcode != dns.RcodeSuccess || len(got.Answer)+len(got.Ns) != 1 {
					t.Errorf("%s: %v", network, got)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		clients.Wait()
		close(done)
	}()
	for i := 0; ; i++ {
		select {
		case <-done:
			var n uint64
			for key, count := range s.Stats().Decisions {
				if key.Pool == "www" {
					n += count
				}
			}
			if n != 2*each {
				t.Errorf("%d decisions counted, want %d", n, 2*each)
			}
			return
		default:
			s.Swap([]*View{ok, gone}[i%2])
		}
	}
}

func TestExplainText(t *testing.T) {
	pool := failover(1, address("192.0.2.1"), geo.Member{PoP: "b", Address: netip.MustParseAddr("192.0.2.2"), Weight: 1})
	v := poolView(t, pool, edge.OK, poolZone, "www.example.com.")
	g, err := v.Geo().WithVerdicts(func(_ string, m geo.Member) geo.State {
		if m.PoP == "a" {
			return geo.State{Verdict: edge.Dead, Why: "3 of 5 observers: status 503, want 200", TTL: 10}
		}
		return geo.State{TTL: 40}
	})
	if err != nil {
		t.Fatal(err)
	}
	if v, err = v.WithGeo(g); err != nil {
		t.Fatal(err)
	}
	e, err := v.Explain("www.example.com.", dns.TypeA, netip.MustParseAddr("9.9.9.9"), netip.Prefix{})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := e.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	want := `www.example.com. A: NOERROR
  www.example.com. 30 IN A 192.0.2.2

zone      example.com. serial 1, exact: www.example.com.
pool      www, policy failover, best verdict ok

     candidate  rtt ms  km from first  verdict          weight  why
     a          -       0              failing or dead  1       verdict failing or dead; others are ok
  *  b          -       0              ok               1       first in the list, among those with verdict ok
  a: 192.0.2.1 dead: 3 of 5 observers: status 503, want 200; may change in 10 s
  b: 192.0.2.2 ok; may change in 40 s

outcome   addresses of PoP b
ttl       30: the pool's min; 192.0.2.1 of pool www may change in 10 s
  192.0.2.2 weight 1, ok, answered
scope     none sent: the query had no client subnet
`
	if text.String() != want {
		t.Errorf("got\n%s\nwant\n%s", text.String(), want)
	}
}
