package dnsserver

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"

	"edged/geo"
)

// transport is how a query came.
type transport uint8

const (
	overUDP transport = iota
	overTCP
)

// responder answers queries one at a time. Each UDP worker has its own; TCP
// connections take turns on a few. It holds the scratch space of one answer, so
// that answering allocates nothing.
type responder struct {
	cfg      *Config
	stats    *stats
	cookies  *cookieJar
	limiter  *limiter // nil when response rate limiting is off
	client   geo.Client
	decision geo.Decision
	random   rand.PCG
	now      int64 // Unix seconds
}

// begin is called before each batch. It says whether the view is another one
// than before: then nothing may hold on to the old one.
func (r *responder) begin(s *Server, v *View, now time.Time) (changed bool) {
	changed = r.stats.use(v)
	r.cookies = s.cookies.Load()
	r.now = now.Unix()
	return changed
}

// reply is a reply being built in the query's place.
type reply struct {
	limit      int // octets, room for OPT taken off
	end        int
	an, ns, ar uint16
	rcode      uint16
	authority  bool // AA
	truncated  bool
	scope      uint8
	ede        int // -1: none
	degraded   bool
	zone       int    // index, -1: none
	source     uint64 // stands for the name in the zone that answers, for rate limits
}

// put appends a prepacked answer, or truncates.
func (rep *reply) put(b *blob, msg []byte, pos, nameLen int) {
	rep.rcode, rep.authority = b.rcode, b.authority
	end, ar, ok := b.put(msg, pos, rep.limit, nameLen)
	if !ok {
		rep.end, rep.truncated = pos, true
		return
	}
	rep.end, rep.an, rep.ns, rep.ar = end, b.an, b.ns, ar
}

// truncate empties the answer and sets TC: the client is to ask over TCP.
func (rep *reply) truncate() {
	rep.truncated = true
	rep.an, rep.ns, rep.ar = 0, 0, 0
}

// respond answers the query in msg, which was parsed from there and located, and
// has room up to its length. It returns the length of the reply; 0 means none.
func (r *responder) respond(v *View, msg []byte, q *query, state parsed, src netip.AddrPort, via transport) int {
	rep := reply{end: q.end, ede: -1, zone: -1}
	rep.limit = r.sizeLimit(q, via, len(msg)) - r.optSize(v, q, via)
	if state == proceed {
		r.client.Resolver, r.client.ECS = src.Addr(), q.subnet
		r.client.Now, r.client.Rand = uint64(r.now), r.random.Uint64()
		r.answer(v, q, msg, &rep)
	} else {
		rep.rcode = q.rcode
	}
	if rep.truncated {
		rep.end, rep.an, rep.ns, rep.ar = q.end, 0, 0, 0
	}
	if r.limiter != nil && via == overUDP {
		switch r.limiter.allow(r, q, &rep, src.Addr()) {
		case dropReply:
			r.stats.event(eventRateDropped)
			return 0
		case slipReply:
			r.stats.event(eventRateSlipped)
			rep.truncated = true
			rep.end, rep.an, rep.ns, rep.ar = q.end, 0, 0, 0
		}
	}
	end := rep.end
	if q.edns {
		end = r.putOPT(v, q, msg, &rep, src.Addr(), via)
		rep.ar++
	}
	putHeader(msg, q, &rep)
	r.stats.replied(v, q, &rep, via)
	return end
}

// putHeader turns the query's header into the reply's: the identity, the
// opcode and RD stay, all else is set (RFC 8906 section 3: unknown bits clear).
func putHeader(msg []byte, q *query, rep *reply) {
	msg[2] = msg[2]&(opcodeMask|flagRD) | flagQR
	if rep.authority {
		msg[2] |= flagAA
	}
	if rep.truncated {
		msg[2] |= flagTC
	}
	msg[3] = byte(rep.rcode & 0x0f)
	counts := uint64(rep.an)<<32 | uint64(rep.ns)<<16 | uint64(rep.ar)
	if q.question {
		counts |= 1 << 48
	}
	binary.BigEndian.PutUint64(msg[4:], counts)
}

// sizeLimit is the largest reply the client takes.
func (r *responder) sizeLimit(q *query, via transport, room int) int {
	if via == overTCP {
		return min(maxMessage, room)
	}
	return min(int(q.udpSize), r.cfg.MaxUDP, room)
}

// answer finds the name and puts the answer behind the question.
func (r *responder) answer(v *View, q *query, msg []byte, rep *reply) {
	switch {
	case q.qclass == classCHAOS:
		r.answerChaos(v, q, msg, rep)
		return
	case q.qclass != classIN:
		rep.refuse(edeNotSupported)
		return
	case q.qtype >= typeTKEY && q.qtype < typeIXFR || q.qtype == typeOPT:
		rep.rcode = rcodeFormErr // meta types that are no question
		return
	case q.qtype == typeAXFR || q.qtype == typeIXFR:
		rep.refuse(edeNotSupported)
		return
	}
	n, exact := q.node, q.exact
	if n == nil {
		rep.refuse(edeNotAuthoritative)
		return
	}
	if n.parent != nil && exact && q.qtype == typeDS {
		n = n.parent // RFC 4035 section 3.1.4.1: the parent side has the DS
	}
	rep.zone, rep.source = n.zone.index, n.id
	if n.kind == cutNode && !(exact && q.qtype == typeDS) {
		rep.put(n.other, msg, q.end, q.nameLen)
		return
	}
	if !exact {
		if n.kind == dnameNode {
			r.answerBelowDNAME(n.zone, q, msg, rep)
			return
		}
		if n.wild == nil {
			rep.put(n.zone.nxdomain, msg, q.end, q.nameLen)
			return
		}
		n = n.wild
		rep.source = n.id
		if n.watched {
			r.cfg.Watch.note(q, n, r.client.Resolver, r.now)
		}
	}
	if n.dynamic != nil && r.answerDynamic(v, n, q, msg, q.end, rep) {
		return
	}
	rep.put(n.answer(q.qtype), msg, q.end, q.nameLen)
}

// minimalANY is the answer to ANY: one HINFO that says why (RFC 8482 section
// 4.2), with the same TTL as package zone gives it.
var minimalANY = func() *blob {
	const hinfo = 13
	b := record(hinfo, []byte("\x07RFC8482\x00"))
	binary.BigEndian.PutUint32(b[ttlOffset:], 3600)
	return &blob{body: b, an: 1, authority: true, required: len(b)}
}()

func (rep *reply) refuse(ede int) {
	rep.rcode, rep.ede = rcodeRefused, ede
}
