package health

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"edged/edge"
)

// observed is n observations, each with a reason.
func observed(n int, reason string) []Observation {
	all := make([]Observation, n)
	for i := range all {
		all[i] = sees(TargetID(i), edge.Dead, reason)
	}
	return all
}

func TestTooManyTargets(t *testing.T) {
	j := newJournal("a", 1)
	m := NewMatrix("prod", ownKeys)
	set(t, j, observed(MaxTargets, strings.Repeat("x", 200)))
	if _, err := j.Set([]Observation{sees(MaxTargets, edge.OK, "")}, nil); err == nil || err.Error() != "20001 targets for one observer, want at most 20000: let fewer observers check each" {
		t.Errorf("the journal took one more: %v", err)
	}
	if got := len(j.Snapshot()); got > maxSnapshot || got < MaxTargets*maxRegister {
		t.Errorf("the longest snapshot has %d octets", got)
	}
	apply(t, m, started, j.Snapshot())
	inBounds(t, m)

	// A journal of another make might go on.
	one := signedAs(header{batch, 1, j.sequence + 1, nil, "a", ""}, appendChange(nil, change{Observation: sees(MaxTargets, edge.OK, "")}))
	a, err := m.Apply(one, started)
	if !errors.Is(err, ErrFull) || a.News || a.Changed {
		t.Errorf("one more: %+v, %v", a, err)
	}
	// One that goes makes room.
	swap := appendChange(nil, change{Observation: Observation{Target: 0}, gone: true})
	swap = appendChange(swap, change{Observation: sees(MaxTargets, edge.OK, "")})
	apply(t, m, started, signedAs(header{batch, 1, j.sequence + 1, nil, "a", ""}, swap))
	inBounds(t, m)
	if got := len(m.Observers(started)[0].Observations); got != MaxTargets {
		t.Errorf("%d targets", got)
	}
}

func TestTooManyRegisters(t *testing.T) {
	m := NewMatrix("prod", ownKeys)
	m.targets = MaxRegisters - 2 // as if others had so many
	j := newJournal("a", 1)
	apply(t, m, started, set(t, j, observed(2, ""))...)
	msg := set(t, j, observed(3, ""))[0]
	if _, err := m.Apply(msg, started); !errors.Is(err, ErrFull) {
		t.Errorf("batch: %v", err)
	}
	if _, err := m.Apply(j.Snapshot(), started); !errors.Is(err, ErrFull) {
		t.Errorf("snapshot: %v", err)
	}
	if m.targets != MaxRegisters || said(m, "a") != "1.1 0 dead, 1 dead" {
		t.Errorf("%d registers, a says %s", m.targets, said(m, "a"))
	}
	m.targets--
	apply(t, m, started, msg)
}

func TestTooManyObservers(t *testing.T) {
	m := NewMatrix("prod", ownKeys)
	for i := range MaxObservers - 1 {
		m.sources[fmt.Sprint(i)] = &source{}
	}
	apply(t, m, started, newJournal("a", 1).Digest(""))
	if _, err := m.Apply(newJournal("b", 1).Digest(""), started); !errors.Is(err, ErrFull) {
		t.Errorf("one more: %v", err)
	}
	if len(m.sources) != MaxObservers {
		t.Errorf("%d observers", len(m.sources))
	}
}

// However many observers have early batches, they are bounded together too.
func TestTooManyEarlyBatches(t *testing.T) {
	m := NewMatrix("prod", ownKeys)
	m.early = maxEarlyTotal
	j := newJournal("a", 1)
	first, second := set(t, j, observed(1, ""))[0], set(t, j, observed(2, ""))[0]
	if a := apply(t, m, started, second); !a.News || !a.Behind || m.early != maxEarlyTotal {
		t.Errorf("%+v, %d early", a, m.early)
	}
	if a := apply(t, m, started, first); !a.Behind {
		t.Errorf("%+v", a)
	}
	if a := apply(t, m, started, second); a.Behind || said(m, "a") != "1.2 0 dead, 1 dead" {
		t.Errorf("%+v, a says %s", a, said(m, "a"))
	}
}

// All trails together fit a state, however large the fleet's snapshots are.
func TestStateIsBounded(t *testing.T) {
	m := NewMatrix("prod", ownKeys)
	var content []byte
	for _, o := range observed(MaxTargets, strings.Repeat("x", MaxReason)) {
		content = appendChange(content, change{Observation: o})
	}
	for i := range 10 {
		h := header{snapshot, 1, 1, nil, fmt.Sprintf("n%d", i), ""}
		apply(t, m, started, signedAs(h, content))
		h.kind = digest
		apply(t, m, started, signedAs(h, appendRenewal(nil, renewal{1, sumOf(content), "x"})))
	}
	inBounds(t, m)
	broken := 0
	for _, o := range m.Observers(started) {
		if len(o.Observations) != MaxTargets {
			t.Errorf("%s has %d targets", o.Name, len(o.Observations))
		}
		if m.sources[o.Name].trail.broken {
			broken++
		}
	}
	// 15.3 MB is room for eight of 1.8 MB.
	if state := m.State(started); len(state) > MaxState || broken != 2 {
		t.Errorf("a state of %d octets, %d are not handed on", len(state), broken)
	}
	other := NewMatrix("prod", ownKeys)
	merge(t, other, m.State(started), started)
	inBounds(t, other)
}

func TestMalformedStates(t *testing.T) {
	entry := func(count byte, messages ...string) string {
		s := "\x00\x00\x00\x00" + string(count) + "\x00"
		for _, msg := range messages {
			s += string(binary.LittleEndian.AppendUint32(nil, uint32(len(msg)))) + msg
		}
		return s
	}
	for _, tt := range []struct{ name, state, want string }{
		{"nothing", "", "state: it ends too early"},
		{"newer", "\x02", "state of version 2, want 1: is its sender a newer edged?"},
		{"half an age", "\x01\x00\x00", "state: it ends too early"},
		{"half a count", "\x01\x00\x00\x00\x00\x01", "state: it ends too early"},
		{"no message", "\x01" + entry(1), "state: it ends too early"},
		{"half a message", "\x01" + entry(2, "")[:9], "state: it ends too early"},
		{"a long message", "\x01\x00\x00\x00\x00\x01\x00\xff\xff\xff\xffx", "state: it ends too early"},
		{"an empty message", "\x01" + entry(1, ""), "0 octets are too few"},
		{"too many observers", "\x01" + strings.Repeat(entry(0), MaxObservers+1), "a state of more than 4096 observers"},
		{"too long", "\x01" + strings.Repeat("\x00", MaxState), "a state of 16777217 octets, want at most 16777216"},
	} {
		m := NewMatrix("prod", ownKeys)
		changed, errs := m.Merge([]byte(tt.state), started)
		if changed || len(errs) != 1 || !errors.Is(errs[0], ErrMalformed) || errs[0].Error() != "malformed record: "+tt.want {
			t.Errorf("%s: %t, %v, want %s", tt.name, changed, errs, tt.want)
		}
	}
	for _, state := range []string{"\x01", "\x01" + entry(0), "\x01" + strings.Repeat(entry(0), MaxObservers)} {
		if changed, errs := NewMatrix("prod", ownKeys).Merge([]byte(state), started); changed || errs != nil {
			t.Errorf("%d octets of nothing: %t, %v", len(state), changed, errs)
		}
	}
}

// fleetOf100 is a fleet of 100 observers with 250 targets each, as 5,000 targets
// and 5 observers give.
func fleetOf100(b *testing.B) []*Journal {
	journals := make([]*Journal, 100)
	for i := range journals {
		journals[i] = newJournal(fmt.Sprintf("node-%03d", i), 1)
		set(b, journals[i], observed(250, ""))
		set(b, journals[i], observed(25, "no answer within 1s"))
	}
	return journals
}

func fullMatrix(b *testing.B, journals []*Journal) *Matrix {
	m := NewMatrix("prod", ownKeys)
	for _, j := range journals {
		apply(b, m, started, j.Snapshot(), j.Digest(""))
	}
	return m
}

func BenchmarkApply(b *testing.B) {
	journals := fleetOf100(b)
	m := fullMatrix(b, journals)
	each := func(message func(*Journal, int) []byte) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			msgs := make([][]byte, len(journals))
			for i := 0; i < b.N; i++ {
				if i%len(msgs) == 0 {
					b.StopTimer()
					for k, j := range journals {
						m.Apply(j.Snapshot(), started)
						msgs[k] = message(j, i)
					}
					b.StartTimer()
				}
				if _, err := m.Apply(msgs[i%len(msgs)], started); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.Run("digest", each(func(j *Journal, _ int) []byte { return j.Digest("") }))
	round := 0
	b.Run("batch of 1", each(func(j *Journal, _ int) []byte {
		round++
		return set(b, j, []Observation{{Target: 1, Next: time.Duration(1+round%60_000) * time.Second}})[0]
	}))
	b.Run("signature alone", func(b *testing.B) {
		msg := journals[0].Digest("")
		split := len(msg) - ed25519.SignatureSize
		covered := signed(nil, "prod", msg[:split])
		for b.Loop() {
			if !ed25519.Verify(journals[0].self.Key, covered, msg[split:]) {
				b.Fatal("it is wrong")
			}
		}
	})
	b.Run("copy", each(func(j *Journal, _ int) []byte { return m.sources[j.self.Name].digest }))
}

func BenchmarkMerge(b *testing.B) {
	journals := fleetOf100(b)
	full := fullMatrix(b, journals)
	state := full.State(started)
	b.Run("into an empty matrix", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, errs := NewMatrix("prod", ownKeys).Merge(state, started); errs != nil {
				b.Fatal(errs)
			}
		}
		b.ReportMetric(float64(len(state)), "state-B")
	})
	b.Run("of what is known", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if changed, errs := full.Merge(state, started); changed || errs != nil {
				b.Fatal(errs)
			}
		}
	})
	b.Run("State", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			full.State(started)
		}
	})
	b.Run("Observers", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			full.Observers(started)
		}
	})
	b.Run("memory", func(b *testing.B) {
		var before, after runtime.MemStats
		for b.Loop() {
			runtime.GC()
			runtime.ReadMemStats(&before)
			m := NewMatrix("prod", ownKeys)
			m.Merge(state, started)
			runtime.GC()
			runtime.ReadMemStats(&after)
			runtime.KeepAlive(m)
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc), "held-B")
	})
}
