//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// verdict is what decoding replies found.
type verdict struct {
	Checked int
	Wrong   int
	Lost    int
	First   string // the first fault, in words
}

func (v *verdict) add(fault string) {
	v.Checked++
	if fault == "" {
		return
	}
	if v.Wrong++; v.Wrong == 1 {
		v.First = fault
	}
}

func (v *verdict) merge(o verdict) {
	if v.Wrong == 0 {
		v.First = o.First
	}
	v.Checked, v.Wrong, v.Lost = v.Checked+o.Checked, v.Wrong+o.Wrong, v.Lost+o.Lost
}

// judge decodes a reply to q. It returns the fault, or "", and a /24 outside all
// nets that the scope covers and that must then get the same address.
func (s *server) judge(d *data, q query, raw []byte) (fault string, hole uint32, ask bool) {
	if s.echo {
		back := bytes.Clone(q.wire)
		back[2] |= 0x80
		if !bytes.Equal(raw, back) {
			return "the echo changed the packet", 0, false
		}
		return "", 0, false
	}
	addr, scope, fault := decode(q, raw)
	want := staticAddress
	if q.ecs && !s.static {
		want = d.want(q.block)
	}
	switch {
	case fault != "":
		return fault, 0, false
	case addr != want:
		return fmt.Sprintf("%s gets %s, want %s", blockAddr(q.block), addr, want), 0, false
	case !q.ecs || s.static:
		return "", 0, false
	case scope < 0:
		return "no client subnet option in the reply", 0, false
	}
	return d.judgeScope(q.block, scope)
}

// decode reads a reply to q strictly and returns its one address and the scope,
// -1 without a client subnet option.
func decode(q query, raw []byte) (addr netip.Addr, scope int, fault string) {
	var m dns.Msg
	if err := m.Unpack(raw); err != nil {
		return addr, 0, "the reply does not parse: " + err.Error()
	}
	nameEnd := 12 + bytes.IndexByte(q.wire[12:], 0) + 5
	switch {
	case m.Id != binary.BigEndian.Uint16(q.wire) || !m.Response || m.Rcode != dns.RcodeSuccess || m.Truncated:
		return addr, 0, "header: " + m.MsgHdr.String()
	case len(raw) < nameEnd || !bytes.Equal(raw[12:nameEnd], q.wire[12:nameEnd]):
		return addr, 0, fmt.Sprintf("the question came back as %q", raw[12:min(nameEnd, len(raw))])
	case len(m.Answer) != 1:
		return addr, 0, fmt.Sprintf("%d answers, want 1", len(m.Answer))
	}
	a, ok := m.Answer[0].(*dns.A)
	if !ok {
		return addr, 0, "the answer is " + m.Answer[0].String()
	}
	addr, _ = netip.AddrFromSlice(a.A.To4())
	o := m.IsEdns0()
	if o == nil {
		return addr, 0, "no OPT record in the reply"
	}
	for _, x := range o.Option {
		e, ok := x.(*dns.EDNS0_SUBNET)
		if !ok {
			continue
		}
		if !q.ecs {
			return addr, 0, "a client subnet option that was not asked for"
		}
		if got, _ := netip.AddrFromSlice(e.Address.To4()); e.Family != 1 || e.SourceNetmask != 24 || got != blockAddr(q.block) {
			return addr, 0, fmt.Sprintf("asked for %s/24, the option came back for %s", blockAddr(q.block), e)
		}
		return addr, int(e.SourceScope), ""
	}
	return addr, -1, ""
}

// answers asks one question and tells whether the address is right; the scope is
// not looked at, so that a server that is wrong about it can still be measured.
func (p *process) answers(d *data) (right bool, err error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.addr))
	if err != nil {
		return false, err
	}
	defer conn.Close()
	q := makeQueries(d, 1, 10, 7)[0]
	if _, err := conn.Write(q.wire); err != nil {
		return false, err
	}
	conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	buf := make([]byte, 2048)
	n, err := conn.Read(buf)
	if err != nil {
		return false, err
	}
	if p.server.echo {
		return n == len(q.wire), nil
	}
	want := staticAddress
	if !p.server.static {
		want = d.want(q.block)
	}
	addr, _, _ := decode(q, buf[:n])
	return addr == want, nil
}

// verify asks all of the questions, a few at a time, and judges every reply.
// Space outside the nets that a scope covers is asked about as well.
func (p *process) verify(d *data, list []query) verdict {
	var v verdict
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.addr))
	if err != nil {
		return verdict{Checked: 1, Wrong: 1, First: err.Error()}
	}
	defer conn.Close()
	const window = 32
	buf := make([]byte, 2048)
	for len(list) > 0 {
		batch := list[:min(window, len(list))]
		list = list[len(batch):]
		for _, q := range batch {
			conn.Write(q.wire)
		}
		left := len(batch)
		conn.SetReadDeadline(time.Now().Add(time.Second))
		for left > 0 {
			n, err := conn.Read(buf)
			if err != nil {
				v.Lost += left
				break
			}
			for _, q := range batch {
				if n < 2 || !bytes.Equal(buf[:2], q.wire[:2]) {
					continue
				}
				left--
				fault, hole, ask := p.server.judge(d, q, buf[:n])
				if ask {
					fault = p.judgeHole(d, q, hole)
				}
				v.add(fault)
				break
			}
		}
	}
	return v
}

// judgeHole asks for a /24 outside the nets that lies inside the scope of the
// answer to q: a resolver would give it that answer, so it must get the same.
func (p *process) judgeHole(d *data, q query, hole uint32) string {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.addr))
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	probe := query{wire: bytes.Clone(q.wire), block: hole, ecs: true}
	copy(probe.wire[len(probe.wire)-3:], []byte{byte(hole >> 16), byte(hole >> 8), byte(hole)})
	conn.Write(probe.wire)
	conn.SetReadDeadline(time.Now().Add(time.Second))
	buf := make([]byte, 2048)
	n, err := conn.Read(buf)
	if err != nil {
		return ""
	}
	if addr, _, fault := decode(probe, buf[:n]); fault != "" || addr != d.want(q.block) {
		return fmt.Sprintf("the scope of %s covers %s, which gets %s and not %s %s", blockAddr(q.block), blockAddr(hole), addr, d.want(q.block), fault)
	}
	return ""
}
