package zone

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// head starts a zone file for tests.
const head = "$TTL 300\n@ SOA ns host 9 7200 3600 1209600 60\n@ NS ns\nns A 192.0.2.53\n"

func mustParse(t testing.TB, text string, dynamic ...string) *Zone {
	t.Helper()
	z, err := Parse("Example.COM", strings.NewReader(text), "", Options{Dynamic: dynamic})
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestAccessors(t *testing.T) {
	z := mustParse(t, head)
	if z.Origin() != "example.com." || z.Serial() != 9 || z.SOA().Ns != "ns.example.com." || len(z.Files()) != 0 || len(z.Warnings()) != 0 {
		t.Errorf("origin %q serial %d soa %v files %q warnings %q", z.Origin(), z.Serial(), z.SOA(), z.Files(), z.Warnings())
	}
	z, err := Parse("example.com.", strings.NewReader(head), "named.zone", Options{})
	if err != nil || !slices.Equal(z.Files(), []string{"named.zone"}) {
		t.Errorf("files %q, %v", z.Files(), err)
	}
}

func TestRootZone(t *testing.T) {
	z, err := Parse(".", strings.NewReader("$TTL 300\n@ SOA ns host 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\ncom NS a.com\na.com A 192.0.2.2\n*.w CNAME ns\nd DNAME w\n"), "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := render(z.Lookup("x.com", dns.TypeA)) + render(z.Lookup(".", dns.TypeMX)) + render(z.Lookup("q.d.", dns.TypeA))
	want := `  NOERROR from com.
  authority: com. 300 IN NS a.com.
  additional: a.com. 300 IN A 192.0.2.2
  NOERROR aa from .
  authority: . 5 IN SOA ns. host. 1 2 3 4 5
  NOERROR aa from ns.
  answer: d. 300 IN DNAME w.
  answer: q.d. 300 IN CNAME q.w.
  answer: q.w. 300 IN CNAME ns.
  answer: ns. 300 IN A 192.0.2.1
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestRootDNAME: below a DNAME at the root, the whole name is the new prefix.
func TestRootDNAME(t *testing.T) {
	z, err := Parse(".", strings.NewReader("$TTL 300\n@ SOA ns host 1 2 3 4 5\n@ NS ns\n@ DNAME x.y"), "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := z.Lookup("a.b.", dns.TypeCNAME).Answer[1].(*dns.CNAME).Target; got != "a.b.x.y." {
		t.Errorf("target %q", got)
	}
}

func TestTypesAtAndClosestEncloser(t *testing.T) {
	z := mustParse(t, head+`a.b TXT "x"
a.b MX 1 ns
*.w A 192.0.2.1
cut NS ns
cut DS 1 13 2 49FD46E6C4B45C55D4AC69CBD3CD34AC1AFE51DE000000000000000000001234
cut TXT "hidden"
x.cut A 192.0.2.2
d DNAME ns
`, "dyn.example.com.", "*.any.example.com.")
	tests := []struct {
		name     string
		types    []uint16
		encloser string
		exact    bool
	}{
		{"example.com", []uint16{dns.TypeNS, dns.TypeSOA}, "example.com.", true},
		{"A.b.example.com.", []uint16{dns.TypeMX, dns.TypeTXT}, "a.b.example.com.", true},
		{"b.example.com.", []uint16{}, "b.example.com.", true},
		{"x.y.a.b.example.com.", nil, "a.b.example.com.", false},
		{"c.b.example.com.", nil, "b.example.com.", false},
		{"q.r.w.example.com.", []uint16{dns.TypeA}, "w.example.com.", false},
		{"cut.example.com.", []uint16{dns.TypeNS, dns.TypeDS}, "cut.example.com.", true},
		{"x.cut.example.com.", nil, "x.cut.example.com.", true},
		{"d.example.com.", []uint16{dns.TypeDNAME}, "d.example.com.", true},
		{"x.d.example.com.", nil, "d.example.com.", false},
		{"dyn.example.com.", []uint16{}, "dyn.example.com.", true},
		{"q.any.example.com.", []uint16{}, "any.example.com.", false},
		{"example.net.", nil, "", false},
		{"com.", nil, "", false},
		{"", nil, "", false},
		{"a..example.com.", nil, "", false},
	}
	for _, test := range tests {
		if got := z.TypesAt(test.name); !reflect.DeepEqual(got, test.types) {
			t.Errorf("TypesAt(%q) = %#v, want %#v", test.name, got, test.types)
		}
		if encloser, exact := z.ClosestEncloser(test.name); encloser != test.encloser || exact != test.exact {
			t.Errorf("ClosestEncloser(%q) = %q, %v, want %q, %v", test.name, encloser, exact, test.encloser, test.exact)
		}
	}
}

func TestDiff(t *testing.T) {
	a := mustParse(t, head+"same A 192.0.2.1\nWWW A 192.0.2.1\nwww A 192.0.2.2\ngone TXT \"a b\"\nttl A 192.0.2.9\n")
	b := mustParse(t, strings.Replace(head, " 9 ", " 10 ", 1)+"SAME A 192.0.2.1\nwww A 192.0.2.2\nwww A 192.0.2.3\nnew TXT x\nttl 60 A 192.0.2.9\n")
	want := `- example.com. 300 IN SOA ns.example.com. host.example.com. 9 7200 3600 1209600 60
+ example.com. 300 IN SOA ns.example.com. host.example.com. 10 7200 3600 1209600 60
- gone.example.com. 300 IN TXT "a b"
+ new.example.com. 300 IN TXT "x"
- ttl.example.com. 300 IN A 192.0.2.9
+ ttl.example.com. 60 IN A 192.0.2.9
- www.example.com. 300 IN A 192.0.2.1
+ www.example.com. 300 IN A 192.0.2.3
`
	lines := func(s string) []string { l := strings.Split(s, "\n"); slices.Sort(l); return l }
	if got := Diff(a, b).String(); !slices.Equal(lines(got), lines(want)) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := Diff(a, a).String(); got != "" {
		t.Errorf("a zone differs from itself:\n%s", got)
	}
	// the other way round, the same lines with the other sign
	swapped := strings.NewReplacer("- ", "+ ", "+ ", "- ").Replace(Diff(a, b).String())
	if got := Diff(b, a).String(); !slices.Equal(lines(got), lines(swapped)) {
		t.Errorf("Diff(b, a) is\n%s\nwant\n%s", got, swapped)
	}
}

// TestAnswersAreCopies: an answer made for one spelling of a name must not change
// what the zone holds.
func TestAnswersAreCopies(t *testing.T) {
	z := mustParse(t, head+"*.w A 192.0.2.1\n")
	_ = z.Lookup("Q.W.example.com.", dns.TypeA)
	if got := z.Lookup("*.w.example.com.", dns.TypeA).Answer[0].Header().Name; got != "*.w.example.com." {
		t.Errorf("the wildcard's owner is now %q", got)
	}
}

func TestCanonical(t *testing.T) {
	tests := []struct {
		in, want string
		ok       bool
	}{
		{"Example.COM", "example.com.", true},
		{".", ".", true},
		{`\065b\.C.x.`, `ab\.c.x.`, true},
		{`a\200.x.`, `a\200.x.`, true},
		{"a\xc8.x.", `a\200.x.`, true},
		{`\*.x.`, `*.x.`, true},
		{"", "", false},
		{"a..b", "", false},
		{".a", "", false},
		{strings.Repeat("a", 64) + ".", "", false},
		{strings.Repeat("a", 63) + ".", strings.Repeat("a", 63) + ".", true},
		{strings.Repeat("a.", 127), strings.Repeat("a.", 127), true},
		{strings.Repeat("a.", 128), "", false},
	}
	for _, test := range tests {
		if got, ok := canonical(test.in); got != test.want || ok != test.ok {
			t.Errorf("canonical(%q) = %q, %v, want %q, %v", test.in, got, ok, test.want, test.ok)
		}
	}
}

// TestCanonicalOrder sorts the names of RFC 4034 section 6.1 and some with odd
// octets, from random orders.
func TestCanonicalOrder(t *testing.T) {
	want := []string{
		".", "example.", "a.example.", "yljkjljk.a.example.", "z.a.example.", "zabc.a.example.", "z.example.",
		`\000.z.example.`, `\000.\000.z.example.`, `\000\000.z.example.`, `\001.z.example.`, `\002.z.example.`, "*.z.example.", `\200.z.example.`,
	}
	got := slices.Clone(want)
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		random.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
		slices.SortFunc(got, func(a, b string) int { return strings.Compare(sortKey(a), sortKey(b)) })
		if !slices.Equal(got, want) {
			t.Fatalf("got %q\nwant %q", got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	_, err := ParseFile("example.com", filepath.Join(t.TempDir(), "none"), Options{})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	_, err = ParseFile("example.com", t.TempDir(), Options{})
	if err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("folder: %v", err)
	}
	_, err = Parse("a..b", strings.NewReader(head), "", Options{})
	if err == nil || err.Error() != `zone "a..b": not a domain name` {
		t.Errorf("origin: %v", err)
	}
	_, err = Parse("example.com", strings.NewReader(head+"$INCLUDE /etc/hostname\n"), "", Options{})
	if want := `input:5: $INCLUDE "/etc/hostname": not allowed in text that is not a file`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	var list Errors
	if !errors.As(err, &list) || len(list) != 1 {
		t.Errorf("%T is not an Errors of one", err)
	}
}

// TestLimits: what is read and generated is bounded in all, and reading ends
// after many problems.
func TestLimits(t *testing.T) {
	l := &loader{budget: 100, origin: "example.com.", files: []string{""}}
	if _, err := l.readAll(strings.NewReader(strings.Repeat(" ", 101))); !errors.Is(err, errTooLarge) {
		t.Errorf("101 octets of 100: %v", err)
	}
	l = &loader{budget: 1000, origin: "example.com.", files: []string{""}}
	l.master("$TTL 5\n$GENERATE 1-65536 a$ A 192.0.2.1\n", scope{file: 1, origin: l.origin})
	if len(l.errors) != 1 || !errors.Is(l.errors[0].err, errTooLarge) || len(l.records) > 100 {
		t.Errorf("%d records, errors %v", len(l.records), l.errors)
	}
	_, err := Parse("example.com", strings.NewReader(strings.Repeat("bad\n", 5000)), "", Options{})
	var list Errors
	if !errors.As(err, &list) || len(list) != maxProblems || !strings.HasSuffix(err.Error(), "\nand 950 more") {
		t.Errorf("%d problems, %.200s", len(list), err)
	}
	var big strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&big, "big TXT \"%0100d\"\n", i)
	}
	_, err = Parse("example.com", strings.NewReader(head+big.String()), "", Options{})
	if !errors.As(err, &list) || len(list) != 1 || !strings.Contains(err.Error(), `TXT records of "big.example.com." do not fit into one DNS message`) {
		t.Errorf("large set: %v", err)
	}
}

// TestRoundTrip: a zone written out record by record is the same zone.
func TestRoundTrip(t *testing.T) {
	z, err := ParseFile("example.org", "testdata/peers/example.org.zone", Options{})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, n := range z.order {
		for _, s := range n.sets {
			for _, rr := range s.rrs {
				text.WriteString(line(rr) + "\n")
			}
		}
	}
	again, err := Parse("example.org", strings.NewReader(text.String()), "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := Diff(z, again).String(); d != "" {
		t.Errorf("differs:\n%s", d)
	}
	if len(again.order) != len(z.order) || len(z.order) < 150 {
		t.Errorf("%d nodes, then %d", len(z.order), len(again.order))
	}
}

func BenchmarkParse(b *testing.B) {
	var text strings.Builder
	text.WriteString(head)
	for i := range 100_000 {
		fmt.Fprintf(&text, "host-%d A 192.0.2.%d\n", i, i%250)
	}
	b.ReportAllocs()
	for b.Loop() {
		mustParse(b, text.String())
	}
}
