package dnsserver

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

func mustHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCookieVectors holds the examples of RFC 9018 appendix A, which BIND, Knot
// and NSD interoperate by.
func TestCookieVectors(t *testing.T) {
	const (
		secret1 = "e5e973e5a6b2a43f48e7dc849e37bfcf"
		secret2 = "dd3bdf9344b678b185a6f5cb60fca715"
		secret3 = "445536bcd2513298075a5d379663c962"
	)
	for _, tc := range []struct {
		what, sent, src, want string
		now                   int64
		secrets               []string
	}{
		{"A.1 a new cookie", "2464c4abcf10c957", "198.51.100.100", "2464c4abcf10c957010000005cf79f111f8130c3eee29480", 1559731985, []string{secret1}},
		{"A.2 an old one is renewed", "2464c4abcf10c957010000005cf79f111f8130c3eee29480", "198.51.100.100", "2464c4abcf10c957010000005cf7a871d4a564a1442aca77", 1559734385, []string{secret1}},
		{"A.3 another client", "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", "203.0.113.203", "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e", 1559734700, []string{secret1}},
		{"A.4 a rotated secret, IPv6", "22681ab97d52c298010000005cf7c57926556bd0934c72f8", "2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298010000005cf7c609a6bb79d16625507a", 1559741961, []string{secret3, secret2}},
	} {
		var jar cookieJar
		for _, s := range tc.secrets {
			jar.secrets = append(jar.secrets, CookieSecret(mustHex(t, s)))
		}
		var q query
		q.cookieN = copy(q.cookie[:], mustHex(t, tc.sent))
		var out [24]byte
		jar.issue(&out, &q, netip.MustParseAddr(tc.src), tc.now)
		if got := hex.EncodeToString(out[:]); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.what, got, tc.want)
		}
	}
}

func TestCookieCheck(t *testing.T) {
	jar := newCookieJar([]CookieSecret{{1}})
	src := netip.MustParseAddr("192.0.2.1")
	const now = 1_800_000_000
	issued := func() *query {
		var q query
		q.cookieN = copy(q.cookie[:], "client!!")
		var out [24]byte
		jar.issue(&out, &q, src, now)
		q.cookieN = copy(q.cookie[:], out[:])
		return &q
	}
	for _, tc := range []struct {
		what   string
		change func(*query)
		src    string
		at     int64
		want   bool
	}{
		{"as issued", func(*query) {}, "192.0.2.1", now, true},
		{"the v4-mapped form of the address", func(*query) {}, "::ffff:192.0.2.1", now, true},
		{"an hour old", func(*query) {}, "192.0.2.1", now + cookieLife, true},
		{"too old", func(*query) {}, "192.0.2.1", now + cookieLife + 1, false},
		{"a clock five minutes behind", func(*query) {}, "192.0.2.1", now - cookieFuture, true},
		{"from the future", func(*query) {}, "192.0.2.1", now - cookieFuture - 1, false},
		{"another address", func(*query) {}, "192.0.2.2", now, false},
		{"one bit off", func(q *query) { q.cookie[23] ^= 1 }, "192.0.2.1", now, false},
		{"another version", func(q *query) { q.cookie[8] = 2 }, "192.0.2.1", now, false},
		{"client cookie only", func(q *query) { q.cookieN = 8 }, "192.0.2.1", now, false},
		{"longer than ours", func(q *query) { q.cookieN = 32 }, "192.0.2.1", now, false},
	} {
		q := issued()
		tc.change(q)
		if _, got := jar.check(q, netip.MustParseAddr(tc.src), tc.at); got != tc.want {
			t.Errorf("%s: valid = %v, want %v", tc.what, got, tc.want)
		}
	}
}
