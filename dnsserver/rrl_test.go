package dnsserver

import (
	"net/netip"
	"testing"
)

func TestResponseRateLimit(t *testing.T) {
	r := &responder{cookies: newCookieJar(nil), now: 1000}
	l := newLimiter(RRL{PerSecond: 5, Slip: 2, Exempt: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	send := func(src string, hash uint64, rcode uint16) rateVerdict {
		return l.allow(r, &query{}, &reply{rcode: rcode, an: 1, source: hash}, netip.MustParseAddr(src))
	}
	count := func(n int, src string, rcode uint16, sameName bool) (counts [3]int) {
		for i := range n {
			hash := uint64(7)
			if !sameName {
				hash = uint64(i+1) << 32
			}
			counts[send(src, hash, rcode)]++
		}
		return counts
	}
	if got, want := count(30, "192.0.2.1", rcodeNoError, true), ([3]int{10, 10, 10}); got != want {
		t.Errorf("first burst: sent, dropped, slipped = %v, want %v", got, want)
	}
	if got := send("192.0.2.200", 7, rcodeNoError); got == sendReply {
		t.Error("another address of the same /24 is not limited with it")
	}
	if got, want := count(30, "192.0.2.1", rcodeNoError, false), 29; got[sendReply] < want {
		t.Errorf("other names: %d sent, want all", got[sendReply])
	}
	if got := count(30, "192.0.2.1", rcodeNXDomain, false); got[sendReply] != 10 {
		t.Errorf("NXDOMAIN for many names: %d sent, want 10, for they share a bucket", got[sendReply])
	}
	if got := count(100, "198.51.100.7", rcodeNoError, true); got[sendReply] != 100 {
		t.Errorf("exempt: %d sent, want all", got[sendReply])
	}
	r.now++
	if got := count(30, "192.0.2.1", rcodeNoError, true); got[sendReply] != 5 {
		t.Errorf("a second later: %d sent, want 5", got[sendReply])
	}
	r.now += 1000
	if got := count(30, "192.0.2.1", rcodeNoError, true); got[sendReply] != 10 {
		t.Errorf("much later: %d sent, want a burst of 10", got[sendReply])
	}
	if got := count(30, "2001:db8::1", rcodeNoError, true); got[sendReply] != 10 {
		t.Errorf("IPv6: %d sent, want 10", got[sendReply])
	}
}

func TestCookieExemptsFromRateLimit(t *testing.T) {
	r := &responder{cookies: newCookieJar(nil), now: 1000}
	l := newLimiter(RRL{PerSecond: 1, Slip: 0})
	src := netip.MustParseAddr("192.0.2.1")
	var q query
	q.cookieN = copy(q.cookie[:], "client!!")
	var out [24]byte
	r.cookies.issue(&out, &q, src, r.now)
	for range 10 {
		l.allow(r, &q, &reply{}, src)
	}
	if got := l.allow(r, &q, &reply{}, src); got != dropReply {
		t.Errorf("without a server cookie: %v, want dropped", got)
	}
	q.cookieN = copy(q.cookie[:], out[:])
	if got := l.allow(r, &q, &reply{}, src); got != sendReply {
		t.Errorf("with a valid cookie: %v, want sent", got)
	}
}
