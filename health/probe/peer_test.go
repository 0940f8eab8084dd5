package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edged/health"
)

const (
	ample = 20 * time.Second       // for peers that answer
	brief = 100 * time.Millisecond // for peers that do not
)

// leakless fails the test when it leaves goroutines behind. It comes first in
// a test, so that it looks last.
func leakless(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// open returns a prober of c at an address; a timeout of 0 is ample.
func open(t *testing.T, c health.Check, at netip.AddrPort, o Options) Prober {
	t.Helper()
	if c.Timeout == 0 {
		c.Timeout = ample
	}
	c.Port = at.Port()
	p, err := New(health.NewTarget(c, at.Addr()), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func expect(t *testing.T, p Prober, outcome health.Outcome, reason string) {
	t.Helper()
	got := p.Probe(t.Context())
	if got.Took <= 0 {
		t.Errorf("took %v, want more than nothing", got.Took)
	}
	got.Took = 0
	if want := (health.Result{Outcome: outcome, Reason: reason}); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// serve runs a peer of the tests: each connection is handed to talk and
// closed after it.
func serve(t *testing.T, talk func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		done bool
		open = map[net.Conn]bool{}
	)
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			if done {
				c.Close()
			}
			mu.Unlock()
			all.Go(func() {
				talk(c)
				c.Close()
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		done = true
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// request reads from a connection until an empty line.
func request(c net.Conn) error {
	var last [4]byte
	for b := make([]byte, 1); string(last[:]) != "\r\n\r\n"; {
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
		copy(last[:], last[1:])
		last[3] = b[0]
	}
	return nil
}

// says answers each request with the same octets.
func says(answer string) func(net.Conn) {
	return func(c net.Conn) {
		for request(c) == nil {
			io.WriteString(c, answer)
		}
	}
}

// saysOnce answers one request and closes.
func saysOnce(answer string) func(net.Conn) {
	return func(c net.Conn) {
		request(c)
		io.WriteString(c, answer)
	}
}

// saysForever answers with a beginning, and goes on with more until the
// connection breaks.
func saysForever(answer, more string) func(net.Conn) {
	return func(c net.Conn) {
		request(c)
		_, err := io.WriteString(c, answer)
		for err == nil {
			_, err = io.WriteString(c, more)
		}
	}
}

// stalls answers with a beginning and then nothing until the client is gone.
func stalls(answer string) func(net.Conn) {
	return func(c net.Conn) {
		request(c)
		io.WriteString(c, answer)
		io.Copy(io.Discard, c)
	}
}

// resets reads a request and breaks the connection with a RST.
func resets(c net.Conn) {
	request(c)
	c.(*net.TCPConn).SetLinger(0)
}

// tally counts what probers read and how often they connect.
type tally struct{ octets, dials atomic.Int64 }

func (y *tally) options() Options {
	return Options{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		y.dials.Add(1)
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return tallied{c, y}, nil
	}}
}

type tallied struct {
	net.Conn
	y *tally
}

func (c tallied) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.y.octets.Add(int64(n))
	return n, err
}

// authorityOf makes certificates for the tests.
type authorityOf struct {
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	roots *x509.CertPool
}

func newAuthority(t *testing.T) *authorityOf {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().AddDate(-20, 0, 0), NotAfter: time.Now().AddDate(20, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &authorityOf{key, cert, roots}
}

// certify returns a certificate for a name, valid between two times.
func (a *authorityOf) certify(t *testing.T, name string, from, to time.Time) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

// valid returns a certificate that is valid now.
func (a *authorityOf) valid(t *testing.T, name string) tls.Certificate {
	return a.certify(t, name, time.Now().AddDate(-1, 0, 0), time.Now().AddDate(1, 0, 0))
}

// overTLS has talk after a handshake.
func overTLS(config *tls.Config, talk func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		secure := tls.Server(c, config)
		if secure.Handshake() == nil {
			talk(secure)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	at := netip.MustParseAddr("192.0.2.1")
	for _, row := range []struct {
		check health.Check
		at    netip.Addr
		want  string
	}{
		{health.Check{Kind: "smtp"}, at, `check of kind "smtp": unknown kind`},
		{health.Check{Kind: health.TCP}, netip.Addr{}, `check of kind "tcp": no address to check`},
		{health.Check{Kind: health.HTTP, Path: "healthz"}, at, `check of kind "http": path "healthz": want one that starts with "/"`},
		{health.Check{Kind: health.HTTP, Path: "http://x/"}, at, `check of kind "http": path "http://x/": want one that starts with "/"`},
		{health.Check{Kind: health.HTTP, Path: "/", Host: "a\r\nb"}, at, `check of kind "http": host "a\r\nb": not a host`},
		{health.Check{Kind: health.HTTP, Path: "/", Headers: map[string]string{"A B": "c"}}, at, `check of kind "http": header "A B": "c": not a header of HTTP`},
		{health.Check{Kind: health.HTTP, Path: "/", Headers: map[string]string{"A": "b\nC: d"}}, at, `check of kind "http": header "A": "b\nC: d": not a header of HTTP`},
		{health.Check{Kind: health.DNS, Name: "example.com.", Type: "X"}, at, `check of kind "dns": type "X": want a mnemonic such as "A"`},
		{health.Check{Kind: health.DNS, Name: "example.com", Type: "A"}, at, `check of kind "dns": name "example.com": want an absolute one such as "www.example.com."`},
		{health.Check{Kind: health.DNS, Name: ".", Type: "A", Rcode: "FINE"}, at, `check of kind "dns": rcode "FINE": want a mnemonic such as "NOERROR"`},
		{health.Check{Kind: health.DNS, Name: ".", Type: "A", Data: "::1"}, at, `check of kind "dns": data "::1": not the data of a record of type A`},
		{health.Check{Kind: health.Exec, Command: []string{"true"}}, at, `check of kind "exec": command ["true"]: want an absolute path and arguments`},
		{health.Check{Kind: health.Exec}, at, `check of kind "exec": command []: want an absolute path and arguments`},
		{health.Check{Kind: health.External, Source: "state.txt"}, at, `check of kind "external": source "state.txt": want an absolute path, or an http or https URL`},
		{health.Check{Kind: health.External, Source: "ftp://x/"}, at, `check of kind "external": source "ftp://x/": want an absolute path, or an http or https URL`},
	} {
		_, err := New(health.NewTarget(row.check, row.at), Options{})
		if err == nil || err.Error() != row.want {
			t.Errorf("got  %v\nwant %s", err, row.want)
		}
	}
}

// TestProbeStops has the caller give up before the peer does.
func TestProbeStops(t *testing.T) {
	leakless(t)
	ctx, cancel := context.WithCancel(t.Context())
	at := serve(t, func(c net.Conn) {
		request(c)
		cancel()
		io.Copy(io.Discard, c)
	})
	got := open(t, health.Check{Kind: health.HTTP, Path: "/"}, at, Options{}).Probe(ctx)
	got.Took = 0
	if want := (health.Result{Outcome: health.Skipped, Reason: "stopped"}); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestReasonsStayShort feeds reasons from foreign octets.
func TestReasonsStayShort(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"plain", "plain"},
		{" two\r\nlines\t\x00and\x1b[31m more ", "two lines and [31m more"},
		{"bad \xff\xfe utf-8", "bad utf-8"},
		{string(make([]byte, 1<<20)), "…"},
		{"ééééééééééééééééééééééééééééééééééééééééé", "éééééééééééééééééééééééééééééééééééééé…"},
		{"01234567890123456789012345678901234567890123456789012345678901234567890123456789", "01234567890123456789012345678901234567890123456789012345678901234567890123456789"},
		{"01234567890123456789012345678901234567890123456789012345678901234567890123456789x", "01234567890123456789012345678901234567890123456789012345678901234567890123456…"},
	} {
		got := clean(row.in)
		if got != row.want || len(got) > health.MaxReason {
			t.Errorf("clean(%.90q) = %q (%d octets), want %q", row.in, got, len(got), row.want)
		}
	}
}

// TestLocalFaults holds apart what is this node's own.
func TestLocalFaults(t *testing.T) {
	for _, row := range []struct {
		err     error
		outcome health.Outcome
		reason  string
	}{
		{connectError{os.NewSyscallError("socket", syscall.EMFILE)}, health.Skipped, "this node: too many open files"},
		{sourceError{connectError{errors.New("no such host")}}, health.Skipped, "source: no such host"},
		{connectError{errors.New("odd")}, health.Silent, "odd"},
		{connectError{context.DeadlineExceeded}, health.Silent, "no connection within 1s"},
		{partialError{context.DeadlineExceeded}, health.Silent, "no whole answer within 1s"},
		{context.DeadlineExceeded, health.Silent, "no answer within 1s"},
		{errors.New("odd"), health.Wrong, "odd"},
	} {
		outcome, reason := judge(t.Context(), row.err, time.Second)
		if outcome != row.outcome || reason != row.reason {
			t.Errorf("judge(%v) = %d %q, want %d %q", row.err, outcome, reason, row.outcome, row.reason)
		}
	}
}

// quiet takes what servers of the tests have to say about their clients.
var quiet = log.New(io.Discard, "", 0)
