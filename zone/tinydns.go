package zone

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// Defaults of tinydns-data, TTLs and SOA times in seconds.
const (
	tinyTTL     = 86400
	tinyNSTTL   = 259200
	tinySOATTL  = 2560
	tinyRefresh = 16384
	tinyRetry   = 2048
	tinyExpire  = 1048576
	tinyMinimum = 2560
	tinyTXT     = 127 // octets of a TXT string
)

// isTinydns reports whether a file is tinydns-data: by its name, or because its
// first line that is not a comment begins with one of the line types and has a
// colon before any blank.
func isTinydns(file, text string) bool {
	switch filepath.Ext(file) {
	case ".tinydns", ".data":
		return true
	}
	for row := range strings.Lines(text) {
		row = strings.TrimRight(row, " \t\r\n")
		if row == "" || row[0] == '#' {
			continue
		}
		word := row
		if i := strings.IndexAny(row, " \t;\""); i >= 0 {
			word = row[:i]
		}
		return strings.IndexByte("+=.&@'C^Z:-%", row[0]) >= 0 && strings.IndexByte(word[1:], ':') >= 0
	}
	return false
}

// tinydns reads tinydns-data. One such file serves many zones: what lies outside
// this zone is left out, and so is the SOA of a zone below it, which leaves the
// delegation. serial stands in for one that is missing or 0. Lookups stay those
// of RFC 4592: unlike in tinydns, an empty non-terminal blocks a wildcard.
func (l *loader) tinydns(text string, serial uint32) {
	number, others := uint32(0), 0
	for row := range strings.Lines(text) {
		number++
		row = strings.TrimRight(row, " \t\r\n")
		if row == "" || row[0] == '#' || row[0] == '-' {
			continue
		}
		if l.full() {
			return
		}
		at := position{1, number}
		rrs, err := tinyRecords(row, serial)
		for _, rr := range rrs {
			h := rr.Header()
			key, ok := canonical(h.Name)
			switch {
			case !ok:
				err = fmt.Errorf("%q is not a domain name", h.Name)
			case !dns.IsSubDomain(l.origin, key), h.Rrtype == dns.TypeSOA && key != l.origin:
				others++
			case err == nil:
				if err = l.keep(rr, at); err != nil {
					err = fmt.Errorf("bad %s record of %q: %w", dns.Type(h.Rrtype), h.Name, err)
				}
			}
		}
		if err != nil {
			l.errors.add(at, "%w", err)
		}
	}
	if others > 0 {
		l.notes.add(position{}, "%d records in %q belong to other zones and are left out", others, l.files[0])
	}
}

// tinyLine is a line of tinydns-data, taken apart. The first field that is
// wrong sets err, so that a caller can read all fields and look once.
type tinyLine struct {
	fields []string
	err    error
}

// tinyRecords returns the records that one line makes.
func tinyRecords(row string, serial uint32) ([]dns.RR, error) {
	t := &tinyLine{fields: strings.Split(row[1:], ":")}
	var rrs []dns.RR
	switch row[0] {
	case '.', '&':
		rrs = t.nameServer(row[0] == '.', serial)
	case '+', '=':
		ttl := t.end(2, tinyTTL)
		ip := t.address(1)
		rrs = []dns.RR{&dns.A{Hdr: t.header(0, dns.TypeA, ttl), A: ip.AsSlice()}}
		if row[0] == '=' && t.err == nil {
			ptr := dns.RR_Header{Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: ttl}
			ptr.Name, _ = dns.ReverseAddr(ip.String())
			rrs = append(rrs, &dns.PTR{Hdr: ptr, Ptr: t.name(0)})
		}
	case '@':
		ttl := t.end(4, tinyTTL)
		mx := &dns.MX{Hdr: t.header(0, dns.TypeMX, ttl), Preference: uint16(t.number(3, 0, 16)), Mx: t.server(2, "mx")}
		rrs = t.withAddress(ttl, mx.Mx, mx)
	case '\'':
		ttl := t.end(2, tinyTTL)
		rrs = []dns.RR{t.generic(dns.TypeTXT, ttl, txtStrings(unescape(t.field(1))))}
	case '^':
		ttl := t.end(2, tinyTTL)
		rrs = []dns.RR{&dns.PTR{Hdr: t.header(0, dns.TypePTR, ttl), Ptr: t.name(1)}}
	case 'C':
		ttl := t.end(2, tinyTTL)
		rrs = []dns.RR{&dns.CNAME{Hdr: t.header(0, dns.TypeCNAME, ttl), Target: t.name(1)}}
	case 'Z':
		ttl := t.end(8, tinySOATTL)
		soa := &dns.SOA{
			Hdr: t.header(0, dns.TypeSOA, ttl), Ns: t.name(1), Mbox: t.name(2),
			Serial: t.number(3, 0, 32), Refresh: t.number(4, tinyRefresh, 32), Retry: t.number(5, tinyRetry, 32),
			Expire: t.number(6, tinyExpire, 32), Minttl: t.number(7, tinyMinimum, 32),
		}
		if soa.Serial == 0 {
			soa.Serial = serial
		}
		rrs = []dns.RR{soa}
	case ':':
		ttl := t.end(3, tinyTTL)
		rrtype := uint16(t.number(1, 0, 16))
		switch rrtype {
		case 0, dns.TypeNS, dns.TypeCNAME, dns.TypeSOA, dns.TypePTR, dns.TypeMX, dns.TypeOPT:
			t.fail("generic record of type %s: use the line type made for it", dns.Type(rrtype))
		}
		if rrtype >= 128 && rrtype <= 255 {
			t.fail("type %s is for queries, not for zones", dns.Type(rrtype))
		}
		rrs = []dns.RR{t.generic(rrtype, ttl, unescape(t.field(2)))}
	case '%':
		t.fail(`client locations ("%%") are not supported: use pools for answers that depend on the client`)
	default:
		t.fail(`line type %q is not one of tinydns's + = . & @ ' C ^ Z : - #; write other record types as ":name:type:data"`, row[:1])
	}
	if t.err != nil {
		return nil, t.err
	}
	return rrs, nil
}

// nameServer reads "." and "&" lines: NS, the server's address when there is
// one, and for "." the SOA.
func (t *tinyLine) nameServer(soa bool, serial uint32) []dns.RR {
	ttl := t.end(3, tinyNSTTL)
	ns := &dns.NS{Hdr: t.header(0, dns.TypeNS, ttl), Ns: t.server(2, "ns")}
	rrs := t.withAddress(ttl, ns.Ns, ns)
	if soa {
		rrs = append(rrs, &dns.SOA{
			Hdr: t.header(0, dns.TypeSOA, tinySOATTL), Ns: ns.Ns, Mbox: "hostmaster." + strings.TrimPrefix(t.name(0), "."),
			Serial: serial, Refresh: tinyRefresh, Retry: tinyRetry, Expire: tinyExpire, Minttl: tinyMinimum,
		})
	}
	return rrs
}

// withAddress adds the A record of a server when the line gives an address.
func (t *tinyLine) withAddress(ttl uint32, server string, rr dns.RR) []dns.RR {
	if t.field(1) == "" {
		return []dns.RR{rr}
	}
	ip := t.address(1)
	header := dns.RR_Header{Name: server, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}
	return []dns.RR{rr, &dns.A{Hdr: header, A: ip.AsSlice()}}
}

func (t *tinyLine) fail(format string, args ...any) {
	if t.err == nil {
		t.err = fmt.Errorf(format, args...)
	}
}

func (t *tinyLine) field(i int) string {
	if i < len(t.fields) {
		return t.fields[i]
	}
	return ""
}

// end reads the last fields of every line type: the TTL, and the timestamp and
// location, which are refused.
func (t *tinyLine) end(i int, otherwise uint32) uint32 {
	if stamp := t.field(i + 1); stamp != "" {
		t.fail("timestamp %q is not supported: records here do not start or end by themselves", stamp)
	}
	if location := t.field(i + 2); location != "" {
		t.fail("location %q is not supported: use pools for answers that depend on the client", location)
	}
	if len(t.fields) > i+3 {
		t.fail("too many fields: %d, want at most %d", len(t.fields), i+3)
	}
	return t.number(i, otherwise, 32)
}

// number reads an unsigned field; an empty one is the default.
func (t *tinyLine) number(i int, otherwise uint32, bits int) uint32 {
	word := t.field(i)
	if word == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(word, 10, bits)
	if err != nil {
		t.fail("field %d: %q is not a number of at most %d bits", i+1, word, bits)
	}
	return uint32(n)
}

func (t *tinyLine) address(i int) netip.Addr {
	ip, err := netip.ParseAddr(t.field(i))
	if err != nil || !ip.Is4() {
		t.fail("field %d: %q is not an IPv4 address", i+1, t.field(i))
		return netip.IPv4Unspecified()
	}
	return ip
}

func (t *tinyLine) header(i int, rrtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: t.name(i), Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

// generic makes a record of any type out of its data.
func (t *tinyLine) generic(rrtype uint16, ttl uint32, data []byte) dns.RR {
	return &dns.RFC3597{Hdr: t.header(0, rrtype, ttl), Rdata: hex.EncodeToString(data)}
}

// server reads the name of a name or mail server: "a" means a.ns.NAME.
func (t *tinyLine) server(i int, kind string) string {
	x := t.field(i)
	if strings.Contains(x, ".") {
		return tinyName(x)
	}
	return tinyName(x + "." + kind + "." + t.field(0))
}

func (t *tinyLine) name(i int) string {
	name := tinyName(t.field(i))
	if !isName(name) {
		t.fail("field %d: %q is not a domain name", i+1, t.field(i))
	}
	return name
}

// tinyName turns a tinydns name, with octal escapes and with or without dots at
// its ends, into an absolute name in presentation form.
func tinyName(s string) string {
	var out strings.Builder
	label := false
	for s != "" {
		escaped := s[0] == '\\'
		var c byte
		c, s = nextOctet(s)
		switch {
		case c == '.' && !escaped:
			if label {
				out.WriteByte('.')
			}
			label = false
			continue
		case escaped || c < '!' || c > '~' || strings.IndexByte(`"();@\`, c) >= 0:
			fmt.Fprintf(&out, `\%03d`, c)
		default:
			out.WriteByte(c)
		}
		label = true
	}
	if label || out.Len() == 0 {
		out.WriteByte('.')
	}
	return out.String()
}

// unescape returns the octets of a tinydns field.
func unescape(s string) []byte {
	out := make([]byte, 0, len(s))
	for s != "" {
		var c byte
		c, s = nextOctet(s)
		out = append(out, c)
	}
	return out
}

// nextOctet takes an octet from a tinydns field: \ and one to three octal
// digits, or \ and any other octet, or the octet itself.
func nextOctet(s string) (octet byte, rest string) {
	if s[0] != '\\' || len(s) == 1 {
		return s[0], s[1:]
	}
	isOctal := func(i int) bool { return i < len(s) && '0' <= s[i] && s[i] <= '7' }
	if !isOctal(1) {
		return s[1], s[2:]
	}
	i := 1
	for ; i <= 3 && isOctal(i); i++ {
		octet = octet<<3 + s[i] - '0'
	}
	return octet, s[i:]
}

// txtStrings cuts text into the strings of a TXT record, as tinydns-data does.
func txtStrings(text []byte) []byte {
	var out []byte
	for {
		n := min(len(text), tinyTXT)
		out = append(out, byte(n))
		out = append(out, text[:n]...)
		if text = text[n:]; len(text) == 0 {
			return out
		}
	}
}
