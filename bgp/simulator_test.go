package bgp

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// schedules is how many schedules TestSimulator plays; bench/README.md has the figure of 100,000.
var schedules = flag.Int("schedules", 10_000, "schedules that the simulator plays")

// TestSimulator plays schedules in virtual time: fleets of 3 to 9 nodes with
// machines and guards, whose checks fail, whose operators drain, and who crash,
// restart and lose sight of each other. See world.judge for what must hold.
// A schedule that fails is played again by its number, with a trace:
//
//	EDGED_SCHEDULE=4711 go test ./bgp -run TestSimulator
func TestSimulator(t *testing.T) {
	if one := os.Getenv("EDGED_SCHEDULE"); one != "" {
		seed, err := strconv.ParseUint(one, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(seed, rules{})
		w.trace = t.Logf
		w.run()
		if w.fault != "" {
			t.Error(w.fault)
		}
		return
	}
	n := *schedules
	if raceEnabled || testing.Short() {
		n = min(n, 300)
	}
	start := time.Now()
	total := simulate(n, rules{}, func(seed uint64, fault string) bool {
		t.Errorf("schedule %d: %s", seed, fault)
		return true
	})
	t.Logf("%d schedules in %v: %d voluntary withdrawals, %d come-backs, %d crashes and stops, %d frozen nodes, 0 faults wanted",
		n, time.Since(start).Round(time.Millisecond), total.withdrawals, total.returns, total.crashes, total.frozen)
	if total.withdrawals == 0 || total.returns == 0 || total.frozen == 0 {
		t.Errorf("nothing was tested: %+v", total)
	}
}

// TestSimulatorFindsFaults holds that the simulator can fail: with a guard that
// counts its view, and with one that promises without care.
func TestSimulatorFindsFaults(t *testing.T) {
	for name, r := range map[string]rules{"counts the view": {countView: true}, "promises to everybody": {careless: true}} {
		t.Run(name, func(t *testing.T) {
			var faults atomic.Int64
			const n = 5000
			simulate(n, r, func(uint64, string) bool { return faults.Add(1) < 20 })
			t.Logf("%d faults within %d schedules", faults.Load(), n)
			if faults.Load() == 0 {
				t.Errorf("no fault in %d schedules of a guard that %s", n, name)
			}
		})
	}
}

// simulate plays schedules 0 to n-1 on all cores, until fail says false.
func simulate(n int, r rules, fail func(seed uint64, fault string) bool) (total tally) {
	var next atomic.Uint64
	var mu sync.Mutex // guards total, and calls of fail
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for {
				seed := next.Add(1) - 1
				if seed >= uint64(n) {
					return
				}
				w := newWorld(seed, r)
				w.run()
				mu.Lock()
				total.add(w.tally)
				if w.fault != "" && !fail(seed, w.fault) {
					next.Store(uint64(n))
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return total
}

// rules say in which way the guard is broken; the zero value is the real one.
type rules struct {
	countView bool // permits when the view shows enough others
	careless  bool // promises to everybody, and remembers no promise
}

// tally counts what schedules had in them.
type tally struct{ withdrawals, returns, crashes, frozen int }

func (t *tally) add(o tally) {
	t.withdrawals += o.withdrawals
	t.returns += o.returns
	t.crashes += o.crashes
	t.frozen += o.frozen
}

// The times of a schedule: it is stirred until calm, and then must settle.
const (
	calmAt   = 70 * time.Second
	endAt    = 190 * time.Second
	settled  = 20 * time.Second // at the end, in which nothing may change
	beat     = time.Second      // each node tells the others how it stands
	hearsFor = 3 * time.Second  // that is believed after it arrived
	maxDelay = 1500 * time.Millisecond
)

// world is a fleet in virtual time.
type world struct {
	rules
	tally
	seed  uint64
	rng   *rand.Rand
	now   time.Duration
	loss  float64
	blind bool // the nodes believe that all others announce: only promises help
	vip   VIP
	nodes []*simNode
	pops  int
	stirs []stir
	post  postbox
	parts []part
	fault string
	trace func(format string, args ...any)
}

// stir is something that happens to the fleet.
type stir struct {
	at time.Duration
	do func()
}

// part is since when the fleet is parted: nodes hear those on their side.
type part struct {
	at    time.Duration
	sides uint16 // a bit for each node
}

// mark is since when a node stands as it does, as the others would hear.
type mark struct {
	at                time.Duration
	alive, announcing bool
}

// simNode is a node and its runtime.
type simNode struct {
	Member
	w       *world
	id      int
	machine *Machine
	guard   *Guard
	breaker *Breaker
	facts   Facts
	wish    Wish
	kept    Kept
	alive   bool
	born    time.Duration // of the process
	tick    time.Duration // next check
	wake    time.Duration // next step
	bound   time.Duration // when the socket is there
	sent    time.Duration // when the route is
	failing float64       // share of the checks that fail
	heard   []bool        // who announces, as heard last
	log     []mark

	gone    time.Duration // when it last crashed or stopped while it had a route
	fit     time.Duration // since when no check failed
	ordered time.Duration // when an operator last said something
	missed  time.Duration // since when too few others announce, as planned, in truth; negative: enough do
	turns   time.Duration // of the last change of state
}

func newWorld(seed uint64, r rules) *world {
	rng := rand.New(rand.NewPCG(seed, 10))
	n := 3 + rng.IntN(7)
	w := &world{rules: r, seed: seed, rng: rng, trace: func(string, ...any) {}, loss: []float64{0, 0.01, 0.1, 0.3}[rng.IntN(4)]}
	w.blind = rng.IntN(2) == 0 && !r.countView
	w.pops = 1 + rng.IntN(min(3, n-1))
	w.vip = VIP{
		Name:          "ns1",
		Prefixes:      []netip.Prefix{netip.MustParsePrefix("198.51.100.53/32")},
		MinAnnouncers: 1 + rng.IntN(n/2),
		Communities:   []Community{64512<<16 | 100},
		Hold:          w.upTo(8 * time.Second),
		Linger:        w.upTo(5 * time.Second),
		Ladder:        []Rung{{Kind: Gshut}, {Kind: Prepend, Value: 3}, {Kind: Withdraw}},
	}
	if rng.IntN(4) == 0 {
		w.vip.Ladder = w.vip.Ladder[2:]
	}
	w.vip.MinPoPs = 1 + rng.IntN(min(w.pops, w.vip.MinAnnouncers))
	var members []Member
	for i := range n {
		members = append(members, Member{Name: "n" + strconv.Itoa(i), PoP: "p" + strconv.Itoa(i%w.pops)})
	}
	for i, m := range members {
		node := &simNode{Member: m, w: w, id: i, heard: make([]bool, n), gone: never, missed: -1}
		node.guard = NewGuard(w.vip, m, members)
		w.nodes = append(w.nodes, node)
	}
	for _, node := range w.nodes {
		node.facts = Facts{Planned: true, AnswerTTL: w.upTo(4 * time.Second)}
		w.at(w.upTo(3*time.Second), node.start)
	}
	w.parts = []part{{}}
	w.plot()
	return w
}

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d))) }

func (w *world) at(t time.Duration, do func()) { w.stirs = append(w.stirs, stir{t, do}) }

// stirring is what may happen to some of the nodes, all within a second.
type stirring uint8

const (
	failures  stirring = iota // of their checks
	drains                    // by operators
	crashes                   // and a new start
	stops                     // likewise
	drops                     // from the plan
	holds                     // by operators
	partition                 // between two sides
)

// stirrings are as frequent as they stand here.
var stirrings = []stirring{failures, failures, failures, drains, drains, drains, crashes, stops, drops, holds, partition}

// plot decides what will happen.
func (w *world) plot() {
	when := func() time.Duration { return 15*time.Second + w.upTo(calmAt-17*time.Second) }
	some := func() []*simNode {
		w.rng.Shuffle(len(w.nodes), func(i, j int) { w.nodes[i], w.nodes[j] = w.nodes[j], w.nodes[i] })
		return w.nodes[:1+w.rng.IntN(len(w.nodes))]
	}
	nodes := append([]*simNode(nil), w.nodes...)
	for range 1 + w.rng.IntN(4) {
		kind, t, until := w.rng.IntN(len(stirrings)), when(), when()
		if stirrings[kind] == partition {
			sides := uint16(w.rng.Uint32())
			w.at(min(t, until), func() { w.parts = append(w.parts, part{w.now, sides}) })
			w.at(max(t, until), func() { w.parts = append(w.parts, part{w.now, 0}) })
			continue
		}
		for _, n := range append([]*simNode(nil), some()...) {
			t := t + w.upTo(time.Second) // all at once
			switch stirrings[kind] {
			case failures: // for a while or for good
				share := []float64{1, 1, 0.3}[w.rng.IntN(3)]
				w.at(t, func() { n.fails(share) })
				if w.rng.IntN(4) == 0 {
					w.at(until, func() { n.fails(0) })
				}
			case drains: // for a while or for good
				forced := w.rng.IntN(16) == 0
				w.at(t, func() { n.order(func(f *Facts) { f.Leave, f.Forced = Out, forced }) })
				if w.rng.IntN(4) == 0 {
					w.at(until, func() { n.order(func(f *Facts) { f.Leave, f.Forced = Stay, false }) })
				}
			case crashes:
				w.at(t, n.crash)
				w.at(t+w.upTo(20*time.Second), n.start)
			case stops:
				w.at(t, func() { n.order(func(f *Facts) { f.Leave = Stopping }) })
				w.at(t+5*time.Second, n.crash)
				w.at(t+5*time.Second+w.upTo(10*time.Second), func() { n.order(func(f *Facts) { f.Leave = Stay }); n.start() })
			case drops:
				w.at(t, func() { n.order(func(f *Facts) { f.Planned = false }) })
			case holds:
				w.at(t, func() { n.order(func(f *Facts) { f.Hold = true }) })
				w.at(min(t+w.upTo(30*time.Second), calmAt), func() { n.order(func(f *Facts) { f.Hold = false }) })
			}
		}
	}
	w.nodes = nodes
	w.at(calmAt, func() {
		w.loss = 0
		w.parts = append(w.parts, part{w.now, 0})
		for _, n := range w.nodes {
			if n.failing < 1 {
				n.fails(0)
			}
			n.order(func(f *Facts) {
				if f.Leave == Stopping {
					f.Leave = Stay
				}
			})
			if !n.alive || n.wish.State == Absent && n.facts.Planned {
				n.crash()
				n.start()
			}
		}
	})
}

// run plays the schedule.
func (w *world) run() {
	for w.now < endAt && w.fault == "" {
		first, which := endAt, -1
		for i, s := range w.stirs {
			if s.at < first {
				first, which = s.at, i
			}
		}
		var node *simNode
		for _, n := range w.nodes {
			if n.alive && min(n.tick, n.wake) < first {
				first, node = min(n.tick, n.wake), n
			}
		}
		if at, ok := w.post.next(); ok && at <= first {
			w.now = max(w.now, at)
			w.deliver(w.post.take())
			continue
		}
		w.now = max(w.now, first)
		switch {
		case node != nil:
			if w.now >= node.tick {
				node.check()
			}
			node.step()
		case which >= 0:
			do := w.stirs[which].do
			w.stirs[which] = w.stirs[len(w.stirs)-1]
			w.stirs = w.stirs[:len(w.stirs)-1]
			do()
		}
	}
	if w.fault == "" {
		w.judgeEnd()
	}
}

func (w *world) failed(format string, args ...any) {
	if w.fault == "" {
		w.fault = fmt.Sprintf("at %v, %d nodes in %d PoPs, min %d in %d, loss %g, blind %v: %s", w.now, len(w.nodes), w.pops,
			w.vip.MinAnnouncers, w.vip.MinPoPs, w.loss, w.blind, fmt.Sprintf(format, args...))
	}
}

// start starts the process of a node that is down.
func (n *simNode) start() {
	if n.alive {
		return
	}
	w := n.w
	n.alive, n.born, n.fit = true, w.now, w.now
	n.machine = NewMachine(w.vip, n.kept)
	members := make([]Member, 0, len(w.nodes))
	for _, other := range w.nodes {
		members = append(members, other.Member)
	}
	n.guard, n.breaker = NewGuard(w.vip, n.Member, members), &Breaker{}
	clear(n.heard)
	n.facts.Bound, n.facts.Sent, n.wish = false, false, Wish{}
	n.bound, n.sent = never, never
	n.tick, n.wake = w.now+w.upTo(time.Second), w.now
	n.stands()
	w.trace("%v %s starts", w.now, n.Name)
	n.step()
}

// crash ends the process of a node.
func (n *simNode) crash() {
	if !n.alive {
		return
	}
	n.w.crashes++
	n.kept = n.machine.Keep(n.w.now - n.born)
	if n.wish.Route != nil {
		n.gone = n.w.now
	}
	n.alive, n.wish = false, Wish{}
	n.w.trace("%v %s crashes", n.w.now, n.Name)
	n.stands()
}

// order has an operator or a plan change the facts.
func (n *simNode) order(change func(*Facts)) {
	change(&n.facts)
	n.ordered = n.w.now
	n.w.trace("%v %s: leave %d, forced %v, planned %v, hold %v", n.w.now, n.Name, n.facts.Leave, n.facts.Forced, n.facts.Planned, n.facts.Hold)
	if n.alive {
		n.step()
	}
}

// fails sets how many of the checks fail.
func (n *simNode) fails(share float64) {
	n.failing, n.fit = share, n.w.now
	n.w.trace("%v %s fails %v", n.w.now, n.Name, share)
}

func (n *simNode) check() {
	w := n.w
	n.tick = w.now + time.Second
	if !n.wish.Listen {
		return
	}
	ok := n.failing == 0 || w.rng.Float64() >= n.failing
	n.machine.Check(w.now-n.born, ok, "udp 198.51.100.53: timeout")
}

// step is what the runtime of a node does: it gathers the facts, makes the wish
// so, and asks the others.
func (n *simNode) step() {
	w := n.w
	now := w.now - n.born
	f := &n.facts
	f.Now, f.Bound, f.Sent = now, n.wish.Listen && w.now >= n.bound, n.wish.Route != nil && w.now >= n.sent
	f.Heard = f.Sent
	f.Quiet = n.wish.State == Withdrawn && n.id%2 == 0
	n.listenTo()
	f.Permit, f.Promises = false, ""
	if n.wish.Ask {
		f.Permit, f.Promises = n.guard.Permit(now)
	}
	if w.countView {
		f.Permit = f.Others >= w.vip.MinAnnouncers && f.OtherPoPs >= w.vip.MinPoPs
	}
	was := n.wish
	n.wish = n.machine.Step(*f)
	if n.wish.Next <= now {
		w.failed("%s wants its next step at %v, but it is %v", n.Name, n.wish.Next, now)
	}
	n.wake = n.born + n.wish.Next
	if n.wish.Listen && !was.Listen {
		n.bound = w.now + w.upTo(300*time.Millisecond)
	}
	if n.wish.Route != was.Route {
		n.sent = w.now + w.upTo(500*time.Millisecond)
	}
	if n.bound > w.now {
		n.wake = min(n.wake, n.bound)
	}
	if n.sent > w.now {
		n.wake = min(n.wake, n.sent)
	}
	if n.wish.State != was.State || n.wish.Route != was.Route {
		n.turns = w.now
		w.trace("%v %s is %s: %s", w.now, n.Name, n.wish.State, n.wish.Cause)
		n.stands()
	}
	w.judge(n, was)

	if n.wish.Ask {
		if due := n.guard.Due(); due <= now {
			var nonce Nonce
			binary.LittleEndian.PutUint64(nonce[:], w.rng.Uint64())
			ask := n.guard.Begin(now, nonce)
			for _, other := range w.nodes {
				if other != n {
					w.send(letter{from: n.id, to: other.id, nonce: ask.Nonce})
				}
			}
		}
		n.wake = min(n.wake, n.born+n.guard.Due())
	}
}

// stands writes down how a node stands, for others to hear.
func (n *simNode) stands() {
	announcing := n.wish.State == Announced || n.w.countView && n.wish.Route != nil
	n.log = append(n.log, mark{n.w.now, n.alive, n.alive && announcing})
	for _, i := range n.w.nodes {
		announcers, pops := n.w.announcers(i)
		switch {
		case announcers >= n.w.vip.MinAnnouncers && pops >= n.w.vip.MinPoPs:
			i.missed = -1
		case i.missed < 0:
			i.missed = n.w.now
		}
	}
}

// announcers counts the nodes other than one that announce as planned, in truth.
func (w *world) announcers(but *simNode) (nodes, pops int) {
	var seen uint16
	for _, n := range w.nodes {
		if n != but && n.alive && n.wish.State == Announced {
			nodes++
			seen |= 1 << (n.id % w.pops)
		}
	}
	return nodes, ones(seen)
}

func ones(b uint16) (n int) {
	for ; b != 0; b &= b - 1 {
		n++
	}
	return n
}
