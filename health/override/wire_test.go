package override

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// testKey returns the same key for a name each time.
func testKey(name string) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	return ed25519.NewKeyFromSeed(seed)
}

// largest are changes with all their parts as long as they may be.
func largest() []change {
	id := ID{strings.Repeat("n", maxName), 1<<64 - 1, 1<<64 - 1}
	end := time.Unix(endOfTime-1, 0).UTC()
	return []change{
		{put: &Override{
			ID: id, Version: maxVersion, Action: Weight, Weight: MaxWeight,
			Target: Target{Endpoints, strings.Repeat("p", maxName), strings.Repeat("*", maxName)},
			Owner:  strings.Repeat("o", maxOwner), Reason: strings.Repeat("r", maxReason), Created: start, Expires: end,
		}},
		{put: &Override{
			ID: id, Version: 1, Action: PinPrefix, Prefix: netip.MustParsePrefix("2001:db8:ffff::/48"), PoP: strings.Repeat("p", maxName),
			Owner: strings.Repeat("o", maxOwner), Reason: strings.Repeat("r", maxReason), Created: start,
		}},
		{clear: &Clearing{
			ID: id, Version: 1, Cleared: []ID{id, id, id, id},
			Owner: strings.Repeat("o", maxOwner), Reason: strings.Repeat("r", maxReason), At: start, Keep: end,
		}},
	}
}

func TestMessageRoundTrip(t *testing.T) {
	changes := largest()
	for _, words := range [][]string{
		{"drain", "pop/fra"}, {"force-up", "node/*"}, {"force-down", "endpoint/www/2001:db8::1"}, {"weight", "pool/www", "0"}, {"pin-prefix", "0.0.0.0/0", "pop/fra"},
	} {
		o := wish(t, "fra1", 3, words...)
		changes = append(changes, change{put: &o})
	}
	for _, c := range changes {
		for _, kind := range []byte{kindProposal, kindCommit} {
			msg := seal("prod", testKey("fra1"), appendChange(kind, c.id().Node, c))
			if len(msg) > MaxMessage {
				t.Errorf("%d octets", len(msg))
			}
			m, err := parseMessage(msg)
			if err != nil || !reflect.DeepEqual(m.change, c) || m.kind != kind {
				t.Fatalf("%+v: comes back as %+v, %v", c, m.change, err)
			}
			if !genuine("prod", testKey("fra1").Public().(ed25519.PublicKey), msg) {
				t.Error("the signature does not hold")
			}
			if genuine("test", testKey("fra1").Public().(ed25519.PublicKey), msg) {
				t.Error("the signature holds in another fleet")
			}
		}
	}
}

func TestMessageMalformed(t *testing.T) {
	o := wish(t, "fra1", 3, "drain", "pop/fra")
	good := func() []byte { return seal("prod", testKey("fra1"), appendChange(kindCommit, "fra1", change{put: &o})) }
	text := func(from, to string) []byte { return bytes.Replace(good(), []byte(from), []byte(to), 1) }
	bad := o
	bad.Expires = start
	for want, msg := range map[string][]byte{
		"it ends too early":                                      good()[:40],
		"1 octets are after its end":                             append(good(), 0),
		"kind 0x01 is no proposal or commit":                     append([]byte{1}, good()[1:]...),
		"1001 octets, want at most 1000":                         make([]byte, 1001),
		`target "pip/fra" is not in its usual form`:              text("pop/fra", "pip/fra"),
		`reason "fibre\nwork" is not one line of printable text`: text("fibre work", "fibre\nwork"),
		"it expires before it was created":                       seal("prod", testKey("fra1"), appendChange(kindCommit, "fra1", change{put: &bad})),
		`"ams1" signs a proposal of "fra1"`:                      seal("prod", testKey("fra1"), appendChange(kindProposal, "ams1", change{put: &o})),
	} {
		_, err := parseMessage(msg)
		if !errors.Is(err, ErrMalformed) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// TestKindsAreApart holds the kinds to 0x10-0x1f.
func TestKindsAreApart(t *testing.T) {
	for kind := range 256 {
		if got, want := IsMessage([]byte{byte(kind)}), kind >= 0x10 && kind <= 0x1f; got != want {
			t.Errorf("%#02x: %v", kind, got)
		}
	}
	for _, kind := range []byte{kindProposal, kindAck, kindCommit, kindState} {
		if !IsMessage([]byte{kind}) {
			t.Errorf("%#02x is none of ours", kind)
		}
	}
}

// FuzzMessage reads messages, acks and states: what is accepted must encode to
// the same octets, so that a signature covers just one meaning.
func FuzzMessage(f *testing.F) {
	state := []byte{kindState}
	for _, c := range largest() {
		msg := seal("prod", testKey("fra1"), appendChange(kindCommit, c.id().Node, c))
		f.Add(msg)
		f.Add(seal("prod", testKey("fra1"), appendChange(kindProposal, c.id().Node, c)))
		state = append(append(state, byte(len(msg)>>8), byte(len(msg))), msg...)
	}
	f.Add(state)
	f.Add(seal("prod", testKey("fra1"), ack{signer: "ams1", refused: true, reason: "no"}.append(nil)))
	f.Add(seal("prod", testKey("fra1"), ack{signer: "ams1"}.append(nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseMessage(b); err == nil {
			if again := append(appendChange(m.kind, m.signer, m.change), m.sig...); !bytes.Equal(again, b) {
				t.Errorf("%x\ncomes back as\n%x", b, again)
			}
		} else if !errors.Is(err, ErrMalformed) {
			t.Error(err)
		}
		if a, err := parseAck(b); err == nil && !bytes.Equal(a.append(nil), b[:len(b)-ed25519.SignatureSize]) {
			t.Errorf("ack %x comes back as %x", b, a.append(nil))
		}
		if all, err := parseState(b); err == nil {
			again := []byte{kindState}
			for _, m := range all {
				msg := record{change: m.change, signer: m.signer, sig: m.sig}.commit()
				again = append(append(again, byte(len(msg)>>8), byte(len(msg))), msg...)
			}
			if !bytes.Equal(again, b) {
				t.Errorf("state %x comes back as %x", b, again)
			}
		}
	})
}
