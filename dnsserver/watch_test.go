package dnsserver

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"edged/zone"
)

const watchedZone = `
@ 3600 SOA ns host 1 7200 3600 1209600 3600
@ NS ns
ns A 192.0.2.53
fra A 192.0.2.1
* A 192.0.2.2
*.deep A 192.0.2.3
`

func TestWatch(t *testing.T) {
	z := mustZone(t, "b.example.com.", watchedZone)
	v, err := BuildView(ViewConfig{Zones: []*zone.Zone{z}, Watch: "*.b.example.com."})
	if err != nil {
		t.Fatal(err)
	}
	w := NewWatch(3, 4)
	r := &responder{cfg: &Config{MaxUDP: 1232, Watch: w}, stats: &stats{sum: newSum()}, cookies: newCookieJar(nil), now: 1700000000}
	r.stats.use(v)
	ask := func(name string, src string) {
		t.Helper()
		pkt, err := question(name, dns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		msg := make([]byte, maxUDPQuery)
		copy(msg, pkt)
		var q query
		state := q.parse(msg[:len(pkt)])
		v.locate(&q, &r.client)
		r.respond(v, msg, &q, state, netip.MustParseAddrPort(src), overUDP)
	}
	var got []string
	take := func() {
		for {
			a, ok := w.Next()
			if !ok {
				return
			}
			if a.Time != 1700000000 {
				t.Errorf("%s was asked at %d", a.Label(), a.Time)
			}
			got = append(got, a.Label()+" "+a.Resolver.String())
		}
	}
	for _, name := range []string{"ToKeN.b.eXample.com.", "x.token.b.example.com.", "fra.b.example.com.", "abc.b.example.com."} {
		ask(name, "[::ffff:192.0.2.9]:53")
	}
	take()
	for _, name := range []string{"long.deep.b.example.com.", "b.example.com.", "token.example.net."} {
		ask(name, "[2001:db8::1]:53")
	}
	take()
	if want := []string{"token 192.0.2.9"}; !slices.Equal(got, want) {
		t.Errorf("watched %q, want %q", got, want)
	}
	for range 5 {
		ask("flood.b.example.com.", "[2001:db8::1]:53")
	}
	if got = nil; w.Lost() != 2 {
		t.Errorf("%d lost, want 2", w.Lost())
	}
	take()
	if want := "flood 2001:db8::1"; !slices.Equal(got, []string{want, want, want}) {
		t.Errorf("watched %q, want three times %q", got, want)
	}

	// A watched answer allocates no more than others do.
	pkt, err := question("token.b.example.com.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	msg := make([]byte, maxUDPQuery)
	var q query
	if n := testing.AllocsPerRun(100, func() {
		copy(msg, pkt)
		state := q.parse(msg[:len(pkt)])
		v.locate(&q, &r.client)
		r.respond(v, msg, &q, state, testSource, overUDP)
	}); n > 0 {
		t.Errorf("%v allocations for a watched name", n)
	}
	if a, _ := w.Next(); a.Label() != "token" {
		t.Errorf("the watch has %q", a.Label())
	}
}

// TestWatchIsFixed holds that a view that watches nothing notes nothing, and one
// cannot watch a name that is not there.
func TestWatchIsFixed(t *testing.T) {
	z := mustZone(t, "b.example.com.", watchedZone)
	if _, err := BuildView(ViewConfig{Zones: []*zone.Zone{z}, Watch: "*.c.example.com."}); err == nil {
		t.Error("a view watches a name that is in no zone")
	}
	v := mustView(t, z)
	w := NewWatch(3, 1)
	s, err := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Threads: 1, MaxUDP: 1232, TCPIdle: time.Second, TCPMax: 1, TCPMaxPerClient: 1, Watch: w}, v)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.Shutdown(t.Context())
	if _, err := dns.Exchange(question("token.b.example.com.", dns.TypeA), s.Addrs()[0].String()); err != nil {
		t.Fatal(err)
	}
	if a, ok := w.Next(); ok {
		t.Errorf("noted %q", a.Label())
	}
}
