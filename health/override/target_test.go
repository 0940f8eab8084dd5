package override

import (
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]string{
		"pop/fra":                          "pop/fra",
		"pop/eu-*":                         "pop/eu-*",
		"node/fra1":                        "node/fra1",
		"pool/www":                         "pool/www",
		"endpoint/www/198.51.100.1":        "endpoint/www/198.51.100.1",
		"endpoint/www/2001:DB8:0::1":       "endpoint/www/2001:db8::1",
		"endpoint/www/::ffff:198.51.100.1": "endpoint/www/198.51.100.1",
		"endpoint/*/198.51.100.*":          "endpoint/*/198.51.100.*",
		"endpoint/*/2001:DB8::?":           "endpoint/*/2001:db8::?",
	} {
		got, err := ParseTarget(text)
		if err != nil || got.String() != want {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"fra":                         `target "fra" is of no known kind: write pop/NAME, node/NAME, pool/NAME or endpoint/POOL/ADDRESS`,
		"city/fra":                    `target "city/fra" is of no known kind: write pop/NAME, node/NAME, pool/NAME or endpoint/POOL/ADDRESS`,
		"pop/":                        `target "pop/": name "" has 0 octets, want 1 to 63`,
		"pop/a/b":                     `target "pop/a/b": name "a/b" holds '/': want letters, digits and signs but the slash`,
		"pop/a b":                     `target "pop/a b": name "a b" holds ' ': want letters, digits and signs but the slash`,
		"endpoint/www":                `target "endpoint/www" has no address: write endpoint/POOL/ADDRESS`,
		"endpoint/www/198.51.100":     `target "endpoint/www/198.51.100": "198.51.100" is not an IP address`,
		"endpoint/www/fe80::1%eth0":   `target "endpoint/www/fe80::1%eth0": "fe80::1%eth0" is not an IP address`,
		"pool/" + longName:            `target "pool/` + longName + `": name "` + longName + `" has 64 octets, want 1 to 63`,
		"endpoint/www/198.51.100.*/2": `target "endpoint/www/198.51.100.*/2": name "198.51.100.*/2" holds '/': want letters, digits and signs but the slash`,
	} {
		if got, err := ParseTarget(text); err == nil || err.Error() != want {
			t.Errorf("%s: %q, error %v\nwant %s", text, got, err, want)
		}
	}
}

var longName = strings.Repeat("x", 64)

func TestTargetMatches(t *testing.T) {
	e := Endpoint{Pool: "www", PoP: "eu-fra", Node: "fra1", Address: netip.MustParseAddr("198.51.100.17")}
	for text, want := range map[string]bool{
		"pop/eu-fra": true, "pop/eu-*": true, "pop/eu": false, "pop/*": true, "pop/us-*": false,
		"node/fra1": true, "node/fra?": true, "node/fra": false,
		"pool/www": true, "pool/w*w": true, "pool/ww": false,
		"endpoint/www/198.51.100.17": true, "endpoint/*/198.51.100.*": true, "endpoint/api/198.51.100.17": false,
		"endpoint/www/198.51.100.1": false, "endpoint/www/198.51.100.1?": true, "endpoint/www/*": true,
	} {
		target, err := ParseTarget(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := target.Matches(e); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	e.Node = ""
	if (Target{Kind: Nodes, Name: "*"}).Matches(e) {
		t.Error("node/* matches an endpoint of no node")
	}
	if (Target{}).Matches(Endpoint{}) {
		t.Error("the zero target matches")
	}
}

// TestGlob compares with a regular expression, the slow twin.
func TestGlob(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	text := func(letters string) string {
		b := make([]byte, r.IntN(7))
		for i := range b {
			b[i] = letters[r.IntN(len(letters))]
		}
		return string(b)
	}
	matched := 0
	for range 20_000 {
		pattern, s := text("ab.*?"), text("ab.")
		slow := regexp.QuoteMeta(pattern)
		slow = strings.ReplaceAll(strings.ReplaceAll(slow, `\*`, ".*"), `\?`, ".")
		want := regexp.MustCompile("^" + slow + "$").MatchString(s)
		if got := glob(pattern, s); got != want {
			t.Fatalf("glob(%q, %q) = %v, want %v", pattern, s, got, want)
		}
		if want {
			matched++
		}
	}
	if matched < 1000 {
		t.Errorf("only %d of the pairs match: the test sees little", matched)
	}
}

func TestParseID(t *testing.T) {
	for _, id := range []ID{{"fra1", 1, 2}, {"eu-fra-1", 1 << 63, 0}} {
		if got, err := ParseID(id.String()); err != nil || got != id {
			t.Errorf("%s: %v, %v", id, got, err)
		}
	}
	for _, s := range []string{"", "fra1", "fra1-1", "-1-1", "fra1-01-1", "fra1-1-x", "fra1-1-18446744073709551616", "a/b-1-1"} {
		want := `override id "` + s + `" is not NODE-INCARNATION-COUNTER`
		if got, err := ParseID(s); err == nil || err.Error() != want {
			t.Errorf("%q: %v, error %v", s, got, err)
		}
	}
}
