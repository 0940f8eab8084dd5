package page

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edged/mapper/beacon"
	"edged/mapper/beacon/token"
)

const good = "https://www.example.com"

var client = netip.MustParseAddr("192.0.2.77")

func testSite() *Site {
	return &Site{
		Keys: []token.Key{{1}, {2}}, Origins: []string{good}, AllowPrivate: true,
		Candidates: func(netip.Addr) ([]Candidate, int) { return fleet(0), 5 },
	}
}

// newServer makes a server without sockets. In a bubble its clock stands.
func newServer(t *testing.T, site *Site, asked ...Asked) (s *Server, dir string) {
	t.Helper()
	dir = t.TempDir()
	s, err := New(Config{Dir: dir, Node: "fra1", Log: slog.New(slog.DiscardHandler), Asked: func() (Asked, bool) {
		if len(asked) == 0 {
			return Asked{}, false
		}
		a := asked[0]
		asked = asked[1:]
		return a, true
	}}, site)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(t.Context()) })
	return s, dir
}

// call makes a request from an address.
func call(s *Server, from netip.Addr, method, path, origin, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr = netip.AddrPortFrom(from, 4000).String()
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	w := httptest.NewRecorder()
	s.serve(w, r)
	return w
}

// begin begins a session.
func begin(t *testing.T, s *Server, from netip.Addr) session {
	t.Helper()
	var got session
	w := call(s, from, "GET", "/session", good, "")
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || len(got.PoPs) != perSession {
		t.Fatalf("/session: %d %q %v", w.Code, w.Body, err)
	}
	return got
}

// report writes a report of so many milliseconds for each PoP.
func report(s session, ms string) string {
	return s.Token + "\n" + strings.Join(s.PoPs, " "+ms+"\n") + " " + ms + "\n"
}

// rows reads all rows back.
func rows(t *testing.T, dir string) []string {
	t.Helper()
	set, err := beacon.OpenAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	var list []string
	for s, err := range set.Sessions() {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range s.Rows {
			list = append(list, fmt.Sprintf("%x %s %s %s %d %s", r.Session, r.Client, r.Resolver, s.PoPs[r.PoP], r.RTT, r.Method))
		}
	}
	return list
}

// TestReports holds that every report gets the same answer after the same time,
// and that only the good ones become rows.
func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dir := newServer(t, testSite())
		defer s.Shutdown(t.Context()) // within the bubble
		late := begin(t, s, client)
		time.Sleep(token.Life)
		one, two, fresh := begin(t, s, client), begin(t, s, client), begin(t, s, client)
		swapped := fresh
		swapped.PoPs = slices.Clone(fresh.PoPs)
		slices.Reverse(swapped.PoPs)
		fake := fresh
		fake.Token = token.Make(token.Key{9}, 1, time.Now().Add(token.Life), client, fresh.PoPs)
		rotated := session{token.Make(token.Key{2}, 0xabc, time.Now().Add(token.Life), client, []string{"p01"}), []string{"p01"}}
		partly, nothing := begin(t, s, client), begin(t, s, client)
		implausible := begin(t, s, client)
		six := begin(t, s, netip.MustParseAddr("2001:db8::7"))
		for _, c := range []struct {
			name string
			from netip.Addr
			body string
			want outcome
		}{
			{"good", client, report(one, "12.34"), kept},
			{"again", client, report(one, "12.34"), used},
			{"upper case, in part", client, strings.ToUpper(two.Token) + "\n" + two.PoPs[0] + " 5\n" + two.PoPs[1] + " -\n" + two.PoPs[2] + " 9999\n" + two.PoPs[3] + " 7.06\n", kept},
			{"a key that goes", client, report(rotated, "1"), kept},
			{"another address of the block", netip.MustParseAddr("192.0.2.9"), report(six, "8"), kept}, // and over the other family
			{"another block", netip.MustParseAddr("192.0.3.77"), report(fresh, "5"), moved},
			{"expired", client, report(late, "5"), expired},
			{"forged", client, report(fake, "5"), forged},
			{"other order", client, report(swapped, "5"), others},
			{"one that fails", client, strings.Replace(report(partly, "8"), " 8", " failed", 1), kept},
			{"all that fail tell of the client", client, report(nothing, "failed"), empty},
			{"nothing plausible", client, report(implausible, "0.2"), empty},
			{"no report", client, "hello", bad},
			{"no token", client, "fra\nfra 1\n", bad},
			{"too large", client, fresh.Token + strings.Repeat("\nfra 1", 1000), bad},
			{"empty", client, "", bad},
		} {
			before, from := s.counters.reports[c.want].Load(), time.Now()
			w := call(s, c.from, "POST", "/r", good, c.body)
			if took := time.Since(from); w.Code != 204 || w.Body.Len() != 0 || took != roundEvery {
				t.Errorf("%s: %d %q after %v, want 204 after %v", c.name, w.Code, w.Body, took, roundEvery)
			}
			if got := s.counters.reports[c.want].Load(); got != before+1 {
				t.Errorf("%s: want it counted as %s: %v", c.name, outcomeNames[c.want], s.Totals().Reports)
			}
		}
		var want []string
		add := func(x session, from string, rtts map[int]int) {
			tok, err := token.Parse(x.Token, testSite().Keys)
			if err != nil {
				t.Fatal(err)
			}
			for i, rtt := range rtts {
				want = append(want, fmt.Sprintf("%x %s %s %s %d resource", tok.Session, from, netip.Addr{}, x.PoPs[i], rtt))
			}
		}
		add(one, "192.0.2.77", map[int]int{0: 123, 1: 123, 2: 123, 3: 123})
		add(two, "192.0.2.77", map[int]int{0: 50, 3: 71})
		add(partly, "192.0.2.77", map[int]int{0: 0, 1: 80, 2: 80, 3: 80})
		add(rotated, "192.0.2.77", map[int]int{0: 10})
		add(six, "192.0.2.9", map[int]int{0: 80, 1: 80, 2: 80, 3: 80})
		got := rows(t, dir) // on disk now: they were acknowledged
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("rows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// TestNothingAcknowledgedIsLost holds reports that come together to one write,
// and that stopping in the middle of a round keeps what waits.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dir := newServer(t, testSite())
		codes := make(chan int, 100)
		for range 100 {
			body := report(begin(t, s, client), "20")
			go func() { codes <- call(s, client, "POST", "/r", good, body).Code }()
		}
		time.Sleep(roundEvery / 2)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if code := <-codes; code != 204 {
				t.Errorf("answered %d", code)
			}
		}
		if n := len(rows(t, dir)); n != 400 {
			t.Errorf("%d rows, want 400", n)
		}
		if names, _ := filepath.Glob(filepath.Join(dir, "*.beacons")); len(names) != 1 {
			t.Errorf("written as %v, want one batch", names)
		}
	})
}

// TestDiskRefuses holds that a round that the disk does not take answers 503 to
// all, good and bad, and that the server goes on.
func TestDiskRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dir := newServer(t, testSite())
		defer s.Shutdown(t.Context())
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		codes := make(chan int, 2)
		for _, body := range []string{report(begin(t, s, client), "20"), "nonsense"} {
			go func() { codes <- call(s, client, "POST", "/r", good, body).Code }()
		}
		if a, b := <-codes, <-codes; a != 503 || b != 503 {
			t.Errorf("answered %d and %d, want 503 to both", a, b)
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if code := call(s, client, "POST", "/r", good, report(begin(t, s, client), "20")).Code; code != 204 {
			t.Errorf("answered %d when the disk is back", code)
		}
		if got := s.Totals(); got.Rows != 4 || got.LostRows != 4 {
			t.Errorf("%d rows kept and %d lost, want 4 and 4", got.Rows, got.LostRows)
		}
	})
}

// TestNoRoom holds that a round in which one report has no room fails for all of
// it, keeps what had room, and is followed by one that is well; and that a report
// that comes too late for the last round is not said to be kept.
func TestNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dir := newServer(t, testSite())
		row := beacon.Row{Session: 1, Time: time.Now().Unix(), Client: client, RTT: 100}
		first, ok := s.keeper.join(slices.Repeat([]beacon.Row{row}, maxRound-4), []string{"p01"}, true)
		if !ok {
			t.Fatal("no room in an empty round")
		}
		codes := make(chan int, 2)
		for range 2 { // there is room for one
			body := report(begin(t, s, client), "20")
			go func() { codes <- call(s, client, "POST", "/r", good, body).Code }()
		}
		if a, b := <-codes, <-codes; a != 503 || b != 503 || first.err != errFull {
			t.Errorf("answered %d and %d, %v; want 503 to both, and %v", a, b, first.err, errFull)
		}
		if got := s.Totals(); got.Reports["full"] != 1 || got.Reports["kept"] != 1 || got.Rows != maxRound {
			t.Errorf("%v, %d rows", got.Reports, got.Rows)
		}
		if code := call(s, client, "POST", "/r", good, report(begin(t, s, client), "20")).Code; code != 204 {
			t.Errorf("answered %d in the next round", code)
		}
		late := report(begin(t, s, client), "20")
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if code := call(s, client, "POST", "/r", good, late).Code; code != 503 {
			t.Errorf("answered %d after the end", code)
		}
		if n := len(rows(t, dir)); n != maxRound+4 {
			t.Errorf("%d rows, want %d", n, maxRound+4)
		}
	})
}

// TestResolvers holds the way from a question for a token's name to the resolver
// in the session's rows.
func TestResolvers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now, resolver := time.Now(), netip.MustParseAddr("198.51.100.53")
		make := func(key token.Key, session uint64, until time.Duration) string {
			return token.Make(key, session, now.Add(until), client, []string{"p01"})
		}
		tok := make(token.Key{1}, 7, token.Life)
		s, dir := newServer(t, testSite(),
			Asked{tok, resolver, now.Unix()}, Asked{tok, resolver, now.Unix() + 1}, Asked{strings.Repeat("a", token.Length4), resolver, now.Unix()},
			Asked{make(token.Key{9}, 8, token.Life), resolver, now.Unix()}, Asked{make(token.Key{1}, 9, 0), resolver, now.Unix()}, Asked{"www", resolver, now.Unix()})
		defer s.Shutdown(t.Context())
		call(s, client, "POST", "/r", good, tok+"\np01 33.3\n")
		time.Sleep(seenEvery + askedEvery)
		if got, want := rows(t, dir), []string{"7 192.0.2.77 198.51.100.53 p01 333 resource"}; !slices.Equal(got, want) {
			t.Errorf("rows %q, want %q", got, want)
		}
		for i, want := range map[outcome]uint64{kept: 1, used: 1, forged: 1, expired: 1, bad: 2} {
			if got := s.Totals().Asked[outcomeNames[i]]; got != want {
				t.Errorf("%d questions were %s, want %d", got, outcomeNames[i], want)
			}
		}
	})
}

// TestPrivate holds that reports from addresses of laboratories are taken only
// where that is said.
func TestPrivate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site := testSite()
		site.AllowPrivate = false
		s, _ := newServer(t, site)
		defer s.Shutdown(t.Context())
		outside := netip.MustParseAddr("20.0.0.9")
		call(s, client, "POST", "/r", good, report(begin(t, s, client), "20"))
		call(s, outside, "POST", "/r", good, report(begin(t, s, outside), "20"))
		if got := s.Totals().Reports; got["not_public"] != 1 || got["kept"] != 1 {
			t.Errorf("reports %v", got)
		}
	})
}

func TestHeaders(t *testing.T) {
	s, _ := newServer(t, testSite())
	for _, c := range []struct {
		method, path, origin string
		code                 int
		cache                string
		welcome              bool
	}{
		{"GET", "/beacon.js", "", 200, "public, max-age=300", false},
		{"GET", "/o?1", good, 200, "no-store", true},
		{"GET", "/o?2", "https://evil.example", 200, "no-store", false},
		{"GET", "/o", "", 200, "no-store", false},
		{"GET", "/session", good, 200, "no-store", true},
		{"GET", "/session", "https://evil.example", 403, "no-store", false},
		{"GET", "/session", "null", 403, "no-store", false},
		// A foreign page's report was counted as any other.
		{"POST", "/r", "https://evil.example", 403, "no-store", false},
		{"GET", "/r", good, 404, "no-store", true},
		{"POST", "/session", good, 404, "no-store", true},
		{"GET", "/", "", 404, "no-store", false},
	} {
		w := call(s, client, c.method, c.path, c.origin, "")
		want := ""
		if c.welcome {
			want = c.origin
		}
		h := w.Result().Header
		if w.Code != c.code || h.Get("Cache-Control") != c.cache || h.Get("Vary") != "Origin" ||
			h.Get("Access-Control-Allow-Origin") != want || h.Get("Timing-Allow-Origin") != want {
			t.Errorf("%s %s from %q: %d %v", c.method, c.path, c.origin, w.Code, h)
		}
	}
	for range burst {
		call(s, client, "GET", "/o", "", "")
	}
	if w := call(s, client, "GET", "/o", "", ""); w.Code != 429 {
		t.Errorf("a source that asks too much is answered %d", w.Code)
	}
}

// TestScript holds the script's size, as it is served.
func TestScript(t *testing.T) {
	s, _ := newServer(t, testSite())
	got := call(s, client, "GET", "/beacon.js", "", "").Body.String()
	if len(got) >= 3000 || len(got) < 500 || strings.Contains(got, "//\x20") || !strings.HasPrefix(got, "(function") {
		t.Errorf("%d octets, want less than 3000:\n%s", len(got), got)
	}
}

// TestTLS holds that the server speaks both versions of HTTP, and that another
// certificate comes into force without a restart.
func TestTLS(t *testing.T) {
	site := testSite()
	site.Certificate = certificate(t, 1)
	s, err := New(Config{
		Dir: t.TempDir(), Node: "fra1", Log: slog.New(slog.DiscardHandler), Asked: func() (Asked, bool) { return Asked{}, false },
		Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
	}, site)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.Shutdown(t.Context())
	if _, err := New(Config{Dir: t.TempDir(), Listen: []netip.AddrPort{netip.MustParseAddrPort(s.Addrs()[0].String())}}, site); err == nil {
		t.Error("a second server has the same port")
	}
	get := func(h2 bool, serial int64, proto string) {
		t.Helper()
		transport := &http.Transport{ForceAttemptHTTP2: h2, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		defer transport.CloseIdleConnections()
		r, err := (&http.Client{Transport: transport}).Get("https://" + s.Addrs()[0].String() + "/o")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body)
		if got := r.TLS.PeerCertificates[0].SerialNumber.Int64(); string(body) != "." || r.Proto != proto || got != serial {
			t.Errorf("%q over %s with certificate %d, want %s and %d", body, r.Proto, got, proto, serial)
		}
	}
	get(true, 1, "HTTP/2.0")
	get(false, 1, "HTTP/1.1")
	next := *site
	next.Certificate = certificate(t, 2)
	s.Use(&next)
	get(true, 2, "HTTP/2.0")
}

// TestBoundedConnections holds one source to its share.
func TestBoundedConnections(t *testing.T) {
	l := newBounded(nil, nil)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for range maxConnsPerSource {
		if !l.take(a) {
			t.Fatal("refused below the bound")
		}
	}
	if l.take(a) || !l.take(b) {
		t.Error("one source has more than its share, or another none")
	}
	l.leave(a)
	l.leave(b)
	if !l.take(a) || len(l.by) != 1 || l.total != maxConnsPerSource {
		t.Errorf("%d connections of %d sources", l.total, len(l.by))
	}
}

func certificate(t *testing.T, serial int64) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"*.b.example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
