package health

import (
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

// membersOf returns the observers as configured members.
func membersOf(observers []Observer) []Member {
	var members []Member
	for _, o := range observers {
		members = append(members, Member{Name: o.Name, PoP: o.PoP})
	}
	return members
}

// inputOf is what a node named self makes its view from, of a matrix in the
// notation of observersOf, with one quorum for all targets in it.
func inputOf(t *testing.T, self, matrix string, q Quorum) Input {
	t.Helper()
	in := Input{Observers: observersOf(t, matrix), Quorums: make(map[TargetID]Quorum)}
	in.Fleet = Fleet{Self: self, Members: membersOf(in.Observers), Configured: true}
	for _, o := range in.Observers {
		for id := range o.Observations {
			in.Quorums[id] = q
		}
	}
	return in
}

// verdictsOf writes a view's verdicts as a line of the same letters.
func verdictsOf(v *View) string {
	letters := map[edge.Verdict]byte{edge.OK: '.', edge.Degraded: '~', edge.Unknown: 'u', edge.Failing: 'f', edge.Dead: 'D'}
	var line []byte
	for _, id := range slices.Sorted(maps.Keys(v.Targets)) {
		line = append(line, letters[v.Targets[id].Verdict])
	}
	return string(line)
}

func TestBuildView(t *testing.T) {
	const before = "a p ..DD.\n b q ..DD.\n c r ..DD."
	q := Quorum{MinObservers: 2, MinPoPs: 2}
	with := func(p Partition) Quorum { return Quorum{MinObservers: 2, MinPoPs: 2, Partition: p} }
	for _, tc := range []struct {
		what, matrix string
		quorum       Quorum
		alone        bool
		want         string
		frozen       string
		decided      string // of the first target
	}{
		{"as before", before, q, false, "..DD.", "", "3 of 3 observers"},
		{"two turn", "a p DD...\n b q .D.D.\n c r .D.D.", q, false, ".D.D.", "", "2 of 3 observers"},
		{"one is stale", "a p DD..~\n b q DD..~\n c* r .....", q, false, "DD..~", "", "2 of 2 observers"},
		{"frozen", "a p D....\n b* q DD...\n c* r DD...", q, false, "..DD.", "1 of 3 members are heard, want 2", "frozen: 1 of 3 members are heard, want 2"},
		{"majority", "a p D.u..\n b* q DD...\n c* r DD...", with(Majority), false, "D.D..", "1 of 3 members are heard, want 2", "1 of 1 observers, for 1 of 3 members are heard, want 2"},
		{"local", "a p D.u..\n b* q DD...\n c* r DD...", with(Local), false, "D.D..", "1 of 3 members are heard, want 2", "own check, for 1 of 3 members are heard, want 2"},
		{"local, but not all is its own", "a p D.-..\n b* q DD...\n c* r DD...", with(Local), false, "D.D..", "1 of 3 members are heard, want 2", "own check, for 1 of 3 members are heard, want 2"},
		{"alone", "a p D.uf.", q, true, "D.Df.", "", "own check"},
		{"alone, whatever others say", "a* p D.uf.\n b q .....", q, true, "D.Df.", "", "own check"},
		{"one doubts itself", "a! p DD...\n b q .....\n c r .....", q, false, ".....", "", "2 of 2 observers"},
		{"nobody knows", "a p uuuuu\n b q uuuuu\n c r uuuuu", q, false, "..DD.", "", "kept: none of 3 observers knows"},
	} {
		prev := BuildView(inputOf(t, "a", before, q), nil, epoch)
		in := inputOf(t, "a", tc.matrix, tc.quorum)
		in.Alone = tc.alone
		v := BuildView(in, prev, epoch.Add(time.Minute))
		if got := verdictsOf(v); got != tc.want || v.Frozen != tc.frozen {
			t.Errorf("%s: %s, frozen %q; want %s, %q", tc.what, got, v.Frozen, tc.want, tc.frozen)
		}
		if got := v.Targets[1].Decided; got != tc.decided {
			t.Errorf("%s: decided by %q, want %q", tc.what, got, tc.decided)
		}
		for id, s := range v.Targets {
			want := epoch
			if s.Verdict != prev.Targets[id].Verdict {
				want = want.Add(time.Minute)
			}
			if !s.Since.Equal(want) {
				t.Errorf("%s: target %v is %v since %v, want %v", tc.what, id, s.Verdict, s.Since, want)
			}
		}
	}
}

// TestBuildViewCold has no earlier view: what cannot be decided is unknown.
func TestBuildViewCold(t *testing.T) {
	q := Quorum{MinObservers: 2}
	v := BuildView(inputOf(t, "a", "a p .Du\n b* q ...\n c q uuu", q), nil, epoch)
	if got := verdictsOf(v); got != ".uu" {
		t.Errorf("%s, want .uu", got)
	}
	if got := v.Targets[2].Since; !got.Equal(epoch) {
		t.Errorf("unknown since %v, want %v", got, epoch)
	}
	in := inputOf(t, "a", "a p .", q)
	in.Observers = nil
	if v := BuildView(in, nil, epoch); verdictsOf(v) != "u" || v.Targets[1].Decided != "kept: 0 of 0 observers count, want 2" {
		t.Errorf("%+v", v.Targets[1])
	}
}

// TestBuildViewRestart has a dead target that was known to be dead, and a fleet
// of which nobody has checked yet, then some.
func TestBuildViewRestart(t *testing.T) {
	saved := &View{Targets: map[TargetID]TargetState{1: {Verdict: edge.Dead, Reason: "gone", Since: epoch}}}
	for _, matrix := range []string{"a p u\n b* q u\n c* r u", "a p u\n b q u\n c r u", "a p D\n b q u\n c r u", "a p D\n b q D\n c r u"} {
		v := BuildView(inputOf(t, "a", matrix, Quorum{MinObservers: 2, MinPoPs: 2}), saved, epoch.Add(time.Hour))
		if s := v.Targets[1]; s.Verdict != edge.Dead || !s.Since.Equal(epoch) {
			t.Errorf("%q: %v since %v", matrix, s.Verdict, s.Since)
		}
	}
}

func TestBuildViewNext(t *testing.T) {
	in := inputOf(t, "a", "a p .\n b q .\n c* r .\n d! s .", Quorum{})
	for i, next := range []time.Duration{8 * time.Second, 4 * time.Second, 2 * time.Second, 0} {
		obs := in.Observers[i].Observations[1]
		obs.Next = next
		in.Observers[i].Observations[1] = obs
	}
	if got := BuildView(in, nil, epoch).Targets[1].Next; got != 4*time.Second {
		t.Errorf("next %v, want 4s: the least of the fresh and believed", got)
	}
}

// TestBuildViewStrangers has an observer that is no member of a configured
// fleet, and one that claims another PoP than is configured.
func TestBuildViewStrangers(t *testing.T) {
	in := inputOf(t, "a", "a p .\n b p D\n c p D", Quorum{MinPoPs: 2})
	in.Observers = append(in.Observers, observersOf(t, "x q D\n y r D")...)
	in.Observers[1].PoP = "elsewhere"
	v := BuildView(in, nil, epoch)
	if s := v.Targets[1]; s.Decided != "kept: PoPs that count: 1, want 2" || len(s.Votes) != 3 {
		t.Errorf("decided by %q of %d votes", s.Decided, len(s.Votes))
	}
	in.Fleet.Configured = false
	v = BuildView(in, nil, epoch)
	if s := v.Targets[1]; s.Verdict != edge.Dead || s.Decided != "4 of 5 observers" {
		t.Errorf("with nobody configured: %v by %q", s.Verdict, s.Decided)
	}
}

func TestViewObservers(t *testing.T) {
	in := inputOf(t, "a", "b q DD..\n a p ....\n c* r Df.-", Quorum{})
	in.Fleet.Members = append(in.Fleet.Members, Member{Name: "d", PoP: "s"})
	in.Observers[2].Age = time.Minute
	want := []ObserverState{
		{Name: "a", PoP: "p", Seen: true, Fresh: true, Targets: 4},
		{Name: "b", PoP: "q", Seen: true, Fresh: true, Targets: 4, Down: 2},
		{Name: "c", PoP: "r", Seen: true, Age: time.Minute, Targets: 3, Down: 2},
		{Name: "d", PoP: "s"},
	}
	if got := BuildView(in, nil, epoch).Observers; !slices.Equal(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

func TestTransitions(t *testing.T) {
	now := epoch.Add(time.Minute)
	prev := &View{Targets: map[TargetID]TargetState{1: {Verdict: edge.OK}, 2: {Verdict: edge.Dead}, 3: {Verdict: edge.OK}, 4: {Verdict: edge.OK}}}
	next := &View{Targets: map[TargetID]TargetState{
		9: {Verdict: edge.OK, Since: now}, 8: {Verdict: edge.Unknown, Since: now},
		1: {Verdict: edge.Failing, Reason: "status 503", Since: now}, 2: {Verdict: edge.OK, Since: now}, 3: {Verdict: edge.OK},
	}}
	want := []Transition{
		{now, 1, edge.OK, edge.Failing, "status 503"},
		{now, 2, edge.Dead, edge.OK, ""},
		{now, 9, edge.Unknown, edge.OK, ""},
	}
	if got := Transitions(prev, next); !slices.Equal(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if got := Transitions(nil, prev); len(got) != 4 {
		t.Errorf("from nothing: %+v", got)
	}
}

// fleetOf returns a matrix of n nodes in pops PoPs that each check observers'
// share of the targets, and see the verdicts that truth gives.
func fleetOf(n, pops, targets, observers int, truth func(TargetID) edge.Verdict) Input {
	members := testMembers(n, pops)
	in := Input{Fleet: Fleet{Self: members[0].Name, Members: members, Configured: true}, Quorums: make(map[TargetID]Quorum)}
	index := make(map[string]int)
	for i, m := range members {
		index[m.Name] = i
		in.Observers = append(in.Observers, Observer{Name: m.Name, PoP: m.PoP, Fresh: true, Observations: make(map[TargetID]Observation)})
	}
	for i := range targets {
		id := TargetID(mix(uint64(i)))
		in.Quorums[id] = Quorum{MinObservers: 2, MinPoPs: 2}
		for _, name := range Assign(id, members, observers, 2) {
			v := truth(id)
			obs := Observation{Target: id, Verdict: v}
			if isDown(v) {
				obs.Reason = "no answer within 1s"
			}
			in.Observers[index[name]].Observations[id] = obs
		}
	}
	return in
}

// without returns the matrix as a node sees it that does not hear some others.
func without(in Input, deaf func(name string) bool) Input {
	in.Observers = slices.Clone(in.Observers)
	for i := range in.Observers {
		if deaf(in.Observers[i].Name) {
			in.Observers[i].Fresh = false
		}
	}
	return in
}

// says replaces what one observer says of all its targets.
func says(in Input, name string, v edge.Verdict, reason string) Input {
	in.Observers = slices.Clone(in.Observers)
	for i := range in.Observers {
		if in.Observers[i].Name == name {
			lies := make(map[TargetID]Observation)
			for id := range in.Observers[i].Observations {
				lies[id] = Observation{Target: id, Verdict: v, Reason: reason}
			}
			in.Observers[i].Observations = lies
		}
	}
	return in
}

func as(in Input, self string) Input {
	in.Fleet.Self = self
	return in
}

// oneInTen is dead, by a fixed draw.
func oneInTen(id TargetID) edge.Verdict {
	if uint64(id)%10 == 0 {
		return edge.Dead
	}
	return edge.OK
}

// TestViewOrder holds that nodes with one state agree, whatever the order in
// which it came to them and whoever they are.
func TestViewOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	for range 50 {
		in := fleetOf(2+rng.IntN(9), 1+rng.IntN(4), 60, 1+rng.IntN(5), func(TargetID) edge.Verdict {
			return []edge.Verdict{edge.OK, edge.OK, edge.Dead, edge.Failing, edge.Degraded, edge.Unknown}[rng.IntN(6)]
		})
		for i := range in.Observers {
			for id, obs := range in.Observers[i].Observations {
				if rng.IntN(4) == 0 {
					obs.Verdict = edge.Dead
					in.Observers[i].Observations[id] = obs
				}
			}
		}
		want := BuildView(in, nil, epoch)
		for _, m := range in.Fleet.Members {
			other := as(in, m.Name)
			other.Observers = slices.Clone(in.Observers)
			rng.Shuffle(len(other.Observers), func(i, j int) {
				other.Observers[i], other.Observers[j] = other.Observers[j], other.Observers[i]
			})
			kept := slices.Clone(other.Observers)
			if got := BuildView(other, nil, epoch); !reflect.DeepEqual(got, want) {
				t.Fatalf("%s sees %s, want %s", m.Name, verdictsOf(got), verdictsOf(want))
			}
			if !reflect.DeepEqual(other.Observers, kept) {
				t.Fatal("BuildView changed its input")
			}
		}
	}
}

// TestHash holds that the hash tells verdicts and targets apart, and nothing
// else.
func TestHash(t *testing.T) {
	seen := make(map[uint64]string)
	for _, line := range []string{".", "D", "f", "..", ".D", "D.", "DD", "~.", "-.", "-D"} {
		v := BuildView(inputOf(t, "a", "a p "+line, Quorum{}), nil, epoch)
		if same, ok := seen[v.Hash]; ok {
			t.Errorf("%q has the hash of %q", line, same)
		}
		seen[v.Hash] = line
		other := BuildView(inputOf(t, "b", "b q "+line+"\n c r "+line, Quorum{}), v, epoch.Add(time.Hour))
		if other.Hash != v.Hash {
			t.Errorf("%q has a hash for each fleet", line)
		}
	}
}

// TestH1ControlPlaneGone cuts every node from every other: each is frozen, and
// says what it said.
func TestH1ControlPlaneGone(t *testing.T) {
	in := fleetOf(5, 3, 200, 5, oneInTen)
	before := BuildView(in, nil, epoch)
	for _, m := range in.Fleet.Members {
		cut := says(without(as(in, m.Name), func(name string) bool { return name != m.Name }), m.Name, edge.Dead, "unreachable")
		v := BuildView(cut, before, epoch.Add(time.Minute))
		if v.Frozen != "1 of 5 members are heard, want 3" || len(Transitions(before, v)) != 0 || v.Hash != before.Hash {
			t.Errorf("%s: frozen %q, %d transitions", m.Name, v.Frozen, len(Transitions(before, v)))
		}
	}
}

// TestH4OneObserverWithABrokenNetwork has an observer that says that all is
// dead, in fleets where it is a big part and where a small one: nobody changes a
// verdict, and it is marked.
func TestH4OneObserverWithABrokenNetwork(t *testing.T) {
	for _, size := range []struct{ nodes, pops, observers int }{{3, 3, 3}, {3, 3, 2}, {5, 3, 5}, {5, 2, 3}, {20, 5, 5}, {100, 10, 5}} {
		in := fleetOf(size.nodes, size.pops, 300, size.observers, oneInTen)
		before := BuildView(in, nil, epoch)
		liar := in.Fleet.Members[1].Name
		broken := says(in, liar, edge.Dead, "connect: network is unreachable")
		for _, m := range in.Fleet.Members {
			v := BuildView(as(broken, m.Name), before, epoch.Add(15*time.Second))
			if changes := Transitions(before, v); len(changes) != 0 || v.Hash != before.Hash || v.Frozen != "" {
				t.Errorf("%v: %s has %d transitions, frozen %q", size, m.Name, len(changes), v.Frozen)
			}
			for _, o := range v.Observers {
				if suspect := o.Suspect != ""; suspect != (o.Name == liar) {
					t.Errorf("%v: %s thinks of %s: %q", size, m.Name, o.Name, o.Suspect)
				}
			}
		}
	}
}

// TestH5AsymmetricPartition splits five nodes 3/2 so that the three still hear
// one of the two, lets a target die meanwhile, and heals it.
func TestH5AsymmetricPartition(t *testing.T) {
	const dies = TargetID(0x1111)
	alive := func(id TargetID) edge.Verdict {
		if id == dies {
			return edge.OK
		}
		return oneInTen(id)
	}
	in := fleetOf(5, 3, 100, 5, alive)
	in.Quorums[dies] = Quorum{MinObservers: 2, MinPoPs: 2}
	see := func(v edge.Verdict) {
		for i := range in.Observers {
			in.Observers[i].Observations[dies] = Observation{Target: dies, Verdict: v}
		}
	}
	see(edge.OK)
	before := BuildView(in, nil, epoch)
	see(edge.Dead)

	majority, minority := []string{"n00", "n01", "n02"}, []string{"n03", "n04"}
	during := make(map[string]*View)
	for _, name := range majority {
		v := BuildView(without(as(in, name), func(o string) bool { return o == "n04" }), before, epoch.Add(2*time.Minute))
		if changes := Transitions(before, v); v.Frozen != "" || len(changes) != 1 || changes[0].Target != dies || changes[0].To != edge.Dead {
			t.Errorf("%s: frozen %q, transitions %v", name, v.Frozen, changes)
		}
		during[name] = v
	}
	for _, name := range minority {
		v := BuildView(without(as(in, name), func(o string) bool { return slices.Contains(majority, o) }), before, epoch.Add(2*time.Minute))
		if changes := Transitions(before, v); !strings.HasPrefix(v.Frozen, "2 of 5 members") || len(changes) != 0 {
			t.Errorf("%s: frozen %q, transitions %v", name, v.Frozen, changes)
		}
		during[name] = v
	}
	for name, prev := range during {
		v := BuildView(as(in, name), prev, epoch.Add(3*time.Minute))
		if v.Frozen != "" || v.Hash != during["n00"].Hash || v.Targets[dies].Verdict != edge.Dead {
			t.Errorf("%s, healed: frozen %q, %v", name, v.Frozen, v.Targets[dies].Verdict)
		}
	}
}

// TestH7Clock sets one node's clock an hour off, either way: its view differs
// from others' in nothing but when it saw a change.
func TestH7Clock(t *testing.T) {
	in := fleetOf(5, 3, 100, 5, oneInTen)
	before := BuildView(in, nil, epoch)
	in = fleetOf(5, 3, 100, 5, func(id TargetID) edge.Verdict { return oneInTen(id + 1) })
	want := BuildView(in, before, epoch.Add(time.Minute))
	if want.Hash == before.Hash {
		t.Fatal("nothing changes in this test")
	}
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		got := BuildView(in, before, epoch.Add(time.Minute+off))
		for id, s := range got.Targets {
			if s.Verdict != before.Targets[id].Verdict {
				s.Since = s.Since.Add(-off)
				if !s.LastOK.IsZero() {
					s.LastOK = s.LastOK.Add(-off)
				}
				got.Targets[id] = s
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%v off: %s, want %s", off, verdictsOf(got), verdictsOf(want))
		}
	}
}

// TestKVantageLosesItsUplink walks one node through the loss of its uplink,
// check by check, for every node of fleets with many and with few observers:
// not one verdict changes on any node, be the loss before or after the others
// stop hearing it.
func TestKVantageLosesItsUplink(t *testing.T) {
	for _, observers := range []int{5, 3, 2} {
		in := fleetOf(5, 3, 60, observers, oneInTen)
		before := BuildView(in, nil, epoch)
		for _, lost := range in.Fleet.Members {
			state := says(in, "", edge.OK, "") // a copy
			i := slices.IndexFunc(state.Observers, func(o Observer) bool { return o.Name == lost.Name })
			state.Observers[i].Observations = maps.Clone(state.Observers[i].Observations)
			prev := map[string]*View{}
			check := func(when string) {
				for _, m := range in.Fleet.Members {
					if prev[m.Name] == nil {
						prev[m.Name] = before
					}
					seen := as(state, m.Name)
					if when == "cut off" {
						seen = without(seen, func(name string) bool { return (name == lost.Name) != (m.Name == lost.Name) })
					}
					v := BuildView(seen, prev[m.Name], epoch)
					if changes := Transitions(prev[m.Name], v); len(changes) != 0 || v.Hash != before.Hash {
						t.Fatalf("%d observers, %s loses its uplink, %s: on %s %v", observers, lost.Name, when, m.Name, changes)
					}
					prev[m.Name] = v
				}
			}
			failed := 0
			for id := range in.Observers[i].Observations {
				state.Observers[i].Observations[id] = Observation{Target: id, Verdict: edge.Dead, Reason: "no answer within 1s"}
				failed++
				check(fmt.Sprintf("%d checks failed", failed))
			}
			check("cut off")
		}
	}
}

// TestMassOutage has most targets die for all: they are down, and nobody is
// suspect, not even the first ones to say so once the others follow.
func TestMassOutage(t *testing.T) {
	in := fleetOf(20, 5, 500, 5, func(TargetID) edge.Verdict { return edge.OK })
	view := BuildView(in, nil, epoch)
	for _, m := range in.Fleet.Members {
		in = says(in, m.Name, edge.Dead, "no answer within 1s")
		view = BuildView(in, view, epoch)
	}
	for id, s := range view.Targets {
		if s.Verdict != edge.Dead || s.Decided != "5 of 5 observers" {
			t.Fatalf("%v is %v by %s", id, s.Verdict, s.Decided)
		}
	}
	for _, o := range view.Observers {
		if o.Suspect != "" {
			t.Errorf("%s is suspect: %s", o.Name, o.Suspect)
		}
	}
}

func BenchmarkBuildView(b *testing.B) {
	in := fleetOf(100, 10, 5000, 5, oneInTen)
	view := BuildView(in, nil, epoch)
	b.ReportAllocs()
	for b.Loop() {
		view = BuildView(in, view, epoch)
	}
}
