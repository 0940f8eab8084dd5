package conformance

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func modelOptions(server netip.AddrPort) Options {
	return Options{
		Server: server, Name: "www.example.com", Delegated: "x.sub.example.com", Large: "large.example.com",
		Timeout: 60 * time.Millisecond,
	}
}

// TestModelPasses holds the checks to a server that gets everything right.
func TestModelPasses(t *testing.T) {
	t.Parallel()
	report, err := Run(t.Context(), modelOptions((&model{}).listen(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, res := range report.Results {
		if res.Verdict != Pass {
			t.Errorf("%s: %s: %s", res.ID, res.Verdict, res.Evidence)
		}
	}
	if report.Failed() || report.Zone != "example.com." || report.Counts[Pass] != len(checks()) {
		t.Errorf("failed %v, zone %q, counts %v", report.Failed(), report.Zone, report.Counts)
	}
}

// TestEveryCheckCanFail spoils the model's replies one way at a time; the check
// made for it must see it.
func TestEveryCheckCanFail(t *testing.T) {
	t.Parallel()
	header := func(off int, and, or byte) func(q, r []byte, tcp bool) []byte {
		return func(_, r []byte, _ bool) []byte {
			if r != nil {
				r[off] = r[off]&and | or
			}
			return r
		}
	}
	// when spoils only the replies to queries that hold the octets.
	when := func(octets string, spoil func(q, r []byte, tcp bool) []byte) func(q, r []byte, tcp bool) []byte {
		return func(q, r []byte, tcp bool) []byte {
			if r != nil && bytes.Contains(q, []byte(octets)) {
				return spoil(q, r, tcp)
			}
			return r
		}
	}
	drop := func(_, _ []byte, _ bool) []byte { return nil }
	rcode := func(code byte) func(q, r []byte, tcp bool) []byte { return header(3, 0xf0, code) }
	// noOPT cuts the OPT record off; the model puts it last.
	noOPT := func(_, r []byte, _ bool) []byte {
		parsed, err := parseReply(r)
		if err != nil || parsed.opt == nil {
			return r
		}
		whole := parsed.opt.append(nil)
		r[11]--
		return r[:len(r)-len(whole)]
	}
	// options rewrites the OPT record.
	options := func(change func(*opt)) func(q, r []byte, tcp bool) []byte {
		return func(q, r []byte, tcp bool) []byte {
			parsed, err := parseReply(r)
			if err != nil || parsed.opt == nil {
				return r
			}
			r = noOPT(q, r, tcp)
			change(parsed.opt)
			r[11]++
			return parsed.opt.append(r)
		}
	}
	add := func(o option) func(q, r []byte, tcp bool) []byte {
		return options(func(p *opt) { p.options = append(p.options, o) })
	}
	remove := func(code uint16) func(q, r []byte, tcp bool) []byte {
		return options(func(p *opt) {
			var kept []option
			for _, o := range p.options {
				if o.code != code {
					kept = append(kept, o)
				}
			}
			p.options = kept
		})
	}
	scope := func(n byte) func(q, r []byte, tcp bool) []byte {
		return options(func(p *opt) {
			for _, o := range p.options {
				if o.code == optECS {
					o.data[3] = n
				}
			}
		})
	}
	addOPT := func(_, r []byte, _ bool) []byte {
		if parsed, err := parseReply(r); err != nil || parsed.opt != nil {
			return r
		}
		r[11]++
		return opt{size: 1232}.append(r)
	}
	onlyTCP := func(spoil func(q, r []byte, tcp bool) []byte) func(q, r []byte, tcp bool) []byte {
		return func(q, r []byte, tcp bool) []byte {
			if tcp && r != nil {
				return spoil(q, r, tcp)
			}
			return r
		}
	}
	// noAuthority cuts the SOA record of a negative answer without EDNS.
	noAuthority := func(_, r []byte, _ bool) []byte {
		var m dns.Msg
		if m.Unpack(r) != nil {
			return r
		}
		m.Ns = nil
		out, _ := m.Pack()
		return out
	}
	anyReply := func(q, r []byte, tcp bool) []byte {
		if r == nil && len(q) >= 12 {
			r = bytes.Clone(q)
		}
		return r
	}
	const unknown = "\xfd\xe9\x00\x05hello"
	cookie := "\x00\x0a\x00\x08" + string(clientCookie)
	for id, spoil := range map[string]func(q, r []byte, tcp bool) []byte{
		"hdr-echo":           func(_, r []byte, _ bool) []byte { return bytes.ToLower(r) },
		"hdr-aa":             header(2, 0xfb, 0),
		"hdr-type":           when("\x03\xe8\x00\x01", rcode(dns.RcodeNotImplemented)),
		"hdr-flag":           header(3, 0xff, flagZ),
		"hdr-cd":             rcode(dns.RcodeFormatError),
		"hdr-ad":             rcode(dns.RcodeFormatError),
		"edns-version-flags": options(func(o *opt) { o.flags |= 0x40 }),
		"edns-version-do":    drop,
		"edns-many":          noOPT,
		"hdr-opcode":         rcode(dns.RcodeServerFailure),
		"hdr-class": when("\x03\x09", func(q, r []byte, tcp bool) []byte {
			return (&model{}).plain(bytes.Replace(q, []byte{3, 9}, []byte{0, 1}, 1), tcp)
		}),
		"hdr-tcp":             onlyTCP(drop),
		"nxdomain":            when("no-such", noAuthority),
		"nodata":              when("\x00\x1d\x00\x01", noAuthority),
		"pkt-response":        anyReply,
		"pkt-header":          rcode(dns.RcodeServerFailure),
		"pkt-cut":             func(_, r []byte, _ bool) []byte { return append(r, 0) },
		"pkt-twoopts":         when("\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00\x00\x00\x29", rcode(0)),
		"edns-absent":         addOPT,
		"edns-present":        noOPT,
		"edns-size":           options(func(o *opt) { o.size = 100 }),
		"edns-version":        when("\x04\xd0\x00\x01", options(func(o *opt) { o.ext = 0 })),
		"edns-option":         when(unknown, add(option{optUnknown, []byte("hello")})),
		"edns-emptyoption":    when("\xfd\xe9\x00\x00", rcode(dns.RcodeFormatError)),
		"edns-flags":          options(func(o *opt) { o.flags |= 0x40 }),
		"edns-version-option": when(unknown, add(option{optUnknown, []byte("hello")})),
		"edns-do":             options(func(o *opt) { o.flags = 0 }),
		"edns-tcp":            onlyTCP(noOPT),
		"edns-smallsize":      when("\x00\x29\x00\x0a", header(2, 0xff, flagTC>>8)),
		"edns-tc":             when("large", noOPT),
		"ede-refused":         when("invalid", rcode(dns.RcodeServerFailure)),
		"ede-unasked":         when("invalid", addOPT),
		"ecs-unasked":         add(option{optECS, []byte{0, 1, 24, 0, 1, 2, 3}}),
		"ecs-echo":            when("\xc0\x58\x64", options(func(o *opt) { o.options[0].data[4]++ })),
		"ecs-echo6":           when("\x2a\x02\x12", options(func(o *opt) { o.options[0].data[2]++ })),
		"ecs-odd":             when("\xc6\x29\x10", options(func(o *opt) { o.options[0].data[2] = 24 })),
		"ecs-tcp":             onlyTCP(scope(3)),
		"ecs-source0":         when("\x00\x08\x00\x04\x00\x01\x00\x00", scope(24)),
		"ecs-family0":         when("\x00\x08\x00\x04\x00\x00\x00\x00", scope(24)),
		"ecs-family":          when("\x00\x08\x00\x07\x00\x03", noOPT),
		"ecs-short":           when("\x00\x01\x18\x00\x14\x02", rcode(0)),
		"ecs-long":            when("\x00\x01\x18\x00\x14\x02\x03\x00", rcode(0)),
		"ecs-hostbits":        when("\x00\x01\x14\x00\x14\x02\x1f", noOPT),
		"ecs-scope":           when("\x00\x01\x18\x18\x14\x02\x03", rcode(0)),
		"ecs-mask4":           when("\x00\x01\x21", drop),
		"ecs-mask6":           when("\x00\x02\x81", rcode(0)),
		"ecs-header":          when("\x00\x08\x00\x03", rcode(0)),
		"ecs-nodata":          when("\x00\x1c\x00\x01", scope(24)),
		"ecs-nxdomain":        when("no-such", scope(24)),
		"ecs-static":          when("\x00\x06\x00\x01", scope(24)),
		"ecs-referral":        when("\x03sub", scope(24)),
		"ecs-private":         when("\x0a\x01\x02", scope(24)),
		"ecs-cover4":          scope(0),
		"ecs-cover6":          scope(0),
		"cookie-new":          when(cookie, options(func(o *opt) { o.options[0].data[0]++ })),
		"cookie-v1":           options(func(o *opt) { clearStamp(o) }),
		"cookie-again":        when("\x00\x0a\x00\x18", rcode(dns.RcodeBadName)),
		"cookie-wrong":        when("\x00\x0a\x00\x18", remove(optCookie)),
		"cookie-length":       when("\x00\x0a\x00\x07", rcode(0)),
		"cookie-unasked":      add(option{optCookie, clientCookie}),
		"tcp-pipeline":        onlyTCP(func(_, r []byte, _ bool) []byte { r[0] ^= 0xff; return r }),
		"nsid":                remove(optNSID),
		"nsid-unasked":        add(option{optNSID, []byte("x")}),
		"chaos-id": when("server", func(q, r []byte, _ bool) []byte {
			return bytes.Replace(r, []byte{0, 16, 0, 3, 0, 0, 0, 0}, []byte{0, 16, 0, 1, 0, 0, 0, 0}, 1)
		}),
	} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			s := &session{Options: modelOptions((&model{spoil: spoil}).listen(t))}
			s.Name, s.Zone = "www.example.com.", "example.com."
			if out := runOne(t, s, id); out.verdict != Fail && out.verdict != Warn {
				t.Errorf("not seen: %s: %s", out.verdict, out.evidence)
			}
		})
	}
	t.Run("tcp-idle", func(t *testing.T) {
		t.Parallel()
		s := &session{Options: modelOptions((&model{close: func(n int) bool { return n == 1 }}).listen(t))}
		s.Name, s.Zone = "www.example.com.", "example.com."
		if out := runOne(t, s, "tcp-idle"); out.verdict != Fail {
			t.Errorf("not seen: %s: %s", out.verdict, out.evidence)
		}
	})
}

func clearStamp(o *opt) {
	for _, x := range o.options {
		if x.code == optCookie {
			binary.BigEndian.PutUint32(x.data[12:], 0)
		}
	}
}

func runOne(t *testing.T, s *session, id string) outcome {
	t.Helper()
	for _, c := range checks() {
		if c.id == id {
			return c.run(s)
		}
	}
	t.Fatalf("there is no check %q", id)
	return outcome{}
}

// TestNobodyThere wants an error, not a report, from a port without a server.
func TestNobodyThere(t *testing.T) {
	_, err := Run(t.Context(), modelOptions(freePort(t)))
	if !errors.Is(err, ErrNoAnswer) {
		t.Errorf("got %v", err)
	}
	server := (&model{}).listen(t)
	o := modelOptions(server)
	o.Name = "www.example.net"
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "REFUSED") {
		t.Errorf("a name not served: %v", err)
	}
}

func TestIDsAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range checks() {
		if seen[c.id] || c.what == "" || c.run == nil {
			t.Errorf("check %q: twice, or incomplete", c.id)
		}
		seen[c.id] = true
	}
}

func TestReportForms(t *testing.T) {
	r := &Report{
		Server: netip.MustParseAddrPort("192.0.2.1:53"), Name: "www.example.com.", Zone: "example.com.",
		Results: []Result{{"hdr-aa", "RFC 1035 §4.1.1", "AA is set", Fail, "AA is clear"}},
		Counts:  map[Verdict]int{Fail: 1},
	}
	var text, js bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	want := `192.0.2.1:53, name www.example.com., zone example.com.

VERDICT  CHECK   REFERENCE        WHAT       EVIDENCE
fail     hdr-aa  RFC 1035 §4.1.1  AA is set  AA is clear

0 passed, 1 failed, 0 warned, 0 skipped
`
	if text.String() != want {
		t.Errorf("got:\n%s", text.String())
	}
	if err := r.WriteJSON(&js); err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(js.Bytes(), &back); err != nil || back.Results[0] != r.Results[0] || back.Server != r.Server {
		t.Errorf("json: %v: %s", err, js.String())
	}
}

func TestNeighbours(t *testing.T) {
	var got []string
	for _, p := range neighbours(netip.MustParsePrefix("20.0.0.0/6"), 24) {
		got = append(got, p.String())
	}
	// Three inside at bits 6, 7 and 9, then the last, then the siblings from /6
	// up to /1; 0.0.0.0 is not routable.
	want := "22.0.0.0/24 21.0.0.0/24 20.64.0.0/24 23.255.255.0/24 16.0.0.0/24 24.0.0.0/24 32.0.0.0/24 64.0.0.0/24 128.0.0.0/24"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

// FuzzParseReply feeds foreign octets to the reply reader: it must not panic,
// and what it accepts must have a body that miekg/dns accepts as well.
func FuzzParseReply(f *testing.F) {
	m := &model{}
	s := &session{Options: Options{Name: "www.example.com."}}
	for _, p := range []packet{
		s.query("www.example.com.", dns.TypeA), s.edns("www.example.com.", dns.TypeA, subnet(sampleSubnet)),
		s.edns("x.sub.example.com.", dns.TypeA), s.edns("nope.example.com.", dns.TypeMX), s.edns("invalid.", dns.TypeA),
	} {
		f.Add(m.plain(p.bytes(), false))
	}
	f.Add([]byte("\x00\x00\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseReply(b)
		if err == nil && r.msg == nil {
			t.Error("accepted without a body")
		}
		if err == nil {
			_ = r.summary() + r.answer()
			r.ecs()
		}
	})
}
