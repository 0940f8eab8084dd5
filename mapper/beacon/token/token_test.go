package token

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var (
	now   = time.Unix(1_800_000_000, 0)
	key1  = Key{1}
	key2  = Key{2}
	here  = netip.MustParseAddr("192.0.2.77")
	here6 = netip.MustParseAddr("2001:db8:1:2::77")
	four  = []string{"fra", "ams", "iad", "sin"}
)

func TestTokenSurvives(t *testing.T) {
	for _, c := range []struct {
		client netip.Addr
		block  string
		length int
	}{
		{here, "192.0.2.0/24", Length4},
		{netip.MustParseAddr("::ffff:192.0.2.77"), "192.0.2.0/24", Length4},
		{here6, "2001:db8:1::/48", Length6},
	} {
		label := Make(key1, 0xfedcba9876543210, now.Add(Life), c.client, four)
		if len(label) != c.length || len(label) > 63 || label != strings.ToLower(label) {
			t.Errorf("%s: %q has %d characters, want %d in lower case", c.client, label, len(label), c.length)
		}
		for _, spelling := range []string{label, strings.ToUpper(label), label[:9] + strings.ToUpper(label[9:20]) + label[20:]} {
			got, err := Parse(spelling, []Key{key2, key1})
			want := Token{Session: 0xfedcba9876543210, Expires: now.Add(Life).Unix(), Block: netip.MustParsePrefix(c.block), pops: digestOf(four)}
			if err != nil || got != want {
				t.Errorf("%q: %+v, %v; want %+v", spelling, got, err, want)
			}
			if err := got.Check(now, c.client, four); err != nil {
				t.Errorf("%q: %v", spelling, err)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		minted netip.Addr
		client string
		after  time.Duration
		pops   []string
		want   error
	}{
		{"same block", here, "192.0.2.1", 0, four, nil},
		{"mapped", here, "::ffff:192.0.2.1", 0, four, nil},
		{"next block", here, "192.0.3.77", 0, four, ErrBlock},
		{"same block of IPv6", here6, "2001:db8:1:ffff::1", 0, four, nil},
		{"next block of IPv6", here6, "2001:db8:2::1", 0, four, ErrBlock},
		{"other family", here, "2001:db8:2::1", 0, four, nil},
		{"other family back", here6, "198.51.100.1", 0, four, nil},
		{"last second", here, "192.0.2.1", Life - time.Second, four, nil},
		{"expired", here, "192.0.2.1", Life, four, ErrExpired},
		{"made ahead", here, "192.0.2.1", -skew - time.Second, four, ErrExpired},
		{"clock a little ahead", here, "192.0.2.1", -skew, four, nil},
		{"other order", here, "192.0.2.1", 0, []string{"ams", "fra", "iad", "sin"}, ErrPoPs},
		{"fewer", here, "192.0.2.1", 0, four[:3], ErrPoPs},
		{"cut otherwise", here, "192.0.2.1", 0, []string{"fraa", "ms", "iad", "sin"}, ErrPoPs},
		{"none", here, "192.0.2.1", 0, nil, ErrPoPs},
	} {
		token, err := Parse(Make(key1, 7, now.Add(Life), c.minted, four), []Key{key1})
		if err != nil {
			t.Fatal(err)
		}
		if got := token.Check(now.Add(c.after), netip.MustParseAddr(c.client), c.pops); !errors.Is(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestParseRefuses flips every character of a token, and more.
func TestParseRefuses(t *testing.T) {
	good := Make(key1, 7, now.Add(Life), here, four)
	if _, err := Parse(good, []Key{key2}); !errors.Is(err, ErrForged) {
		t.Errorf("another key: %v", err)
	}
	if _, err := Parse(good, nil); !errors.Is(err, ErrForged) {
		t.Errorf("no key: %v", err)
	}
	for i := range good {
		other := byte('a')
		if good[i] == other {
			other = 'b'
		}
		if _, err := Parse(good[:i]+string(other)+good[i+1:], []Key{key1}); err == nil {
			t.Errorf("taken with character %d changed", i)
		}
	}
	for _, label := range []string{"", "fra", good[1:], good + "a", strings.Repeat("1", Length4), strings.Repeat("a", Length6), good[:Length4-1] + "é"} {
		if _, err := Parse(label, []Key{key1}); !errors.Is(err, ErrForm) {
			t.Errorf("%q: %v, want %v", label, err, ErrForm)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Make(key1, 7, now.Add(Life), here, four))
	f.Add(strings.ToUpper(Make(key1, 1<<63, now, here6, nil)))
	f.Add("www")
	f.Fuzz(func(t *testing.T, label string) {
		token, err := Parse(label, []Key{key1})
		if err != nil {
			return
		}
		// What is taken was made by Make: nobody else has the key.
		again := Make(key1, token.Session, time.Unix(token.Expires, 0), token.Block.Addr(), four)
		if len(again) != len(label) || again[:20] != lower(label)[:20] {
			t.Errorf("%q reads as %+v, which is %q", label, token, again)
		}
	})
}

func TestUsed(t *testing.T) {
	u := Used{largest: 2}
	for i, c := range []struct {
		session     uint64
		after       time.Duration
		first, full bool
	}{
		{1, 0, true, false},
		{1, 0, false, false},
		{2, time.Second, true, false},
		{3, time.Second, false, true}, // full: not taken, nothing forgotten
		{1, span - 1, false, false},
		{3, span, true, false}, // a new span begins
		{1, span, false, false},
		{2, 2*span - 1, false, false},
		{1, 2 * span, true, false}, // its token has expired long since
		{3, 2 * span, false, false},
		{3, 5 * span, true, false},
	} {
		if first, full := u.Take(c.session, now.Add(c.after)); first != c.first || full != c.full {
			t.Errorf("step %d: session %d after %v: first %v, full %v; want %v, %v", i, c.session, c.after, first, full, c.first, c.full)
		}
	}
}

// TestUsedOutlivesTokens holds that a token is remembered for as long as it is
// good, whenever within a span it was used.
func TestUsedOutlivesTokens(t *testing.T) {
	for start := time.Duration(0); start < 2*span; start += 7 * time.Second {
		var u Used
		u.Take(1, now)
		made := now.Add(start)
		token := Token{Expires: made.Add(Life).Unix()}
		u.Take(2, made)
		for at := time.Duration(0); at <= Life+skew; at += time.Second {
			if first, _ := u.Take(2, made.Add(at)); first && token.Live(made.Add(at)) {
				t.Fatalf("used at %v, and taken again %v later", start, at)
			}
		}
	}
}
