package health

import (
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"edged/edge"
)

// simulation is a fleet in one goroutine and in simulated time: real dampers,
// journals, matrices and views over a bus that loses messages.
type simulation struct {
	rng     *rand.Rand
	loss    float64
	now     time.Time
	nodes   []*fleetNode
	quorums map[TargetID]Quorum
	truth   map[TargetID]edge.Verdict // OK or Dead
	bus     []simMessage              // to be delivered at the next step
	lost    int
	arrived int
}

type fleetNode struct {
	sim      *simulation
	self     Member
	lies     bool // sees all its targets down
	journal  *Journal
	matrix   *Matrix
	dampers  map[TargetID]*Damper
	targets  []TargetID    // in order
	digestAt time.Duration // phases, within the period
	pullAt   time.Duration
	behind   bool      // some observer said more than has arrived
	pulled   time.Time // the last exchange, whatever for
	view     *View
}

// simMessage is a broadcast record, or a state, which asks for one in return
// when reply is set.
type simMessage struct {
	to     *fleetNode
	record []byte
	state  []byte
	reply  *fleetNode
}

const (
	simStep  = time.Second
	simProbe = 2 * time.Second
	simPull  = 30 * time.Second
	simAgain = 10 * time.Second // least time between two exchanges, for those that are behind
)

func newSimulation(nodes, pops, targets, observers int, loss float64) *simulation {
	s := &simulation{
		rng: rand.New(rand.NewPCG(100, 5000)), loss: loss, now: epoch,
		quorums: make(map[TargetID]Quorum), truth: make(map[TargetID]edge.Verdict),
	}
	members := testMembers(nodes, pops)
	keys := make(map[string]ed25519.PublicKey)
	byName := make(map[string]*fleetNode)
	for i := range members {
		seed := make([]byte, ed25519.SeedSize)
		seed[0] = byte(i)
		key := ed25519.NewKeyFromSeed(seed)
		members[i].Key = key.Public().(ed25519.PublicKey)
		keys[members[i].Name] = members[i].Key
		n := &fleetNode{
			sim: s, self: members[i], journal: NewJournal("sim", members[i], key, 1),
			matrix:   NewMatrix("sim", func(name string, key ed25519.PublicKey) bool { return key.Equal(keys[name]) }),
			dampers:  make(map[TargetID]*Damper),
			digestAt: time.Duration(s.rng.IntN(int(RenewEvery/simStep))) * simStep,
			pullAt:   time.Duration(s.rng.IntN(int(simPull/simStep))) * simStep,
		}
		s.nodes = append(s.nodes, n)
		byName[n.self.Name] = n
	}
	for i := range targets {
		id := TargetID(mix(uint64(i)))
		s.quorums[id] = Quorum{MinObservers: 2, MinPoPs: 2}
		s.truth[id] = edge.OK
		for _, name := range Assign(id, members, observers, 2) {
			n := byName[name]
			n.dampers[id] = NewDamper(testCheck)
			n.targets = append(n.targets, id)
		}
	}
	for _, n := range s.nodes {
		n.view = &View{}
	}
	return s
}

func (s *simulation) members() []Member {
	var members []Member
	for _, n := range s.nodes {
		members = append(members, n.self)
	}
	return members
}

// every says whether something of a period and phase is due.
func (s *simulation) every(period, phase time.Duration) bool { return s.now.Sub(epoch)%period == phase }

// send loses a message, or has it delivered at the next step.
func (s *simulation) send(m simMessage) {
	if s.rng.Float64() < s.loss {
		s.lost++
		return
	}
	s.bus = append(s.bus, m)
}

// step delivers what was sent, in any order, lets every node do what is due,
// and moves the time on.
func (s *simulation) step(t *testing.T) {
	t.Helper()
	bus := s.bus
	s.bus = nil
	s.rng.Shuffle(len(bus), func(i, j int) { bus[i], bus[j] = bus[j], bus[i] })
	s.arrived += len(bus)
	for _, m := range bus {
		m.to.receive(t, m)
	}
	for _, n := range s.nodes {
		n.act(t)
	}
	s.now = s.now.Add(simStep)
}

func (n *fleetNode) receive(t *testing.T, m simMessage) {
	t.Helper()
	if m.record != nil {
		// A state may have come before with a newer one.
		a, err := n.matrix.Apply(m.record, n.sim.now)
		if err != nil && !errors.Is(err, ErrReplayed) {
			t.Fatalf("%s: %v", n.self.Name, err)
		}
		n.behind = n.behind || a.Behind
		return
	}
	if _, errs := n.matrix.Merge(m.state, n.sim.now); len(errs) > 0 {
		t.Fatalf("%s: %v", n.self.Name, errs)
	}
	if m.reply != nil {
		n.sim.send(simMessage{to: m.reply, state: n.state(t)})
	}
}

// state is what the node hands on, with its own registers made short.
func (n *fleetNode) state(t *testing.T) []byte {
	t.Helper()
	n.hear(t, n.journal.Snapshot())
	return n.matrix.State(n.sim.now)
}

// hear applies the node's own message, which is never lost.
func (n *fleetNode) hear(t *testing.T, msg []byte) {
	t.Helper()
	if _, err := n.matrix.Apply(msg, n.sim.now); err != nil {
		t.Fatalf("%s, of its own: %v", n.self.Name, err)
	}
}

func (n *fleetNode) broadcast(t *testing.T, msg []byte) {
	t.Helper()
	n.hear(t, msg)
	for _, other := range n.sim.nodes {
		if other != n {
			n.sim.send(simMessage{to: other, record: msg})
		}
	}
}

func (n *fleetNode) act(t *testing.T) {
	t.Helper()
	if n.sim.every(simProbe, n.digestAt%simProbe) {
		var changed []Observation
		for _, id := range n.targets {
			r := passed
			if n.lies || n.sim.truth[id] == edge.Dead {
				r = silent
			}
			if d := n.dampers[id]; d.Add(r, n.sim.now) {
				o := Observation{Target: id}
				o.Verdict, o.Reason, o.Next = d.Observation()
				changed = append(changed, o)
			}
		}
		batches, err := n.journal.Set(changed, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range batches {
			n.broadcast(t, b)
		}
	}
	if n.sim.every(RenewEvery, n.digestAt) {
		n.broadcast(t, n.journal.Digest(""))
	}
	if n.sim.every(simPull, n.pullAt) || n.behind && n.sim.now.Sub(n.pulled) >= simAgain {
		n.behind, n.pulled = false, n.sim.now
		if peer := n.sim.nodes[n.sim.rng.IntN(len(n.sim.nodes))]; peer != n {
			n.sim.send(simMessage{to: peer, state: n.state(t), reply: n})
		}
	}
}

// look makes the node's next view.
func (n *fleetNode) look(members []Member) *View {
	in := Input{
		Fleet:     Fleet{Self: n.self.Name, Members: members, Configured: true},
		Observers: n.matrix.Observers(n.sim.now), Quorums: n.sim.quorums,
	}
	return BuildView(in, n.view, n.sim.now)
}

// remember keeps of a view what the next one is made from, so that the test
// need not hold all votes of all nodes at once.
func (n *fleetNode) remember(v *View) {
	n.view = &View{Frozen: v.Frozen, Hash: v.Hash, Targets: make(map[TargetID]TargetState, len(v.Targets))}
	for id, s := range v.Targets {
		s.Votes = nil
		n.view.Targets[id] = s
	}
}

// converge runs until every node's view says the truth, and returns the
// simulated time that took. It fails when that is longer than the limit. A node
// that says it is left alone until all others do; then all must say it at once.
func (s *simulation) converge(t *testing.T, limit time.Duration) time.Duration {
	t.Helper()
	members := s.members()
	wrong := s.nodes
	for start := s.now; ; {
		for range 20 {
			s.step(t)
		}
		all := len(wrong) == len(s.nodes)
		var still []*fleetNode
		for _, n := range wrong {
			n.remember(n.look(members))
			if !s.truthful(n.view) {
				still = append(still, n)
			}
		}
		took := s.now.Sub(start)
		switch {
		case len(still) > 0 && took >= limit:
			t.Fatalf("after %v, %d nodes do not yet say the truth, %s among them", took, len(still), still[0].self.Name)
		case len(still) > 0:
			wrong = still
		case all:
			return took
		default:
			wrong = s.nodes
		}
	}
}

func (s *simulation) truthful(v *View) bool {
	for id, want := range s.truth {
		if v.Targets[id].Verdict != want {
			return false
		}
	}
	return true
}

// heap returns the octets in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestSimulation runs a large fleet over a bus that loses three messages of ten.
// It starts cold with some targets dead; before all have heard of that, others
// die and some come back. Every node comes to the same view, the true one, in
// spite of an observer that says all is dead, and in little memory.
func TestSimulation(t *testing.T) {
	if testing.Short() {
		t.Skip("a hundred nodes take half a minute: run without -short")
	}
	const loss, most = 0.3, 64 << 20 // octets for each node
	nodes, targets := 100, 5000
	if raceEnabled {
		nodes, targets = 12, 300
	}
	before := heap()
	s := newSimulation(nodes, 10, targets, 5, loss)
	liar := s.nodes[nodes/3]
	liar.lies = true
	for id := range s.truth {
		if uint64(id)%20 == 0 {
			s.truth[id] = edge.Dead
		}
	}
	for range 20 {
		s.step(t)
	}
	members := s.members()
	for _, n := range s.nodes {
		n.remember(n.look(members))
	}
	for id, v := range s.truth {
		switch {
		case uint64(id)%20 == 1:
			s.truth[id] = edge.Dead
		case v == edge.Dead && uint64(id)%40 == 0:
			s.truth[id] = edge.OK
		}
	}
	t.Logf("all views are true and equal %v after the change; %d messages arrived, %d were lost", s.converge(t, 5*time.Minute), s.arrived, s.lost)

	for _, n := range s.nodes {
		if n.view.Hash != s.nodes[0].view.Hash || n.view.Frozen != "" {
			t.Errorf("%s has hash %x, frozen %q; %s has %x", n.self.Name, n.view.Hash, n.view.Frozen, s.nodes[0].self.Name, s.nodes[0].view.Hash)
		}
		if n != liar && n != s.nodes[0] {
			continue
		}
		for _, o := range n.look(members).Observers {
			if suspect := o.Suspect != ""; suspect != (o.Name == liar.self.Name && o.Fresh) { // who is not heard is not judged
				t.Errorf("%s thinks of %s: %q", n.self.Name, o.Name, o.Suspect)
			}
		}
	}

	s.bus = nil
	held := (heap() - before) / uint64(nodes)
	const sample = 10 // whole views are large: those of a few nodes stand for all
	views := make([]*View, sample)
	without := heap()
	for i := range views {
		views[i] = s.nodes[i].look(members)
	}
	view := (heap() - without) / sample
	runtime.KeepAlive(views)
	runtime.KeepAlive(s)
	t.Logf("each node holds %d KiB, of which a view with all votes is %d KiB", (held+view)>>10, view>>10)
	if held+view > most {
		t.Errorf("each node holds %d octets, want at most %d", held+view, most)
	}
}
