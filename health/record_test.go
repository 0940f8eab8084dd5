package health

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"edged/edge"
)

// nodeKey is a key that is the same in each run.
func nodeKey(name string) ed25519.PrivateKey {
	if key, ok := nodeKeys.Load(name); ok {
		return key.(ed25519.PrivateKey)
	}
	seed := sha256.Sum256([]byte(name))
	key := ed25519.NewKeyFromSeed(seed[:])
	nodeKeys.Store(name, key)
	return key
}

var nodeKeys sync.Map // making a key takes as long as verifying a signature

// ownKeys trusts each observer with its nodeKey.
func ownKeys(observer string, key ed25519.PublicKey) bool {
	return observer != "stranger" && nodeKey(observer).Public().(ed25519.PublicKey).Equal(key)
}

func newJournal(name string, incarnation uint64) *Journal {
	return NewJournal("prod", Member{Name: name, PoP: "pop-" + name}, nodeKey(name), incarnation)
}

// set is Set of a journal that has room.
func set(t testing.TB, j *Journal, changed []Observation, gone ...TargetID) [][]byte {
	t.Helper()
	batches, err := j.Set(changed, gone)
	if err != nil {
		t.Fatal(err)
	}
	return batches
}

func sees(target TargetID, v edge.Verdict, reason string) Observation {
	return Observation{Target: target, Verdict: v, Reason: reason, Next: 6 * time.Second}
}

// started is when the tests of records begin.
var started = time.Unix(1_800_000_000, 0)

func TestChangesSurviveTheWire(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		var want []change
		var target TargetID
		for range rng.IntN(40) {
			target += 1 + TargetID(rng.Uint64N(1<<58))
			if rng.IntN(4) == 0 {
				want = append(want, change{Observation: Observation{Target: target}, gone: true})
				continue
			}
			want = append(want, change{Observation: Observation{
				Target: target, Verdict: edge.Verdict(rng.IntN(int(edge.Dead) + 1)),
				Reason: strings.Repeat("ü", rng.IntN(MaxReason/2+1)), Next: time.Duration(rng.IntN(1<<16)) * time.Second,
			}})
		}
		var b []byte
		for _, ch := range want {
			b = appendChange(b, ch)
		}
		got, err := parseChanges(header{kind: batch}, b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v came back as %v, %v", want, got, err)
		}
	}
}

func TestPlain(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"status 503, want 200", "status 503, want 200"},
		{"a\nb\x1b[31m\x00", "a?b?[31m?"},
		{"bad \xff\xfe end", "bad ? end"},
		{strings.Repeat("x", 81), strings.Repeat("x", 80)},
		{strings.Repeat("x", 79) + "ü", strings.Repeat("x", 79)},
		{strings.Repeat("x", 78) + "ü", strings.Repeat("x", 78) + "ü"},
	} {
		if got := plain(tt.in, MaxReason); got != tt.want {
			t.Errorf("plain(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

// signedAs signs a body under a header, whatever is in them.
func signedAs(h header, body []byte) []byte {
	key := nodeKey(h.observer)
	h.key = key.Public().(ed25519.PublicKey)
	return sign("prod", key, append(appendHeader(nil, h), body...))
}

// What is well signed but not of this format is refused by name, and nothing
// of it is kept.
func TestMalformed(t *testing.T) {
	b := header{batch, 1, 1, nil, "a", "fra"}
	d := header{digest, 1, 1, nil, "a", "fra"}
	s := header{snapshot, 1, 1, nil, "a", "fra"}
	with := func(h header, change func(*header)) header { change(&h); return h }
	ok := appendChange(nil, change{Observation: sees(7, edge.OK, "")})
	text := func(n int) string { return strings.Repeat("x", n) }
	many := func(n int) (b []byte) {
		for i := range n {
			b = appendChange(b, change{Observation: Observation{Target: TargetID(i)}})
		}
		return b
	}
	for _, tt := range []struct {
		msg  []byte
		want string
	}{
		{nil, "0 octets are too few"},
		{signedAs(b, nil)[:100], "100 octets are too few"},
		{append([]byte{2}, signedAs(b, ok)[1:]...), "format version 2, want 1: is its sender a newer edged?"},
		{signedAs(with(b, func(h *header) { h.kind = 0 }), ok), "kind 0, want 1 to 3"},
		{signedAs(with(b, func(h *header) { h.kind = 4 }), ok), "kind 4, want 1 to 3"},
		{signedAs(with(b, func(h *header) { h.observer = "" }), ok), "it names no observer"},
		{signedAs(with(b, func(h *header) { h.observer = text(64) }), ok), "header: a text of 64 octets, want at most 63"},
		{signedAs(with(b, func(h *header) { h.pop = "a\nb" }), ok), `header: the text "a\nb", want it printable`},
		{signedAs(with(b, func(h *header) { h.incarnation = 0 }), ok), `batch 0.1 of "a": incarnations and batches are counted from 1`},
		{signedAs(with(b, func(h *header) { h.sequence = 0 }), ok), `batch 1.0 of "a": incarnations and batches are counted from 1`},
		{signedAs(b, many(74)), `batch 1.1 of "a" has 1008 octets, want at most 1000`},
		{signedAs(d, many(80)), `digest 1.1 of "a" has 1080 octets, want at most 1000`},
		{signedAs(s, make([]byte, maxSnapshot)), fmt.Sprintf(`snapshot 1.1 of "a" has %d octets, want at most 1840242`, maxSnapshot+120)},
		{signedAs(b, ok[:11]), `batch 1.1 of "a", target 0000000000000007: it ends too early`},
		{signedAs(b, append(ok[:11:11], 1)), `batch 1.1 of "a", target 0000000000000007: it ends too early`},
		{signedAs(b, []byte{7, 0, 0, 0, 0, 0, 0, 0, byte(edge.Drained), 0, 0, 0}), `batch 1.1 of "a", target 0000000000000007: verdict "drained", want ok to dead`},
		{signedAs(b, append(ok[:11:11], "\x02\xc3("...)), `batch 1.1 of "a", target 0000000000000007: the text "\xc3(", want it printable`},
		{signedAs(b, append(append(ok[:11:11], 81), text(81)...)), `batch 1.1 of "a", target 0000000000000007: a text of 81 octets, want at most 80`},
		{signedAs(b, append(ok[:12:12], ok...)), `batch 1.1 of "a", target 0000000000000007: it comes after 0000000000000007, want targets to ascend`},
		{signedAs(s, appendChange(nil, change{Observation: Observation{Target: 7}, gone: true})), `snapshot 1.1 of "a", target 0000000000000007: gone, want what is there`},
		{signedAs(s, many(MaxTargets+1)), `snapshot 1.1 of "a": more than 20000 targets`},
		{signedAs(d, make([]byte, 24)), `digest 1.1 of "a": it ends too early`},
		{signedAs(d, make([]byte, 25)), `digest 1.1 of "a": digests are counted from 1`},
		{signedAs(d, append(appendRenewal(nil, renewal{beat: 1}), 0)), `digest 1.1 of "a": 1 octets after its end`},
	} {
		m := NewMatrix("prod", func(string, ed25519.PublicKey) bool { return true })
		_, err := m.Apply(tt.msg, started)
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("want %q, got %v", tt.want, err)
		} else if got := strings.TrimPrefix(err.Error(), "malformed record: "); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
		if len(m.Observers(started)) != 0 {
			t.Errorf("%s: it was kept", tt.want)
		}
	}
}

// inBounds fails if a matrix holds more than it may, or miscounts what it holds.
func inBounds(t *testing.T, m *Matrix) {
	t.Helper()
	trails, targets, early := 0, 0, 0
	for name, s := range m.sources {
		size := 0
		for _, msg := range append(s.trail.batches, s.trail.snapshot) {
			if msg != nil {
				size += len(msg) + messageFrame
			}
		}
		if size != s.trail.size || size > maxTrail || len(s.trail.batches) > maxBatches || s.trail.broken && size > 0 {
			t.Fatalf("the trail of %s has %d octets in %d batches, and says %d", name, size, len(s.trail.batches), s.trail.size)
		}
		if !s.trail.broken && (!s.current() || s.trail.base+uint64(len(s.trail.batches)) != s.held.sequence) {
			t.Fatalf("the trail of %s ends at %d.%d, what is held is %d.%d", name, s.incarnation, s.trail.base+uint64(len(s.trail.batches)), s.held.incarnation, s.held.sequence)
		}
		if len(s.early) > maxEarly || len(s.held.registers) > MaxTargets || s.held.incarnation > s.incarnation {
			t.Fatalf("%s has %d early batches and %d registers, of %d.%d", name, len(s.early), len(s.held.registers), s.held.incarnation, s.incarnation)
		}
		trails, targets, early = trails+size, targets+len(s.held.registers), early+len(s.early)
	}
	if trails != m.trails || targets != m.targets || early != m.early || len(m.sources) > MaxObservers || trails > maxTrails {
		t.Fatalf("held are %d octets, %d registers, %d early batches; counted were %d, %d, %d", trails, targets, early, m.trails, m.targets, m.early)
	}
	if got := len(m.State(started)); got > MaxState {
		t.Fatalf("a state of %d octets", got)
	}
}

// FuzzApply feeds messages to a matrix that holds some: as they are, and once
// more with a good signature, so that what lies behind it is reached too.
func FuzzApply(f *testing.F) {
	j := newJournal("a", 2)
	first := set(f, j, []Observation{sees(1, edge.OK, ""), sees(2, edge.Dead, "no answer within 1s")})[0]
	held := j.Snapshot()
	f.Add(first)
	f.Add(held)
	f.Add(j.Digest("own uplink"))
	f.Add(set(f, j, []Observation{sees(2, edge.OK, "")}, 1)[0])
	f.Add(set(f, j, []Observation{sees(3, edge.Failing, "status 503, want 200")})[0])
	f.Add(j.Snapshot())
	f.Add(newJournal("a", 3).Digest(""))
	f.Add(set(f, newJournal("b", 1), []Observation{sees(1, edge.OK, "")})[0])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, msg []byte) {
		m := NewMatrix("prod", ownKeys)
		if _, err := m.Apply(held, started); err != nil {
			t.Fatal(err)
		}
		messages := [][]byte{msg}
		if h, body, err := parseHeader(msg); err == nil {
			messages = append(messages, signedAs(h, body))
		}
		for _, msg := range messages {
			before := m.State(started)
			a, err := m.Apply(msg, started)
			if err != nil && (a.News || a.Changed || !bytes.Equal(m.State(started), before)) {
				t.Fatalf("%v, but it changed something: %+v", err, a)
			}
			if a, err := m.Apply(msg, started); a.Changed || a.News && err == nil {
				t.Fatalf("a second time it changed something: %+v, %v", a, err)
			}
			inBounds(t, m)
		}
		// What is held can be handed on.
		other := NewMatrix("prod", ownKeys)
		if _, errs := other.Merge(m.State(started), started); errs != nil {
			t.Fatal(errs)
		}
		for name, s := range m.sources {
			if got := other.sources[name]; !s.trail.broken && (got == nil || !reflect.DeepEqual(got.held.registers, s.held.registers)) {
				t.Fatalf("%s is not the same after it was handed on", name)
			}
		}
	})
}

// FuzzMerge feeds states to a matrix that holds some of it.
func FuzzMerge(f *testing.F) {
	m := NewMatrix("prod", ownKeys)
	for _, name := range []string{"a", "b", "c"} {
		j := newJournal(name, 2)
		batches := set(f, j, []Observation{sees(1, edge.OK, ""), sees(2, edge.Dead, "no answer within 1s")})
		f.Add(m.State(started))
		if name == "b" {
			batches = [][]byte{j.Snapshot()}
		}
		for _, msg := range append(append(batches, j.Digest("")), set(f, j, nil, 2)...) {
			if _, err := m.Apply(msg, started); err != nil {
				f.Fatal(err)
			}
		}
	}
	state := m.State(started.Add(time.Minute))
	f.Add(state)
	f.Add(state[:len(state)-1])
	f.Add(append(state[:1:1], state[200:]...))
	f.Fuzz(func(t *testing.T, state []byte) {
		m := NewMatrix("prod", ownKeys)
		for _, msg := range set(t, newJournal("a", 1), []Observation{sees(1, edge.OK, "")}) {
			if _, err := m.Apply(msg, started); err != nil {
				t.Fatal(err)
			}
		}
		m.Merge(state, started)
		inBounds(t, m)
		once := m.State(started)
		if changed, _ := m.Merge(state, started); changed || !bytes.Equal(m.State(started), once) {
			t.Fatal("a second time it changed something")
		}
		if changed, errs := m.Merge(once, started); changed || errs != nil {
			t.Fatalf("its own state changed it: %t, %v", changed, errs)
		}
	})
}
