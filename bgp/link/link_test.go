package link

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fleet is who the members are.
type fleet struct {
	mu   sync.Mutex
	keys map[string]ed25519.PublicKey // guarded by mu
}

func (f *fleet) keyOf(name string) (ed25519.PublicKey, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key, ok := f.keys[name]
	return key, ok
}

// set gives a member a key; nil takes it out.
func (f *fleet) set(name string, key ed25519.PublicKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys[name] = key; key == nil {
		delete(f.keys, name)
	}
}

// newKey returns the same key for the same letter.
func newKey(letter byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{letter}, ed25519.SeedSize))
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// pair is a fleet of two, of whom ams-1 answers.
type pair struct {
	*fleet
	ams, fra *Link
	addr     netip.AddrPort
}

// echo answers with who called what.
func echo(_ context.Context, caller, path string, body []byte) (any, error) {
	if path == "/fail" {
		return nil, errors.New("no promise: ams-1 is draining")
	}
	return map[string]any{"caller": caller, "path": path, "octets": len(body)}, nil
}

func newLink(t *testing.T, f *fleet, name string, key ed25519.PrivateKey) *Link {
	t.Helper()
	l, err := New(Config{Name: name, Key: key, KeyOf: f.keyOf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeLink(t, l) })
	return l
}

func closeLink(t *testing.T, l *Link) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		t.Error(err)
	}
}

// serve starts a link that answers, and returns where.
func serve(t *testing.T, l *Link, at string, h Handler) netip.AddrPort {
	t.Helper()
	addr, err := l.Listen(netip.MustParseAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Serve(h); err != nil {
		t.Fatal(err)
	}
	return addr
}

func newPair(t *testing.T, h Handler, change func(*limits)) *pair {
	t.Helper()
	f := &fleet{keys: map[string]ed25519.PublicKey{"ams-1": public(newKey('a')), "fra-1": public(newKey('f'))}}
	p := &pair{fleet: f, ams: newLink(t, f, "ams-1", newKey('a')), fra: newLink(t, f, "fra-1", newKey('f'))}
	if change != nil {
		change(&p.ams.limits)
	}
	p.addr = serve(t, p.ams, "127.0.0.1:0", h)
	return p
}

// call has fra-1 call ams-1.
func (p *pair) call(t *testing.T, path string, in, out any) error {
	t.Helper()
	return p.fra.Call(t.Context(), "ams-1", p.addr, path, in, out)
}

func TestCall(t *testing.T) {
	p := newPair(t, echo, nil)
	for range 3 {
		var out struct {
			Caller, Path string
			Octets       int
		}
		if err := p.call(t, "/promise", map[string]int{"seconds": 10}, &out); err != nil {
			t.Fatal(err)
		}
		if out.Caller != "fra-1" || out.Path != "/promise" || out.Octets != len(`{"seconds":10}`) {
			t.Errorf("ams-1 heard %+v", out)
		}
	}
	if err := p.call(t, "/promise", nil, nil); err != nil {
		t.Error(err)
	}
	err := p.call(t, "/fail", nil, nil)
	var remote *RemoteError
	if !errors.As(err, &remote) || err.Error() != "call /fail on ams-1: it says: no promise: ams-1 is draining" || remote.Busy {
		t.Errorf("error %v", err)
	}
	if c := p.ams.Counts(); c.Answered != 5 || len(c.Refused) != 0 {
		t.Errorf("counts %+v, want 5 calls", c)
	}
	if n := connections(p.ams); n != 1 {
		t.Errorf("%d connections for 5 calls, want 1", n)
	}
}

func connections(l *Link) int {
	l.door.mu.Lock()
	defer l.door.mu.Unlock()
	return len(l.door.guests)
}

// TestFirstCallsShareAConnection calls from many goroutines at once, before
// there is a connection, and again after ams-1 has restarted.
func TestFirstCallsShareAConnection(t *testing.T) {
	p := newPair(t, echo, nil)
	for round := range 5 {
		var calls sync.WaitGroup
		for range 2 * defaultLimits.concurrent {
			calls.Go(func() {
				if err := p.call(t, "/promise", nil, nil); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		if n := connections(p.ams); n != 1 {
			t.Errorf("round %d: %d connections, want 1", round, n)
		}
		closeLink(t, p.ams)
		if err := p.call(t, "/promise", nil, nil); err == nil {
			t.Fatal("a call is answered by a link that is closed")
		}
		p.ams = newLink(t, p.fleet, "ams-1", newKey('a'))
		serve(t, p.ams, p.addr.String(), echo)
	}
}

func TestCallErrors(t *testing.T) {
	p := newPair(t, echo, nil)
	nobody := netip.MustParseAddrPort("127.0.0.1:1")
	expired, cancel := context.WithCancel(t.Context())
	cancel()
	big := strings.Repeat("x", MaxBody)
	for _, tc := range []struct {
		ctx    context.Context
		member string
		addr   netip.AddrPort
		in     any
		want   string
	}{
		{t.Context(), "muc-1", p.addr, nil, "call /x on muc-1 at " + p.addr.String() + ": no member of this name is known"},
		{t.Context(), "ams-1", nobody, nil, "call /x on ams-1 at 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused"},
		{t.Context(), "fra-1", p.addr, nil, "call /x on fra-1 at " + p.addr.String() + `: is "ams-1"`},
		{expired, "ams-1", p.addr, nil, "call /x on ams-1 at " + p.addr.String() + ": no answer in time: context canceled"},
		{t.Context(), "ams-1", p.addr, big, fmt.Sprintf("call /x on ams-1 at %s: the body has %d octets, more than %d", p.addr, MaxBody+2, MaxBody)},
		{t.Context(), "ams-1", p.addr, func() {}, "call /x on ams-1 at " + p.addr.String() + ": json: unsupported type: func()"},
	} {
		if err := p.fra.Call(tc.ctx, tc.member, tc.addr, "/x", tc.in, nil); err == nil || err.Error() != tc.want {
			t.Errorf("error %q\n want %q", err, tc.want)
		}
	}
	if err := p.call(t, "/x", nil, new(int)); err == nil || !strings.Contains(err.Error(), "the answer: json: cannot unmarshal") {
		t.Errorf("an answer of another kind: error %v", err)
	}
}

// TestStrangersAreRefused has all kinds of strangers knock, and counts them.
func TestCalleeMustBeWhoItIs(t *testing.T) {
	p := newPair(t, echo, nil)
	// For muc-1, ams-1 is someone who took the name.
	theirs := &fleet{keys: map[string]ed25519.PublicKey{"ams-1": public(newKey('x'))}}
	err := newLink(t, theirs, "muc-1", newKey('m')).Call(t.Context(), "ams-1", p.addr, "/x", nil, nil)
	if err == nil || !strings.Contains(err.Error(), `shows another key than that of "ams-1"`) {
		t.Errorf("error %v", err)
	}
	if c := p.ams.Counts(); c.Answered != 0 {
		t.Errorf("counts %+v", c)
	}
}

// TestKeyChange changes keys under an open connection, on either side.
func TestKeyChange(t *testing.T) {
	p := newPair(t, echo, nil)
	must := func(want string) {
		t.Helper()
		switch err := p.call(t, "/x", nil, nil); {
		case want == "" && err != nil:
			t.Errorf("error %v", err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("error %v, want %q", err, want)
		}
	}
	must("")
	// The caller's key changes: its open connection is worth nothing any more.
	p.set("fra-1", public(newKey('g')))
	must("the caller's key is not valid any more")
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); runtime.Gosched() {
		// Until the old connection is gone, a call on it may still be refused.
		if err := p.call(t, "/x", nil, nil); err != nil && strings.Contains(err.Error(), "does it know this node's key?") {
			break
		}
	}
	must("does it know this node's key?")
	awaitCount(t, p.ams, WrongKey, 2)
	if c := p.ams.Counts(); c.Refused[KeyChanged] == 0 || c.Answered != 1 {
		t.Errorf("counts %+v", c)
	}
	p.set("fra-1", public(newKey('f')))
	must("")
	// The callee's key changes: the caller leaves the open connection.
	p.set("ams-1", public(newKey('b')))
	must(`shows another key than that of "ams-1"`)
	p.set("ams-1", nil)
	must("no member of this name is known")
	p.set("ams-1", public(newKey('a')))
	must("")
	if n := connections(p.ams); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestCallEndsWithItsContext(t *testing.T) {
	entered, left := make(chan struct{}), make(chan error, 1)
	p := newPair(t, func(ctx context.Context, _, _ string, _ []byte) (any, error) {
		close(entered)
		<-ctx.Done()
		left <- ctx.Err()
		return nil, ctx.Err()
	}, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-entered
		cancel(errors.New("the operator gave up"))
	}()
	err := p.fra.Call(ctx, "ams-1", p.addr, "/x", nil, nil)
	if err == nil || !strings.HasSuffix(err.Error(), "no answer in time: the operator gave up") {
		t.Errorf("error %v", err)
	}
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler's context ended by %v", err)
	}
}

func TestHandlerHasNotForEver(t *testing.T) {
	p := newPair(t, func(ctx context.Context, _, _ string, _ []byte) (any, error) {
		<-ctx.Done()
		return nil, errors.New("no quorum in time")
	}, func(l *limits) { l.answer = 50 * time.Millisecond })
	if err := p.call(t, "/x", nil, nil); err == nil || !strings.HasSuffix(err.Error(), "no quorum in time") {
		t.Errorf("error %v", err)
	}
}

// post sends what Call would not.
func (p *pair) post(t *testing.T, method string, body io.Reader) (status int, text string, err error) {
	t.Helper()
	peer, err := p.fra.peer("ams-1")
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, "https://"+p.addr.String()+"/x", body)
	if err != nil {
		t.Fatal(err)
	}
	err = peer.roundTrip(request, p.addr, func(answer *http.Response) error {
		var f fault
		err := json.NewDecoder(answer.Body).Decode(&f)
		status, text = answer.StatusCode, f.Error
		return err
	})
	return status, text, err
}

func TestOddCalls(t *testing.T) {
	p := newPair(t, func(_ context.Context, _, path string, _ []byte) (any, error) {
		return strings.Repeat("x", MaxBody-1), nil
	}, nil)
	status, text, err := p.post(t, http.MethodPost, io.LimitReader(zeros{}, 100*MaxBody))
	if err != nil || status != http.StatusRequestEntityTooLarge || text != "a body of more than 1048576 octets" {
		t.Errorf("status %d %q (%v)", status, text, err)
	}
	if status, text, err = p.post(t, http.MethodGet, nil); err != nil || status != http.StatusMethodNotAllowed {
		t.Errorf("GET: status %d %q (%v)", status, text, err)
	}
	if err := p.call(t, "/x", nil, nil); err == nil || !strings.HasSuffix(err.Error(), "it says: the answer has 1048577 octets, more than 1048576") {
		t.Errorf("a huge answer: error %v", err)
	}
	if c := p.ams.Counts(); c.Refused[TooLarge] != 1 || c.Refused[BadRequest] != 1 || c.Answered != 1 {
		t.Errorf("counts %+v", c)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestSlowLoris has a stranger be silent, and a member send a body that does not
// end.
// TestCloseLetsCallsEnd closes ams-1 while it answers a call, and once more where
// the answer does not come.
func TestCloseLetsCallsEnd(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	p := newPair(t, func(ctx context.Context, _, path string, _ []byte) (any, error) {
		close(entered)
		select {
		case <-release:
		case <-ctx.Done():
		}
		return strings.Repeat("x", MaxBody/2), ctx.Err()
	}, nil)
	answered := make(chan error, 1)
	var text string
	go func() { answered <- p.call(t, "/x", nil, &text) }()
	<-entered
	p.ams.mu.Lock()
	door := p.ams.door
	p.ams.mu.Unlock()
	go func() {
		<-door.ctx.Done() // the port is closed
		close(release)
	}()
	closeLink(t, p.ams)
	if err := <-answered; err != nil || len(text) != MaxBody/2 {
		t.Errorf("%d octets, error %v", len(text), err)
	}

	entered, release = make(chan struct{}), nil
	p.ams = newLink(t, p.fleet, "ams-1", newKey('a'))
	serve(t, p.ams, p.addr.String(), func(ctx context.Context, _, _ string, _ []byte) (any, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	go func() { answered <- p.call(t, "/x", nil, nil) }()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.ams.Close(ctx); err == nil || err.Error() != "members' calls are cut off: context canceled" {
		t.Errorf("closing with a call that does not end: error %v", err)
	}
	if err := <-answered; err == nil {
		t.Error("the call was answered")
	}
}

// TestStrangersAreFew holds the handshakes at the door to their limits.
// TestMemberWithManyConnections has fra-1 start again and again without closing.
func TestNewErrors(t *testing.T) {
	for name, tc := range map[string]Config{
		`member name "": want 1 to 64 octets`:          {Key: newKey('a')},
		`key of member "a" has 3 octets, want 64`:      {Name: "a", Key: ed25519.PrivateKey("abc")},
		fmt.Sprintf("member name %q", make([]byte, 0)): {Key: newKey('a')},
	} {
		if _, err := New(tc); err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("error %v, want %q", err, name)
		}
	}
	l := newLink(t, &fleet{}, "a", newKey('a'))
	if err := l.Serve(echo); err == nil {
		t.Error("serving without listening: no error")
	}
	if _, err := l.Listen(netip.MustParseAddrPort("192.0.2.1:0")); err == nil || !strings.Contains(err.Error(), "192.0.2.1:0") {
		t.Errorf("an address that is not here: error %v", err)
	}
	closeLink(t, l)
	if err := l.Serve(echo); err == nil {
		t.Error("serving after the end: no error")
	}
	if err := l.Call(t.Context(), "a", netip.MustParseAddrPort("127.0.0.1:1"), "/x", nil, nil); err == nil || !strings.HasSuffix(err.Error(), "the link is closed") {
		t.Errorf("a call after the end: error %v", err)
	}
}
