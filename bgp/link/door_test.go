package link

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestStrangersAreRefused(t *testing.T) {
	p := newPair(t, echo, nil)
	// All of them know who ams-1 is, but ams-1 does not know them.
	theirs := &fleet{keys: map[string]ed25519.PublicKey{"ams-1": public(newKey('a')), "eve": public(newKey('e'))}}
	for name, why := range map[string]Reason{"eve": UnknownMember, "fra-1": WrongKey, "ams-1": WrongKey} {
		before := p.ams.Counts().Refused[why]
		err := newLink(t, theirs, name, newKey('e')).Call(t.Context(), "ams-1", p.addr, "/x", nil, nil)
		if err == nil || !strings.Contains(err.Error(), "does it know this node's key?") {
			t.Errorf("%s with a wrong key: error %v", name, err)
		}
		awaitCount(t, p.ams, why, before+1)
	}
	eve, err := certificate("fra-1", newKey('e'))
	if err != nil {
		t.Fatal(err)
	}
	// With fra-1's true certificate, but not its key.
	stolen, err := certificate("fra-1", newKey('f'))
	if err != nil {
		t.Fatal(err)
	}
	stolen.PrivateKey = newKey('e')
	for what, tc := range map[string]struct {
		config *tls.Config
		why    Reason
	}{
		"no certificate":       {&tls.Config{}, NoCertificate},
		"TLS 1.2":              {&tls.Config{MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{eve}}, OldTLS},
		"another's key":        {&tls.Config{Certificates: []tls.Certificate{eve}}, WrongKey},
		"a stolen certificate": {&tls.Config{Certificates: []tls.Certificate{stolen}}, BrokenHandshake},
	} {
		before := p.ams.Counts().Refused[tc.why]
		tc.config.InsecureSkipVerify, tc.config.NextProtos = true, []string{"h2"}
		if err := knock(p.addr, tc.config); err == nil {
			t.Errorf("%s: let in", what)
		}
		awaitCount(t, p.ams, tc.why, before+1)
	}
	if err := knock(p.addr, nil); err == nil {
		t.Error("no TLS: let in")
	}
	awaitCount(t, p.ams, BrokenHandshake, 2)
	if c := p.ams.Counts(); c.Answered != 0 {
		t.Errorf("%d strangers were answered", c.Answered)
	}
}

// awaitCount waits until a reason is counted so often: a stranger hears of its
// refusal before it is counted.
func awaitCount(t *testing.T, l *Link, why Reason, want uint64) {
	t.Helper()
	var got uint64
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); runtime.Gosched() {
		if got = l.Counts().Refused[why]; got >= want {
			break
		}
	}
	if got != want {
		t.Errorf("%s was counted %d times, want %d: %v", why, got, want, l.Counts().Refused)
	}
}

// knock connects and returns the error that ends the connection. A nil config is
// no TLS.
func knock(addr netip.AddrPort, config *tls.Config) error {
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if config != nil {
		client := tls.Client(conn, config)
		if err := client.Handshake(); err != nil {
			return err
		}
		conn = client
	}
	// An HTTP/2 server speaks first, so an octet means that it let us in.
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
		return err
	}
	if n, err := conn.Read(make([]byte, 1)); n == 0 {
		return err
	} else if config == nil {
		_, err = io.Copy(io.Discard, conn) // the alert
		return errors.Join(errors.New("not TLS"), err)
	}
	return nil
}

func TestSlowLoris(t *testing.T) {
	p := newPair(t, echo, func(l *limits) { l.handshake, l.request = 100*time.Millisecond, 100*time.Millisecond })
	conn, err := net.Dial("tcp", p.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		t.Errorf("silent stranger: %d octets, error %v, want the connection closed", n, err)
	}
	awaitCount(t, p.ams, BrokenHandshake, 1)
	body, drip := io.Pipe()
	defer drip.Close()
	go drip.Write([]byte("{"))
	if status, text, err := p.post(t, http.MethodPost, body); err == nil && status != http.StatusRequestTimeout {
		t.Errorf("slow body: status %d %q", status, text)
	}
	if c := p.ams.Counts(); c.Answered != 0 {
		t.Error("the handler has seen half a body")
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestBoundsOnMembers(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	p := newPair(t, func(context.Context, string, string, []byte) (any, error) {
		entered <- struct{}{}
		<-release
		return nil, nil
	}, func(l *limits) { l.calls = rate{burst: 3, every: time.Hour} })
	var calls sync.WaitGroup
	for range 3 {
		calls.Go(func() {
			if err := p.call(t, "/x", nil, nil); err != nil {
				t.Error(err)
			}
		})
		<-entered
	}
	var remote *RemoteError
	if err := p.call(t, "/x", nil, nil); !errors.As(err, &remote) || !remote.Busy || remote.Text != `too many calls of "fra-1" at once or a second` {
		t.Errorf("error %v", err)
	}
	close(release)
	calls.Wait()
	if c := p.ams.Counts(); c.Refused[TooManyCalls] != 1 || c.Answered != 3 {
		t.Errorf("counts %+v", c)
	}
}

func TestConcurrencyOfOneCaller(t *testing.T) {
	s := &serving{link: &Link{limits: defaultLimits}, callers: map[string]*caller{}}
	now := time.Unix(1000, 0)
	for i := range defaultLimits.concurrent {
		if !s.enter("fra-1", now) {
			t.Fatalf("call %d refused", i+1)
		}
	}
	if s.enter("fra-1", now) {
		t.Error("one call too many taken")
	}
	if !s.enter("muc-1", now) {
		t.Error("the call of another refused")
	}
	s.leave("fra-1")
	if !s.enter("fra-1", now) {
		t.Error("a call refused though one has ended")
	}
}

func TestStrangersAreFew(t *testing.T) {
	from := func(s string) *guest { return &guest{from: block(&net.TCPAddr{IP: net.ParseIP(s)})} }
	now := time.Unix(1000, 0)
	newTestDoor := func(change func(*limits)) *door {
		l := &Link{limits: defaultLimits}
		if change != nil {
			change(&l.limits)
		}
		l.cfg.KeyOf = (&fleet{}).keyOf
		d := newDoor(l, nil)
		t.Cleanup(d.cancel)
		return d
	}
	d := newTestDoor(nil)
	for i := range defaultLimits.perSource {
		if !d.admit(from("2001:db8::1"), now) {
			t.Fatalf("handshake %d of one source refused", i+1)
		}
	}
	if d.admit(from("2001:db8::2"), now) {
		t.Error("one handshake of a /64 too many")
	}
	admitted := defaultLimits.perSource
	for i := 0; i < 100 && d.admit(from(fmt.Sprintf("192.0.2.%d", i)), now); i++ {
		admitted++
	}
	if admitted != defaultLimits.pending {
		t.Errorf("%d handshakes at once, want %d", admitted, defaultLimits.pending)
	}
	// In time, one by one.
	d = newTestDoor(nil)
	knock := func(source string) bool {
		g := from(source)
		admitted := d.admit(g, now)
		if admitted {
			d.pending--
			d.sources[g.from].pending--
		}
		return admitted
	}
	n := 0
	for knock("192.0.2.1") {
		n++
	}
	if n != defaultLimits.strangers.burst {
		t.Errorf("%d handshakes of one source in a row, want %d", n, defaultLimits.strangers.burst)
	}
	for i := 2; i < 250 && knock(fmt.Sprintf("192.0.2.%d", i)); i++ {
		n++
	}
	if n != defaultLimits.everybody.burst {
		t.Errorf("%d handshakes of all in a row, want %d", n, defaultLimits.everybody.burst)
	}
	if now = now.Add(time.Second); !knock("192.0.2.1") {
		t.Error("refused a second later")
	}
	// The table of sources is bounded, and what is old makes room.
	d = newTestDoor(func(l *limits) { l.sources = 2 })
	if !knock("192.0.2.1") || !knock("192.0.2.2") || knock("192.0.2.3") {
		t.Error("want room for two sources")
	}
	if now = now.Add(time.Minute); !knock("192.0.2.3") || len(d.sources) != 1 {
		t.Errorf("%d sources, want the latest alone", len(d.sources))
	}
}

func TestMemberWithManyConnections(t *testing.T) {
	p := newPair(t, echo, nil)
	var last *Link
	for range defaultLimits.perMember + 3 {
		last = newLink(t, p.fleet, "fra-1", newKey('f'))
		if err := last.Call(t.Context(), "ams-1", p.addr, "/x", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections(p.ams); n != defaultLimits.perMember {
		t.Errorf("%d connections of one member, want %d", n, defaultLimits.perMember)
	}
	if err := last.Call(t.Context(), "ams-1", p.addr, "/x", nil, nil); err != nil {
		t.Error(err)
	}
}

func TestBucket(t *testing.T) {
	r := rate{burst: 3, every: time.Second}
	start := time.Unix(1000, 0)
	var b bucket
	for _, step := range []struct {
		at   time.Duration
		want bool
	}{
		{0, true},
		{0, true},
		{0, true},
		{0, false},
		{time.Second - 1, false},
		{time.Second, true},
		{time.Second, false},
		{3 * time.Second, true},
		{3 * time.Second, true},
		{3 * time.Second, false},
		{time.Hour, true},
	} {
		if got := b.take(r, start.Add(step.at)); got != step.want {
			t.Errorf("at %v: %v, want %v", step.at, got, step.want)
		}
	}
	if b.idle(start.Add(time.Hour)) || !b.idle(start.Add(time.Hour+time.Second)) {
		t.Error("a bucket is idle one step after the last thing done, and not before")
	}
}

// BenchmarkRefusedStranger is what both sides of a handshake that is refused
// cost together.
func BenchmarkRefusedStranger(b *testing.B) {
	f := &fleet{keys: map[string]ed25519.PublicKey{"ams-1": public(newKey('a'))}}
	l, err := New(Config{Name: "ams-1", Key: newKey('a'), KeyOf: f.keyOf})
	if err != nil {
		b.Fatal(err)
	}
	l.limits.strangers, l.limits.everybody = rate{burst: 1 << 30}, rate{burst: 1 << 30}
	addr, err := l.Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err == nil {
		err = l.Serve(echo)
	}
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close(context.Background())
	eve, err := certificate("eve", newKey('e'))
	if err != nil {
		b.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{eve}, InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	for b.Loop() {
		if knock(addr, config) == nil {
			b.Fatal("a stranger was let in")
		}
	}
}
