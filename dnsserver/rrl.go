package dnsserver

import (
	"encoding/binary"
	"net/netip"
)

// RRL configures response rate limiting over UDP: at most PerSecond like
// replies a second to one client block (/24 or /56). Beyond that replies are
// dropped, but for every Slip-th, which is sent truncated so that a real client
// comes back over TCP. Slip 0 drops all, 1 truncates all.
type RRL struct {
	PerSecond int // 0: off
	Slip      int
	Exempt    []netip.Prefix
}

type rateVerdict uint8

const (
	sendReply rateVerdict = iota
	dropReply
	slipReply
)

const (
	limiterSlots = 1 << 16
	burstSeconds = 2 // a bucket fills up to this many seconds' worth
)

// limiter is one worker's table of token buckets. Its size is fixed: when two
// keys share a slot, the newer one takes it over with the older one's debt
// forgiven.
type limiter struct {
	cfg     RRL
	buckets []bucket
}

type bucket struct {
	key    uint64
	second int64 // when tokens was last true
	tokens int32
	over   uint32 // replies beyond the limit, for slip
}

func newLimiter(cfg RRL) *limiter {
	if cfg.PerSecond <= 0 {
		return nil
	}
	return &limiter{cfg: cfg, buckets: make([]bucket, limiterSlots)}
}

// allow charges one reply to its bucket. Valid cookies prove the address, so
// they are exempt.
func (l *limiter) allow(r *responder, q *query, rep *reply, src netip.Addr) rateVerdict {
	src = src.Unmap()
	if _, valid := r.cookies.check(q, src, r.now); valid {
		return sendReply
	}
	for _, p := range l.cfg.Exempt {
		if p.Contains(src) {
			return sendReply
		}
	}
	key := l.key(q, rep, src)
	b := &l.buckets[key%limiterSlots]
	full := int32(l.cfg.PerSecond * burstSeconds)
	if b.key != key {
		*b = bucket{key: key, second: r.now, tokens: full}
	}
	if passed := r.now - b.second; passed > 0 {
		gain := min(passed, burstSeconds) * int64(l.cfg.PerSecond)
		b.tokens = int32(min(int64(b.tokens)+gain, int64(full)))
		b.second = r.now
	}
	if b.tokens > 0 {
		b.tokens--
		return sendReply
	}
	b.over++
	if l.cfg.Slip > 0 && b.over%uint32(l.cfg.Slip) == 0 {
		return slipReply
	}
	return dropReply
}

// typeKind tells apart the types that one client asks for together.
func typeKind(qtype uint16) uint64 {
	switch qtype {
	case typeA, typeAAAA, typeHTTPS:
		return uint64(qtype)
	}
	return 0
}

// key joins the client block with what is answered: the name in the zone that a
// positive answer or a referral comes from (a wildcard's, a cut's), with the
// kind of type, and the zone for negative answers and errors. Made-up names and
// types so get no bucket of their own.
func (l *limiter) key(q *query, rep *reply, src netip.Addr) uint64 {
	var block uint64
	if src.Is4() {
		a := src.As4()
		block = uint64(binary.BigEndian.Uint32(a[:])) >> 8
	} else {
		a := src.As16()
		block = binary.BigEndian.Uint64(a[:])>>8 | 1<<63
	}
	what := uint64(rep.zone)<<8 | uint64(rep.rcode)
	if rep.rcode == rcodeNoError && (rep.an > 0 || rep.ns > 0 && !rep.authority || rep.truncated) {
		what = rep.source ^ typeKind(q.qtype)
	}
	h := (block ^ 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>31 ^ what) * 0x94d049bb133111eb
	return h ^ h>>29
}
