package dnsserver

import (
	"encoding/binary"
	"net/netip"
)

// optFixed is the length of an OPT record without options.
const optFixed = 11

// degradedText is the extra text of extended errors on degraded answers.
const degradedText = "closeness map unavailable, answered from place data"

// optSize is what the OPT record of a reply can take at most, so that answers
// leave room for it. An extended error is left out where it does not fit.
func (r *responder) optSize(v *View, q *query, via transport) int {
	if !q.edns {
		return 0
	}
	n := optFixed
	if q.nsid {
		n += 4 + len(v.nsid)
	}
	if q.ecs {
		n += 4 + q.ecsLen
	}
	if q.cookieN > 0 {
		n += 4 + 24
	}
	if q.alive && via == overTCP {
		n += 6
	}
	return n
}

// putOPT appends the OPT record (RFC 6891) behind the reply's other records.
func (r *responder) putOPT(v *View, q *query, msg []byte, rep *reply, src netip.Addr, via transport) int {
	pos := rep.end
	opt := msg[pos : pos+optFixed]
	opt[0] = 0
	binary.BigEndian.PutUint16(opt[1:], typeOPT)
	binary.BigEndian.PutUint16(opt[3:], uint16(r.cfg.MaxUDP))
	opt[5] = byte(rep.rcode >> 4)
	opt[6] = 0 // our version
	opt[7], opt[8] = 0, 0
	if q.do {
		opt[7] = 0x80
	}
	start := pos + optFixed
	pos = start
	if q.version == 0 {
		pos = r.putOptions(v, q, msg, pos, rep, src, via)
	}
	binary.BigEndian.PutUint16(opt[9:], uint16(pos-start))
	return pos
}

func (r *responder) putOptions(v *View, q *query, msg []byte, pos int, rep *reply, src netip.Addr, via transport) int {
	if q.nsid {
		pos = putOption(msg, pos, optNSID, v.nsid)
	}
	if q.ecs {
		at := pos + 4
		pos = putOption(msg, pos, optECS, q.ecsData[:q.ecsLen])
		msg[at+3] = rep.scope
	}
	if q.cookieN > 0 {
		var cookie [24]byte
		r.cookies.issue(&cookie, q, src, r.now)
		pos = putOption(msg, pos, optCookie, cookie[:])
	}
	if q.alive && via == overTCP { // RFC 7828 section 3.3.2: units of 100 ms
		var idle [2]byte
		binary.BigEndian.PutUint16(idle[:], uint16(min(r.cfg.TCPIdle.Milliseconds()/100, 0xffff)))
		pos = putOption(msg, pos, optKeepalive, idle[:])
	}
	text := ""
	if rep.degraded && rep.ede < 0 {
		rep.ede, text = edeOther, degradedText
	}
	if rep.ede >= 0 && pos+6+len(text) <= rep.limit+r.optSize(v, q, via) {
		at := pos + 4
		binary.BigEndian.PutUint16(msg[at:], uint16(rep.ede))
		end := at + 2 + copy(msg[at+2:], text)
		binary.BigEndian.PutUint16(msg[pos:], optEDE)
		binary.BigEndian.PutUint16(msg[pos+2:], uint16(end-at))
		pos = end
	}
	return pos
}

func putOption(msg []byte, pos int, code uint16, data []byte) int {
	binary.BigEndian.PutUint16(msg[pos:], code)
	binary.BigEndian.PutUint16(msg[pos+2:], uint16(len(data)))
	return pos + 4 + copy(msg[pos+4:], data)
}
