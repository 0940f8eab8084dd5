package dnsserver

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"

	"github.com/dchest/siphash"
)

// Cookie life times of RFC 9018 section 4.3, in seconds.
const (
	cookieLife   = 3600
	cookieFuture = 300
	cookieRenew  = 1800
)

// CookieSecret is a shared secret for server cookies. All nodes behind one
// address must have the same.
type CookieSecret [16]byte

// cookieJar makes and checks the interoperable server cookies of RFC 9018:
// SipHash-2-4 over client cookie, version, time and client address. The first
// secret makes new ones, the others are still accepted, so that secrets can be
// rotated without a cookie failing.
type cookieJar struct{ secrets []CookieSecret }

// newCookieJar takes a random secret when none is given.
func newCookieJar(secrets []CookieSecret) *cookieJar {
	if len(secrets) == 0 {
		var s CookieSecret
		rand.Read(s[:]) // never fails: it ends the program instead
		secrets = []CookieSecret{s}
	}
	return &cookieJar{secrets}
}

// issue fills in the full cookie of a reply: the query's own when it is valid,
// young and made with the present secret, else a new one.
func (j *cookieJar) issue(out *[24]byte, q *query, src netip.Addr, now int64) {
	if age, ok := j.check(q, src, now); ok && age < cookieRenew && j.secrets[0].signed(q, src) {
		copy(out[:], q.cookie[:24])
		return
	}
	copy(out[:8], q.cookie[:8])
	out[8], out[9], out[10], out[11] = 1, 0, 0, 0
	binary.BigEndian.PutUint32(out[12:], uint32(now))
	binary.LittleEndian.PutUint64(out[16:], j.secrets[0].hash((*[16]byte)(out[:16]), src))
}

// check says whether a query carries a valid server cookie, and its age in
// seconds.
func (j *cookieJar) check(q *query, src netip.Addr, now int64) (age int32, ok bool) {
	if q.cookieN != 24 || q.cookie[8] != 1 {
		return 0, false
	}
	// Serial arithmetic (RFC 1982), since the time field wraps in 2106.
	age = int32(uint32(now) - binary.BigEndian.Uint32(q.cookie[12:]))
	if age > cookieLife || age < -cookieFuture {
		return 0, false
	}
	match := false
	for i := range j.secrets {
		match = j.secrets[i].signed(q, src) || match
	}
	return age, match
}

// signed says whether a query's server cookie was made with this secret. The
// hashes are compared as one word each, which leaks no position.
func (s *CookieSecret) signed(q *query, src netip.Addr) bool {
	return s.hash((*[16]byte)(q.cookie[:16]), src) == binary.LittleEndian.Uint64(q.cookie[16:])
}

func (s *CookieSecret) hash(head *[16]byte, src netip.Addr) uint64 {
	var in [32]byte
	n := copy(in[:], head[:])
	if src = src.Unmap(); src.Is4() {
		a := src.As4()
		n += copy(in[n:], a[:])
	} else {
		a := src.As16()
		n += copy(in[n:], a[:])
	}
	return siphash.Hash(binary.LittleEndian.Uint64(s[:]), binary.LittleEndian.Uint64(s[8:]), in[:n])
}
