package health

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"edged/edge"
)

// apply applies messages that are to be taken.
func apply(t testing.TB, m *Matrix, now time.Time, msgs ...[]byte) (last Applied) {
	t.Helper()
	for _, msg := range msgs {
		var err error
		if last, err = m.Apply(msg, now); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

// merge merges a state in which everything is to be taken.
func merge(t testing.TB, m *Matrix, state []byte, now time.Time) bool {
	t.Helper()
	changed, errs := m.Merge(state, now)
	if errs != nil {
		t.Fatal(errs)
	}
	return changed
}

// said is what a matrix holds of an observer, in words: its observations by
// target, as "1 ok, 2 dead: why".
func said(m *Matrix, observer string) string {
	for _, o := range m.Observers(started) {
		if o.Name == observer {
			var all []string
			for _, target := range slices.Sorted(maps.Keys(o.Observations)) {
				s := fmt.Sprintf("%d %s", target, o.Observations[target].Verdict)
				if reason := o.Observations[target].Reason; reason != "" {
					s += ": " + reason
				}
				all = append(all, s)
			}
			return fmt.Sprintf("%d.%d %s", o.Incarnation, o.Sequence, strings.Join(all, ", "))
		}
	}
	return "nothing"
}

func isFresh(m *Matrix, observer string, now time.Time) bool {
	for _, o := range m.Observers(now) {
		if o.Name == observer {
			return o.Fresh
		}
	}
	return false
}

func TestJournalSaysWhatChanged(t *testing.T) {
	j := newJournal("a", 1)
	m := NewMatrix("prod", ownKeys)
	for _, tt := range []struct {
		changed []Observation
		gone    []TargetID
		batches int
		want    string
	}{
		{nil, nil, 0, "nothing"},
		{nil, []TargetID{9}, 0, "nothing"},
		{[]Observation{sees(1, edge.OK, ""), sees(2, edge.Dead, "x\ny")}, nil, 1, "1.1 1 ok, 2 dead: x?y"},
		{[]Observation{sees(2, edge.Dead, "x?y"), sees(1, edge.OK, "")}, nil, 0, "1.1 1 ok, 2 dead: x?y"},
		{[]Observation{sees(1, edge.Dead, ""), sees(1, edge.Failing, "")}, nil, 1, "1.2 1 failing, 2 dead: x?y"},
		{[]Observation{sees(1, edge.OK, "")}, []TargetID{1}, 1, "1.3 2 dead: x?y"},
		{[]Observation{sees(1, edge.OK, "")}, []TargetID{1, 1}, 0, "1.3 2 dead: x?y"},
		{[]Observation{{Target: 3, Verdict: edge.Degraded}}, []TargetID{2}, 1, "1.4 3 degraded"},
	} {
		batches := set(t, j, tt.changed, tt.gone...)
		if len(batches) != tt.batches {
			t.Errorf("want %d batches, got %d", tt.batches, len(batches))
		}
		apply(t, m, started, batches...)
		if got := said(m, "a"); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
	if _, err := j.Set([]Observation{sees(1, edge.Drained, "")}, nil); err == nil || err.Error() != `target 0000000000000001 has verdict "drained", want ok to dead` {
		t.Errorf("got %v", err)
	}
}

// Next is whole seconds, and never more than it was.
func TestNextIsCutToWhatARecordHolds(t *testing.T) {
	for _, tt := range []struct{ in, want time.Duration }{
		{-time.Second, 0},
		{999 * time.Millisecond, 0},
		{6900 * time.Millisecond, 6 * time.Second},
		{65535 * time.Second, 65535 * time.Second},
		{100 * time.Hour, 65535 * time.Second},
	} {
		m := NewMatrix("prod", ownKeys)
		apply(t, m, started, set(t, newJournal("a", 1), []Observation{{Target: 1, Next: tt.in}})...)
		if got := m.Observers(started)[0].Observations[1].Next; got != tt.want {
			t.Errorf("%v came out as %v, want %v", tt.in, got, tt.want)
		}
	}
}

// A mass failure goes out in several batches, each of which fits a datagram, and
// they may come in any order.
func TestBatchesFitAndComeInAnyOrder(t *testing.T) {
	j := newJournal("a", 1)
	var all []Observation
	for i := range 500 {
		all = append(all, sees(TargetID(i), edge.Dead, "no answer within 1s"))
	}
	batches := set(t, j, all)
	if len(batches) != 18 {
		t.Errorf("%d batches, want 18", len(batches))
	}
	for i, msg := range batches {
		h, _, err := parseHeader(msg)
		if err != nil || h.sequence != uint64(i+1) || len(msg) > MaxMessage {
			t.Errorf("batch %d: %v of %d octets, %v", i, h, len(msg), err)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		m := NewMatrix("prod", ownKeys)
		order := rng.Perm(len(batches))
		for i, k := range order {
			a := apply(t, m, started, batches[k])
			if held := m.sources["a"].held.sequence; !a.News || a.Behind != (held < uint64(slices.Max(order[:i+1])+1)) {
				t.Fatalf("order %v: after %d, %d are held: %+v", order, i, held, a)
			}
			inBounds(t, m)
		}
		if got := len(m.Observers(started)[0].Observations); got != 500 || m.sources["a"].contentSum() != sumOf(j.body()) {
			t.Errorf("order %v: %d targets", order, got)
		}
	}
}

// H9: whatever octet is changed on the way, and whoever else signs, by whichever
// way it comes, it is dropped and the reason is forgery.
func TestForgedIsDropped(t *testing.T) {
	j := newJournal("a", 1)
	first := set(t, j, []Observation{sees(1, edge.OK, "")})
	next := set(t, j, []Observation{sees(1, edge.Dead, "refused")})[0]
	beat, all := j.Digest("x"), j.Snapshot()
	h, body, err := parseHeader(next)
	if err != nil {
		t.Fatal(err)
	}
	// A relay that holds the gossip key and a node key of its own.
	liar := nodeKey("b")
	by := func(show, signer ed25519.PrivateKey, fleet string, h header) []byte {
		h.key = show.Public().(ed25519.PublicKey)
		return sign(fleet, signer, append(appendHeader(nil, h), body...))
	}
	forged := map[string][]byte{
		"signed by another, shown as its own":  by(nodeKey("a"), liar, "prod", h),
		"signed by another that shows its key": by(liar, liar, "prod", h),
		"of another fleet":                     by(nodeKey("a"), nodeKey("a"), "test", h),
		"of somebody unknown":                  set(t, newJournal("stranger", 1), []Observation{sees(1, edge.OK, "")})[0],
		"signature of another message":         append(next[:len(next)-64:len(next)-64], first[0][len(first[0])-64:]...),
	}
	for k, msg := range [][]byte{next, beat, all} {
		for i := range msg {
			bad := bytes.Clone(msg)
			bad[i] ^= 1 << (i % 8)
			forged[fmt.Sprintf("octet %d of message %d changed", i, k)] = bad
		}
	}
	dropped := 0
	for name, msg := range forged {
		m := NewMatrix("prod", ownKeys)
		apply(t, m, started, first...)
		before := m.State(started)
		for _, via := range []func() error{
			func() error { _, err := m.Apply(msg, started); return err },
			func() error { // by way of a third node
				state := binary.LittleEndian.AppendUint32([]byte{stateVersion, 0, 0, 0, 0, 1, 0}, uint32(len(msg)))
				changed, errs := m.Merge(append(state, msg...), started)
				if changed {
					t.Errorf("%s: changed", name)
				}
				return errors.Join(errs...)
			},
		} {
			err := via()
			if errors.Is(err, ErrForged) {
				dropped++
			} else if !errors.Is(err, ErrMalformed) || !strings.HasPrefix(name, "octet") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if !bytes.Equal(m.State(started), before) {
			t.Errorf("%s: it changed the matrix to %s", name, said(m, "a"))
		}
	}
	// Few changes make a message malformed before its signature is looked at.
	if len(forged) < 400 || dropped < 2*len(forged)-60 {
		t.Errorf("%d of %d were found out as forged", dropped, 2*len(forged))
	}
	m := NewMatrix("prod", ownKeys)
	apply(t, m, started, first[0], next, beat, all)
	if got := said(m, "a"); got != "1.2 1 dead: refused" {
		t.Errorf("and unchanged they give %s", got)
	}
}

// H9: an old message changes nothing, renews nothing, and is counted unless it
// is the newest, which is just a copy.
func TestReplayedIsDropped(t *testing.T) {
	old := newJournal("a", 1)
	oldBatch, oldBeat, oldAll := set(t, old, []Observation{sees(1, edge.Dead, "old")})[0], old.Digest("old"), old.Snapshot()
	oldest := NewMatrix("prod", ownKeys)
	apply(t, oldest, started, oldBatch, oldBeat, oldAll)

	j := newJournal("a", 2)
	b1 := set(t, j, []Observation{sees(1, edge.OK, "")})[0]
	s1, d1 := j.Snapshot(), j.Digest("")
	earlier := NewMatrix("prod", ownKeys)
	apply(t, earlier, started, b1, s1, d1)
	b2 := set(t, j, []Observation{sees(1, edge.Degraded, "slow")})[0]
	s2, d2 := j.Snapshot(), j.Digest("")

	m := NewMatrix("prod", ownKeys)
	apply(t, m, started, oldBatch, s1, d1, b2, d2)
	now := started.Add(FreshFor - 1)
	if !isFresh(m, "a", now) {
		t.Fatal("not fresh")
	}
	for _, tt := range []struct {
		name string
		msg  []byte
		want error
	}{
		{"batch of the incarnation before", oldBatch, ErrReplayed},
		{"digest of the incarnation before", oldBeat, ErrReplayed},
		{"snapshot of the incarnation before", oldAll, ErrReplayed},
		{"first batch", b1, ErrReplayed},
		{"first digest", d1, ErrReplayed},
		{"first snapshot", s1, nil}, // it is what is handed on
		{"second batch", b2, nil},
		{"second digest", d2, nil},
		{"second snapshot", s2, nil},
	} {
		a, err := m.Apply(tt.msg, now)
		if !errors.Is(err, tt.want) || a.News || a.Changed || a.Behind {
			t.Errorf("%s: %+v, %v; want no change and %v", tt.name, a, err, tt.want)
		}
	}
	for _, other := range []*Matrix{oldest, earlier, m} {
		if changed := merge(t, m, other.State(now), now); changed {
			t.Errorf("the state of %s changed it", said(other, "a"))
		}
	}
	if got := said(m, "a"); got != "2.2 1 degraded: slow" {
		t.Errorf("now it says %s", got)
	}
	if isFresh(m, "a", started.Add(FreshFor)) {
		t.Error("a replay renewed it")
	}
}

// A batch that came early, or too early to be kept, renews once.
func TestReplayedEarlyBatchRenewsOnce(t *testing.T) {
	j := newJournal("a", 1)
	m := NewMatrix("prod", ownKeys)
	var batches [][]byte
	for i := range maxEarly + 3 {
		batches = append(batches, set(t, j, []Observation{sees(TargetID(i), edge.OK, "")})...)
	}
	for _, msg := range batches[1:] {
		if a := apply(t, m, started, msg); !a.News || !a.Behind {
			t.Errorf("%+v", a)
		}
	}
	inBounds(t, m)
	for _, msg := range batches[1:] {
		if a := apply(t, m, started.Add(time.Second), msg); a.News || a.Changed {
			t.Errorf("%+v", a)
		}
	}
	if isFresh(m, "a", started.Add(FreshFor)) {
		t.Error("a replay renewed it")
	}
	// The first one brings those that were kept; the two that were not are missing.
	apply(t, m, started, batches[0])
	if held := m.sources["a"].held.sequence; held != maxEarly+1 {
		t.Errorf("%d are held, want %d", held, maxEarly+1)
	}
	if a := apply(t, m, started, batches[maxEarly+1:]...); a.Behind || !a.News {
		t.Errorf("%+v", a)
	}
	inBounds(t, m)
}

// Where the fleet's name ends and the message begins is signed too.
func TestSignedSaysWhereTheFleetEnds(t *testing.T) {
	if bytes.Equal(signed(nil, "prod", []byte("\x01\x01")), signed(nil, "prod\x01", []byte("\x01"))) {
		t.Error("a message of one fleet is one of another")
	}
}

// Neither keys that are shared nor names let one fleet's records into another.
func TestFleetsDoNotMix(t *testing.T) {
	prod := NewJournal("prod", Member{Name: "a", PoP: "fra"}, nodeKey("a"), 1)
	test := NewJournal("test", Member{Name: "a", PoP: "fra"}, nodeKey("a"), 1)
	mp, mt := NewMatrix("prod", ownKeys), NewMatrix("test", ownKeys)
	apply(t, mp, started, set(t, prod, []Observation{sees(1, edge.OK, "")})[0], prod.Digest(""))
	apply(t, mt, started, set(t, test, []Observation{sees(1, edge.Dead, "")})[0], set(t, test, []Observation{sees(1, edge.Failing, "")})[0], test.Digest(""))
	changed, errs := mp.Merge(mt.State(started), started)
	if changed || len(errs) != 1 || !errors.Is(errs[0], ErrForged) {
		t.Errorf("changed %t, errors %v", changed, errs)
	}
	if got := said(mp, "a"); got != "1.1 1 ok" {
		t.Errorf("prod says %s", got)
	}
}

// A restarted observer counts from one again, under a higher incarnation; until
// its registers have come those before hold.
func TestIncarnationRestart(t *testing.T) {
	before := newJournal("a", 7)
	m := NewMatrix("prod", ownKeys)
	apply(t, m, started, set(t, before, []Observation{sees(1, edge.OK, ""), sees(2, edge.OK, "")})[0], set(t, before, []Observation{sees(1, edge.Dead, "")})[0], before.Digest("own uplink"))
	if m.Highest("a") != 7 || m.Highest("b") != 0 {
		t.Errorf("highest are %d and %d", m.Highest("a"), m.Highest("b"))
	}

	after := newJournal("a", 8)
	b1 := set(t, after, []Observation{sees(2, edge.Dead, "")})[0]
	a := apply(t, m, started, after.Digest(""))
	if want := (Applied{"a", true, true, true}); a != want || said(m, "a") != "7.2 1 dead, 2 ok" || m.Observers(started)[0].Suspect != "" || m.Highest("a") != 8 {
		t.Errorf("after the digest: %+v, %s", a, said(m, "a"))
	}
	if _, err := m.Apply(set(t, before, []Observation{sees(3, edge.OK, "")})[0], started); !errors.Is(err, ErrReplayed) {
		t.Errorf("the old incarnation goes on: %v", err)
	}
	inBounds(t, m)
	a = apply(t, m, started, b1)
	if want := (Applied{"a", true, true, false}); a != want || said(m, "a") != "8.1 2 dead" {
		t.Errorf("after the batch: %+v, %s", a, said(m, "a"))
	}
	inBounds(t, m)

	// One that begins with nothing says so by its first digest.
	a = apply(t, m, started, newJournal("a", 9).Digest(""))
	if want := (Applied{"a", true, true, false}); a != want || said(m, "a") != "9.0 " {
		t.Errorf("after the empty digest: %+v, %s", a, said(m, "a"))
	}
	inBounds(t, m)
	if a := apply(t, m, started, newJournal("a", 10).Snapshot()); a.Behind || a.Changed || said(m, "a") != "10.0 " {
		t.Errorf("after the empty snapshot: %+v, %s", a, said(m, "a"))
	}
}

// A lost batch shows at the next digest, and another node's state repairs it.
func TestLostBatchIsRepaired(t *testing.T) {
	j := newJournal("a", 1)
	m, other := NewMatrix("prod", ownKeys), NewMatrix("prod", ownKeys)
	b1 := set(t, j, []Observation{sees(1, edge.OK, ""), sees(2, edge.OK, "")})[0]
	b2 := set(t, j, []Observation{sees(1, edge.Dead, "refused")})[0]
	apply(t, m, started, b1)
	apply(t, other, started, b1, b2)

	d := j.Digest("")
	if a := apply(t, m, started, d); !a.Behind || !a.News || a.Changed {
		t.Errorf("the digest: %+v", a)
	}
	if a := apply(t, other, started, d); a.Behind {
		t.Errorf("the digest at the other: %+v", a)
	}
	b3 := set(t, j, []Observation{sees(2, edge.Dead, "refused")})[0]
	if a := apply(t, m, started, b3); !a.Behind || !a.News || a.Changed || said(m, "a") != "1.1 1 ok, 2 ok" {
		t.Errorf("the batch after: %+v, %s", a, said(m, "a"))
	}
	if !merge(t, m, other.State(started), started) || said(m, "a") != "1.3 1 dead: refused, 2 dead: refused" {
		t.Errorf("repaired it says %s", said(m, "a"))
	}
	if merge(t, m, other.State(started), started) {
		t.Error("the same state changed it again")
	}
	inBounds(t, m)
}

// What passes through nodes is what the observer signed, octet by octet, and its
// age grows on the way.
func TestRelayedKeepsSignatures(t *testing.T) {
	j := newJournal("a", 1)
	batch := set(t, j, []Observation{sees(1, edge.Dead, "refused")})[0]
	digest := j.Digest("")
	chain := make([]*Matrix, 6)
	now := started
	for i := range chain {
		chain[i] = NewMatrix("prod", ownKeys)
		if i == 0 {
			apply(t, chain[0], now, batch, digest)
			continue
		}
		now = now.Add(2 * time.Second)
		merge(t, chain[i], chain[i-1].State(now), now)
		state := chain[i].State(now)
		if !bytes.Contains(state, batch) || !bytes.Contains(state, digest) || said(chain[i], "a") != "1.1 1 dead: refused" {
			t.Fatalf("node %d hands on something else, and says %s", i, said(chain[i], "a"))
		}
		if o := chain[i].Observers(now)[0]; o.Age != time.Duration(2*i)*time.Second || !o.Fresh {
			t.Errorf("at node %d it is %v old", i, o.Age)
		}
	}
	// A node that hears of a dead observer only now does not take it for alive.
	late := started.Add(FreshFor)
	last := NewMatrix("prod", ownKeys)
	merge(t, last, chain[5].State(late), late)
	if isFresh(last, "a", late) {
		t.Error("an old digest is fresh where it is new")
	}
	// Nor do nodes that tell each other the same renew it.
	for range 10 {
		for i := range chain {
			merge(t, chain[i], chain[(i+1)%len(chain)].State(late), late)
		}
	}
	for i := range chain {
		if isFresh(chain[i], "a", late) {
			t.Errorf("node %d takes it for alive", i)
		}
	}
}

// H7: clocks that differ by hours change neither what is held nor what is fresh.
func TestNoWallClockDecides(t *testing.T) {
	offsets := []time.Duration{0, time.Hour, -time.Hour, 20 * 365 * 24 * time.Hour}
	views := make([][]Observer, len(offsets))
	for i, offset := range offsets {
		a, b := newJournal("a", 1), newJournal("b", 1)
		here, there := NewMatrix("prod", ownKeys), NewMatrix("prod", ownKeys)
		at := func(s int) time.Time { return started.Add(time.Duration(s) * time.Second) }
		apply(t, here, at(0).Add(offset), set(t, a, []Observation{sees(1, edge.OK, "")})[0], a.Digest(""))
		apply(t, there, at(0), set(t, b, []Observation{sees(1, edge.Dead, "")})[0], b.Digest(""))
		for s := 5; s <= 20; s += 5 {
			apply(t, here, at(s).Add(offset), b.Digest(""), set(t, b, []Observation{sees(2, edge.Verdict(s/5-1), "")})[0])
			merge(t, here, there.State(at(s)), at(s).Add(offset))
			merge(t, there, here.State(at(s).Add(offset)), at(s))
		}
		views[i] = here.Observers(at(20).Add(offset))
		if got := there.Observers(at(20)); !reflect.DeepEqual(got, views[i]) {
			t.Errorf("off by %v: here %v, there %v", offset, views[i], got)
		}
		if !reflect.DeepEqual(views[i], views[0]) {
			t.Errorf("off by %v: %v, else %v", offset, views[i], views[0])
		}
	}
	if a, b := views[0][0], views[0][1]; a.Fresh || !b.Fresh || a.Age != 20*time.Second || b.Age != 0 {
		t.Errorf("fresh are %t, %t", a.Fresh, b.Fresh)
	}
}

// Changed tells when a view must be built anew.
func TestChangedFollowsWhatObserversSays(t *testing.T) {
	j := newJournal("a", 1)
	m := NewMatrix("prod", ownKeys)
	batch := set(t, j, []Observation{sees(1, edge.OK, "")})[0]
	now := started
	for _, tt := range []struct {
		name  string
		msg   []byte
		after time.Duration
		want  bool
	}{
		{"first batch", batch, 0, true},
		{"digest", j.Digest(""), time.Second, false},
		{"digest that suspects itself", j.Digest("own uplink"), time.Second, true},
		{"digest that does so still", j.Digest("own uplink"), time.Second, false},
		{"digest that does no more", j.Digest(""), time.Second, true},
		{"digest after silence", j.Digest(""), FreshFor, true},
	} {
		now = now.Add(tt.after)
		if a := apply(t, m, now, tt.msg); a.Changed != tt.want || !a.News || a.Observer != "a" {
			t.Errorf("%s: %+v, want changed %t", tt.name, a, tt.want)
		}
	}
}

// What Observers gave does not change under its reader.
func TestObserversStayAsGiven(t *testing.T) {
	j := newJournal("a", 1)
	m := NewMatrix("prod", ownKeys)
	apply(t, m, started, set(t, j, []Observation{sees(1, edge.OK, "")})...)
	given := m.Observers(started)[0]
	apply(t, m, started, set(t, j, []Observation{sees(1, edge.Dead, ""), sees(2, edge.OK, "")})...)
	apply(t, m, started, set(t, j, nil, 1)...)
	if want := (map[TargetID]Observation{1: sees(1, edge.OK, "")}); given.Sequence != 1 || !maps.Equal(given.Observations, want) {
		t.Errorf("it became %v", given.Observations)
	}
	if got := said(m, "a"); got != "1.3 2 ok" {
		t.Errorf("now it says %s", got)
	}
}

// What is known is passed over before anything is verified.
func TestKnownIsNotVerifiedAgain(t *testing.T) {
	asked := 0
	m := NewMatrix("prod", func(o string, k ed25519.PublicKey) bool { asked++; return ownKeys(o, k) })
	other := NewMatrix("prod", ownKeys)
	for _, name := range []string{"a", "b", "c"} {
		j := newJournal(name, 1)
		apply(t, other, started, set(t, j, []Observation{sees(1, edge.OK, "")})[0], j.Snapshot(), set(t, j, []Observation{sees(1, edge.Dead, "")})[0], j.Digest(""))
	}
	merge(t, m, other.State(started), started)
	if asked != 9 {
		t.Errorf("%d messages were verified, want 9", asked)
	}
	merge(t, m, other.State(started), started)
	merge(t, m, m.State(started), started)
	if asked != 9 {
		t.Errorf("%d messages were verified again", asked-9)
	}
}

// A state full of forgeries costs a bounded number of verifications.
func TestForgedStateIsLeft(t *testing.T) {
	asked := 0
	m := NewMatrix("prod", func(string, ed25519.PublicKey) bool { asked++; return true })
	state := []byte{stateVersion}
	for i := range 1000 {
		msg := set(t, newJournal(fmt.Sprintf("n%d", i), 1), []Observation{sees(1, edge.OK, "")})[0]
		msg[len(msg)-1] ^= 1
		state = append(state, 0, 0, 0, 0, 2, 0)
		for range 2 {
			state = append(binary.LittleEndian.AppendUint32(state, uint32(len(msg))), msg...)
		}
	}
	changed, errs := m.Merge(state, started)
	if changed || asked != maxForged+1 || len(errs) != maxForged+2 || !errors.Is(errs[maxForged+1], ErrForged) {
		t.Errorf("%d messages were looked at, %d errors", asked, len(errs))
	}
}

// Without configured keys the first one holds, also before it was remembered.
func TestFirstKeyHolds(t *testing.T) {
	m := NewMatrix("prod", func(string, ed25519.PublicKey) bool { return true })
	apply(t, m, started, newJournal("a", 1).Digest(""))
	if !m.Key("a").Equal(nodeKey("a").Public()) || m.Key("b") != nil {
		t.Errorf("the keys are %v and %v", m.Key("a"), m.Key("b"))
	}
	other := NewJournal("prod", Member{Name: "a"}, nodeKey("b"), 2)
	if _, err := m.Apply(other.Digest(""), started); !errors.Is(err, ErrForged) {
		t.Errorf("another key: %v", err)
	}
	// Once the configuration says another key, that one holds from the next start.
	m.trusts = func(_ string, key ed25519.PublicKey) bool { return key.Equal(nodeKey("b").Public()) }
	same := NewJournal("prod", Member{Name: "a"}, nodeKey("b"), 1)
	same.Digest("")
	if _, err := m.Apply(same.Digest(""), started); !errors.Is(err, ErrForged) {
		t.Errorf("another key in one incarnation: %v", err)
	}
	apply(t, m, started, other.Digest("new"))
	if !m.Key("a").Equal(nodeKey("b").Public()) {
		t.Errorf("the key is %v", m.Key("a"))
	}
}

// Two nodes with one name, key and incarnation contradict each other; it shows,
// and ends as what the last digest says.
func TestTwoNodesWithOneName(t *testing.T) {
	one, two := newJournal("a", 1), newJournal("a", 1)
	m, other := NewMatrix("prod", ownKeys), NewMatrix("prod", ownKeys)
	apply(t, m, started, set(t, one, []Observation{sees(1, edge.OK, "")})...)
	set(t, two, []Observation{sees(1, edge.Dead, "")})
	apply(t, other, started, two.Snapshot())
	d := two.Digest("")
	if a := apply(t, m, started, d); !a.Behind {
		t.Errorf("%+v", a)
	}
	apply(t, m, started, one.Snapshot())
	three := newJournal("a", 1)
	set(t, three, []Observation{sees(1, edge.Failing, "")})
	if _, err := m.Apply(three.Snapshot(), started); !errors.Is(err, ErrReplayed) || said(m, "a") != "1.1 1 ok" {
		t.Errorf("a snapshot that nothing names: %v, %s", err, said(m, "a"))
	}
	if !merge(t, m, other.State(started), started) || said(m, "a") != "1.1 1 dead" || m.sources["a"].behind() {
		t.Errorf("it says %s", said(m, "a"))
	}
	if a := apply(t, m, started, one.Snapshot()); a.Changed || a.Behind {
		t.Errorf("the other's snapshot: %+v", a)
	}
	inBounds(t, m)
}

func TestForget(t *testing.T) {
	m := NewMatrix("prod", ownKeys)
	for _, name := range []string{"a", "b"} {
		j := newJournal(name, 1)
		apply(t, m, started, set(t, j, []Observation{sees(1, edge.OK, "")})[0])
		set(t, j, []Observation{sees(2, edge.OK, "")})
		apply(t, m, started, set(t, j, []Observation{sees(3, edge.OK, "")})[0])
	}
	m.Forget(func(observer string) bool { return observer == "b" })
	inBounds(t, m)
	if said(m, "a") != "nothing" || said(m, "b") != "1.1 1 ok" || m.Highest("a") != 0 || m.Key("a") != nil {
		t.Errorf("a says %s, b says %s", said(m, "a"), said(m, "b"))
	}
	m.Forget(func(string) bool { return false })
	if m.trails != 0 || m.targets != 0 || m.early != 0 || len(m.State(started)) != 1 {
		t.Errorf("left are %d octets, %d registers, %d batches", m.trails, m.targets, m.early)
	}
}
