package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"edged/bgp/announcer"
	"edged/health/override"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNode is a node that does nothing but answer.
type fakeNode struct {
	bad      bool // its files are bad
	question Question
	asked    override.Request
	vips     VIPs
	told     float64
	beacons  fakeBeacons
}

func (n *fakeNode) Health() Health {
	return Health{Status: "ok", ViewAge: 1.5, Version: "v1"}
}
func (n *fakeNode) Status() any    { return map[string]int{"zones": 2} }
func (n *fakeNode) Verdicts() any  { return map[string]string{"hash": "5"} }
func (n *fakeNode) History() any   { return []string{"up"} }
func (n *fakeNode) Overrides() any { return []string{"drain pop/fra"} }
func (n *fakeNode) Load() any      { return map[string]float64{"told": n.told} }
func (n *fakeNode) TellLoad(requests float64) error {
	if requests < 0 {
		return errors.New("load of -1 requests/s: want more")
	}
	n.told = requests
	return nil
}

func (n *fakeNode) Override(_ context.Context, q override.Request) Overriding {
	n.asked = q
	return Overriding{Applied: q.Reason != "no", Error: q.Reason}
}
func (n *fakeNode) Config() ([]byte, error) { return []byte("node: {name: fra1}\n"), nil }
func (n *fakeNode) Explain(q Question) (any, error) {
	if n.question = q; q.Name == "nowhere.example." {
		return nil, errors.New(`name "nowhere.example." is in no zone`)
	}
	return answer{"pop": "fra"}, nil
}

type answer map[string]string

func (a answer) WriteText(w io.Writer) error {
	_, err := io.WriteString(w, "PoP "+a["pop"]+"\n")
	return err
}

func (n *fakeNode) Reload(context.Context) Reload {
	if n.bad {
		return Reload{Errors: []string{"edged.yaml:3: pops: is empty"}, Warnings: []string{}}
	}
	return Reload{Applied: true, Errors: []string{}, Warnings: []string{"edged.yaml:9: pools.a: no name uses this pool"}}
}

const (
	engineerToken = "engineer-token-0123456789"
	builderToken  = "builder-token-01234567890"
)

// newServer returns a server with two tokens, its node and its log.
func newServer(t *testing.T, c Config) (*Server, *fakeNode, *bytes.Buffer) {
	t.Helper()
	tokens, err := parseTokens([]byte("ann engineer "+engineerToken+"\nbob map-builder "+builderToken+"\n"), "tokens")
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "edged_test"}, func() float64 { return 7 }))
	var log bytes.Buffer
	c.Metrics = registry
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	node := new(fakeNode)
	s := New(c, node)
	s.SetTokens(tokens)
	return s, node, &log
}

// TestTCP calls every route without the network, as a TCP client.
func TestTCP(t *testing.T) {
	for _, tc := range []struct {
		name   string
		method string
		path   string
		host   string // 127.0.0.1:8053 when empty
		header string // "Name: value"
		status int
		body   string // a part of it
	}{
		{name: "health", path: "/healthz", status: 200, body: `"status": "ok",
  "alarms": [],
  "view_age_seconds": 1.5,`},
		{name: "metrics", path: "/metrics", status: 200, body: "edged_test 7\n"},
		{name: "status", path: "/v1/status", status: 200, body: `"zones": 2`},
		{name: "config", path: "/v1/config", status: 200, body: "node: {name: fra1}\n"},
		{name: "health", path: "/v1/health", status: 200, body: `"hash": "5"`},
		{name: "history", path: "/v1/health/history", status: 200, body: `"up"`},
		{name: "description", path: "/v1/openapi.yaml", status: 200, body: "openapi: 3.1.0\n"},
		{name: "explain", path: "/v1/explain?name=www.example.com&client=203.0.113.7", status: 200, body: `"pop": "fra"`},
		{name: "explain to a person", path: "/v1/explain?name=www.example.com&format=text", status: 200, body: "PoP fra\n"},
		{name: "explain without a name", path: "/v1/explain", status: 400, body: `"error": "name: required, but not given"`},
		{name: "explain elsewhere", path: "/v1/explain?name=nowhere.example.", status: 400, body: `is in no zone`},
		{name: "no such path", path: "/v1/nothing", status: 404, body: `no such path \"/v1/nothing\"; /v1/openapi.yaml lists them`},
		{name: "wrong method", method: "POST", path: "/healthz", status: 405, body: `/healthz takes GET, not POST`},
		{name: "reload by GET", path: "/v1/reload", status: 405, body: `/v1/reload takes POST, not GET`},

		{name: "reload without a token", method: "POST", path: "/v1/reload", status: 401, body: `needs a bearer token or a client certificate with role engineer, or the control socket`},
		{name: "reload as engineer", method: "POST", path: "/v1/reload", header: "Authorization: Bearer " + engineerToken, status: 200, body: `"applied": true`},
		{name: "scheme in lower case", method: "POST", path: "/v1/reload", header: "Authorization: bearer " + engineerToken, status: 200, body: `"applied": true`},
		{name: "reload as map-builder", method: "POST", path: "/v1/reload", header: "Authorization: Bearer " + builderToken, status: 403, body: `needs the role engineer; this caller has map-builder`},
		{name: "unknown token", method: "POST", path: "/v1/reload", header: "Authorization: Bearer " + engineerToken + "x", status: 401, body: `unknown bearer token`},
		{name: "unknown token to read", path: "/healthz", header: "Authorization: Bearer nonsense", status: 401, body: `unknown bearer token`},
		{name: "empty token", method: "POST", path: "/v1/reload", header: "Authorization: Bearer", status: 401, body: `unknown bearer token`},
		{name: "other scheme", method: "POST", path: "/v1/reload", header: "Authorization: Basic " + engineerToken, status: 401, body: `unknown bearer token`},

		{name: "localhost", path: "/healthz", host: "localhost:8053", status: 200},
		{name: "IPv6 literal", path: "/healthz", host: "[::1]:8053", status: 200},
		{name: "IPv6 literal without a port", path: "/healthz", host: "[::1]", status: 200},
		{name: "configured host", path: "/healthz", host: "Edge1.example.net.:8053", status: 200},
		{name: "other host", path: "/healthz", host: "attacker.example:8053", status: 403, body: `host \"attacker.example:8053\" is not this node`},
		{name: "host that begins like ours", path: "/healthz", host: "localhost.attacker.example", status: 403},
		{name: "other host with a token", method: "POST", path: "/v1/reload", host: "attacker.example", header: "Authorization: Bearer " + engineerToken, status: 403},
		{name: "other host, no such path", path: "/nothing", host: "attacker.example", status: 403},
		{name: "own origin", path: "/healthz", header: "Origin: http://127.0.0.1:8053", status: 200},
		{name: "other origin", path: "/healthz", header: "Origin: http://attacker.example", status: 403, body: `origin \"http://attacker.example\" is another site`},
		{name: "other port", path: "/healthz", header: "Origin: http://127.0.0.1:80", status: 403},
		{name: "opaque origin", path: "/healthz", header: "Origin: null", status: 403},
		{name: "other scheme of origin", path: "/healthz", header: "Origin: file://127.0.0.1:8053", status: 403},

		{name: "profiles", path: "/debug/pprof/", status: 403, body: `profiles are served on the control socket only`},
		{name: "heap profile", path: "/debug/pprof/heap", header: "Authorization: Bearer " + engineerToken, status: 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, _, _ := newServer(t, Config{Hosts: []string{"edge1.example.net"}, Pprof: true})
			if tc.method == "" {
				tc.method = "GET"
			}
			if tc.host == "" {
				tc.host = "127.0.0.1:8053"
			}
			r := httptest.NewRequest(tc.method, tc.path, nil)
			r.Host = tc.host
			if k, v, ok := strings.Cut(tc.header, ": "); ok {
				r.Header.Set(k, v)
			}
			w := httptest.NewRecorder()
			s.handler().ServeHTTP(w, r)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.body) {
				t.Errorf("got %d %s\nwant %d with %s", w.Code, w.Body, tc.status, tc.body)
			}
		})
	}
}

// TestProfilesAreOff holds that without admin.pprof there is nothing to find.
func TestProfilesAreOff(t *testing.T) {
	s, _, _ := newServer(t, Config{})
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/debug/pprof/", nil)
	r = r.WithContext(context.WithValue(r.Context(), connKey{}, caller{local: true}))
	s.handler().ServeHTTP(w, r)
	if w.Code != http.StatusNotFound {
		t.Errorf("got %d, want 404", w.Code)
	}
}

// TestAudit holds that each change and each refused change is logged with who
// asked for it, and that no token gets into the log.
func TestAudit(t *testing.T) {
	s, _, log := newServer(t, Config{})
	for _, token := range []string{engineerToken, builderToken, ""} {
		r := httptest.NewRequest("POST", "/v1/reload", nil)
		r.Host, r.RemoteAddr = "localhost", "127.0.0.1:40000"
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		s.handler().ServeHTTP(httptest.NewRecorder(), r)
	}
	for _, want := range []string{
		`level=INFO msg="admin call" method=POST path=/v1/reload who="ann from 127.0.0.1:40000" applied=true`,
		`level=WARN msg="admin call refused" method=POST path=/v1/reload who="bob from 127.0.0.1:40000"`,
		`who=127.0.0.1:40000 why="/v1/reload needs a bearer token or`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log lacks %s:\n%s", want, log)
		}
	}
	if strings.Contains(log.String(), engineerToken) || strings.Contains(log.String(), builderToken) {
		t.Errorf("a token is in the log:\n%s", log)
	}
}

// TestServe runs both listeners and talks to them as the command line does.
func TestServe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	s, node, log := newServer(t, Config{Listen: netip.MustParseAddrPort("127.0.0.1:0"), Socket: path, Pprof: true})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Fatalf("socket has mode %v (error %v), want 0600", info.Mode(), err)
	}
	private := filepath.Join(filepath.Dir(path), privateFolder)
	left, err := os.ReadDir(private)
	if info, statErr := os.Lstat(private); err != nil || statErr != nil || info.Mode() != fs.ModeDir|0o700 || len(left) > 0 {
		t.Errorf("%v, %v: the private folder is %v, with %v left behind", err, statErr, info, left)
	}
	tcp := "http://" + s.Addr().String()
	client := func(node, token string) *Client {
		c, err := NewClient(node, token)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	ctx := t.Context()
	for _, c := range []*Client{client(path, ""), client(tcp, "")} {
		var h Health
		if err := c.Get(ctx, "/healthz", nil, &h); err != nil || h.Status != "ok" {
			t.Errorf("%s: got %+v, %v", c.node, h, err)
		}
		var text []byte
		if err := c.Get(ctx, "/v1/config", nil, &text); err != nil || string(text) != "node: {name: fra1}\n" {
			t.Errorf("%s: got %q, %v", c.node, text, err)
		}
		var trace map[string]string
		err := c.Get(ctx, "/v1/explain", url.Values{"name": {"www.example.com"}, "type": {"aaaa"}, "client": {"2001:db8::7"}, "resolver": {"8.8.8.8"}}, &trace)
		if err != nil || trace["pop"] != "fra" {
			t.Errorf("%s: got %v, %v", c.node, trace, err)
		}
		want := Question{"www.example.com", "AAAA", netip.MustParsePrefix("2001:db8::/56"), netip.MustParseAddr("8.8.8.8")}
		if node.question != want {
			t.Errorf("%s: the node was asked %+v, want %+v", c.node, node.question, want)
		}
	}
	if r, err := client(path, "").Reload(ctx); err != nil || !r.Applied || len(r.Warnings) != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
	if !strings.Contains(log.String(), `who="control socket, `) {
		t.Errorf("log does not name the control socket: %s", log)
	}
	var heap []byte
	if err := client(path, "").Get(ctx, "/debug/pprof/heap", nil, &heap); err != nil || len(heap) == 0 {
		t.Errorf("no profile on the control socket: %v", err)
	}
	if r, err := client(tcp, engineerToken).Reload(ctx); err != nil || !r.Applied {
		t.Errorf("got %+v, %v", r, err)
	}
	_, err = client(tcp, "").Reload(ctx)
	want := `node "` + tcp + `": POST /v1/reload: status 401: /v1/reload needs a bearer token or a client certificate with role engineer, or the control socket`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	node.bad = true
	if r, err := client(path, "").Reload(ctx); err != nil || r.Applied || len(r.Errors) != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := client(path, "").Get(ctx, "/healthz", nil, new(Health)); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("got %v after the end", err)
	}
}

// TestPortTaken holds that a failed start leaves nothing behind, so that
// another can follow at once.
func TestPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	path := filepath.Join(t.TempDir(), "control.sock")
	s, _, _ := newServer(t, Config{Listen: netip.MustParseAddrPort(taken.Addr().String()), Socket: path})
	if err := s.Start(); err == nil || !strings.HasPrefix(err.Error(), "listen.admin: listen tcp "+taken.Addr().String()) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	again, _, _ := newServer(t, Config{Socket: path})
	if err := again.Start(); err != nil || again.Addr() != nil {
		t.Errorf("got %v, listening on %v", err, again.Addr())
	}
	if err := again.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSocketTaken(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "control.sock")
	first, err := listenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenSocket(path); err == nil || !strings.Contains(err.Error(), "another node answers on it") {
		t.Errorf("a second listener: got %v", err)
	}
	// The first dies without removing its socket.
	if err := first.(*socket).UnixListener.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := listenSocket(path)
	if err != nil {
		t.Fatalf("a stale socket is not replaced: %v", err)
	}
	first.Close() // too late: the path is the second's now
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the first removed the second's socket: %v", err)
	}
	second.Close()

	private := filepath.Join(dir, privateFolder)
	if err := os.Chmod(private, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := listenSocket(path); err == nil || !strings.Contains(err.Error(), "is no folder that only its owner can use; remove it") {
		t.Errorf("with a folder that others can look into: %v", err)
	}

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                           "there is a file that is not a socket",
		filepath.Join(dir, "no", "s"):  "no such file or directory",
		"/" + strings.Repeat("a", 120): "no such file or directory|too long",
	} {
		_, err := listenSocket(path)
		if err == nil || !slices.ContainsFunc(strings.Split(want, "|"), func(w string) bool { return strings.Contains(err.Error(), w) }) {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
}

func TestTokens(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tokens")
	good := "# who may do what\n\nann engineer " + engineerToken + "\n  bob\tmap-builder " + builderToken + "  \n"
	if err := os.WriteFile(path, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := ReadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]Role{engineerToken: Engineer, builderToken: MapBuilder, "": "", "engineer": "", engineerToken[:24]: ""} {
		if got, ok := tokens.find(text); got.role != want || ok != (want != "") {
			t.Errorf("%q: got role %q, %v, want %q", text, got.role, ok, want)
		}
	}
	if _, ok := (*Tokens)(nil).find(engineerToken); ok {
		t.Error("no tokens, but one is found")
	}

	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadTokens(path); err == nil || err.Error() != `tokens file "`+path+`": mode 0640 lets others use it; chmod 600` {
		t.Errorf("got %v", err)
	}
	if _, err := ReadTokens(dir); err == nil || err.Error() != `tokens file "`+dir+`": not a regular file` {
		t.Errorf("got %v", err)
	}
	if _, err := ReadTokens(path + "x"); err == nil || err.Error() != `tokens file "`+path+`x": no such file or directory` {
		t.Errorf("got %v", err)
	}
}

func TestBadTokens(t *testing.T) {
	_, err := parseTokens([]byte(strings.Join([]string{
		"ann engineer " + engineerToken,
		"bob " + builderToken,
		"bob admin " + builderToken,
		"bob map-builder short",
		"ann map-builder " + builderToken,
		"bob map-builder " + engineerToken,
	}, "\n")), "tokens")
	want := `tokens:2: want name, role and token, got 2 fields
tokens:3: unknown role; want engineer or map-builder
tokens:4: the token of "bob" has 5 characters; want at least 20
tokens:5: name "ann" stands on line 1 already
tokens:6: the token of "bob" stands on line 1 already`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func FuzzTokens(f *testing.F) {
	f.Add([]byte("ann engineer " + engineerToken + "\n# x\nbob map-builder y\n"))
	f.Add([]byte("\x00 \xff\n\r\n a b c d"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tokens, err := parseTokens(data, "tokens")
		if (tokens == nil) == (err == nil) {
			t.Fatalf("got %v and %v", tokens, err)
		}
		for line := range bytes.Lines(data) {
			if f := bytes.Fields(line); err == nil && len(f) == 3 && f[0][0] != '#' {
				if _, ok := tokens.find(string(f[2])); !ok {
					t.Fatalf("accepted, but the token of %q is not found", f[0])
				}
			}
		}
	})
}

func TestParseQuestion(t *testing.T) {
	for _, tc := range []struct {
		name, rrtype, client, resolver string
		want                           string // error, or client prefix
	}{
		{name: "a.example", want: "invalid Prefix"},
		{name: "a.example", client: "203.0.113.7", want: "203.0.113.0/24"},
		{name: "a.example", client: "203.0.113.7/28", want: "203.0.113.0/28"},
		{name: "a.example", client: "0.0.0.0/0", want: "0.0.0.0/0"},
		{name: "a.example", client: "2001:db8:0:ff::1", want: "2001:db8::/56"},
		{name: "a.example", client: "home", want: `client "home": want an IP address or a prefix such as 203.0.113.0/24`},
		{name: "a.example", client: "fe80::1%eth0", want: `client "fe80::1%eth0": want an IP address or a prefix such as 203.0.113.0/24`},
		{name: "a.example", resolver: "8.8.8.0/24", want: `resolver "8.8.8.0/24": want an IP address`},
		{want: "name: required, but not given"},
	} {
		q, err := ParseQuestion(tc.name, tc.rrtype, tc.client, tc.resolver)
		got := q.Client.String()
		if err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%+v: got %s", tc, got)
		}
	}
}

func TestNewClientErrors(t *testing.T) {
	for _, node := range []string{"ftp://127.0.0.1", "http://", "http://127.0.0.1:8053/v1", "http://%zz"} {
		if _, err := NewClient(node, ""); err == nil || !strings.Contains(err.Error(), "want a socket's path or a URL") {
			t.Errorf("%s: got %v", node, err)
		}
	}
}

// TestClientRefusals holds that a client says what an answer was that it cannot use.
func TestClientRefusals(t *testing.T) {
	for body, want := range map[string]string{
		"404 page not found":  "GET /v1/status: status 404: Not Found",
		`{"error": "gone"}`:   "GET /v1/status: status 404: gone",
		"redirect":            "GET /v1/status: status 302: Found",
		"<html>hello</html>0": "GET /v1/status: not the JSON wanted",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case body == "redirect":
				http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
				return
			case !strings.HasPrefix(body, "<"):
				w.WriteHeader(http.StatusNotFound)
			}
			io.WriteString(w, body)
		}))
		c, err := NewClient(srv.URL, "")
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if err := c.Get(t.Context(), "/v1/status", nil, &v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		c.Close()
		srv.Close()
	}
}

// TestDescription holds openapi.yaml and the routes together.
func TestDescription(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			Summary  string
			Security []any
		}
	}
	if err := yaml.Unmarshal(openapi, &doc); err != nil {
		t.Fatal(err)
	}
	s, _, _ := newServer(t, Config{})
	described := 0
	for _, methods := range doc.Paths {
		described += len(methods)
	}
	routes := s.routes()
	if described != len(routes) {
		t.Errorf("%d calls are described, %d routes exist", described, len(routes))
	}
	for _, r := range routes {
		call, ok := doc.Paths[r.path][strings.ToLower(r.method)]
		if !ok || call.Summary == "" {
			t.Errorf("%s %s is not described", r.method, r.path)
		}
		if secured := len(call.Security) > 0; secured != (r.role != "") {
			t.Errorf("%s %s: described with security %v, but needs role %q", r.method, r.path, call.Security, r.role)
		}
		if r.method != http.MethodGet && r.role == "" {
			t.Errorf("%s %s changes something without a role", r.method, r.path)
		}
	}
}

// TestDescriptionOfBodies holds the bodies of calls and what is read of them together.
func TestDescriptionOfBodies(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			RequestBody struct {
				Content map[string]struct {
					Schema struct {
						Required   []string
						Properties map[string]any
					}
				}
			} `yaml:"requestBody"`
		}
	}
	if err := yaml.Unmarshal(openapi, &doc); err != nil {
		t.Fatal(err)
	}
	for path, body := range map[string]any{
		"/v1/vips/rollout": announcer.Steering{}, "/v1/vips/apply": announcer.Application{}, "/v1/vips/operations": announcer.Request{},
	} {
		schema := doc.Paths[path]["post"].RequestBody.Content["application/json"].Schema
		var want, required []string
		for f := range reflect.TypeOf(body).Fields() {
			name, more, _ := strings.Cut(f.Tag.Get("json"), ",")
			want = append(want, name)
			if more == "" {
				required = append(required, name)
			}
		}
		slices.Sort(want)
		slices.Sort(required)
		slices.Sort(schema.Required)
		if got := slices.Sorted(maps.Keys(schema.Properties)); !slices.Equal(got, want) || !slices.Equal(schema.Required, required) {
			t.Errorf("%s: described are %v and of these required %v, read are %v and %v", path, got, schema.Required, want, required)
		}
	}
}

// TestDescriptionIsWhole: a text that is cut off at a comma leaves a key without a value behind.
func TestDescriptionIsWhole(t *testing.T) {
	var doc any
	if err := yaml.Unmarshal(openapi, &doc); err != nil {
		t.Fatal(err)
	}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case nil:
			t.Errorf("%s has no value", at)
		case map[string]any:
			for key, value := range v {
				walk(at+" > "+key, value)
			}
		case []any:
			for i, value := range v {
				walk(fmt.Sprint(at, " > ", i), value)
			}
		}
	}
	walk("openapi.yaml", doc)
}
