package dnsserver

import (
	"encoding/binary"
	"net/netip"
)

// query is a parsed query: all that a reply needs of it, copied out of the
// packet, since the reply is built in the packet's place.
type query struct {
	lower   [maxName + 9]byte // the name in lower case, wire format, zeros behind
	nameLen int               // octets, root included
	end     int               // offset behind the question
	hash    uint64            // of the whole name
	qtype   uint16
	qclass  uint16

	edns     bool
	do       bool
	version  uint8
	udpSize  uint16
	nsid     bool
	alive    bool // EDNS TCP keepalive (RFC 7828)
	ecs      bool
	ecsData  [20]byte // family, source, scope and address, to be echoed
	ecsLen   int
	subnet   netip.Prefix // zero unless ecs is set and of family 1 or 2
	cookie   [40]byte
	cookieN  int // 0, 8, or 16..40
	rcode    uint16
	question bool // the question is whole, and is echoed

	// Filled in by View.locate, for queries to be answered.
	node  *node // the name asked or the closest one above it; nil: in no zone
	exact bool  // node is the name asked
}

// verdict of parse on a packet.
type parsed uint8

const (
	drop    parsed = iota // not a query: no reply, lest two servers talk for ever
	refuse                // q.rcode says why
	proceed               // a question to answer
)

// parse reads a query. It accepts exactly one question (or none, with a
// cookie: RFC 7873 section 5.4), and any additional records of which at most
// one is OPT. pkt is the packet alone.
func (q *query) parse(pkt []byte) parsed {
	q.edns, q.do, q.nsid, q.alive, q.ecs, q.question = false, false, false, false, false, false
	q.subnet = netip.Prefix{}
	q.cookieN, q.udpSize, q.version, q.rcode, q.end, q.nameLen = 0, minUDP, 0, rcodeNoError, headerLen, 0
	q.qtype, q.qclass, q.hash = 0, 0, 0
	if len(pkt) < headerLen || pkt[2]&flagQR != 0 {
		return drop
	}
	counts := binary.BigEndian.Uint64(pkt[4:12])
	qd, an, ns, ar := counts>>48, counts>>32&0xffff, counts>>16&0xffff, counts&0xffff
	refusal := uint16(rcodeFormErr)
	if pkt[2]&opcodeMask != 0 {
		refusal = rcodeNotImp
	}
	if qd == 1 && !q.parseQuestion(pkt) {
		return q.refuse(refusal)
	}
	if refusal == rcodeNotImp || qd > 1 || an != 0 || ns != 0 && q.qtype != typeIXFR {
		q.findOPT(pkt, qd, an+ns, ar)
		return q.refuse(refusal)
	}
	pos := q.end
	for range ns { // the SOA of an IXFR (RFC 1995 section 3)
		if pos = skipRecord(pkt, pos); pos < 0 {
			return q.refuse(rcodeFormErr)
		}
	}
	for range ar {
		if pos = q.parseAdditional(pkt, pos); pos < 0 {
			q.ecs, q.subnet = false, netip.Prefix{} // never echo what was not understood
			return q.refuse(rcodeFormErr)
		}
	}
	if pos != len(pkt) {
		return q.refuse(rcodeFormErr)
	}
	if q.version > 0 {
		return q.refuse(rcodeBadVers) // RFC 6891 section 6.1.3
	}
	if qd == 0 {
		if q.cookieN > 0 {
			return q.refuse(rcodeNoError)
		}
		return q.refuse(rcodeFormErr)
	}
	return proceed
}

func (q *query) refuse(rcode uint16) parsed {
	q.rcode = rcode
	return refuse
}

// parseQuestion reads the name, type and class. Names in questions are never
// compressed: there is nothing before them to point to.
func (q *query) parseQuestion(pkt []byte) bool {
	pos := headerLen
	for {
		if pos >= len(pkt) {
			return false
		}
		l := int(pkt[pos])
		if l == 0 {
			break
		}
		if l > 63 {
			return false
		}
		pos += 1 + l
	}
	n := pos + 1 - headerLen
	if n > maxName || pos+5 > len(pkt) {
		return false
	}
	q.nameLen = n
	q.lowerName(pkt)
	q.qtype = binary.BigEndian.Uint16(pkt[pos+1:])
	q.qclass = binary.BigEndian.Uint16(pkt[pos+3:])
	q.end = pos + 5
	q.question = true
	return true
}

// lowerName fills lower and hash.
func (q *query) lowerName(pkt []byte) {
	n := q.nameLen
	name := pkt[headerLen : headerLen+n]
	i := 0
	for ; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(q.lower[i:], lowerWord(binary.LittleEndian.Uint64(name[i:])))
	}
	var tail [8]byte
	copy(tail[:], name[i:])
	binary.LittleEndian.PutUint64(q.lower[i:i+8], lowerWord(binary.LittleEndian.Uint64(tail[:])))
	q.hash = nameHash(q.lower[:], n)
}

// findOPT looks for an OPT record in a message that is refused for other
// reasons: the refusal must have one as well (RFC 6891 section 6.1.1).
func (q *query) findOPT(pkt []byte, questions, records, additional uint64) {
	pos := headerLen
	for range questions {
		if pos = skipName(pkt, pos); pos < 0 {
			return
		}
		pos += 4
	}
	for range records {
		if pos = skipRecord(pkt, pos); pos < 0 {
			return
		}
	}
	for range additional {
		if pos = q.parseAdditional(pkt, pos); pos < 0 {
			q.ecs, q.subnet = false, netip.Prefix{}
			return
		}
	}
}

// skipName returns the offset behind a name, which may be compressed, or -1.
func skipName(pkt []byte, pos int) int {
	for pos < len(pkt) {
		l := int(pkt[pos])
		switch {
		case l == 0:
			return pos + 1
		case l >= 0xc0:
			return pos + 2
		case l > 63:
			return -1
		}
		pos += 1 + l
	}
	return -1
}

// skipRecord returns the offset behind a record, or -1.
func skipRecord(pkt []byte, pos int) int {
	if pos = skipName(pkt, pos); pos < 0 || pos+10 > len(pkt) {
		return -1
	}
	if pos += 10 + int(binary.BigEndian.Uint16(pkt[pos+8:])); pos > len(pkt) {
		return -1
	}
	return pos
}

// parseAdditional reads one additional record and returns the offset behind
// it, or -1.
func (q *query) parseAdditional(pkt []byte, start int) int {
	end := skipRecord(pkt, start)
	if end < 0 {
		return -1
	}
	pos := skipName(pkt, start)
	fixed := pkt[pos : pos+10]
	if binary.BigEndian.Uint16(fixed) != typeOPT {
		return end
	}
	if q.edns || pkt[start] != 0 {
		return -1 // two OPTs, or one not at the root: RFC 6891 section 6.1.1
	}
	q.edns = true
	q.udpSize = max(minUDP, binary.BigEndian.Uint16(fixed[2:]))
	q.version = fixed[5]
	q.do = fixed[6]&0x80 != 0
	if q.version > 0 {
		return end // its options mean whatever that version says
	}
	if !q.parseOptions(pkt[pos+10 : end]) {
		return -1
	}
	return end
}

func (q *query) parseOptions(opts []byte) bool {
	for len(opts) > 0 {
		if len(opts) < 4 {
			return false
		}
		code := binary.BigEndian.Uint16(opts)
		n := int(binary.BigEndian.Uint16(opts[2:]))
		if len(opts) < 4+n {
			return false
		}
		data := opts[4 : 4+n]
		opts = opts[4+n:]
		switch code {
		case optECS:
			if q.ecs || !q.parseECS(data) {
				return false
			}
		case optCookie: // RFC 7873 section 5.2.2
			if n != 8 && (n < 16 || n > 40) {
				return false
			}
			if q.cookieN == 0 { // the first counts
				q.cookieN = copy(q.cookie[:], data)
			}
		case optNSID:
			q.nsid = true
		case optKeepalive:
			q.alive = true
		}
	}
	return true
}

// parseECS reads the client subnet of RFC 7871 section 6 as strictly as
// section 7.1.2 and 7.2.1 allow: the address has exactly the octets that the
// source length needs, no bit beyond it, and scope 0. Family 0 is taken with
// length 0, as some tools send it to say "none".
func (q *query) parseECS(data []byte) bool {
	if len(data) < 4 {
		return false
	}
	family, source, scope := binary.BigEndian.Uint16(data), int(data[2]), data[3]
	width := 0
	switch family {
	case 1:
		width = 32
	case 2:
		width = 128
	}
	if scope != 0 || source > width || family > 2 || len(data) != 4+(source+7)/8 {
		return false
	}
	if source%8 != 0 && data[len(data)-1]<<(source%8) != 0 {
		return false
	}
	q.ecs = true
	q.ecsLen = copy(q.ecsData[:], data)
	switch family {
	case 1:
		var a [4]byte
		copy(a[:], data[4:])
		q.subnet = netip.PrefixFrom(netip.AddrFrom4(a), source)
	case 2:
		var a [16]byte
		copy(a[:], data[4:])
		q.subnet = netip.PrefixFrom(netip.AddrFrom16(a), source)
	}
	return true
}
