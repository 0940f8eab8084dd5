package dnsserver

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"edged/edge"
	"edged/geo"
	"edged/zone"
)

// poolView answers names of example.com from one pool of the given policy, whose
// members all have the given verdict.
func poolView(t *testing.T, p geo.Pool, verdict edge.Verdict, zoneText string, names ...string) *View {
	t.Helper()
	g, err := geo.Build(geo.Config{
		Node: "n", PoP: "a", PoPs: []edge.PoP{{Name: "a"}, {Name: "b"}}, Pools: []geo.Pool{p},
		Verdicts: func(string, geo.Member) geo.State { return geo.State{Verdict: verdict} },
	})
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]string{}
	for _, n := range names {
		byName[n] = p.Name
	}
	z := mustZone(t, "example.com.", zoneText, names...)
	v, err := BuildView(ViewConfig{Zones: []*zone.Zone{z}, Geo: g, Names: byName, NSID: "n"})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func failover(answers int, members ...geo.Member) geo.Pool {
	return geo.Pool{Name: "www", Policy: geo.Failover, TTLMin: 30, TTLMax: 60, Answers: answers, Members: members}
}

func address(s string) geo.Member {
	return geo.Member{PoP: "a", Address: netip.MustParseAddr(s), Weight: 1}
}

const poolZone = `
@ 3600 SOA ns host 1 7200 3600 1209600 3600
@ NS ns
ns A 192.0.2.53
www 3600 TXT "beside"
www 3600 HTTPS 1 . alpn=h2 ech=AAAA ipv4hint=203.0.113.1 key667=x
svc 3600 SVCB 2 other.example.com. port=53 ipv4hint=203.0.113.1
svc 3600 SVCB 0 elsewhere.example.net.
`

func section(rrs []dns.RR) string {
	var lines []string
	for _, rr := range rrs {
		lines = append(lines, strings.Join(strings.Fields(rr.String()), " "))
	}
	return strings.Join(lines, "; ")
}

// TestNoHealthyEndpoint is test j of the acceptance list: whatever the verdict,
// never NXDOMAIN, and a negative answer lives no longer than a positive one.
func TestNoHealthyEndpoint(t *testing.T) {
	pool := failover(1, address("192.0.2.1"), address("2001:db8::1"))
	negative := "example.com. 60 IN SOA ns.example.com. host.example.com. 1 7200 3600 1209600 60"
	for verdict := edge.OK; verdict <= edge.Disabled; verdict++ {
		v := poolView(t, pool, verdict, poolZone, "www.example.com.")
		want, wantNs := "www.example.com. 60 IN A 192.0.2.1", ""
		if verdict >= edge.Drained {
			want, wantNs = "", negative
		}
		got := ask(t, v, question("www.example.com.", dns.TypeA), false)
		if got.Rcode != dns.RcodeSuccess || section(got.Answer) != want || section(got.Ns) != wantNs {
			t.Errorf("all %v: got\n%v\nwant %q, %q", verdict, got, want, wantNs)
		}
		if txt := ask(t, v, question("www.example.com.", dns.TypeTXT), false); len(txt.Answer) != 1 {
			t.Errorf("all %v: the name's other types are gone:\n%v", verdict, txt)
		}
	}
}

func TestFallbackCNAME(t *testing.T) {
	pool := failover(1, address("192.0.2.1"))
	pool.FallbackCNAME = "last.example.net."
	plain := strings.ReplaceAll(poolZone, "www ", "other ")
	v := poolView(t, pool, edge.Disabled, plain, "www.example.com.", "*.w.example.com.")
	for _, name := range []string{"www.example.com.", "a.b.w.example.com."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypeHTTPS} {
			got := ask(t, v, question(name, qtype), false)
			if want := name + " 60 IN CNAME last.example.net."; section(got.Answer) != want {
				t.Errorf("%s %v: got %q, want %q", name, dns.Type(qtype), section(got.Answer), want)
			}
		}
	}
	v = poolView(t, pool, edge.Dead, plain, "www.example.com.")
	if got := section(ask(t, v, question("www.example.com.", dns.TypeMX), false).Answer); got != "" {
		t.Errorf("MX while there are endpoints: %q, want NODATA", got)
	}
}

func TestServiceHints(t *testing.T) {
	pool := failover(2, address("192.0.2.1"), address("2001:db8::1"))
	v := poolView(t, pool, edge.OK, poolZone, "www.example.com.", "svc.example.com.")
	got := section(ask(t, v, question("www.example.com.", dns.TypeHTTPS), false).Answer)
	want := `www.example.com. 60 IN HTTPS 1 . alpn="h2" ipv4hint="192.0.2.1" ech="AAAA" ipv6hint="2001:db8::1" key667="x"`
	if got != want {
		t.Errorf("HTTPS:\n got %s\nwant %s", got, want)
	}
	// A record for another name keeps its hints, and alias mode has none.
	got = section(ask(t, v, question("svc.example.com.", dns.TypeSVCB), false).Answer)
	want = `svc.example.com. 60 IN SVCB 2 other.example.com. port="53" ipv4hint="203.0.113.1"; svc.example.com. 60 IN SVCB 0 elsewhere.example.net.`
	if got != want {
		t.Errorf("SVCB:\n got %s\nwant %s", got, want)
	}
}

func TestAliasPool(t *testing.T) {
	pool := failover(1, geo.Member{PoP: "a", CNAME: "x.example.net.", Weight: 1})
	v := poolView(t, pool, edge.OK, strings.ReplaceAll(poolZone, "www ", "other "), "www.example.com.")
	for _, qtype := range []uint16{dns.TypeA, dns.TypeMX, dns.TypeCNAME, dns.TypeANY} {
		if got := section(ask(t, v, question("www.example.com.", qtype), false).Answer); got != "www.example.com. 60 IN CNAME x.example.net." {
			t.Errorf("%v: %q", dns.Type(qtype), got)
		}
	}
}

func TestManyAnswersTruncate(t *testing.T) {
	var members []geo.Member
	for i := range geo.MaxAnswers {
		members = append(members, address(fmt.Sprintf("2001:db8::%d", i+1)))
	}
	// Failover answers one member at a time, so weigh them instead.
	pool := failover(geo.MaxAnswers, members...)
	pool.Policy = geo.Weighted
	v := poolView(t, pool, edge.OK, poolZone, "www.example.com.")
	name := "www.example.com."
	if got := ask(t, v, question(name, dns.TypeAAAA), false); got.Truncated || len(got.Answer) != geo.MaxAnswers {
		t.Errorf("%d answers fit 512 octets, got\n%v", geo.MaxAnswers, got)
	}
	checkNoAllocations(t, v, name, dns.TypeAAAA)
	checkNoAllocations(t, v, name, dns.TypeHTTPS)
}

func TestExplainTellsOfTheAnswer(t *testing.T) {
	pool := failover(1, address("192.0.2.1"), geo.Member{PoP: "b", Address: netip.MustParseAddr("192.0.2.2"), Weight: 1})
	v := poolView(t, pool, edge.OK, poolZone, "www.example.com.", "*.w.example.com.")
	for _, tc := range []struct {
		name  string
		qtype uint16
		want  string // match, owner, pool, rcode, records
	}{
		{"www.example.com", dns.TypeA, "exact www.example.com. www NOERROR www.example.com. 60 IN A 192.0.2.1"},
		{"x.w.example.com.", dns.TypeA, "wildcard *.w.example.com. www NOERROR x.w.example.com. 60 IN A 192.0.2.1"},
		{"ns.example.com.", dns.TypeA, "exact ns.example.com.  NOERROR ns.example.com. 3600 IN A 192.0.2.53"},
		{"none.example.com.", dns.TypeA, "no such name example.com.  NXDOMAIN example.com. 3600 IN SOA ns.example.com. host.example.com. 1 7200 3600 1209600 3600"},
		{"example.net.", dns.TypeA, "no zone served here holds the name   REFUSED "},
	} {
		e, err := v.Explain(tc.name, tc.qtype, netip.MustParseAddr("9.9.9.9"), netip.MustParsePrefix("10.0.0.0/24"))
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join([]string{e.Match, e.Owner, e.Pool, e.Rcode, strings.Join(e.Records, "; ")}, " ")
		if got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.name, got, tc.want)
		}
		var text strings.Builder
		if err := e.WriteText(&text); err != nil || !strings.Contains(text.String(), e.Rcode) {
			t.Errorf("%s: text %q (%v)", tc.name, text.String(), err)
		}
		if (e.Pool != "") != (e.Decision != nil) {
			t.Errorf("%s: pool %q, decision %v", tc.name, e.Pool, e.Decision)
		}
	}
}
