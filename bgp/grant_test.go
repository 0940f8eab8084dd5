package bgp

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

var (
	sampleAsk = Ask{
		Nonce: Nonce{0xa0, 15: 0x0f}, Asker: "fra1", VIP: "ns1",
		Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.53/32"), netip.MustParsePrefix("2001:db8::53/128")},
	}
	sampleGrant = Grant{Nonce: sampleAsk.Nonce, Granter: "lon1", Asker: "fra1", VIP: "ns1"}
)

// keyFor makes the key of a node from its name.
func keyFor(node string) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, node)
	return ed25519.NewKeyFromSeed(seed)
}

func keyring(nodes ...string) KeyOf {
	return func(node string) (ed25519.PublicKey, bool) {
		for _, n := range nodes {
			if n == node {
				return keyFor(node).Public().(ed25519.PublicKey), true
			}
		}
		return nil, false
	}
}

// TestPromiseBytes holds the format to docs/format/grants.md, octet for octet.
func TestPromiseBytes(t *testing.T) {
	nonce := "a000000000000000000000000000000f"
	briefly := sampleAsk
	briefly.Briefly, briefly.Prefixes = true, briefly.Prefixes[:1]
	for _, c := range []struct {
		sealed []byte
		want   string
	}{
		{sampleAsk.Seal("prod", keyFor("fra1")), "0101" + nonce + "0466726131" + "036e7331" + "00" + "02" + "0420c6336435" + "108020010db8000000000000000000000053"},
		{briefly.Seal("prod", keyFor("fra1")), "0101" + nonce + "0466726131" + "036e7331" + "01" + "01" + "0420c6336435"},
		{sampleGrant.Seal("prod", keyFor("lon1")), "0102" + nonce + "046c6f6e31" + "0466726131" + "036e7331"},
	} {
		if got := hex.EncodeToString(c.sealed[:len(c.sealed)-ed25519.SignatureSize]); got != c.want {
			t.Errorf("the message is\n%s\nwant\n%s", got, c.want)
		}
	}
	want := "edged promise 1\x00\x04\x00\x00\x00\x00\x00\x00\x00prodx"
	if got := string(signedPromise("prod", []byte("x"))); got != want {
		t.Errorf("what is signed is %q, want %q", got, want)
	}
}

func TestPromiseRoundTrip(t *testing.T) {
	members := keyring("fra1", "lon1")
	ask, err := OpenAsk("prod", members, sampleAsk.Seal("prod", keyFor("fra1")))
	if err != nil || !reflect.DeepEqual(ask, sampleAsk) {
		t.Errorf("the ask is %+v, %v, want %+v", ask, err, sampleAsk)
	}
	grant, err := OpenGrant("prod", members, sampleGrant.Seal("prod", keyFor("lon1")))
	if err != nil || grant != sampleGrant {
		t.Errorf("the grant is %+v, %v, want %+v", grant, err, sampleGrant)
	}
}

// TestPromiseRefused holds what is no ask, and why.
func TestPromiseRefused(t *testing.T) {
	key := keyFor("fra1")
	good := sampleAsk.Seal("prod", key)
	sealed := func(change func(*Ask)) []byte {
		a := sampleAsk
		a.Prefixes = append([]netip.Prefix(nil), a.Prefixes...)
		change(&a)
		return a.Seal("prod", key)
	}
	edited := func(at int, b byte) []byte {
		msg := bytes.Clone(good)
		msg[at] = b
		return msg
	}
	for _, c := range []struct {
		name  string
		msg   []byte
		keyOf KeyOf
		want  error
		words string
	}{
		{"nothing", nil, nil, ErrMalformed, "malformed promise: it has 0 octets"},
		{"too long", make([]byte, 1025), nil, ErrMalformed, "it has 1025 octets"},
		{"another version", edited(0, 2), nil, ErrMalformed, "version 2 and kind 1, want 1 and 1: is its sender a newer edged?"},
		{"a grant", sampleGrant.Seal("prod", key), nil, ErrMalformed, "version 1 and kind 2, want 1 and 1"},
		{"cut", good[1:], nil, ErrMalformed, "malformed"},
		{"an octet more", append(bytes.Clone(good), 0), nil, ErrMalformed, "1 octets too many"},
		{"no asker", sealed(func(a *Ask) { a.Asker = "" }), nil, ErrMalformed, `"" is no name`},
		{"a strange name", sealed(func(a *Ask) { a.VIP = "ns\n" }), nil, ErrMalformed, `"ns\n" is no name`},
		{"descending prefixes", sealed(func(a *Ask) { a.Prefixes[0], a.Prefixes[1] = a.Prefixes[1], a.Prefixes[0] }), nil, ErrMalformed, "its prefixes are too many, or do not ascend"},
		{"a prefix twice", sealed(func(a *Ask) { a.Prefixes[1] = a.Prefixes[0] }), nil, ErrMalformed, "do not ascend"},
		{"a prefix with host bits", sealed(func(a *Ask) { a.Prefixes[0] = netip.MustParsePrefix("198.51.100.53/24") }), nil, ErrMalformed, "198.51.100.53/24 is not a prefix"},
		{"a mapped prefix", sealed(func(a *Ask) { a.Prefixes[1] = netip.MustParsePrefix("::ffff:198.51.100.53/128") }), nil, ErrMalformed, "is not a prefix"},
		{"a changed octet", edited(19, 'g'), nil, ErrForged, `"gra1" is not a member`},
		{"a changed nonce", edited(5, 1), nil, ErrForged, `the key of "fra1" has not signed it`},
		{"a changed signature", edited(len(good)-1, good[len(good)-1]^1), nil, ErrForged, "has not signed it"},
		{"another's key", sampleAsk.Seal("prod", keyFor("lon1")), nil, ErrForged, "has not signed it"},
		{"another fleet", sampleAsk.Seal("test", key), nil, ErrForged, "has not signed it"},
		{"no member", good, keyring("lon1"), ErrForged, `forged promise: "fra1" is not a member with a key`},
	} {
		keyOf := c.keyOf
		if keyOf == nil {
			keyOf = keyring("fra1", "lon1")
		}
		_, err := OpenAsk("prod", keyOf, c.msg)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, want %v and %q", c.name, err, c.want, c.words)
		}
	}
	if _, err := OpenGrant("prod", keyring("fra1", "lon1"), sampleGrant.Seal("prod", key)); !errors.Is(err, ErrForged) {
		t.Errorf("a grant that the asker signed: %v, want %v", err, ErrForged)
	}
}

// FuzzPromise holds that whatever opens is what its sealing gives again: the
// format has one form for each value. It never panics.
func FuzzPromise(f *testing.F) {
	f.Add(sampleAsk.append(nil))
	f.Add(sampleGrant.append(nil))
	f.Add(Ask{Asker: "a", VIP: "v"}.append(nil))
	anybody := func(string) (ed25519.PublicKey, bool) { return keyFor("a").Public().(ed25519.PublicKey), true }
	f.Fuzz(func(t *testing.T, unsigned []byte) {
		msg := sealPromise("f", keyFor("a"), bytes.Clone(unsigned))
		if ask, err := OpenAsk("f", anybody, msg); err == nil && !bytes.Equal(ask.append(nil), unsigned) {
			t.Errorf("ask %+v has the form %x, want %x", ask, ask.append(nil), unsigned)
		}
		if grant, err := OpenGrant("f", anybody, msg); err == nil && !bytes.Equal(grant.append(nil), unsigned) {
			t.Errorf("grant %+v has the form %x, want %x", grant, grant.append(nil), unsigned)
		}
		if _, err := OpenAsk("f", keyring(), unsigned); err == nil {
			t.Error("an ask of nobody opens")
		}
	})
}
