package probe

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edged/health"
)

// texts are external texts and what they mean, wherever they come from.
var texts = []struct {
	text    string
	outcome health.Outcome
	reason  string
}{
	{"ok", health.Passed, ""},
	{"ok\n", health.Passed, ""},
	{"  ok  since yesterday\nfailing", health.Passed, ""},
	{"degraded disk  is slow\n", health.Passed, "disk is slow"},
	{"failing no database\r\nsecond line", health.Wrong, "no database"},
	{"failing", health.Wrong, "the source says failing"},
	{"failing \x00", health.Wrong, "the source says failing"},
	{"dead switched off", health.Silent, "switched off"},
	{"unknown", health.Skipped, "the source says unknown"},
	{"", health.Skipped, "source: its first line is empty"},
	{"\nok", health.Skipped, "source: its first line is empty"},
	{"\xfcok", health.Skipped, `source: unknown word "\xfcok", want ok, degraded, failing, dead or unknown`},
	{"OK", health.Skipped, `source: unknown word "OK", want ok, degraded, failing, dead or unknown`},
	{"failing \xff\x00" + strings.Repeat("é", 5000), health.Wrong, strings.Repeat("é", 38) + "…"},
}

func TestExternalFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	at := netip.MustParseAddrPort("192.0.2.1:0")
	p := open(t, health.Check{Kind: health.External, Source: path}, at, Options{})
	expect(t, p, health.Skipped, clean("no file "+path))
	for _, row := range texts {
		if err := os.WriteFile(path, []byte(row.text), 0o600); err != nil {
			t.Fatal(err)
		}
		expect(t, p, row.outcome, row.reason)
	}
}

func TestExternalFileIsStale(t *testing.T) {
	t.Chdir(t.TempDir())
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	if err := os.WriteFile(path, []byte("failing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		interval, age time.Duration
		stale         bool
	}{
		{time.Second, 4 * time.Minute, false},
		{time.Second, 6 * time.Minute, true},
		{10 * time.Minute, 29 * time.Minute, false},
		{10 * time.Minute, 31 * time.Minute, true},
	} {
		then := time.Now().Add(-row.age)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
		p := open(t, health.Check{Kind: health.External, Source: path, Interval: row.interval}, netip.MustParseAddrPort("192.0.2.1:0"), Options{})
		got := p.Probe(t.Context())
		if stale := got.Outcome == health.Skipped; stale != row.stale {
			t.Errorf("every %v, %v old: %+v", row.interval, row.age, got)
		}
	}
}

// TestExternalOddFiles has what could block or is not to be read.
func TestExternalOddFiles(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:0")
	dir := t.TempDir()
	expect(t, open(t, health.Check{Kind: health.External, Source: dir}, at, Options{}), health.Skipped, clean(dir+" is not a plain file"))
	if _, err := os.Stat("/dev/zero"); err == nil {
		expect(t, open(t, health.Check{Kind: health.External, Source: "/dev/zero"}, at, Options{}), health.Skipped, "/dev/zero is not a plain file")
	}
}

func TestExternalURL(t *testing.T) {
	leakless(t)
	var text string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "u" || password != "p" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	var y tally
	at := netip.MustParseAddrPort("192.0.2.1:0")
	url := strings.Replace(s.URL, "//", "//u:p@", 1) + "/state?of=www"
	p := open(t, health.Check{Kind: health.External, Source: url}, at, y.options())
	for _, row := range texts {
		text = row.text
		expect(t, p, row.outcome, row.reason)
	}
	if got := y.dials.Load(); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
	expect(t, open(t, health.Check{Kind: health.External, Source: s.URL}, at, Options{}), health.Skipped, "source: status 401, want 200")
}

// TestExternalURLFaults sees that a source's faults are not the target's.
func TestExternalURLFaults(t *testing.T) {
	leakless(t)
	ca := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.valid(t, "a.example")}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := l.Addr().String()
	l.Close()
	for _, row := range []struct {
		name, source string
		timeout      time.Duration
		reason       string
	}{
		{"refused", "http://" + refused, 0, "source: connection refused"},
		{"closes", "http://" + serve(t, saysOnce("")).String(), 0, "source: closed before the answer was whole"},
		{"silent", "http://" + serve(t, stalls("")).String(), brief, "source: no answer within 100ms"},
		{"garbage", "http://" + serve(t, saysOnce("what\r\n")).String(), 0, `source: malformed HTTP response "what"`},
		{"endless", "http://" + serve(t, saysForever("HTTP/1.1 200 OK\r\n\r\n", "abc ")).String(), 0, `source: unknown word "abc", want ok, degraded, failing, dead or unknown`},
		{"certificate", "https://" + serve(t, overTLS(config, saysOnce(""))).String(), 0, "source: certificate: not for 127.0.0.1, but for a.example"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := health.Check{Kind: health.External, Source: row.source, Timeout: row.timeout}
			p := open(t, c, netip.MustParseAddrPort("192.0.2.1:0"), Options{Roots: ca.roots})
			expect(t, p, health.Skipped, row.reason)
		})
	}
}

// FuzzExternal reads texts of any octets.
func FuzzExternal(f *testing.F) {
	for _, row := range texts {
		f.Add([]byte(row.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		outcome, reason := judge(t.Context(), parseText(text), ample)
		if len(reason) > health.MaxReason || outcome != health.Passed && reason == "" {
			t.Errorf("%q: outcome %d with reason %q", text, outcome, reason)
		}
		if outcome == health.Passed && !strings.HasPrefix(strings.TrimSpace(string(text)), "ok") && !strings.HasPrefix(strings.TrimSpace(string(text)), "degraded") {
			t.Errorf("%q passed", text)
		}
	})
}
