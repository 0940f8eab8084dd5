package conformance

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// model is a small server that gets everything right: the same zone as the
// peers serve, in as few lines as will do. What it answers is pure; listen
// holds the sockets. spoil, when set, may change a reply (nil: none is sent).
type model struct {
	spoil func(query, reply []byte, tcp bool) []byte
	close func(served int) bool // tcp: hang up after so many answers
}

const modelSOA = "example.com. 300 IN SOA ns.example.com. hostmaster.example.com. 1 7200 3600 86400 300"

// modelNets is what www.example.com depends on, as disjoint blocks.
var modelNets = []struct {
	net  netip.Prefix
	addr string
}{
	{netip.MustParsePrefix("0.0.0.0/1"), "198.51.100.1"},
	{netip.MustParsePrefix("128.0.0.0/1"), "198.51.100.2"},
	{netip.MustParsePrefix("::/3"), "198.51.100.1"},
	{netip.MustParsePrefix("2000::/5"), "198.51.100.1"},
	{netip.MustParsePrefix("2800::/5"), "198.51.100.2"},
	{netip.MustParsePrefix("3000::/4"), "198.51.100.2"},
	{netip.MustParsePrefix("4000::/2"), "198.51.100.2"},
	{netip.MustParsePrefix("8000::/1"), "198.51.100.2"},
}

// answer returns the reply to a query, or nil.
func (m *model) answer(q []byte, tcp bool) []byte {
	r := m.plain(q, tcp)
	if m.spoil != nil {
		r = m.spoil(q, r, tcp)
	}
	return r
}

func (m *model) plain(q []byte, tcp bool) []byte {
	if len(q) < 12 || q[2]&0x80 != 0 {
		return nil
	}
	head := func(rcode int) []byte {
		return append(append([]byte{}, q[0], q[1], 0x80|q[2]&0x79, byte(rcode)), make([]byte, 8)...)
	}
	if q[2]>>3&15 != 0 {
		return head(dns.RcodeNotImplemented)
	}
	name, qtype, class, rest, ok := modelQuestion(q)
	if !ok {
		return head(dns.RcodeFormatError)
	}
	o, ok := modelOPT(rest, int(binary.BigEndian.Uint16(q[10:])))
	if !ok {
		return head(dns.RcodeFormatError)
	}
	msg := &dns.Msg{Question: []dns.Question{{Name: name, Qtype: qtype, Qclass: class}}}
	msg.Id, msg.Response, msg.RecursionDesired = binary.BigEndian.Uint16(q), true, q[2]&1 != 0
	var back *opt
	var client netip.Addr
	scope := -1
	rcode := 0
	if o != nil {
		back = &opt{size: 1232, flags: o.flags & flagDO}
		if o.version != 0 {
			rcode, back.ext = dns.RcodeBadVers, 1
		}
		for _, x := range o.options {
			switch {
			case rcode != 0:
			case x.code == optNSID:
				back.options = append(back.options, option{optNSID, []byte("model")})
			case x.code == optCookie && len(x.data) != 8 && (len(x.data) < 16 || len(x.data) > 40):
				rcode = dns.RcodeFormatError
			case x.code == optCookie:
				server := binary.BigEndian.AppendUint32([]byte{1, 0, 0, 0}, uint32(time.Now().Unix()))
				back.options = append(back.options, option{optCookie, append(append(bytes.Clone(x.data[:8]), server...), "hashhash"...)})
			case x.code == optECS:
				var ok bool
				if client, ok = modelClient(x.data); !ok {
					rcode = dns.RcodeFormatError
				} else {
					back.options = append(back.options, option{optECS, bytes.Clone(x.data)})
					scope = 0
				}
			}
		}
	}
	if rcode == 0 {
		rcode, scope = m.lookup(msg, strings.ToLower(name), class, client, scope)
		if rcode == dns.RcodeRefused && back != nil {
			back.options = append(back.options, option{optEDE, []byte{0, 20, 'n', 'o'}})
		}
	}
	msg.Rcode = rcode & 15
	if back != nil && scope > 0 {
		for _, x := range back.options {
			if x.code == optECS {
				x.data[3] = byte(scope)
			}
		}
	}
	out := modelPack(msg, back)
	limit := 512
	if o != nil {
		limit = max(512, min(1232, int(o.size)))
	}
	if !tcp && len(out) > limit {
		msg.Truncated, msg.Answer, msg.Ns, msg.Extra = true, nil, nil, nil
		out = modelPack(msg, back)
	}
	return out
}

func modelPack(msg *dns.Msg, back *opt) []byte {
	out, err := msg.Pack()
	if err != nil {
		panic(err)
	}
	if back != nil {
		out = back.append(out)
		out[11]++
	}
	return out
}

// lookup fills the sections and returns the rcode and the scope; -1 for scope
// means that no client subnet was sent.
func (m *model) lookup(msg *dns.Msg, name string, class uint16, client netip.Addr, scope int) (int, int) {
	rr := func(text string) dns.RR {
		r, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		return r
	}
	qname, qtype := msg.Question[0].Name, msg.Question[0].Qtype
	if class == dns.ClassCHAOS {
		msg.Answer = []dns.RR{rr(qname + " 0 CH TXT model")}
		return 0, scope
	}
	if class != dns.ClassINET || !strings.HasSuffix("."+name, ".example.com.") {
		return dns.RcodeRefused, scope
	}
	if strings.HasSuffix("."+name, ".sub.example.com.") {
		msg.Ns, msg.Extra = []dns.RR{rr("sub.example.com. 300 IN NS ns.sub.example.com.")}, []dns.RR{rr("ns.sub.example.com. 300 IN A 192.0.2.2")}
		return 0, scope
	}
	msg.Authoritative = true
	switch {
	case qtype == dns.TypeANY && (name == "example.com." || name == "www.example.com."):
		msg.Answer = []dns.RR{rr(qname + ` 3600 IN HINFO "RFC8482" ""`)}
	case name == "example.com." && qtype == dns.TypeSOA:
		msg.Answer = []dns.RR{rr(modelSOA)}
	case name == "large.example.com." && qtype == dns.TypeTXT:
		msg.Answer = []dns.RR{rr(qname + " 300 IN TXT " + strings.Repeat(strings.Repeat("x", 200)+" ", 4))}
	case name == "www.example.com." && qtype == dns.TypeA:
		addr := "198.51.100.1"
		for _, n := range modelNets {
			if scope >= 0 && client.IsValid() && !client.IsUnspecified() && !client.IsPrivate() && !client.IsLoopback() && !client.IsLinkLocalUnicast() && n.net.Contains(client) {
				addr, scope = n.addr, n.net.Bits()
			}
		}
		msg.Answer = []dns.RR{rr(qname + " 300 IN A " + addr)}
	default:
		msg.Ns = []dns.RR{rr(modelSOA)}
		if name != "example.com." && name != "www.example.com." && name != "large.example.com." {
			return dns.RcodeNameError, scope
		}
	}
	return 0, scope
}

func modelQuestion(q []byte) (name string, qtype, class uint16, rest []byte, ok bool) {
	if binary.BigEndian.Uint16(q[4:]) != 1 {
		return
	}
	off := 12
	for off < len(q) && q[off] != 0 {
		n := int(q[off])
		if n > 63 || off+1+n > len(q) || off-12+1+n > 254 {
			return
		}
		name += string(q[off+1:off+1+n]) + "."
		off += 1 + n
	}
	if off+5 > len(q) {
		return
	}
	return name, binary.BigEndian.Uint16(q[off+1:]), binary.BigEndian.Uint16(q[off+3:]), q[off+5:], true
}

// modelOPT reads the OPT record when n, the number of additional records, is 1.
func modelOPT(b []byte, n int) (o *opt, ok bool) {
	if n == 0 {
		return nil, true
	}
	if n > 1 || len(b) < 11 || b[0] != 0 || len(b) < 11+int(binary.BigEndian.Uint16(b[9:])) {
		return nil, false
	}
	o, err := parseOPT(b[3 : 11+int(binary.BigEndian.Uint16(b[9:]))])
	return o, err == nil
}

func modelClient(data []byte) (netip.Addr, bool) {
	if len(data) < 4 || data[3] != 0 {
		return netip.Addr{}, false
	}
	family, source := binary.BigEndian.Uint16(data), int(data[2])
	size := map[uint16]int{0: 0, 1: 4, 2: 16}
	full, known := size[family]
	if !known || source > 8*full || len(data)-4 != (source+7)/8 {
		return netip.Addr{}, false
	}
	addr, _ := netip.AddrFromSlice(append(bytes.Clone(data[4:]), make([]byte, full-(len(data)-4))...))
	if addr.IsValid() && netip.PrefixFrom(addr, source).Masked().Addr() != addr {
		return netip.Addr{}, false
	}
	return addr, true
}

// listen serves the model on loopback until the test ends.
func (m *model) listen(t *testing.T) netip.AddrPort {
	t.Helper()
	server := freePort(t)
	udp, err := net.ListenPacket("udp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close(); tcp.Close() })
	go func() {
		buf := make([]byte, 65535)
		for {
			n, from, err := udp.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				if r := m.answer(buf[:n], false); r != nil {
					udp.WriteTo(r, from)
				}
			}
		}
	}()
	go func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			go m.serve(conn)
		}
	}()
	return server
}

func (m *model) serve(conn net.Conn) {
	defer conn.Close()
	for served := 1; ; served++ {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, q); err != nil {
			return
		}
		if r := m.answer(q, true); r != nil {
			conn.Write(frame(r))
		}
		if m.close != nil && m.close(served) {
			return
		}
	}
}
