package announcer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"edged/bgp"
	"edged/bgp/audit"
	"edged/bgp/speaker"
	"edged/edge"
)

const (
	stepEvery  = 200 * time.Millisecond
	checkEvery = time.Second
	hearEvery  = time.Second
	hearFor    = 4 * time.Second  // what another node said counts for so long, at least
	hearMisses = 2                // calls that it must not have answered since
	tellEvery  = 5 * time.Second  // peers are told again what they were told
	settleFor  = 30 * time.Second // after a start, until few announcers are an alarm
	deafFor    = 10 * time.Second // without a peer that has a prefix, until that is an alarm
	muteFor    = 5 * time.Second  // without a peer that has any, until answers leave the PoP out
)

// Announcer runs the VIPs of one node. Its methods are safe for concurrent use.
type Announcer struct {
	cfg   Config
	store *store
	audit *audit.Log
	began time.Time
	wake  chan struct{}
	ctx   context.Context // ends when nothing shall be done any more
	halt  context.CancelFunc
	ended chan struct{} // closed when the loop has ended

	coordinator *coordinator

	beside   sync.WaitGroup // what runs beside the loop
	hearing  sync.Mutex     // others are being asked how they stand
	metering sync.Mutex     // queries are being counted
	probing  sync.Mutex     // through VIPs of others
	saving   sync.Mutex     // one save at a time; taken before mu
	allowing sync.Mutex     // what may leave is being told; taken before mu
	raising  sync.Mutex     // an alarm; taken before mu
	flapping sync.Mutex     // peers change, or their lost sessions are being counted; taken before mu
	deciding sync.Mutex     // a plan or an operation is being stored, or was not; taken before those above
	asking   sync.Mutex     // for an operation of the fleet; taken before all others

	told   []bgp.Route // what peers were told last; of the loop
	toldAt time.Duration

	mu         sync.Mutex
	file       File           // guarded by mu, as is all that follows
	peers      []speaker.Peer // that the node talks to; on the way to those of the file
	moving     moving
	flaps      uint64 // of sessions that were made anew since
	plan       bgp.NodePlan
	earlier    []bgp.NodePlan // the newest first
	starts     []time.Time    // this one, and those before it that ended otherwise than in order: see crashes
	pending    []string       // VIPs of the file that no plan names, once seen while the node ran
	operations []bgp.Operation
	older      []string // IDs of the operations that were there when the plan was taken
	claims     claims
	rollout    *bgp.Rollout
	vips       map[string]*vip
	parts      []*vip           // prefixes that VIPs lost by a plan: see split
	heard      map[string]heard // what other members said, by name
	sent       map[netip.Prefix][]route
	up         map[string]takes            // peers with a session
	kept       map[netip.Addr]keptPeer     // of peers, as it was kept last
	ipv4       map[netip.Addr]bool         // whether peers took IPv4 when they had a session last
	had        []keptSession               // to begin with, as they were kept last
	proven     map[netip.Addr]speaker.Peer // sessions as they were when they were up last
	doubts     map[netip.Addr]*doubt       // by address
	reread     bool                        // the file was, since the start
	unstored   bool                        // the plan in force was restored, and is not on disk yet
	beginning  bool                        // the speaker has refused the peers to begin with, so far
	restayed   map[netip.Addr]bool         // those of before the start that the file does not name, and were not up yet
	ending     bool                        // a session is, and what peers have is not known anew yet
	drops      Dropped
	faults     map[string]string // what cannot be done just now, by what
	overdue    map[string]string // operations whose time ran out, in words, by ID
	stopping   bool
	unwritten  unwritten
	dirty      bool // what is kept is behind
	replanned  bool // a plan has come since it was decided what should be
	narrow     bool // a VIP is gone: its prefixes may leave no more
}

// vip is one VIP on this node.
type vip struct {
	spec    bgp.VIP
	planned bool
	part    bool     // of a VIP: see split
	over    string   // a part: the VIP that the plan has it in, until that can have it; empty: in none
	groups  []string // of the peers that hear it: see settle
	givenUp bool     // the plan that took it out gives up all of it
	machine *bgp.Machine
	guard   *bgp.Guard
	breaker *bgp.Breaker
	wish    bgp.Wish

	have        []netip.AddrPort               // that DNS is answered on
	tried       []netip.Prefix                 // through which a check has passed
	untried     string                         // why others are not announced yet; empty: there are none
	kept        string                         // why other peers hear it than the plan wants; empty: those do
	keptFrom    time.Duration                  // since when
	resets      time.Duration                  // until when promises are asked for, for a session that is to be made anew
	bound       bool                           // on all of them
	unconfirmed bool                           // the route was wished otherwise, and peers have not been sent that yet, as far as was seen
	failing     string                         // why checks fail, as that began: an alarm is not raised anew for each check; empty: they pass
	fault       string                         // why not bound
	deaf        time.Duration                  // since when no peer has one of its prefixes; 0: all are with some
	unheard     map[netip.Prefix]time.Duration // since when no peer has a prefix that is announced and that one had; 0: one has
	refusals    map[string]string              // why members did not promise, by name, in the last round that they answered
	meter       meter
	asked       uint64        // questions of our own checks
	checked     time.Duration // when the last check began
	checking    bool
	failed      bool // a check, or making sure of the addresses, since that was last done
}

// takes is what a session carries beside IPv6 over IPv6.
type takes struct{ ipv4 bool }

// route is one that a peer was sent.
type route struct {
	peer       string
	attributes bgp.Attributes
}

// Start runs the plan that is kept, and with it the VIPs of the file that no plan
// names yet. What is kept and cannot be used is told by an alarm. It errs when
// the folder cannot be used, or the peers not be told what may leave.
func Start(cfg Config) (*Announcer, error) {
	store, k, alarm, err := openStore(cfg.Dir, time.Now())
	if err != nil {
		return nil, err
	}
	log, err := audit.Open(cfg.Dir)
	if err != nil {
		return nil, err
	}
	ctx, halt := context.WithCancel(context.Background())
	a := &Announcer{
		cfg: cfg, peers: cfg.File.Peers, store: store, audit: log, began: time.Now(),
		wake: make(chan struct{}, 1), ctx: ctx, halt: halt, ended: make(chan struct{}),
		file: cfg.File, earlier: k.Earlier, operations: k.Operations, older: k.Older,
		vips: map[string]*vip{}, heard: map[string]heard{}, ipv4: map[netip.Addr]bool{}, proven: map[netip.Addr]speaker.Peer{}, doubts: map[netip.Addr]*doubt{}, faults: map[string]string{}, overdue: map[string]string{},
	}
	a.coordinator = newCoordinator(calls{a}, k.Rollout, a.saveRollout, a.tellRollout)
	if alarm != "" {
		a.fault(stateOfBefore, errors.New(alarm))
	}
	if err := a.start(k, log.Faults()); err != nil {
		halt()
		return nil, errors.Join(err, log.Close())
	}
	go a.run()
	a.beside.Go(func() { a.coordinator.run(ctx) })
	// What was altered before is an alarm for as long as it is kept.
	a.beside.Go(func() { a.fault("audit log of before", log.Verify()) })
	return a, nil
}

// What is told by alarms that the start raises.
const (
	announceOf       = "announce "          // and a VIP that nobody knows
	sessionsOfBefore = "sessions of before" // are not as they were: until the file is read again
	sessionsBack     = "sessions"           // are as they were, and not as the file wants them
)

const (
	stateOfBefore = "state of before" // could not be used: an alarm until a plan is taken
	nameOfBefore  = "name of before"  // is another one: likewise
)

func (a *Announcer) start(k kept, faults []string) error {
	before := bgp.Member{Name: k.Plan.Node, PoP: k.Plan.PoP}
	if k.Plan.Generation > 0 && before != a.cfg.Self {
		a.moved(before)
	}
	if k.Plan.Generation > 0 && before.Name != a.cfg.Self.Name {
		a.fault(nameOfBefore, fmt.Errorf("it is of node %q, by which name this one went before: its plan and operations go on; if it is another machine's, stop this node, remove %q, and start it", before.Name, a.cfg.Dir))
	}
	k.Plan.Node, k.Plan.PoP = a.cfg.Self.Name, a.cfg.Self.PoP
	// What became pending while the node ran stays so: an edit of long ago must
	// not go live with whatever restarts the node.
	// Nor what may have been taken out, when nobody can tell any more.
	first := slices.DeleteFunc(slices.Clone(a.file.VIPs), func(v bgp.VIP) bool { return k.Lost || slices.Contains(k.Pending, v.Name) })
	plan, added := bgp.First(k.Plan, first)
	plan.Generation = max(plan.Generation, 1) // an empty plan is one, too
	a.pending = k.Pending
	a.plan = plan
	a.notePending()
	for _, spec := range plan.VIPs {
		a.newVIP(spec, k.VIPs[spec.Name])
	}
	a.announceAgain(k)
	a.usePlan()
	a.startPeers(k)
	a.rollout = a.coordinator.view()
	if a.audit.Head().Seq == 0 {
		cause := "the log begins"
		if k.Plan.Generation > 0 || k.Lost {
			cause = "the log begins anew: that of before was removed, for a node that has " + stateFile + " has one"
			faults = append(faults, cause)
		}
		a.record(audit.Entry{Actor: "edged", Cause: cause})
	}
	a.starts = startsWith(k.Starts, time.Now())
	a.dirty = true
	_ = a.keep() // what was kept goes on without a disk, and is tried again: it is an alarm
	if len(added) > 0 {
		a.recordPlan(k.Plan, plan, "edged", fmt.Sprintf("first plan of %v, from the node's file", added))
	}
	if err := a.allow(); err != nil {
		return err
	}
	a.tidy()
	a.stateRequired()
	for i, f := range faults {
		if f != "" {
			a.fault(fmt.Sprintf("kept %d", i+1), errors.New(f))
		}
	}
	return nil
}

// moved has operations asked of the node, or its PoP, as it was called before be asked of it as it is
// called now: it is as much out as it was.
func (a *Announcer) moved(before bgp.Member) {
	for i, o := range a.operations {
		next := o
		if o.Node == before.Name && o.Node != "" {
			next.Node = a.cfg.Self.Name
		} else if o.PoP == before.PoP && o.PoP != "" {
			next.PoP = a.cfg.Self.PoP
		}
		next, err := bgp.NewOperation(next)
		if err != nil {
			continue
		}
		if j := slices.Index(a.older, o.ID); j >= 0 {
			a.older[j] = next.ID
		}
		a.operations[i] = next
	}
}

// announceAgain makes VIPs that no plan names, and that the node announces by its own word, as they
// were announced.
func (a *Announcer) announceAgain(k kept) {
	for _, o := range a.operations {
		if o.Kind != bgp.Announce || a.vips[o.VIP] != nil {
			continue
		}
		spec, known := inFile(File{VIPs: k.Announced}, o.VIP)
		if !known {
			spec, known = inFile(a.file, o.VIP)
		}
		if known {
			a.newVIP(spec, k.VIPs[o.VIP])
		} else {
			a.fault(announceOf+o.VIP, fmt.Errorf("%s: neither the node's file nor what it kept says what %s is", o, o.VIP))
		}
	}
}

// newVIP makes the machine and the guard of a VIP. The caller holds the lock, or
// is the only one.
func (a *Announcer) newVIP(spec bgp.VIP, kept bgp.Kept) *vip {
	v := &vip{spec: spec, groups: spec.Groups, machine: bgp.NewMachine(spec, kept), guard: bgp.NewGuard(spec, a.cfg.Self, nil), breaker: &bgp.Breaker{}, checked: -checkEvery}
	a.vips[spec.Name] = v
	return v
}

// tidy removes addresses that are ours from before a crash and that no VIP has
// any more.
func (a *Announcer) tidy() {
	owned, err := a.cfg.Addresses.Owned()
	a.fault("addresses", err)
	for _, p := range owned {
		if !slices.ContainsFunc(a.every(), func(v *vip) bool { return slices.Contains(v.spec.Prefixes, p) }) {
			a.fault("address "+p.String(), a.cfg.Addresses.Remove("", []netip.Prefix{p}))
		}
	}
}

// stateRequired tells the fleet of VIPs that pools require and that this node
// does not have: another node of the PoP may.
func (a *Announcer) stateRequired() {
	for name := range a.file.Required {
		if a.vips[name] == nil {
			a.cfg.Fleet.State(name, edge.Dead, "not in the plan of "+a.cfg.Self.Name)
		}
	}
}

// Use tells what the node's file says now. Its VIPs are pending until a plan
// takes them over. Its peers come into force one session after the other; the
// names of those whose session is made anew, or ends, are returned.
func (a *Announcer) Use(f File) (reset []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.peers {
		if !slices.ContainsFunc(f.Peers, p.SameSession) {
			reset = append(reset, p.Name)
		}
	}
	a.reconsider(f.Peers)
	a.file, a.moving, a.reread = f, moving{}, true
	a.notePending()
	a.stateRequired()
	a.poke()
	return reset
}

// notePending remembers what the file wants and no plan names. The caller holds
// the lock.
func (a *Announcer) notePending() {
	var pending []string
	for _, v := range a.file.VIPs {
		if _, planned := a.plan.VIP(v.Name); !planned {
			pending = append(pending, v.Name)
		}
	}
	a.dirty = a.dirty || !slices.Equal(pending, a.pending)
	a.pending = pending
}

// Stop takes all VIPs away as a node does that ends: less preferred, withdrawn,
// unbound. It asks for the promises of others, and does not wait for them longer
// than that takes, about 3 seconds. It errs when ctx ends first.
func (a *Announcer) Stop(ctx context.Context) error {
	a.mu.Lock()
	a.stopping = true
	a.mu.Unlock()
	a.poke()
	var err error
	select {
	case <-a.ended:
	case <-ctx.Done():
		err = fmt.Errorf("vips: not all are withdrawn: %w", ctx.Err())
	}
	a.halt()
	<-a.ended
	a.beside.Wait()
	a.mu.Lock()
	a.starts, a.dirty = nil, true
	a.mu.Unlock()
	return errors.Join(err, a.keep(), a.audit.Close())
}

func (a *Announcer) now() time.Duration { return time.Since(a.began) }

func (a *Announcer) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// keep puts on disk what must survive, if it changed.
func (a *Announcer) keep() error {
	a.saving.Lock()
	defer a.saving.Unlock()
	a.mu.Lock()
	if !a.dirty {
		a.mu.Unlock()
		return nil
	}
	now := a.now()
	a.kept, a.had = a.known(), a.sessions()
	k := kept{Peers: a.kept, Sessions: a.had, Saved: time.Now(), Plan: a.plan, Earlier: a.earlier, Older: a.older, Pending: a.pending, Operations: a.operations, Starts: a.starts, VIPs: map[string]bgp.Kept{}, Rollout: a.rollout}
	for name, v := range a.vips {
		k.VIPs[name] = v.machine.Keep(now)
		if _, planned := a.plan.VIP(name); !planned && a.announces(name) {
			k.Announced = append(k.Announced, v.spec)
		}
	}
	slices.SortFunc(k.Announced, func(v, w bgp.VIP) int { return cmp.Compare(v.Name, w.Name) })
	text, err := k.encode()
	err = errors.Join(err, k.check()) // what the next start would refuse is not written
	a.dirty = false
	a.mu.Unlock()
	if err == nil {
		err = a.store.savePasswords(k.Sessions)
	}
	if err == nil {
		err = a.store.save(text, k.decided())
	}
	if err == nil {
		err = a.store.dropPasswords(k.Sessions)
	}
	a.mu.Lock()
	a.dirty = a.dirty || err != nil
	a.unstored = a.unstored && (err != nil || k.Plan.Generation != a.plan.Generation)
	a.mu.Unlock()
	a.fault("vip-state.json", err)
	return err
}

// fault notes that something cannot be done just now, or can again, and raises
// the alarm that lists all of it.
func (a *Announcer) fault(what string, err error) {
	a.raising.Lock() // or an older list could be told last
	defer a.raising.Unlock()
	a.mu.Lock()
	was, had := a.faults[what]
	switch {
	case err == nil && !had, err != nil && was == err.Error():
		a.mu.Unlock()
		return
	case err == nil:
		delete(a.faults, what)
	default:
		a.faults[what] = err.Error()
	}
	var all []string
	for _, what := range sortedKeys(a.faults) {
		all = append(all, fmt.Sprintf("%s: %s", what, a.faults[what]))
	}
	a.mu.Unlock()
	a.cfg.Alarm(false, all)
}

// remind raises the alarm for operations whose time has run out, and ends it.
func (a *Announcer) remind(clock time.Time) {
	a.mu.Lock()
	overdue := map[string]string{}
	var news []bgp.Operation
	for _, o := range a.operations {
		if words := o.Overdue(clock); words != "" {
			overdue[o.ID] = words
			if a.overdue[o.ID] == "" {
				news = append(news, o)
			}
		}
	}
	same := maps.Equal(overdue, a.overdue)
	a.overdue = overdue
	var all []string
	for _, id := range sortedKeys(overdue) {
		all = append(all, overdue[id])
	}
	a.mu.Unlock()
	for _, o := range news {
		a.recordOperation("edged", overdue[o.ID], "its time has run out")
	}
	if !same {
		a.cfg.Alarm(true, all)
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
