package zone

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/txtar"
)

// seeds adds the zones of the text tests with one of the endings.
func seeds(f *testing.F, ending string) {
	f.Helper()
	paths, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(paths) == 0 {
		f.Fatalf("no text tests: %v", err)
	}
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if filepath.Ext(file.Name) == ending {
				f.Add(string(file.Data))
			}
		}
	}
}

// FuzzMaster reads any text as a master file.
func FuzzMaster(f *testing.F) {
	seeds(f, ".zone")
	big, err := os.ReadFile("testdata/peers/example.org.zone")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(strings.ReplaceAll(string(big), "example.org", "example.com"))
	f.Fuzz(func(t *testing.T, text string) { fuzzParse(t, text, "") })
}

// FuzzTinydns reads any text as tinydns-data.
func FuzzTinydns(f *testing.F) {
	seeds(f, ".data")
	f.Fuzz(func(t *testing.T, text string) { fuzzParse(t, text, "fuzz.data") })
}

// fuzzParse wants that text is either refused with at least one problem, or is a
// zone that holds together: written out and read again it is the same, and each
// of its names has an answer.
func fuzzParse(t *testing.T, text, file string) {
	l := &loader{budget: 1 << 16, files: []string{file}}
	text, err := l.readAll(strings.NewReader(text))
	if err != nil {
		return
	}
	z, err := l.load("example.com", text, time.Unix(1, 0), Options{Dynamic: []string{"www.example.com", "*.cdn.example.com."}})
	if err != nil {
		if err.Error() == "" {
			t.Fatal("refused without a reason")
		}
		return
	}
	var again strings.Builder
	for _, n := range z.order {
		for _, s := range n.sets {
			for _, rr := range s.rrs {
				again.WriteString(line(rr) + "\n")
			}
		}
	}
	z2, err := Parse("example.com", strings.NewReader(again.String()), "", Options{})
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, again.String())
	}
	if d := Diff(z, z2).String(); d != "" {
		t.Fatalf("differs after a round trip:\n%s", d)
	}
	for n := range z.Nodes() {
		for _, name := range []string{n.Name, "x." + n.Name} {
			checkResult(t, z, name, dns.TypeA)
		}
		for _, rrtype := range n.Types {
			checkResult(t, z, n.Name, rrtype)
		}
	}
}

// FuzzLookup asks a zone that has something of everything for any name.
func FuzzLookup(f *testing.F) {
	z, err := ParseFile("example.org", "testdata/peers/example.org.zone", Options{Dynamic: []string{"dyn.example.org.", "*.any.example.org."}})
	if err != nil {
		f.Fatal(err)
	}
	for n := range z.Nodes() {
		f.Add("x."+n.Name, dns.TypeA)
		f.Add(n.Name, dns.TypeANY)
	}
	f.Add("", uint16(0))
	f.Add(`\`, uint16(1))
	f.Fuzz(func(t *testing.T, name string, rrtype uint16) { checkResult(t, z, name, rrtype) })
}

// checkResult wants what is true of every answer.
func checkResult(t *testing.T, z *Zone, name string, rrtype uint16) {
	t.Helper()
	r := z.Lookup(name, rrtype)
	key, ok := canonical(name)
	inside := ok && dns.IsSubDomain(z.Origin(), key)
	if inside != (r.Rcode != dns.RcodeRefused) {
		t.Fatalf("%q: inside %v, yet %s", name, inside, render(r))
	}
	if !inside {
		return
	}
	isSOA := len(r.Ns) == 1 && r.Ns[0].Header().Rrtype == dns.TypeSOA
	isReferral := len(r.Ns) > 0 && r.Ns[0].Header().Rrtype == dns.TypeNS
	switch {
	case r.Rcode == dns.RcodeNameError && !isSOA:
		t.Errorf("%q: NXDOMAIN without SOA", name)
	case len(r.Answer) == 0 && len(r.Ns) == 0:
		t.Errorf("%q: empty answer", name)
	case r.Authoritative == (isReferral && len(r.Answer) == 0):
		t.Errorf("%q: wrong AA", name)
	case r.Source == "" || z.nodes[r.Source] == nil:
		t.Errorf("%q: source %q does not exist", name, r.Source)
	case isSOA && r.Source != z.Origin():
		t.Errorf("%q: source of a negative answer is %q", name, r.Source)
	case len(r.Answer) == 0 && r.Rcode == dns.RcodeNameError && z.TypesAt(name) != nil:
		t.Errorf("%q: NXDOMAIN, yet TypesAt %v", name, z.TypesAt(name))
	case r.Dynamic != "" && (z.nodes[r.Dynamic] == nil || !z.nodes[r.Dynamic].dynamic):
		t.Errorf("%q: dynamic %q is not", name, r.Dynamic)
	}
	if len(r.Answer) > 0 && r.Answer[0].Header().Name != dns.Fqdn(name) && r.Answer[0].Header().Rrtype != dns.TypeDNAME {
		t.Errorf("%q: answered as %q", name, r.Answer[0].Header().Name)
	}
	if slices.Contains(z.TypesAt(name), rrtype) && len(r.Answer) == 0 && !isReferral {
		t.Errorf("%q: TypesAt has %s, Lookup has not", name, dns.Type(rrtype))
	}
	for _, rr := range slices.Concat(r.Answer, r.Ns, r.Extra) {
		var wire [dns.MaxMsgSize]byte
		if _, err := dns.PackRR(rr, wire[:], 0, nil, false); err != nil {
			t.Errorf("%q: %s does not pack: %v", name, rr, err)
		}
	}
	if other := z.Lookup(strings.ToUpper(key), rrtype); other.Rcode != r.Rcode || !sameSet(other.Ns, r.Ns) || len(other.Answer) != len(r.Answer) {
		t.Errorf("%q: letter case changes the answer", name)
	}
}
