package dnsserver

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// parseSlow is the plain version of query.parse, on miekg/dns and on what that
// package leaves unchecked.
func parseSlow(pkt []byte) (m *dns.Msg, want parsed, rcode uint16) {
	if len(pkt) < headerLen || pkt[2]&flagQR != 0 {
		return nil, drop, 0
	}
	if pkt[2]&opcodeMask != 0 {
		return nil, refuse, rcodeNotImp
	}
	m = new(dns.Msg)
	if err := m.Unpack(pkt); err != nil {
		return nil, refuse, rcodeFormErr
	}
	return m, proceed, 0
}

func checkAgainstMiekg(t *testing.T, pkt []byte) {
	t.Helper()
	var q query
	got := q.parse(append([]byte{}, pkt...))
	m, want, rcode := parseSlow(pkt)
	switch {
	case want == drop:
		if got != drop {
			t.Fatalf("parse = %v, want drop", got)
		}
		return
	case got == drop:
		t.Fatalf("a query was dropped")
	case want == refuse:
		if got != refuse {
			// miekg/dns refuses record data that we need not look into.
			if binary.BigEndian.Uint16(pkt[10:]) == 0 {
				t.Fatalf("accepted what miekg/dns refuses")
			}
			return
		}
		if rcode == rcodeNotImp && q.rcode != rcodeNotImp {
			t.Fatalf("rcode %d, want NOTIMP", q.rcode)
		}
		return
	case got == refuse:
		if !stricter(pkt, m) {
			t.Fatalf("refused with rcode %d what miekg/dns takes:\n%v", q.rcode, m)
		}
		return
	}
	if len(m.Question) != 1 {
		t.Fatalf("%d questions accepted", len(m.Question))
	}
	compareQuery(t, &q, m)
}

// stricter says whether we have a reason of our own to refuse a message that
// miekg/dns takes.
func stricter(pkt []byte, m *dns.Msg) bool {
	counts := pkt[4:12]
	if binary.BigEndian.Uint16(counts) != 1 || binary.BigEndian.Uint32(counts[2:]) != 0 {
		return true // not one question, or records in a query
	}
	if int(binary.BigEndian.Uint16(counts[6:])) != len(m.Extra) {
		return true // records cut off, which miekg/dns forgives
	}
	if len(m.Question) != 1 || compressed(pkt[headerLen:]) {
		return true
	}
	opts := 0
	for _, rr := range m.Extra {
		opt, ok := rr.(*dns.OPT)
		if !ok {
			continue
		}
		opts++
		if opt.Hdr.Name != "." || opt.Version() > 0 {
			return true
		}
		for _, o := range opt.Option {
			switch o.(type) {
			case *dns.EDNS0_SUBNET, *dns.EDNS0_COOKIE:
				return true // held to the letter of RFC 7871 and 7873, see TestStrictOptions
			}
		}
	}
	return opts > 1 || trailing(pkt, len(m.Extra))
}

// trailing says whether octets follow the last record.
func trailing(pkt []byte, records int) bool {
	_, off, err := dns.UnpackDomainName(pkt, headerLen)
	off += 4
	for range records {
		if err == nil {
			_, off, err = dns.UnpackRR(pkt, off)
		}
	}
	return err != nil || off != len(pkt)
}

// compressed says whether a name ends in a compression pointer.
func compressed(name []byte) bool {
	for at := 0; at < len(name) && name[at] != 0; at += 1 + int(name[at]) {
		if name[at] >= 0xc0 {
			return true
		}
	}
	return false
}

func compareQuery(t *testing.T, q *query, m *dns.Msg) {
	t.Helper()
	name, _, err := dns.UnpackDomainName(q.lower[:q.nameLen], 0)
	if err != nil || name != strings.ToLower(m.Question[0].Name) {
		t.Fatalf("name %q, want %q (%v)", name, m.Question[0].Name, err)
	}
	if q.qtype != m.Question[0].Qtype || q.qclass != m.Question[0].Qclass {
		t.Fatalf("type %d class %d, want %v", q.qtype, q.qclass, m.Question[0])
	}
	opt := m.IsEdns0()
	if q.edns != (opt != nil) {
		t.Fatalf("edns = %v, want %v", q.edns, opt)
	}
	if opt == nil {
		return
	}
	if q.do != opt.Do() || q.udpSize != max(512, opt.UDPSize()) {
		t.Fatalf("do %v size %d, want %v", q.do, q.udpSize, opt)
	}
	for _, o := range opt.Option {
		subnet, ok := o.(*dns.EDNS0_SUBNET)
		if !ok || subnet.Family == 0 {
			continue
		}
		addr, _ := netip.AddrFromSlice(subnet.Address)
		want := netip.PrefixFrom(addr.Unmap(), int(subnet.SourceNetmask))
		if subnet.Family == 2 {
			want = netip.PrefixFrom(netip.AddrFrom16(addr.As16()), int(subnet.SourceNetmask))
		}
		if q.subnet != want {
			t.Fatalf("subnet %v, want %v", q.subnet, want)
		}
	}
}

func seedQueries(t testing.TB) [][]byte {
	var seeds [][]byte
	for _, name := range []string{".", "com.", "WwW.eXample.com.", strings.Repeat("a.", 120), strings.Repeat("x", 63) + ".example."} {
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeAAAA)
		plain, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		m.SetEdns0(4096, true)
		opt := m.IsEdns0()
		opt.Option = append(opt.Option,
			subnetOption(netip.MustParsePrefix("198.51.100.0/24")), &dns.EDNS0_NSID{Code: dns.EDNS0NSID},
			&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"})
		rich, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		opt.Option = []dns.EDNS0{subnetOption(netip.MustParsePrefix("2001:db8:1234::/48"))}
		v6, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, plain, rich, v6)
	}
	return seeds
}

func TestParseAgainstMiekg(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	seeds := seedQueries(t)
	for range 200_000 {
		pkt := bytes.Clone(seeds[rng.IntN(len(seeds))])
		for range rng.IntN(4) {
			switch rng.IntN(3) {
			case 0:
				pkt[rng.IntN(len(pkt))] = byte(rng.Uint32())
			case 1:
				pkt[rng.IntN(len(pkt))] ^= 1 << rng.IntN(8)
			case 2:
				pkt = pkt[:1+rng.IntN(len(pkt))]
			}
		}
		checkAgainstMiekg(t, pkt)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range seedQueries(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pkt []byte) {
		if len(pkt) > maxUDPQuery {
			return
		}
		checkAgainstMiekg(t, pkt)
	})
}

// withOption makes a query whose OPT holds one option, byte by byte.
func withOption(code uint16, data ...byte) []byte {
	pkt := []byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 'x', 0, 0, 1, 0, 1}
	pkt = append(pkt, 0, 0, typeOPT, 4, 208, 0, 0, 0, 0)
	pkt = binary.BigEndian.AppendUint16(pkt, uint16(4+len(data)))
	pkt = binary.BigEndian.AppendUint16(pkt, code)
	pkt = binary.BigEndian.AppendUint16(pkt, uint16(len(data)))
	return append(pkt, data...)
}

func TestStrictOptions(t *testing.T) {
	cookie := func(n int) []byte { return make([]byte, n) }
	for _, tc := range []struct {
		what string
		code uint16
		data []byte
		want parsed
	}{
		{"a /24", optECS, []byte{0, 1, 24, 0, 198, 51, 100}, proceed},
		{"a /20 with four bits in the third octet", optECS, []byte{0, 1, 20, 0, 198, 51, 0x60}, proceed},
		{"a /20 with bits beyond", optECS, []byte{0, 1, 20, 0, 198, 51, 0x61}, refuse},
		{"an octet too many", optECS, []byte{0, 1, 24, 0, 198, 51, 100, 0}, refuse},
		{"an octet too few", optECS, []byte{0, 1, 24, 0, 198, 51}, refuse},
		{"no octets for a /32", optECS, []byte{0, 1, 32, 0}, refuse},
		{"a scope in a query", optECS, []byte{0, 1, 24, 24, 198, 51, 100}, refuse},
		{"IPv4 /33", optECS, []byte{0, 1, 33, 0, 198, 51, 100, 0, 0}, refuse},
		{"IPv6 /48", optECS, []byte{0, 2, 48, 0, 0x20, 1, 0xd, 0xb8, 0, 1}, proceed},
		{"IPv6 /129", optECS, append([]byte{0, 2, 129, 0}, make([]byte, 17)...), refuse},
		{"/0", optECS, []byte{0, 1, 0, 0}, proceed},
		{"family 0 with /0", optECS, []byte{0, 0, 0, 0}, proceed},
		{"family 0 with an address", optECS, []byte{0, 0, 8, 0, 10}, refuse},
		{"family 3", optECS, []byte{0, 3, 0, 0}, refuse},
		{"three octets in all", optECS, []byte{0, 1, 0}, refuse},
		{"client cookie", optCookie, cookie(8), proceed},
		{"shortest server cookie", optCookie, cookie(16), proceed},
		{"longest server cookie", optCookie, cookie(40), proceed},
		{"short client cookie", optCookie, cookie(7), refuse},
		{"between the two", optCookie, cookie(12), refuse},
		{"too long", optCookie, cookie(41), refuse},
		{"an unknown option", 65001, []byte{1, 2, 3}, proceed},
	} {
		var q query
		if got := q.parse(withOption(tc.code, tc.data...)); got != tc.want {
			t.Errorf("%s: parse = %v, want %v", tc.what, got, tc.want)
		} else if got == refuse && (q.rcode != rcodeFormErr || !q.edns) {
			t.Errorf("%s: rcode %d, edns %v: want FORMERR with OPT", tc.what, q.rcode, q.edns)
		}
	}
}

func TestLowerWord(t *testing.T) {
	for c := range 256 {
		var word [8]byte
		for i := range word {
			word[i] = byte(c + i)
		}
		want := word
		for i, b := range want {
			if 'A' <= b && b <= 'Z' {
				want[i] = b + 'a' - 'A'
			}
		}
		var got [8]byte
		binary.LittleEndian.PutUint64(got[:], lowerWord(binary.LittleEndian.Uint64(word[:])))
		if got != want {
			t.Fatalf("lowerWord(%q) = %q, want %q", word, got, want)
		}
	}
}
