package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edged/health"
)

func addrPort(t *testing.T, s *httptest.Server) netip.AddrPort {
	t.Helper()
	return s.Listener.Addr().(*net.TCPAddr).AddrPort()
}

func TestHTTP(t *testing.T) {
	leakless(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "all is well\n") })
	mux.HandleFunc("/empty", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/ill", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	mux.HandleFunc("/hint", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, "after a hint")
	})
	mux.HandleFunc("/flushed", func(w http.ResponseWriter, r *http.Request) {
		for range 3 {
			io.WriteString(w, "piece ")
			w.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("/far", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat(".", maxBody-3)+"end, and beyond")
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s %s %s", r.Method, r.RequestURI, r.Host, r.UserAgent(), r.Header.Get("X-Key"))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	at := addrPort(t, s)
	for _, row := range []struct {
		check   health.Check
		outcome health.Outcome
		reason  string
	}{
		{health.Check{Path: "/ok"}, health.Passed, ""},
		{health.Check{Path: "/ok", Body: "is well"}, health.Passed, ""},
		{health.Check{Path: "/ok", Body: "ill"}, health.Wrong, `body lacks "ill"`},
		{health.Check{Path: "/ok", Status: []int{204}}, health.Wrong, "status 200, want 204"},
		{health.Check{Path: "/empty", Status: []int{200, 204}}, health.Passed, ""},
		{health.Check{Path: "/empty"}, health.Passed, ""},
		{health.Check{Path: "/ill"}, health.Wrong, "status 503, want 2xx"},
		{health.Check{Path: "/ill", Status: []int{200, 204}}, health.Wrong, "status 503, want 200 or 204"},
		{health.Check{Path: "/ill", Status: []int{503}}, health.Passed, ""},
		{health.Check{Path: "/moved"}, health.Wrong, "status 302, want 2xx"},
		{health.Check{Path: "/hint", Body: "after a hint"}, health.Passed, ""},
		{health.Check{Path: "/flushed", Body: "piece piece piece"}, health.Passed, ""},
		{health.Check{Path: "/far", Body: ".end"}, health.Passed, ""},
		{health.Check{Path: "/far", Body: "end,"}, health.Wrong, `body lacks "end,"`},
		{health.Check{Path: "/echo?a=b%20c", Body: "GET /echo?a=b%20c " + at.String() + " edged-health "}, health.Passed, ""},
		{
			health.Check{Path: "/echo", Host: "www.example.com", Headers: map[string]string{"x-key": "k"}, Body: "GET /echo www.example.com edged-health k"},
			health.Passed, "",
		},
	} {
		row.check.Kind = health.HTTP
		t.Run(row.check.Path, func(t *testing.T) { expect(t, open(t, row.check, at, Options{}), row.outcome, row.reason) })
	}
}

func TestHTTPRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	expect(t, open(t, health.Check{Kind: health.HTTP, Path: "/"}, at, Options{}), health.Silent, "connection refused")
}

// TestHTTPHalfOpen has a peer that never completes the connection.
func TestHTTPHalfOpen(t *testing.T) {
	leakless(t)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	at := netip.MustParseAddrPort("192.0.2.1:80")
	expect(t, open(t, health.Check{Kind: health.HTTP, Path: "/", Timeout: brief}, at, Options{Dial: dial}), health.Silent, "no connection within 100ms")
}

// TestHTTPHostile has servers that do what no server should. None may cost
// more than the octets that it is granted.
func TestHTTPHostile(t *testing.T) {
	leakless(t)
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, row := range []struct {
		name    string
		talk    func(net.Conn)
		body    string
		timeout time.Duration
		outcome health.Outcome
		reason  string
	}{
		{"closes", saysOnce(""), "", 0, health.Wrong, "closed before the answer was whole"},
		{"resets", resets, "", 0, health.Wrong, "connection reset"},
		{"silent", stalls(""), "", brief, health.Silent, "no answer within 100ms"},
		{"garbage", saysOnce("\x00\x01\xff nonsense\r\n\r\n"), "", 0, health.Wrong, `malformed HTTP status code "nonsense"`},
		{"another protocol", saysOnce("SSH-2.0-OpenSSH_9.9\r\n"), "", 0, health.Wrong, `malformed HTTP response "SSH-2.0-OpenSSH_9.9"`},
		{"no line ends", saysForever("", "aaaaaaaaaaaaaaaa"), "", 0, health.Wrong, "headers over 8 KiB"},
		{"endless header", saysForever(ok+"X: ", strings.Repeat("a", 4096)), "", 0, health.Wrong, "headers over 8 KiB"},
		{"endless headers", saysForever(ok, "X: a\r\n"), "", 0, health.Wrong, "headers over 8 KiB"},
		{"endless interim", saysForever("", "HTTP/1.1 100 Continue\r\n\r\n"), "", 0, health.Wrong, "headers over 8 KiB"},
		{"stalls in headers", stalls(ok + "Content-"), "", brief, health.Silent, "no answer within 100ms"},
		{"stalls in body", stalls(ok + "Content-Length: 9\r\n\r\n1234"), "", brief, health.Silent, "no whole answer within 100ms"},
		{"stalls in wanted body", stalls(ok + "Content-Length: 9\r\n\r\n1234"), "5", brief, health.Silent, "no whole answer within 100ms"},
		{"stalls after a fault", stalls("HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\n1234"), "", brief, health.Wrong, "status 500, want 2xx"},
		{"short body", saysOnce(ok + "Content-Length: 9\r\n\r\n1234"), "", 0, health.Wrong, "closed before the answer was whole"},
		{"bad length", saysOnce(ok + "Content-Length: -9\r\n\r\n1234"), "", 0, health.Wrong, `bad Content-Length "-9"`},
		{"two lengths", saysOnce(ok + "Content-Length: 4\r\nContent-Length: 9\r\n\r\n1234"), "", 0, health.Wrong, `http: message cannot contain multiple Content-Length headers; got ["4" "9"]`},
		{"bad chunk", saysOnce(ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "", 0, health.Wrong, "invalid byte in chunk length"},
		{"endless body", saysForever(ok+"\r\n", strings.Repeat("a", 4096)), "", 0, health.Passed, ""},
		{"endless wanted body", saysForever(ok+"\r\n", strings.Repeat("a", 4096)), "b", 0, health.Wrong, `body lacks "b"`},
		{"vast length", saysForever(ok+"Content-Length: 9000000000000000000\r\n\r\n", strings.Repeat("a", 4096)), "b", 0, health.Wrong, `body lacks "b"`},
		{"endless chunks", saysForever(ok+"Transfer-Encoding: chunked\r\n\r\n", "1000\r\n"+strings.Repeat("a", 4096)+"\r\n"), "b", 0, health.Wrong, `body lacks "b"`},
		{"tiny chunks", saysForever(ok+"Transfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n"), "b", 0, health.Wrong, `body lacks "b"`},
		{"endless trailers", saysForever(ok+"Transfer-Encoding: chunked\r\n\r\n0\r\n", "X: a\r\n"), "", 0, health.Wrong, "http: suspiciously long trailer after chunked body"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var y tally
			c := health.Check{Kind: health.HTTP, Path: "/", Body: row.body, Timeout: row.timeout}
			p := open(t, c, serve(t, row.talk), y.options())
			for range 2 {
				y.octets.Store(0)
				expect(t, p, row.outcome, row.reason)
				if got := y.octets.Load(); got > maxHeader+maxBody+maxFraming {
					t.Errorf("read %d octets, want at most %d", got, maxHeader+maxBody+maxFraming)
				}
			}
			if got := y.dials.Load(); got != 2 {
				t.Errorf("%d connections for 2 probes of a broken peer, want 2", got)
			}
		})
	}
}

// TestHTTPKeeps counts connections: they are kept when, and only when, the
// answer left them clean.
func TestHTTPKeeps(t *testing.T) {
	leakless(t)
	for _, row := range []struct {
		name  string
		talk  func(net.Conn)
		keep  time.Duration
		dials int64 // for 10 probes
	}{
		{"kept", says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), 0, 1},
		{"chunked", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), 0, 1},
		{"no body", says("HTTP/1.1 204 No Content\r\n\r\n"), 0, 1},
		{"fault", says("HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno"), 0, 1},
		{"closing", says("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"), 0, 10},
		{"old", says("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"), 0, 10},
		{"more than said", says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay"), 0, 10},
		{"closed by the server", saysOnce("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), 0, 10},
		{"kept for no time", says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), 1, 10},
	} {
		t.Run(row.name, func(t *testing.T) {
			var y tally
			o := y.options()
			o.Keep = row.keep
			outcome, reason := health.Passed, ""
			if row.name == "fault" {
				outcome, reason = health.Wrong, "status 500, want 2xx"
			}
			p := open(t, health.Check{Kind: health.HTTP, Path: "/"}, serve(t, row.talk), o)
			for range 10 {
				expect(t, p, outcome, reason)
			}
			if got := y.dials.Load(); got != row.dials {
				t.Errorf("%d connections for 10 probes, want %d", got, row.dials)
			}
		})
	}
}

// TestHTTPKeepsSpread sees that connections of one time are not renewed at one
// time.
func TestHTTPKeepsSpread(t *testing.T) {
	leakless(t)
	at := serve(t, says("HTTP/1.1 204 No Content\r\n\r\n"))
	early, late := 0, 0
	for range 100 {
		p := open(t, health.Check{Kind: health.HTTP, Path: "/"}, at, Options{Keep: time.Hour})
		before := time.Now()
		expect(t, p, health.Passed, "")
		kept := p.(*prober).way.(*page).retire
		if kept.Before(before.Add(30*time.Minute)) || kept.After(time.Now().Add(time.Hour)) {
			t.Fatalf("kept for %v, want half an hour to an hour", kept.Sub(before))
		}
		if kept.Before(before.Add(45 * time.Minute)) {
			early++
		} else {
			late++
		}
	}
	if early < 20 || late < 20 {
		t.Errorf("%d are renewed early and %d late, want about as many", early, late)
	}
}

// TestHTTPIdleFarewell has a server that says 408 to a kept connection and
// closes it: that is not an answer to the next probe.
func TestHTTPIdleFarewell(t *testing.T) {
	leakless(t)
	said := make(chan bool, 1)
	at := serve(t, func(c net.Conn) {
		request(c)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		<-said
		io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	})
	p := open(t, health.Check{Kind: health.HTTP, Path: "/"}, at, Options{})
	for range 3 {
		expect(t, p, health.Passed, "")
		said <- true
	}
}

// TestHTTPRecovers has a peer stall once; the next probe has a new connection.
func TestHTTPRecovers(t *testing.T) {
	leakless(t)
	var answered atomic.Int32
	at := serve(t, func(c net.Conn) {
		for request(c) == nil {
			if answered.Add(1) == 2 {
				io.Copy(io.Discard, c)
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	var y tally
	p := open(t, health.Check{Kind: health.HTTP, Path: "/", Timeout: time.Second}, at, y.options())
	expect(t, p, health.Passed, "")
	expect(t, p, health.Silent, "no answer within 1s")
	expect(t, p, health.Passed, "")
	if got := y.dials.Load(); got != 2 {
		t.Errorf("%d connections, want 2", got)
	}
}

func TestHTTPS(t *testing.T) {
	leakless(t)
	ca := newAuthority(t)
	year := func(y int) time.Time { return time.Date(y, 11, 1, 0, 0, 0, 0, time.UTC) }
	for _, row := range []struct {
		name    string
		cert    tls.Certificate
		check   health.Check
		options Options
		outcome health.Outcome
		reason  string
	}{
		{"valid", ca.valid(t, "www.example.com"), health.Check{Host: "www.example.com:8443", Verify: true}, Options{Roots: ca.roots}, health.Passed, ""},
		{"sni", ca.valid(t, "a.example"), health.Check{Host: "www.example.com", SNI: "a.example", Verify: true}, Options{Roots: ca.roots}, health.Passed, ""},
		{"expired", ca.certify(t, "www.example.com", year(2020), year(2021)), health.Check{Host: "www.example.com", Verify: true}, Options{Roots: ca.roots}, health.Wrong, "certificate: expired 2021-11-01"},
		{"not yet", ca.certify(t, "www.example.com", year(2040), year(2041)), health.Check{Host: "www.example.com", Verify: true}, Options{Roots: ca.roots}, health.Wrong, "certificate: not valid before 2040-11-01"},
		{"wrong name", ca.valid(t, "a.example"), health.Check{Host: "www.example.com", Verify: true}, Options{Roots: ca.roots}, health.Wrong, "certificate: not for www.example.com, but for a.example"},
		{"no name", ca.valid(t, "a.example"), health.Check{Verify: true}, Options{Roots: ca.roots}, health.Wrong, "certificate: not for 127.0.0.1, but for a.example"},
		{"unknown authority", ca.valid(t, "www.example.com"), health.Check{Host: "www.example.com", Verify: true}, Options{}, health.Wrong, "certificate: unknown authority"},
		{"not verified", ca.certify(t, "a.example", year(2020), year(2021)), health.Check{Host: "www.example.com"}, Options{}, health.Passed, ""},
	} {
		for _, h2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/h2=%v", row.name, h2), func(t *testing.T) {
				var connections atomic.Int32
				s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if want := 1 + r.ProtoMajor/2; (want == 2) != h2 {
						w.WriteHeader(http.StatusHTTPVersionNotSupported)
					}
					io.WriteString(w, "hello from "+r.Host)
				}))
				s.Config.ErrorLog = quiet
				s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
					if state == http.StateNew {
						connections.Add(1)
					}
				}
				s.EnableHTTP2 = h2
				s.TLS = &tls.Config{Certificates: []tls.Certificate{row.cert}}
				s.StartTLS()
				t.Cleanup(s.Close)
				row.check.Kind, row.check.Path = health.HTTPS, "/"
				if row.check.Host != "" {
					row.check.Body = "hello from " + row.check.Host
				}
				p := open(t, row.check, addrPort(t, s), row.options)
				for range 5 {
					expect(t, p, row.outcome, row.reason)
				}
				want := int32(1)
				if row.outcome != health.Passed {
					want = 5
				}
				if got := connections.Load(); got != want {
					t.Errorf("%d connections for 5 probes, want %d", got, want)
				}
			})
		}
	}
}

// TestHTTPProbersAreLight measures what a prober holds between its probes,
// with its connection and the peer's side of it.
func TestHTTPProbersAreLight(t *testing.T) {
	leakless(t)
	const n, most = 200, 16 << 10
	at := serve(t, says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	probers := make([]Prober, 0, n)
	before := footprint()
	for range n {
		p := open(t, health.Check{Kind: health.HTTP, Path: "/"}, at, Options{})
		expect(t, p, health.Passed, "")
		probers = append(probers, p)
	}
	if got := (footprint() - before) / n; got > most {
		t.Errorf("%d octets for a prober, want at most %d", got, most)
	}
	runtime.KeepAlive(probers)
	// The peer of the test allocates too: once for each request.
	if got := testing.AllocsPerRun(100, func() { probers[0].Probe(t.Context()) }); got > 40 {
		t.Errorf("%v allocations for a probe, want at most 40", got)
	}
}

func footprint() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// scripted is a connection whose peer says one thing and closes.
type scripted struct {
	net.Conn // nil: what is not below is not used
	r        *strings.Reader
	read     int
}

func (c *scripted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.read += n
	return n, err
}
func (c *scripted) Write(p []byte) (int, error) { return len(p), nil }
func (c *scripted) Close() error                { return nil }
func (c *scripted) SetDeadline(time.Time) error { return nil }

// FuzzHTTP reads answers of any octets over HTTP/1.1.
func FuzzHTTP(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	f.Add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nT: v\r\n\r\n")
	f.Add("HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.0 500 No\r\n\r\nrest")
	f.Add("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
	f.Add("SSH-2.0-OpenSSH\r\n")
	c := health.Check{Kind: health.HTTP, Path: "/", Body: "ok", Timeout: ample, Port: 80}
	f.Fuzz(func(t *testing.T, answer string) {
		var conns []*scripted
		dial := func(context.Context, string, string) (net.Conn, error) {
			c := &scripted{r: strings.NewReader(answer)}
			conns = append(conns, c)
			return c, nil
		}
		p, err := New(health.NewTarget(c, netip.MustParseAddr("192.0.2.1")), Options{Dial: dial})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			r := p.Probe(t.Context())
			if r.Outcome != health.Passed && r.Outcome != health.Wrong {
				t.Errorf("outcome %d (%s), want passed or wrong", r.Outcome, r.Reason)
			}
			if (r.Outcome == health.Passed) != (r.Reason == "") || len(r.Reason) > health.MaxReason {
				t.Errorf("outcome %d with reason %q", r.Outcome, r.Reason)
			}
			if r.Outcome == health.Passed && !strings.Contains(answer, "ok") && !strings.Contains(strings.ToLower(answer), "chunked") {
				t.Error("passed without what is wanted")
			}
		}
		for _, c := range conns {
			if c.read > maxHeader+maxBody+maxFraming {
				t.Errorf("read %d octets", c.read)
			}
		}
	})
}
