package override

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edged/health"
)

// fleet is engines that talk over a mesh in memory, in a synctest bubble.
type fleet struct {
	t       *testing.T
	engines map[string]*Engine
	members []health.Member
	rules   []Rule

	mu    sync.Mutex
	rand  *rand.Rand
	down  map[string]bool                        // cut off
	drop  func(from, to string, msg []byte) bool // lost on the way
	sent  []sentMessage
	delay time.Duration // up to this, at random
}

type sentMessage struct {
	from, to string // to is empty for a broadcast
	msg      []byte
}

// node is one engine's end of the mesh.
type node struct {
	f    *fleet
	name string
}

var errDown = errors.New("no route to host")

func (n node) Broadcast(_ string, msg []byte) {
	n.f.mu.Lock()
	n.f.sent = append(n.f.sent, sentMessage{n.name, "", bytes.Clone(msg)})
	n.f.mu.Unlock()
	for name := range n.f.engines {
		if name != n.name {
			n.f.deliver(n.name, name, msg)
		}
	}
}

func (n node) Send(to string, msg []byte) error {
	n.f.mu.Lock()
	n.f.sent = append(n.f.sent, sentMessage{n.name, to, bytes.Clone(msg)})
	down := n.f.down[to] || n.f.down[n.name]
	n.f.mu.Unlock()
	if down {
		return errDown
	}
	n.f.deliver(n.name, to, msg)
	return nil
}

func (f *fleet) deliver(from, to string, msg []byte) {
	f.mu.Lock()
	lost := f.down[from] || f.down[to] || f.drop != nil && f.drop(from, to, msg)
	wait := time.Duration(0)
	if f.delay > 0 {
		wait = time.Duration(f.rand.Int64N(int64(f.delay)))
	}
	f.mu.Unlock()
	if lost {
		return
	}
	msg = bytes.Clone(msg)
	go func() {
		time.Sleep(wait) // the bubble's clock
		_ = f.engines[to].Receive(msg)
		clear(msg) // the engine may not keep it
	}()
}

func newFleet(t *testing.T, names ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, engines: map[string]*Engine{}, rand: rand.New(rand.NewPCG(5, 6)), down: map[string]bool{}}
	for _, name := range names {
		f.members = append(f.members, health.Member{Name: name, Key: testKey(name).Public().(ed25519.PublicKey)})
	}
	for _, name := range names {
		f.engines[name] = f.engine(name, 1, "")
	}
	return f
}

func (f *fleet) engine(name string, incarnation uint64, path string) *Engine {
	f.t.Helper()
	set := NewSet()
	if path != "" {
		var err error
		if set, err = Load(path); err != nil {
			f.t.Fatal(err)
		}
	}
	e, err := New(Config{
		Fleet: "prod", Self: name, Key: testKey(name), Incarnation: incarnation, Path: path,
		Members: func() []health.Member { return f.members },
		World:   func() ([]Rule, Fleet) { return f.rules, testFleet() },
		Mesh:    node{f, name},
	}, set)
	if err != nil {
		f.t.Fatal(err)
	}
	return e
}

func (f *fleet) submit(name string, words string, flags Flags) (Result, error) {
	f.t.Helper()
	if flags.Reason == "" {
		flags.Reason = "fibre work"
	}
	flags.Owner = "alice"
	w := strings.Fields(words)
	q, err := ParseRequest(w[0], w[1:], flags)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.engines[name].Submit(context.Background(), q)
}

func (f *fleet) mustSubmit(name string, words string, flags Flags) Result {
	f.t.Helper()
	r, err := f.submit(name, words, flags)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

// views returns the one view that all engines have.
func (f *fleet) view() *View {
	f.t.Helper()
	synctest.Wait()
	texts := map[string]bool{}
	var v *View
	for _, e := range f.engines {
		v = e.View()
		texts[viewText(f.t, v)] = true
	}
	if len(texts) != 1 {
		f.t.Fatalf("%d different views: %v", len(texts), texts)
	}
	return v
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestCommitReachesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "ams1", "fra1", "iad1", "lon1", "sjc1")
		began := time.Now()
		r := f.mustSubmit("fra1", "drain pop/fra", Flags{For: "2h"})
		if time.Since(began) != 0 {
			t.Errorf("it waited %s although all answered", time.Since(began))
		}
		if len(r.Members) < 3 || r.Members[0] != "fra1" {
			t.Errorf("acknowledged by %v", r.Members)
		}
		v := f.view()
		if len(v.Active) != 1 || !reflect.DeepEqual(v.Active, r.Overrides) {
			t.Fatalf("active %v, want %v", v.Active, r.Overrides)
		}
		o := v.Active[0]
		if o.ID != (ID{"fra1", 1, 1}) || o.Version != 1 || !o.Created.Equal(began) || !o.Expires.Equal(began.Add(2*time.Hour)) {
			t.Errorf("%+v", o)
		}
		// A later one elsewhere has a higher version.
		if r = f.mustSubmit("ams1", "weight pool/www 5", Flags{}); r.Overrides[0].Version != 2 {
			t.Errorf("version %d, want 2", r.Overrides[0].Version)
		}
		if len(f.view().Active) != 2 {
			t.Error("not both are active")
		}
		time.Sleep(2*time.Hour - 1)
		if len(f.view().Active) != 2 {
			t.Error("it ended too early")
		}
		time.Sleep(time.Nanosecond)
		if v = f.view(); len(v.Active) != 1 || v.Active[0].Action != Weight {
			t.Error("it did not end")
		}
		f.mustSubmit("sjc1", "clear pool/www", Flags{})
		if len(f.view().Active) != 0 {
			t.Error("it was not cleared")
		}
		for name, e := range f.engines {
			if s := e.Stats(); s.Forged+s.Replayed+s.Malformed+s.Unsaved != 0 {
				t.Errorf("%s: %+v", name, s)
			}
		}
	})
}

func TestDryRunEqualsCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "ams1", "fra1", "iad1")
		f.rules = []Rule{mustRule(t, 2, "", "pops", "continent"), mustRule(t, 0, "30%", "capacity", "")}
		for _, words := range []string{
			"drain pop/fra", "force-down pop/ams", "drain pop/nowhere", "weight endpoint/www/198.51.100.* 0", "pin-prefix 203.0.113.0/24 pop/sjc", "drain pop/*",
		} {
			dry, dryErr := f.submit("fra1", words, Flags{DryRun: true})
			before := viewText(t, f.view())
			real, err := f.submit("fra1", words, Flags{})
			if errText(dryErr) != errText(err) || !reflect.DeepEqual(dry.Effect, real.Effect) {
				t.Errorf("%s: dry run says %+v, %v\nthe commit %+v, %v", words, dry.Effect, dryErr, real.Effect, err)
			}
			if dry.Overrides != nil {
				t.Errorf("%s: the dry run made %v", words, dry.Overrides)
			}
			if changed := viewText(t, f.view()) != before; changed != (err == nil) {
				t.Errorf("%s: changed %v, error %v", words, changed, err)
			}
		}
		dry := f.mustSubmit("ams1", "clear pop/fra", Flags{DryRun: true})
		real := f.mustSubmit("ams1", "clear pop/fra", Flags{})
		if len(dry.Overrides) != 1 || !reflect.DeepEqual(dry.Overrides, real.Overrides) {
			t.Errorf("clear: dry run %v, commit %v", dry.Overrides, real.Overrides)
		}
	})
}

func TestNoMajority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "ams1", "fra1", "iad1", "lon1", "sjc1")
		f.down["ams1"], f.down["sjc1"] = true, true
		f.drop = func(_, to string, _ []byte) bool { return to == "iad1" }
		began := time.Now()
		_, err := f.submit("fra1", "drain pop/fra", Flags{})
		const want = "drain pop/fra is not committed: 2 of 5 members acknowledged it within 3s, want 3; " +
			"no answer from ams1 (no route to host), iad1, sjc1 (no route to host); try again, or say --local for this node only"
		if errText(err) != want {
			t.Errorf("error %v\nwant %s", err, want)
		}
		if time.Since(began) != AckWait {
			t.Errorf("it waited %s", time.Since(began))
		}
		if len(f.view().Active) != 0 {
			t.Error("it is active all the same")
		}
		// This node only, without asking.
		f.mustSubmit("fra1", "drain pop/fra", Flags{Local: true})
		synctest.Wait()
		if a := f.engines["fra1"].View().Active; len(a) != 1 || !a[0].Local {
			t.Errorf("active %v", a)
		}
		if state := f.engines["fra1"].State(); len(state) != 1 {
			t.Errorf("a local override travels: %q", state)
		}
		if _, err := f.submit("fra1", "clear pop/fra", Flags{}); err != nil {
			t.Errorf("clear of a local override: %v", err)
		}
		f.view()
		// The caller's patience may be shorter.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		q, _ := ParseRequest("clear", []string{"pop/fra"}, Flags{Owner: "o", Reason: "r"})
		if _, err = f.engines["fra1"].Submit(ctx, q); errText(err) != "clear pop/fra: there is no such override: see edged overrides" {
			t.Errorf("error %v", err)
		}
		q, _ = ParseRequest("drain", []string{"pop/fra"}, Flags{Owner: "o", Reason: "r"})
		_, err = f.engines["fra1"].Submit(ctx, q)
		if !strings.HasPrefix(errText(err), "drain pop/fra is not committed: 2 of 5 members acknowledged it") || time.Since(began) != AckWait+time.Second {
			t.Errorf("error %v", err)
		}
	})
}

// TestLateAnswers has a member that is out of reach at first.
func TestLateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "ams1", "fra1", "iad1")
		f.down["ams1"], f.down["iad1"] = true, true
		time.AfterFunc(1200*time.Millisecond, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.down["iad1"] = false
		})
		began := time.Now()
		r := f.mustSubmit("fra1", "drain pop/fra", Flags{})
		if want := 1500 * time.Millisecond; time.Since(began) != want || !slices.Equal(r.Members, []string{"fra1", "iad1"}) {
			t.Errorf("after %s by %v", time.Since(began), r.Members)
		}
		// The one that was away learns it by push/pull.
		synctest.Wait()
		f.mu.Lock()
		f.down["ams1"] = false
		f.mu.Unlock()
		synctest.Wait()
		ams := f.engines["ams1"]
		if len(ams.View().Active) != 0 {
			t.Fatal("it knows already")
		}
		if changed, err := ams.Merge(f.engines["iad1"].State()); !changed || err != nil {
			t.Errorf("merge: %v, %v", changed, err)
		}
		if changed, err := ams.Merge(f.engines["fra1"].State()); changed || err != nil {
			t.Errorf("merge again: %v, %v", changed, err)
		}
		f.view()
		if !bytes.Equal(ams.State(), f.engines["fra1"].State()) {
			t.Error("relayed states differ from the signer's")
		}
	})
}

// TestLoss has a third of all messages lost: commits still get their majority,
// and push/pull makes all sets equal.
func TestLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "ams1", "fra1", "iad1", "lon1", "sjc1")
		f.delay = 200 * time.Millisecond
		f.drop = func(string, string, []byte) bool { return f.rand.IntN(3) == 0 }
		for i := range 20 {
			f.mustSubmit([]string{"ams1", "fra1", "iad1"}[i%3], fmt.Sprintf("weight pool/www %d", i), Flags{})
		}
		time.Sleep(time.Second)
		for _, a := range f.engines {
			for _, b := range f.engines {
				if _, err := a.Merge(b.State()); err != nil {
					t.Error(err)
				}
			}
		}
		if v := f.view(); len(v.Active) != 20 || v.Effective(testFleet().Endpoints[0]).Weight != 19 {
			t.Errorf("%d are active", len(v.Active))
		}
	})
}

func TestRefusedByMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "ams1", "fra1", "iad1")
		f.rules = []Rule{mustRule(t, 2, "", "pops", "continent")}
		// fra1 has not heard of the first.
		f.drop = func(_, to string, msg []byte) bool { return to == "fra1" && msg[0] == kindCommit }
		f.mustSubmit("ams1", "drain pop/ams", Flags{})
		synctest.Wait()
		_, err := f.submit("fra1", "drain pop/fra", Flags{})
		const rule = `drain pop/fra breaks rule "at least 2 pops per continent": 1 of 3 pops in EU would stay in service, want 2 (out: ams, fra)`
		const want = `drain pop/fra is not committed: 1 of 3 members acknowledged it, want 2; refused by ams1: ` + rule + `; refused by iad1: ` + rule
		if errText(err) != want {
			t.Errorf("error %v\nwant %s", err, want)
		}
		synctest.Wait()
		if s := f.engines["iad1"].Stats(); s.Refused != 1 || s.Proposals != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// TestTwoAtOnce has two nodes accept at once what breaks a rule together; both
// get their majority, and all nodes suspend the same one.
func TestTwoAtOnce(t *testing.T) {
	both, one := 0, 0
	for seed := range 40 {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, "ams1", "fra1", "iad1", "lon1", "sjc1")
			f.rules = []Rule{mustRule(t, 2, "", "pops", "continent")}
			f.rand = rand.New(rand.NewPCG(uint64(seed), 1))
			f.delay = 100 * time.Millisecond
			var wg sync.WaitGroup
			wg.Go(func() { f.submit("ams1", "drain pop/ams", Flags{}) })
			wg.Go(func() { f.submit("fra1", "drain pop/fra", Flags{}) })
			wg.Wait()
			time.Sleep(time.Second)
			v := f.view()
			switch {
			case len(v.Active) == 1 && len(v.Suspended) == 1:
				both++
				if v.Active[0].compare(v.Suspended[0].Override) >= 0 {
					t.Errorf("the earlier is suspended: %s", viewText(t, v))
				}
			case len(v.Active) == 1:
				one++
			default:
				t.Errorf("%s", viewText(t, v))
			}
		})
	}
	if both == 0 {
		t.Errorf("both were committed in %d rounds, one in %d: the test sees little", both, one)
	}
}

func TestForgedAndReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "ams1", "fra1", "iad1")
		f.mustSubmit("fra1", "drain pop/fra", Flags{})
		synctest.Wait()
		find := func(kind byte) []byte {
			for _, s := range f.sent {
				if s.from == "fra1" && s.msg[0] == kind {
					return bytes.Clone(s.msg)
				}
			}
			t.Fatal("no such message")
			return nil
		}
		proposal, commit := find(kindProposal), find(kindCommit)
		f.mustSubmit("fra1", "clear pop/fra", Flags{})
		synctest.Wait()
		ams := f.engines["ams1"]
		o := wish(t, "fra1", 9, "drain", "pop/lon")
		c := change{put: &o}
		flip := func(b []byte) []byte { b = bytes.Clone(b); b[len(b)-1] ^= 1; return b }
		asCommit := bytes.Clone(proposal)
		asCommit[0] = kindCommit
		rest := seal("prod", testKey("fra1"), appendChange(kindProposal, "fra1", c))
		ackOf := func(key, signer string) []byte {
			return seal("prod", testKey(key), ack{signer: signer, hash: c.hash()}.append(nil))
		}
		for _, tc := range []struct {
			what string
			msg  []byte
			kind error
			want string
		}{
			{"a replayed commit of what was cleared", commit, ErrReplayed, "override message fra1-1-1 is replayed: the change was cleared or has ended"},
			{"a replayed proposal", proposal, ErrReplayed, "override message fra1-1-1 is replayed: a newer one of its node was seen: fra1-1-2"},
			{"a proposal passed off as a commit", asCommit, ErrReplayed, "override message fra1-1-1 is replayed: the change was cleared or has ended"},
			{"a proposal passed off as a new commit", append([]byte{kindCommit}, rest[1:]...), ErrForged, `override message is forged: the signature is not "fra1"'s`},
			{"by a member's name with another key", seal("prod", testKey("evil"), appendChange(kindCommit, "fra1", c)), ErrForged, `override message is forged: the signature is not "fra1"'s`},
			{"by a stranger", seal("prod", testKey("evil"), appendChange(kindCommit, "evil", c)), ErrForged, `override message is forged: the key of "evil" is not known`},
			{"of another fleet", seal("test", testKey("fra1"), appendChange(kindCommit, "fra1", c)), ErrForged, `override message is forged: the signature is not "fra1"'s`},
			{"a flipped bit", flip(rest), ErrForged, `override message is forged: the signature is not "fra1"'s`},
			{"a forged ack", ackOf("evil", "fra1"), ErrForged, `override message is forged: the signature is not "fra1"'s`},
			{"nothing", nil, ErrMalformed, "override message is malformed: it ends too early"},
			{"half", rest[:100], ErrMalformed, "override message is malformed: it ends too early"},
			{"half an ack", ackOf("fra1", "fra1")[:50], ErrMalformed, "override ack is malformed: it ends too early"},
			{"a kind to come", append([]byte{0x1e}, rest[1:]...), ErrMalformed, "override message is malformed: kind 0x1e is no proposal or commit"},
		} {
			before, state := ams.Stats(), ams.State()
			err := ams.Receive(tc.msg)
			after := ams.Stats()
			if !errors.Is(err, tc.kind) || errText(err) != tc.want {
				t.Errorf("%s: error %v\nwant %s", tc.what, err, tc.want)
			}
			switch tc.kind {
			case ErrForged:
				before.Forged++
			case ErrReplayed:
				before.Replayed++
			case ErrMalformed:
				before.Malformed++
			}
			if after != before {
				t.Errorf("%s: counted as %+v, want %+v", tc.what, after, before)
			}
			if !bytes.Equal(ams.State(), state) {
				t.Errorf("%s: the set changed", tc.what)
			}
		}
		// An ack that nobody waits for, and a commit that is known, are normal.
		before := ams.Stats()
		for _, msg := range [][]byte{ackOf("fra1", "fra1"), find(kindCommit)} {
			if msg[0] == kindCommit {
				continue // the first commit is the cleared one
			}
			if err := ams.Receive(msg); err != nil {
				t.Error(err)
			}
		}
		if after := ams.Stats(); after.Repeats != before.Repeats+1 {
			t.Errorf("repeats %d, were %d", after.Repeats, before.Repeats)
		}
	})
}

// TestMergeHostile has states with a forged part and a malformed part.
func TestMergeHostile(t *testing.T) {
	f := newFleet(t, "ams1", "fra1")
	e := f.engines["ams1"]
	frame := func(state []byte, key string, o Override) []byte {
		msg := seal("prod", testKey(key), appendChange(kindCommit, "fra1", change{put: &o}))
		return append(append(state, byte(len(msg)>>8), byte(len(msg))), msg...)
	}
	good, forged := wish(t, "fra1", 1, "drain", "pop/fra"), wish(t, "fra1", 2, "drain", "pop/lon")
	state := frame(frame([]byte{kindState}, "evil", forged), "fra1", good)
	for _, bad := range [][]byte{state[:len(state)-1], append(bytes.Clone(state), 0), append([]byte{kindCommit}, state[1:]...), nil} {
		if changed, err := e.Merge(bad); changed || !errors.Is(err, ErrMalformed) {
			t.Errorf("%v, %v", changed, err)
		}
	}
	if len(e.View().Active) != 0 {
		t.Error("a part of a malformed state was taken")
	}
	changed, err := e.Merge(state)
	if !changed || !errors.Is(err, ErrForged) {
		t.Errorf("%v, %v", changed, err)
	}
	if a := e.View().Active; len(a) != 1 || a[0].ID != good.ID {
		t.Errorf("active %v", a)
	}
	if s := e.Stats(); s.Forged != 1 || s.Malformed != 4 || s.Commits != 1 {
		t.Errorf("%+v", s)
	}
}

func TestRestartKeepsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f := newFleet(t, "ams1", "fra1", "iad1")
		for name := range f.engines {
			f.engines[name] = f.engine(name, 1, filepath.Join(dir, name))
		}
		f.mustSubmit("fra1", "drain pop/fra", Flags{For: "1h"})
		f.mustSubmit("ams1", "force-down pop/ams", Flags{})
		f.mustSubmit("ams1", "clear pop/ams", Flags{})
		f.mustSubmit("iad1", "pin-prefix 203.0.113.0/24 pop/iad", Flags{})
		want, state := viewText(t, f.view()), f.engines["fra1"].State()
		f.mustSubmit("fra1", "weight pool/www 3", Flags{Local: true})
		for name := range f.engines {
			f.engines[name] = f.engine(name, 2, filepath.Join(dir, name))
		}
		if v := f.engines["fra1"].View(); len(v.Active) != 3 || !v.Active[2].Local {
			t.Errorf("after the restart: %s", viewText(t, v))
		}
		f.mustSubmit("fra1", "clear pool/www", Flags{Local: true})
		if got := viewText(t, f.view()); got != want {
			t.Errorf("after the restart\n%s\nwant\n%s", got, want)
		}
		if !bytes.Equal(f.engines["ams1"].State(), state) {
			t.Error("the state changed")
		}
		r := f.mustSubmit("fra1", "drain pop/lon", Flags{})
		if r.Overrides[0].ID != (ID{"fra1", 2, 1}) && r.Overrides[0].ID != (ID{"fra1", 2, 2}) {
			t.Errorf("id %s", r.Overrides[0].ID)
		}
		synctest.Wait()
		if _, err := New(f.engines["fra1"].cfg, f.engines["fra1"].set); errText(err) != "incarnation 2 was used already, by override "+r.Overrides[0].ID.String() {
			t.Errorf("error %v", err)
		}
		time.Sleep(time.Hour)
		f.engines["fra1"] = f.engine("fra1", 3, filepath.Join(dir, "fra1"))
		if v := f.engines["fra1"].View(); len(v.Active) != 2 {
			t.Errorf("after the end: %s", viewText(t, v))
		}
	})
}

// TestUnsaved has a disk that takes nothing: what was asked of this node is
// refused, what the fleet committed is used all the same.
func TestUnsaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "ams1", "fra1", "iad1")
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		f.engines["fra1"].cfg.Path = filepath.Join(file, "below-a-file")
		if _, err := f.submit("fra1", "drain pop/fra", Flags{}); !strings.HasPrefix(errText(err), "keep the overrides: open ") {
			t.Errorf("error %v", err)
		}
		if len(f.view().Active) != 0 {
			t.Error("it is active")
		}
		f.mustSubmit("ams1", "drain pop/fra", Flags{})
		if len(f.view().Active) != 1 {
			t.Error("it is not active")
		}
		if s := f.engines["fra1"].Stats(); s.Unsaved != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// TestSignerLeaves has an override outlive the membership of the node that
// accepted it.
func TestSignerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "ams1", "fra1", "iad1")
		f.mustSubmit("fra1", "drain pop/fra", Flags{})
		synctest.Wait()
		delete(f.engines, "fra1")
		f.members = []health.Member{f.members[0], f.members[2], {Name: "lon1", Key: testKey("lon1").Public().(ed25519.PublicKey)}}
		f.engines["lon1"] = f.engine("lon1", 1, "")
		if changed, err := f.engines["lon1"].Merge(f.engines["ams1"].State()); !changed || err != nil {
			t.Errorf("%v, %v", changed, err)
		}
		if v := f.view(); len(v.Active) != 1 || v.Active[0].ID.Node != "fra1" {
			t.Errorf("%s", viewText(t, v))
		}
	})
}

func TestAloneAndNoMember(t *testing.T) {
	f := newFleet(t, "ams1")
	for _, members := range [][]health.Member{nil, f.members} {
		f.members = members
		if r, err := f.submit("ams1", "drain pop/ams", Flags{}); err != nil || !slices.Equal(r.Members, []string{"ams1"}) {
			t.Errorf("%v, %v", r, err)
		}
	}
	f.members = []health.Member{{Name: "fra1"}}
	const want = `drain pop/ams: this node, "ams1", is none of the fleet's members: ask one of them, or say --local`
	if _, err := f.submit("ams1", "drain pop/ams", Flags{}); errText(err) != want {
		t.Errorf("error %v\nwant %s", err, want)
	}
}

// TestStricterRule has a reload ask what a new rule would suspend.
func TestStricterRule(t *testing.T) {
	f := newFleet(t, "ams1")
	f.mustSubmit("ams1", "drain pop/fra", Flags{})
	e := f.engines["ams1"]
	v := e.ViewUnder([]Rule{mustRule(t, 0, "20%", "capacity", "")}, testFleet())
	const why = `drain pop/fra breaks rule "drained at most 20% of capacity": 30.0% would be out of service (300 of 1000), want at most 20% (out: fra)`
	if len(v.Suspended) != 1 || v.Suspended[0].Why != why {
		t.Errorf("%s", viewText(t, v))
	}
	if v = e.View(); len(v.Active) != 1 {
		t.Errorf("asking changed it: %s", viewText(t, v))
	}
}

// TestClearMany has more overrides than one message clears.
func TestClearMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "ams1", "fra1", "iad1")
		for i := range 10 {
			f.mustSubmit("ams1", fmt.Sprintf("weight pool/www %d", i), Flags{})
		}
		last := f.mustSubmit("fra1", "drain pop/fra", Flags{}).Overrides[0]
		f.view()
		r := f.mustSubmit("iad1", "clear pool/www", Flags{})
		if v := f.view(); len(r.Overrides) != 10 || len(v.Active) != 1 {
			t.Errorf("%d cleared, %d left", len(r.Overrides), len(v.Active))
		}
		if _, err := f.submit("iad1", "clear pop/fra", Flags{Local: true}); errText(err) != "clear pop/fra: it is the whole fleet's: leave --local out" {
			t.Errorf("error %v", err)
		}
		f.mustSubmit("iad1", "clear "+last.ID.String(), Flags{})
		if v := f.view(); len(v.Active) != 0 {
			t.Errorf("%s", viewText(t, v))
		}
		if n := len(f.engines["ams1"].set.clears); n != 4 {
			t.Errorf("%d clearings, want 4", n)
		}
	})
}

// TestClocksApart has a clock that is ahead of what lasts no longer than that,
// but too little ahead to be told from a slow message.
func TestClocksApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "ams1", "fra1")
		f.engines["ams1"].cfg.Now = func() time.Time { return time.Now().Add(9 * time.Second) }
		_, err := f.submit("fra1", "drain pop/fra", Flags{For: "5s"})
		const want = "drain pop/fra is not committed: 1 of 2 members acknowledged it, want 2; " +
			"refused by ams1: it has ended: it is 00:00:09 UTC here, are the clocks right"
		if errText(err) != want {
			t.Errorf("error %v\nwant %s", err, want)
		}
	})
}

// TestResultJSON holds the form that the admin API gives.
func TestResultJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "ams1")
		r := f.mustSubmit("ams1", "drain node/ams1", Flags{For: "1h"})
		got, err := json.Marshal(r)
		const want = `{"overrides":[{"id":"ams1-1-1","version":1,"action":"drain","target":"node/ams1","owner":"alice","reason":"fibre work",` +
			`"created":"2000-01-01T00:00:00Z","expires":"2000-01-01T01:00:00Z"}],` +
			`"effect":{"nodes":["ams1"],"endpoints":[{"pool":"api","pop":"ams","node":"ams1","address":"198.51.100.3"}]},"members":["ams1"]}`
		if err != nil || string(got) != want {
			t.Errorf("%s, %v\nwant %s", got, err, want)
		}
	})
}
