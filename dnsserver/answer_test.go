package dnsserver

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"edged/zone"
)

var testSource = netip.MustParseAddrPort("192.0.2.1:4000")

func mustZone(t testing.TB, origin, text string, dynamic ...string) *zone.Zone {
	t.Helper()
	z, err := zone.Parse(origin, strings.NewReader(text), origin+"zone", zone.Options{Dynamic: dynamic})
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func mustView(t testing.TB, zones ...*zone.Zone) *View {
	t.Helper()
	v, err := BuildView(ViewConfig{Zones: zones, NSID: "node1 fra", Version: "edged test"})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func ask(t testing.TB, v *View, m *dns.Msg, tcp bool) *dns.Msg {
	t.Helper()
	pkt, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	out := new(dns.Msg)
	if err := out.Unpack(v.Reply(pkt, testSource, tcp)); err != nil {
		t.Fatalf("%v: the reply does not parse: %v", m.Question, err)
	}
	return out
}

func question(name string, qtype uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	return m
}

// texts gives records as sorted text in lower case: names that are compressed
// onto the question take its case.
func texts(rrs []dns.RR) []string {
	var out []string
	for _, rr := range rrs {
		out = append(out, strings.ToLower(rr.String()))
	}
	slices.Sort(out)
	return out
}

// checkAgainstLookup holds a compiled answer against zone.Lookup, which it was
// compiled from: every name and wildcard, by way of the name table, pointers
// that move, and miekg/dns's unpacking.
func checkAgainstLookup(t *testing.T, v *View, z *zone.Zone, name string, qtype uint16) {
	t.Helper()
	got := ask(t, v, question(name, qtype), true)
	want := z.Lookup(name, qtype)
	if got.Rcode != want.Rcode || got.Authoritative != want.Authoritative {
		t.Errorf("%s %s: %s aa=%v, want %s aa=%v", name, dns.Type(qtype), dns.RcodeToString[got.Rcode], got.Authoritative,
			dns.RcodeToString[want.Rcode], want.Authoritative)
	}
	for i, sections := range [][2][]dns.RR{{got.Answer, want.Answer}, {got.Ns, want.Ns}, {got.Extra, want.Extra}} {
		if g, w := texts(sections[0]), texts(sections[1]); !slices.Equal(g, w) {
			t.Errorf("%s %s: section %d is\n%s\nwant\n%s", name, dns.Type(qtype), i+1, strings.Join(g, "\n"), strings.Join(w, "\n"))
		}
	}
	if got.Question[0].Name != name {
		t.Errorf("%s: the question came back as %s", name, got.Question[0].Name)
	}
}

// TestAnswersAgainstLookup asks for every name of every zone in package zone's
// test data, below it and beside it, for every type that occurs.
func TestAnswersAgainstLookup(t *testing.T) {
	files, err := filepath.Glob("../zone/testdata/peers/*.zone")
	if err != nil || len(files) == 0 {
		t.Fatalf("no zones found (%v)", err)
	}
	for _, file := range files {
		origin := strings.TrimSuffix(filepath.Base(file), "zone")
		z, err := zone.ParseFile(origin, file, zone.Options{})
		if err != nil {
			t.Fatal(err)
		}
		v := mustView(t, z)
		types := map[uint16]bool{dns.TypeA: true, dns.TypeANY: true, dns.TypeDS: true, unassigned: true}
		var names []string
		for n := range z.Nodes() {
			for _, qtype := range n.Types {
				types[qtype] = true
			}
			names = append(names, n.Name, "x."+n.Name, "a.Very.Deep.One."+n.Name, "*."+n.Name)
		}
		asked := 0
		for _, name := range names {
			if _, ok := dns.IsDomainName(name); !ok || len(name) > 250 {
				continue
			}
			for qtype := range types {
				if qtype == dns.TypeOPT || qtype == dns.TypeTKEY || qtype == dns.TypeTSIG {
					continue
				}
				checkAgainstLookup(t, v, z, name, qtype)
				asked++
			}
		}
		t.Logf("%s: %d questions", file, asked)
		if asked < 1000 {
			t.Errorf("%s: only %d questions", file, asked)
		}
	}
}

var smallZone = `
@ 3600 SOA ns host 1 7200 3600 1209600 300
@ NS ns
ns A 192.0.2.53
www A 192.0.2.80
alias CNAME www
*.wild TXT "any"
sub NS ns.sub
ns.sub A 192.0.2.54
big TXT "` + longText + `"
`

var longText = strings.Repeat("0123456789", 20) + `" "` + strings.Repeat("abcdefghij", 20) + `" "` + strings.Repeat("0123456789", 20)

func TestTruncation(t *testing.T) {
	v := mustView(t, mustZone(t, "example.com.", smallZone))
	m := question("big.example.com.", dns.TypeTXT)
	plain := ask(t, v, m, false)
	if !plain.Truncated || len(plain.Answer) != 0 || plain.Len() > 512 {
		t.Errorf("without EDNS: want an empty reply with TC, got\n%v", plain)
	}
	m.SetEdns0(1232, false)
	if wide := ask(t, v, m, false); wide.Truncated || len(wide.Answer) != 1 {
		t.Errorf("with 1232 octets: want the record, got\n%v", wide)
	}
	if tcp := ask(t, v, question("big.example.com.", dns.TypeTXT), true); tcp.Truncated || len(tcp.Answer) != 1 {
		t.Errorf("over TCP: want the record, got\n%v", tcp)
	}
}

func TestHeaderAndEDNS(t *testing.T) {
	v := mustView(t, mustZone(t, "example.com.", smallZone))
	for _, tc := range []struct {
		what   string
		change func(*dns.Msg)
		want   string
	}{
		{"plain", func(m *dns.Msg) {}, "NOERROR qr aa rd an=1"},
		{"reserved bits are cleared", func(m *dns.Msg) { m.Zero, m.AuthenticatedData, m.CheckingDisabled = true, true, true }, "NOERROR qr aa rd an=1"},
		{"RA in a query is cleared", func(m *dns.Msg) { m.RecursionAvailable = true }, "NOERROR qr aa rd an=1"},
		{"another name", func(m *dns.Msg) { m.Question[0].Name = "example.net." }, "REFUSED qr rd an=0"},
		{"another class", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassHESIOD }, "REFUSED qr rd an=0"},
		{"opcode STATUS", func(m *dns.Msg) { m.Opcode = dns.OpcodeStatus }, "NOTIMP qr rd an=0"},
		{"opcode UPDATE", func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }, "NOTIMP qr rd an=0"},
		{"AXFR", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }, "REFUSED qr rd an=0"},
		{"EDNS", func(m *dns.Msg) { m.SetEdns0(4096, true) }, "NOERROR qr aa rd an=1 opt v0 do size=1232"},
		{"EDNS 1", func(m *dns.Msg) { m.SetEdns0(4096, false); m.IsEdns0().SetVersion(1) }, "BADVERS qr rd an=0 opt v0 size=1232"},
		{"a refusal says why", func(m *dns.Msg) { m.SetEdns0(4096, false); m.Question[0].Name = "x.net." }, "REFUSED qr rd an=0 opt v0 size=1232 ede=20"},
		{"NSID", func(m *dns.Msg) {
			m.SetEdns0(4096, false)
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID}}
		}, "NOERROR qr aa rd an=1 opt v0 size=1232 nsid=6e6f64653120667261"},
		{"ECS on a static name", func(m *dns.Msg) {
			m.SetEdns0(4096, false)
			m.IsEdns0().Option = []dns.EDNS0{subnetOption(netip.MustParsePrefix("198.51.100.0/24"))}
		}, "NOERROR qr aa rd an=1 opt v0 size=1232 ecs=198.51.100.0/24/0"},
		{"ECS on a negative answer", func(m *dns.Msg) {
			m.Question[0].Name = "none.example.com."
			m.SetEdns0(4096, false)
			m.IsEdns0().Option = []dns.EDNS0{subnetOption(netip.MustParsePrefix("2001:db8:1::/48"))}
		}, "NXDOMAIN qr aa rd an=0 opt v0 size=1232 ecs=2001:db8:1::/48/0"},
		{"ECS on a referral", func(m *dns.Msg) {
			m.Question[0].Name = "x.sub.example.com."
			m.SetEdns0(4096, false)
			m.IsEdns0().Option = []dns.EDNS0{subnetOption(netip.MustParsePrefix("198.51.100.0/24"))}
		}, "NOERROR qr rd an=0 opt v0 size=1232 ecs=198.51.100.0/24/0"},
	} {
		m := question("www.example.com.", dns.TypeA)
		tc.change(m)
		if got := summary(ask(t, v, m, false)); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.what, got, tc.want)
		}
	}
}

func summary(m *dns.Msg) string {
	s := dns.RcodeToString[m.Rcode]
	for _, f := range []struct {
		on   bool
		word string
	}{
		{m.Response, "qr"},
		{m.Authoritative, "aa"},
		{m.Truncated, "tc"},
		{m.RecursionDesired, "rd"},
		{m.RecursionAvailable, "ra"},
		{m.Zero, "z"},
		{m.AuthenticatedData, "ad"},
		{m.CheckingDisabled, "cd"},
	} {
		if f.on {
			s += " " + f.word
		}
	}
	s += fmt.Sprintf(" an=%d", len(m.Answer))
	opt := m.IsEdns0()
	if opt == nil {
		return s
	}
	if opt.Version() == 0 && m.Rcode == dns.RcodeBadSig { // miekg/dns: BADVERS and BADSIG are one number
		s = "BADVERS" + strings.TrimPrefix(s, dns.RcodeToString[m.Rcode])
	}
	s += fmt.Sprintf(" opt v%d", opt.Version())
	if opt.Do() {
		s += " do"
	}
	s += fmt.Sprintf(" size=%d", opt.UDPSize())
	for _, o := range opt.Option {
		switch o := o.(type) {
		case *dns.EDNS0_NSID:
			s += " nsid=" + o.Nsid
		case *dns.EDNS0_SUBNET:
			s += fmt.Sprintf(" ecs=%s/%d/%d", o.Address, o.SourceNetmask, o.SourceScope)
		case *dns.EDNS0_EDE:
			s += fmt.Sprintf(" ede=%d", o.InfoCode)
		}
	}
	return s
}

func TestChaos(t *testing.T) {
	v := mustView(t, mustZone(t, "example.com.", smallZone))
	for name, want := range map[string]string{
		"version.bind.": `"edged test"`, "VERSION.server.": `"edged test"`, "id.server.": `"node1 fra"`, "hostname.bind.": `"node1 fra"`,
	} {
		m := question(name, dns.TypeTXT)
		m.Question[0].Qclass = dns.ClassCHAOS
		got := ask(t, v, m, false)
		if len(got.Answer) != 1 || !strings.HasSuffix(got.Answer[0].String(), "\tCH\tTXT\t"+want) {
			t.Errorf("%s: got %v, want %s", name, got.Answer, want)
		}
	}
	m := question("authors.bind.", dns.TypeTXT)
	m.Question[0].Qclass = dns.ClassCHAOS
	if got := ask(t, v, m, false); got.Rcode != dns.RcodeRefused {
		t.Errorf("authors.bind: %v, want REFUSED", got)
	}
}

// TestZonesWithinZones has a zone whose child is served here too: the child
// answers at and below its apex, but for the DS, which is the parent's.
func TestZonesWithinZones(t *testing.T) {
	parent := mustZone(t, "example.com.", `
@ 3600 SOA ns host 1 7200 3600 1209600 300
@ NS ns
ns A 192.0.2.53
child NS ns.child
child DS 1 8 2 0123456789012345678901234567890123456789012345678901234567890123
ns.child A 192.0.2.99
`)
	child := mustZone(t, "child.example.com.", `
@ 3600 SOA ns host 7 7200 3600 1209600 300
@ NS ns
ns A 192.0.2.54
`)
	for _, v := range []*View{mustView(t, parent, child), mustView(t, child, parent)} {
		for _, tc := range []struct {
			name  string
			qtype uint16
			want  string
		}{
			{"ns.child.example.com.", dns.TypeA, "192.0.2.54"},
			{"child.example.com.", dns.TypeSOA, "7 7200"},
			{"child.example.com.", dns.TypeDS, "1 8 2"},
			{"ns.example.com.", dns.TypeA, "192.0.2.53"},
		} {
			got := ask(t, v, question(tc.name, tc.qtype), false)
			if len(got.Answer) != 1 || !got.Authoritative || !strings.Contains(got.Answer[0].String(), tc.want) {
				t.Errorf("%s %s: got\n%v\nwant %s", tc.name, dns.Type(tc.qtype), got, tc.want)
			}
		}
	}
}

// TestAnswerAllocatesNothing runs whole UDP answers of every kind.
func TestAnswerAllocatesNothing(t *testing.T) {
	v := mustView(t, mustZone(t, "example.com.", smallZone))
	for _, name := range []string{"www.example.com.", "alias.example.com.", "a.b.wild.example.com.", "none.example.com.", "x.sub.example.com.", "example.net."} {
		checkNoAllocations(t, v, name, dns.TypeA)
	}
}

func checkNoAllocations(t *testing.T, v *View, name string, qtype uint16) {
	t.Helper()
	m := question(name, qtype)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{
		subnetOption(netip.MustParsePrefix("198.51.100.0/24")), &dns.EDNS0_NSID{Code: dns.EDNS0NSID},
		&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"},
	}
	pkt, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	r := &responder{
		cfg: &Config{MaxUDP: 1232}, stats: &stats{sum: newSum()}, cookies: newCookieJar(nil),
		limiter: newLimiter(RRL{PerSecond: 1 << 20, Slip: 2}),
	}
	r.stats.use(v)
	msg := make([]byte, maxUDPQuery)
	var q query
	n := testing.AllocsPerRun(100, func() {
		copy(msg, pkt)
		state := q.parse(msg[:len(pkt)])
		v.locate(&q, &r.client)
		if state != proceed || r.respond(v, msg, &q, state, testSource, overUDP) == 0 {
			t.Fatal("no reply")
		}
	})
	if n != 0 {
		t.Errorf("%s %s: %v allocations for one answer, want 0", name, dns.Type(qtype), n)
	}
}

// FuzzReply holds any answer to any packet to what miekg/dns can read.
func FuzzReply(f *testing.F) {
	file, err := os.Open("../zone/testdata/peers/example.org.zone")
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	z, err := zone.Parse("example.org.", file, "example.org.zone", zone.Options{})
	if err != nil {
		f.Fatal(err)
	}
	v := mustView(f, z)
	for _, s := range seedQueries(f) {
		f.Add(s)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for n := range z.Nodes() {
		if rng.IntN(8) == 0 {
			pkt, err := question(n.Name, dns.TypeA).Pack()
			if err == nil {
				f.Add(pkt)
			}
		}
	}
	f.Fuzz(func(t *testing.T, pkt []byte) {
		if len(pkt) > maxUDPQuery {
			return
		}
		out := v.Reply(pkt, testSource, false)
		if out == nil {
			return
		}
		if err := new(dns.Msg).Unpack(out); err != nil {
			t.Fatalf("the reply does not parse: %v\nquery %x\nreply %x", err, pkt, out)
		}
		if len(out) > 1232 || out[0] != pkt[0] || out[1] != pkt[1] || out[2]&flagQR == 0 {
			t.Fatalf("query %x\nreply %x", pkt, out)
		}
	})
}
