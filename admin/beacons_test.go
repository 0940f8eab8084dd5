package admin

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"edged/mapper/beacon"
)

// fakeBeacons keeps measurements in a folder, or fails.
type fakeBeacons struct {
	dir   string
	quota Quota
	err   error
	taken *beacon.Options
}

func (n *fakeNode) Beacons() Beacons { return &n.beacons }

func (b *fakeBeacons) Take(ctx context.Context, r io.Reader, o beacon.Options) (beacon.Report, error) {
	b.taken = &o
	if b.err != nil {
		return beacon.Report{Batch: o.Batch, Accepted: 7}, b.err
	}
	o.Now = time.Unix(1_700_000_000, 0)
	if b.dir != "" {
		var err error
		if o.Into, err = beacon.NewWriter(b.dir); err != nil {
			return beacon.Report{}, err
		}
	}
	return beacon.Intake(ctx, r, o)
}

func (b *fakeBeacons) Resume(batch string) (int, error) {
	w, err := beacon.NewWriter(b.dir)
	if err != nil {
		return 0, err
	}
	return w.Resume(batch)
}
func (b *fakeBeacons) Quota() (Quota, int) { return b.quota, 2 }
func (b *fakeBeacons) Files(ctx context.Context) (Files, error) {
	list, err := beacon.NewCatalog(b.dir).List(ctx)
	return Files{"fra1", list}, err
}

func (b *fakeBeacons) OpenFile(name string) (*os.File, error) {
	return beacon.NewCatalog(b.dir).Open(name)
}

const csvHeader = "time,session,client,resolver,pop,rtt_ms,method\n"

// csvRows is a file with so many rows of one hour.
func csvRows(n int) string {
	var b strings.Builder
	b.WriteString(csvHeader)
	for i := range n {
		fmt.Fprintf(&b, "1699999000,s%d,81.2.%d.%d,,fra,12.5,resource\n", i, i/250%250, i%250)
	}
	return b.String()
}

func TestUpload(t *testing.T) {
	zipped := new(bytes.Buffer)
	z := gzip.NewWriter(zipped)
	io.WriteString(z, `{"time":1699999000,"session":"a","client":"81.2.3.4","pop":"fra","rtt_ms":12.5,"method":"tcp"}`+"\nx\n")
	z.Close()
	bearer := "Authorization: Bearer " + builderToken
	for _, tc := range []struct {
		name   string
		path   string // after /v1/beacons
		header []string
		body   string
		err    error
		status int
		want   string
	}{
		{name: "no token", path: "?batch=a", body: csvRows(1), status: 401, want: "needs a bearer token or a client certificate with role map-builder"},
		{name: "engineer", path: "?batch=a", header: []string{"Authorization: Bearer " + engineerToken}, body: csvRows(1), status: 403, want: "needs the role map-builder; this caller has engineer"},
		{name: "csv", path: "?batch=a", header: []string{bearer, "Content-Type: text/csv; charset=utf-8"}, body: csvRows(2), status: 200, want: `"accepted": 2`},
		{name: "ndjson in gzip, sniffed", path: "?batch=a", header: []string{bearer, "Content-Encoding: gzip"}, body: zipped.String(), status: 200, want: `"rejected": [
    {
      "reason": "not a row",
      "rows": 1,
      "lines": [
        2
      ],`},
		{name: "batch in a header", header: []string{bearer, "Idempotency-Key: june"}, body: csvRows(1), status: 200, want: `"batch": "june"`},
		{name: "larger than other bodies", path: "?batch=a", header: []string{bearer}, body: csvRows(3000), status: 200, want: `"accepted": 3000`},
		{name: "no batch", header: []string{bearer}, status: 400, want: "batch: required, but not given"},
		{name: "bad batch", path: "?batch=a/b", header: []string{bearer}, status: 422, want: `bad batch id \"a/b\"`},
		{name: "bad skip", path: "?batch=a&skip=x", header: []string{bearer}, status: 400, want: `skip \"x\": want the number of rows`},
		{name: "skip in a chunk", path: "?batch=a&skip=5", header: []string{bearer}, status: 422, want: `bad number of rows 5 to skip: want a multiple of 524288`},
		{name: "wrong header", path: "?batch=a", header: []string{bearer}, body: "a,b\n1,2\n", status: 422, want: `bad header: column \"a\" is unknown`},
		{name: "json said, csv sent", path: "?batch=a", header: []string{bearer, "Content-Type: application/x-ndjson"}, body: csvRows(1), status: 200, want: `"accepted": 0`},
		{name: "other type", path: "?batch=a", header: []string{bearer, "Content-Type: application/pdf"}, status: 415, want: `content type \"application/pdf\": want text/csv or application/x-ndjson`},
		{name: "other encoding", path: "?batch=a", header: []string{bearer, "Content-Encoding: br"}, status: 415, want: `content encoding \"br\": want gzip or zstd`},
		{name: "rows over the quota", path: "?batch=a", header: []string{bearer}, body: csvRows(5001), status: 429, want: `upload of batch \"a\": line 5002: over the quota of 5000 rows, all that \"bob\" had left of 5000 rows and 1000000 octets of plain text in 24 h: what was accepted is kept; send the batch again in 864 s and later, and it goes on`},
		{name: "octets over the quota", path: "?batch=a", header: []string{bearer}, body: csvHeader + strings.Repeat("x", 1<<20), status: 429, want: "over the quota of 1000000 octets"},
		{name: "full disk", path: "?batch=a", header: []string{bearer}, body: "x", err: fmt.Errorf("%w: %w", beacon.ErrNotKept, syscall.ENOSPC), status: 507, want: `"accepted": 7`},
		{name: "broken disk", path: "?batch=a", header: []string{bearer}, body: "x", err: fmt.Errorf("%w: %w", beacon.ErrNotKept, syscall.EIO), status: 500, want: "not kept: input/output error"},
		{name: "slow client", path: "?batch=a", header: []string{bearer}, body: "x", err: os.ErrDeadlineExceeded, status: 408, want: "i/o timeout"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, node, _ := newServer(t, Config{})
			node.beacons = fakeBeacons{dir: t.TempDir(), quota: Quota{5000, 1_000_000}, err: tc.err}
			r := httptest.NewRequest("POST", "/v1/beacons"+tc.path, strings.NewReader(tc.body))
			r.Host = "127.0.0.1"
			for _, h := range tc.header {
				k, v, _ := strings.Cut(h, ": ")
				r.Header.Set(k, v)
			}
			w := httptest.NewRecorder()
			s.handler().ServeHTTP(w, r)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
				t.Errorf("got %d %s\nwant %d with %s", w.Code, w.Body, tc.status, tc.want)
			}
			if wait := w.Header().Get("Retry-After"); (wait != "") != (tc.status == 429) {
				t.Errorf("Retry-After %q", wait)
			}
			if s.uploads.Load() != 0 {
				t.Errorf("%d uploads run still", s.uploads.Load())
			}
		})
	}
}

// TestUploadOfOtherRows: a batch that is there with other rows is refused, and nothing is
// said to be accepted.
func TestUploadOfOtherRows(t *testing.T) {
	s, node, _ := newServer(t, Config{})
	node.beacons = fakeBeacons{dir: t.TempDir(), quota: Quota{5000, 1_000_000}}
	for _, tc := range []struct {
		rows, status int
		want         string
	}{
		{3, 200, `"accepted": 3,`},
		{2, 200, `"known": 2,`},
		{5, 409, `"error": "batch \"day1.1\" is here with other rows: 2 of the 5 that came are not on disk: its name \"day1\" stands for another file`},
		{5, 409, `"accepted": 0,`},
	} {
		r := httptest.NewRequest("POST", "/v1/beacons?batch=day1", strings.NewReader(csvRows(tc.rows)))
		r.Host = "127.0.0.1"
		r.Header.Set("Authorization", "Bearer "+builderToken)
		w := httptest.NewRecorder()
		s.handler().ServeHTTP(w, r)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("%d rows: %d %s, want %d with %s", tc.rows, w.Code, w.Body, tc.status, tc.want)
		}
	}
}

// TestUploadsAtOnce: the third of two, and a second one of one token, are put off.
func TestUploadsAtOnce(t *testing.T) {
	s, node, _ := newServer(t, Config{})
	node.beacons.quota = Quota{10, 1000}
	try := func(code int, after, want string) {
		t.Helper()
		r := httptest.NewRequest("POST", "/v1/beacons?batch=a", strings.NewReader(csvRows(1)))
		r.Host = "127.0.0.1"
		r.Header.Set("Authorization", "Bearer "+builderToken)
		w := httptest.NewRecorder()
		s.handler().ServeHTTP(w, r)
		var said struct{ Error string }
		if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil || w.Code != code || w.Header().Get("Retry-After") != after || said.Error != want {
			t.Errorf("%d after %q s: %q\nwant %d after %s s: %q; %v", w.Code, w.Header().Get("Retry-After"), said.Error, code, after, want, err)
		}
	}
	s.uploads.Store(2)
	try(503, "10", `upload of batch "a": 2 others run on this node, which takes no more at once: try again in 10 s (beacon.quota.uploads says how many)`)
	s.uploads.Store(0)
	if _, _, busy := s.quotas.begin("bob", node.beacons.quota, &running{batch: "b", ended: make(chan struct{})}); busy != nil {
		t.Fatal("a first upload may not begin")
	}
	try(429, "10", `upload of batch "a": "bob" uploads the batch "b" now, and may upload one at a time: wait for its end, or try again in 10 s`)
	s.quotas.end("bob", node.beacons.quota, 10, 5)
	try(429, "864", `upload of batch "a": the quota of "bob" is used up, 10 rows and 1000 octets of plain text in 24 h, which come back evenly: a hundredth of it is back in 864 s`)
}

// TestUploadRightAfterAKilledOneWasPutOff: nothing comes of the first any more, and
// its connection does not say so. The same batch takes its place.
func TestUploadRightAfterAKilledOneWasPutOff(t *testing.T) {
	s, node, _ := newServer(t, Config{})
	node.beacons = fakeBeacons{dir: t.TempDir(), quota: Quota{5000, 1_000_000}}
	srv := httptest.NewServer(s.handler())
	defer srv.Close()
	send := func(batch string, body io.Reader) (int, string, error) {
		r, err := http.NewRequest("POST", srv.URL+"/v1/beacons?batch="+batch, body)
		if err != nil {
			return 0, "", err
		}
		r.Header.Set("Authorization", "Bearer "+builderToken)
		resp, err := srv.Client().Do(r)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		said, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(said), err
	}
	silent, rows := io.Pipe()
	defer rows.Close()
	type answer struct {
		code int
		said string
		err  error
	}
	first := make(chan answer, 1)
	go func() {
		code, said, err := send("a", silent)
		first <- answer{code, said, err}
	}()
	io.WriteString(rows, csvRows(2)) // and no more; the pipe has no room, so it is on its way now
	for s.uploads.Load() == 0 {
		runtime.Gosched()
	}
	if code, said, err := send("b", strings.NewReader(csvRows(3))); code != 429 || err != nil {
		t.Errorf("another batch meanwhile: %d %s, %v, want 429", code, said, err)
	}
	if code, said, err := send("a", strings.NewReader(csvRows(3))); code != 200 || !strings.Contains(said, `"accepted": 3`) || err != nil {
		t.Errorf("the same batch: %d %s, %v, want 3 rows accepted", code, said, err)
	}
	if a := <-first; a.err == nil && (a.code != 409 || !strings.Contains(a.said, "the same caller sends this batch anew")) {
		t.Errorf("the first got %d %s, want 409", a.code, a.said)
	}
	if n := s.uploads.Load(); n != 0 {
		t.Errorf("%d uploads run still", n)
	}
}

func TestQuotasComeBack(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	l := quotas{now: func() time.Time { return now }, used: map[string]usage{}}
	q := Quota{2400, 24000}
	for _, step := range []struct {
		after  time.Duration
		left   Quota
		rows   int
		octets int64
	}{
		{0, Quota{2400, 24000}, 2400, 100},
		{time.Hour, Quota{100, 24000}, 0, 24000},
		{time.Hour, Quota{200, 1000}, 200, 0},
		{48 * time.Hour, Quota{2400, 24000}, 0, 0},
		{-time.Hour, Quota{2400, 24000}, 0, 0}, // the clock was set back
	} {
		now = now.Add(step.after)
		left, wait, busy := l.begin("ann", q, &running{ended: make(chan struct{})})
		if left != step.left || wait != 0 || busy != nil {
			t.Errorf("%v later: %+v are left, %v, %v, want %+v", step.after, left, wait, busy, step.left)
		}
		l.end("ann", q, step.rows, step.octets)
	}
	l.begin("ann", q, &running{ended: make(chan struct{})})
	l.end("ann", q, 2400, 0)
	if left, wait, busy := l.begin("ann", q, nil); busy != nil || wait != 864*time.Second || left != (Quota{}) {
		t.Errorf("with nothing left: %+v, %v, %v", left, wait, busy)
	}
	if left, _, _ := l.begin("bob", q, nil); left != q {
		t.Errorf("another has %+v left", left)
	}
}

// identity makes a key with a certificate for 127.0.0.1.
func identity(t *testing.T, until time.Time) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "edged"}, NotBefore: time.Unix(1_600_000_000, 0), NotAfter: until,
		IPAddresses: []net.IP{{127, 0, 0, 1}}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed}, fmt.Sprintf("%x", sha256.Sum256(parsed.RawSubjectPublicKeyInfo))
}

// TestClientCertificates: a client whose key is listed may upload over TLS; others
// may not even read.
func TestClientCertificates(t *testing.T) {
	far := time.Now().Add(24 * time.Hour)
	server, _ := identity(t, far)
	known, hash := identity(t, far)
	stranger, _ := identity(t, far)
	old, oldHash := identity(t, time.Now().Add(-time.Hour))
	s, node, log := newServer(t, Config{Listen: netip.MustParseAddrPort("127.0.0.1:0"), TLS: true})
	node.beacons = fakeBeacons{dir: t.TempDir(), quota: Quota{5000, 1_000_000}}
	tokens, err := parseTokens([]byte("ci map-builder key-sha256:"+hash+"\nold map-builder key-sha256:"+oldHash+"\nbob map-builder "+builderToken), "tokens")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := tokens.find("key-sha256:" + hash); ok {
		t.Error("the text of a key's line is taken for a token")
	}
	s.SetTokens(tokens)
	s.SetCertificate(&server)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	pool := x509.NewCertPool()
	pool.AddCert(server.Leaf)
	for _, tc := range []struct {
		name  string
		show  []tls.Certificate
		token string
		want  string
	}{
		{"known", []tls.Certificate{known}, "", ""},
		{"token", nil, builderToken, ""},
		{"nobody", nil, "", "status 401: /v1/beacons needs a bearer token or a client certificate"},
		{"stranger", []tls.Certificate{stranger}, "", "status 401: unknown client certificate: the tokens file has no line with key-sha256:"},
		{"old", []tls.Certificate{old}, "", "status 401: the client certificate holds from "},
	} {
		c, err := NewClient("https://"+s.Addr().String(), tc.token)
		if err != nil {
			t.Fatal(err)
		}
		c.UseTLS(&tls.Config{RootCAs: pool, Certificates: tc.show})
		var body bytes.Buffer
		z, err := zstd.NewWriter(&body)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(z, csvRows(3))
		z.Close()
		report, err := c.Upload(t.Context(), tc.name, 0, &body)
		if got := fmt.Sprint(err); tc.want == "" && (err != nil || report.Accepted != 3) || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %+v, %v, want %q", tc.name, report, err, tc.want)
		}
		c.Close()
	}
	if !strings.Contains(log.String(), `who="ci from 127.0.0.1:`) {
		t.Errorf("the log does not tell who uploaded:\n%s", log)
	}
}

func TestBadKeys(t *testing.T) {
	_, err := parseTokens([]byte("ci map-builder key-sha256:abc"), "tokens")
	if want := `tokens:1: the key of "ci" is no hash: want key-sha256: and 64 hex digits`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestPull copies the files of a node over HTTP, and goes on with a part.
func TestPull(t *testing.T) {
	s, node, _ := newServer(t, Config{})
	node.beacons = fakeBeacons{dir: filepath.Join(t.TempDir(), "node")}
	srv := httptest.NewServer(s.handler())
	defer srv.Close()
	c, err := NewClient(srv.URL, builderToken)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	into := filepath.Join(t.TempDir(), "copy")
	if p, err := beacon.Pull(t.Context(), into, c, nil); err != nil || p != (beacon.Pulled{}) {
		t.Errorf("of a node that has nothing: %+v, %v", p, err)
	}
	for batch := range 3 {
		if _, err := node.beacons.Take(t.Context(), strings.NewReader(csvRows(50*(batch+1))), beacon.Options{Batch: fmt.Sprint("b", batch)}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := c.Files(t.Context())
	if err != nil || len(list) != 3 {
		t.Fatalf("%v, %v", list, err)
	}
	whole, err := os.ReadFile(filepath.Join(node.beacons.dir, list[2].Name))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(into, list[2].Name+".part"), whole[:1000], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(into, "gone.beacons.part"), whole, 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := beacon.Pull(t.Context(), into, c, nil)
	if want := list[0].Size + list[1].Size + list[2].Size - 1000; err != nil || p.Files != 3 || p.Total != 3 || p.Octets != want {
		t.Errorf("%+v, %v, want 3 files with %d octets", p, err, want)
	}
	if p, err := beacon.Pull(t.Context(), into, c, nil); err != nil || p != (beacon.Pulled{Total: 3}) {
		t.Errorf("again: %+v, %v", p, err)
	}
	copied, err := beacon.NewCatalog(into).List(t.Context())
	if got, want := asJSON(t, copied), asJSON(t, list); err != nil || got != want {
		t.Errorf("the copy is %s, %v, want %s", got, err, want)
	}
	if parts, _ := filepath.Glob(filepath.Join(into, "*.part")); len(parts) > 0 {
		t.Errorf("parts are left: %q", parts)
	}
	for _, name := range []string{"2026061712-x.beacons", "..%2f..%2fetc%2fpasswd", "control.sock"} {
		if _, err := c.Fetch(t.Context(), name, 0); !errors.Is(err, beacon.ErrGone) {
			t.Errorf("%q: %v", name, err)
		}
	}
	bare, err := NewClient(srv.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	if _, err := beacon.Pull(t.Context(), into, bare, nil); err == nil || !strings.Contains(err.Error(), "status 401") {
		t.Errorf("without a token: %v", err)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
