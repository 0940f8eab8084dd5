package bgp

import (
	"fmt"
	"net/netip"
	"time"
)

// Leave says whether an operator wants a VIP out of use on a node.
type Leave uint8

const (
	Stay     Leave = iota
	Out            // drained: answers first, then less preferred, then withdrawn
	Stopping       // the process ends: the same in 3 s, with or without promises
)

// Facts are all that a step depends on beside the checks. The zero value is that
// of a node which knows nothing, and plans nothing.
type Facts struct {
	Now     time.Duration // since the node's start; never goes back
	Planned bool          // the plan, or an operator with "announce --local", names the VIP
	Leave   Leave
	Forced  bool   // an operator who wants it out does so without promises; or nobody announced it before the plan that is taken back
	Unheard bool   // no peer has any of it, or could have: only where it is not planned
	Hold    bool   // an operator wants that nothing changes: only a way up that was ordered before goes on, and Stopping
	Frozen  string // why the node cannot know about the others, in words; empty: it can
	Breaker string // why no node may withdraw by itself, in words; empty: it may (see [Breaker])

	Bound     bool          // the address and the socket are there
	Sent      bool          // an established peer was sent the route with the attributes last wished
	Heard     bool          // an established peer has some of it, however
	AnswerTTL time.Duration // the longest TTL of answers that named this PoP; 0: none does
	Quiet     bool          // hardly a query comes to the VIP any more

	Permit   bool   // enough others promise to stay (see [Guard])
	Promises string // how many do, in words

	Others, OtherPoPs int // other members where the VIP is Announced, as heard lately; their PoPs
}

// Wish is the whole of what should be for a VIP on a node. Whoever makes it so
// opens in the order address, socket, route, and closes in the opposite one.
type Wish struct {
	State State         `json:"state"`
	Since time.Duration `json:"since"` // of the state
	Cause string        `json:"cause"` // of the state
	Waits string        `json:"waits"` // what the next state waits for; empty: for nothing

	Address bool        `json:"address"` // on the loopback
	Listen  bool        `json:"listen"`  // there is a socket on it, and checks go through it
	Route   *Attributes `json:"route"`   // nil: not announced; not to be changed
	Answer  bool        `json:"answer"`  // answers may name this PoP
	Ask     bool        `json:"ask"`     // wants the promises of others

	Next time.Duration `json:"-"` // when to step again at the latest
}

// Kept is what a machine remembers over a restart. The zero value is that of a
// VIP that never was.
type Kept struct {
	State   State         `json:"state"` // before the node stopped
	Damping Damping       `json:"damping"`
	Clean   bool          `json:"clean"` // the machine had stopped; else the process died
	Age     time.Duration `json:"-"`     // since it was kept, as well as the restarted node knows; not negative
}

// Machine says what should be for one VIP on one node. Its checks go in by
// Check, all else by Step, and the wish comes out: the same sequence of calls
// gives the same wishes. It reads no clock. Call Step whenever a fact or a check
// is new, and at Wish.Next. A Machine and its [Guard] are for one goroutine.
//
// What stands above all else:
//   - No wish is more preferred than the plan's baseline.
//   - Only what an operator forces, what a rollout that is taken back was the first
//     to announce, what no peer can have, and what stops with the process, is withdrawn
//     without promises. What has none stays, as LastResort.
//   - A frozen node withdraws nothing, and takes nothing up again by itself. Its
//     own checks still make it less preferred, and back.
//   - A node that was withdrawn comes back as LastResort when too few others
//     announce the VIP, frozen or not, unless an operator forced it out.
//
// A node makes one change in 10 s by itself: it announces, degrades or withdraws.
// That counts neither for the first way up after a start, a plan or an operator's
// word, nor for what operators order, nor when the process stops. Going up
// through Canary is one change.
type Machine struct {
	vip      VIP
	baseline *Attributes
	lowest   *Attributes
	rungs    []*Attributes // after so many rungs of the ladder, as long as they keep the route
	drops    bool          // the ladder ends with a withdrawal

	state State
	since time.Duration
	cause string
	route *Attributes // nil: none

	rung      int           // in Degraded: how many rungs down
	from      State         // in Draining: the state before
	ordered   bool          // this way up was ordered, by a start, a plan or an operator
	answers   bool          // answers may name this PoP
	leaving   bool          // it is on its way out, or out, for an operator or the plan wants it
	listening bool          // address and socket are wished
	bound     bool          // and were there
	shutdown  time.Duration // in Draining: since when with graceful shutdown; negative: not yet
	changed   time.Duration // when the node last changed something by itself
	trial     trial
	damping   Damping

	stepped bool          // Step was called
	short   bool          // too few others announce it
	turned  time.Duration // since when short is what it is

	returned bool // in LastResort: it came back there, for too few others announced it

	facts   Facts         // of the last step
	before  *Kept         // the process stops: what was before
	stopped time.Duration // since when it does
	next    time.Duration
	waits   string
}

// never is before everything that a machine has to remember.
const never = -24 * time.Hour

// NewMachine returns the machine of a VIP after a start. A process that died
// while it announced the VIP is a flap.
func NewMachine(v VIP, kept Kept) *Machine {
	m := &Machine{cause: "started", ordered: true, changed: never, turned: never, damping: kept.Damping}
	m.damping.At = -kept.Age
	if !kept.Clean && kept.State.Announces() {
		m.damping = m.damping.Flap(0)
	}
	if kept.State == Withdrawn || kept.State == Draining {
		m.state, m.cause, m.ordered, m.leaving = Withdrawn, "withdrawn before the start", false, true
	}
	m.SetVIP(v)
	return m
}

// Split returns a machine for prefixes that the VIP is about to lose. It stands as
// this one does. Stepped with facts that say they are not planned it takes them
// down as it would the whole VIP, with promises for them, and the others stay.
func (m *Machine) Split(lost []netip.Prefix) *Machine {
	part, v := *m, m.vip
	v.Prefixes = lost
	part.SetVIP(v)
	return &part
}

// SetVIP replaces what the plan says the VIP is. The next step's wish has the new
// attributes. What becomes of prefixes that it loses is for [Machine.Split].
func (m *Machine) SetVIP(v VIP) {
	baseline, lowest := v.Baseline(), v.Lowest()
	m.vip, m.baseline, m.lowest = v, &baseline, &lowest
	m.rungs, m.drops = nil, false
	for n := range len(v.Ladder) + 1 {
		a, keeps := v.Below(n)
		if !keeps {
			m.drops = true
			break
		}
		m.rungs = append(m.rungs, &a)
	}
	m.rung = min(m.rung, len(m.rungs)-1)
	m.route = m.attributes(m.state)
}

// Check takes the result of a self-check through the VIP, and its cause when it
// failed. There should be one a second. What comes while there is no socket is
// not counted.
func (m *Machine) Check(now time.Duration, ok bool, cause string) {
	if m.bound {
		m.trial.note(now, ok, cause)
	}
}

// Step returns what should be.
func (m *Machine) Step(f Facts) Wish {
	m.facts, m.next, m.waits = f, f.Now+idle, ""
	m.watch()
	for m.move() {
		m.next, m.waits = f.Now+idle, ""
	}
	w := Wish{
		State: m.state, Since: m.since, Cause: m.cause, Address: m.listening, Listen: m.listening, Route: m.route,
		Answer: m.answers, Ask: m.asks(),
	}
	w.Waits, w.Next = m.waits, m.next
	return w
}

// Standing is what a guard has to know before it promises that this node stays.
func (m *Machine) Standing() Standing {
	return Standing{
		Healthy:    m.trial.passed,
		Announcing: m.state == Announced,
		Confirmed:  m.facts.Sent,
		Leaving:    m.facts.Leave != Stay || !m.facts.Planned,
	}
}

// Failing says why checks fail just now, whatever the state and its cause are; empty:
// they pass, or there were none.
func (m *Machine) Failing() string {
	if m.trial.passed || m.trial.bad == 0 {
		return ""
	}
	return m.trial.cause
}

// Damping returns the penalty for flapping, as of now.
func (m *Machine) Damping(now time.Duration) Damping { return m.damping.Decayed(now) }

// Keep returns what to keep for the next start. While the process stops, the
// state is that of before.
func (m *Machine) Keep(now time.Duration) Kept {
	k := Kept{State: m.state}
	if m.before != nil {
		k = *m.before
		k.Clean = m.state == Absent
	}
	k.Damping = m.damping.Decayed(now)
	return k
}

// watch notes since when too few, or enough, others announce the VIP.
func (m *Machine) watch() {
	f := &m.facts
	if !m.bound && m.listening && f.Bound {
		m.bound = true
	}
	short := f.Others < m.vip.MinAnnouncers || f.OtherPoPs < m.vip.MinPoPs
	switch {
	case !m.stepped && short:
		m.turned = f.Now + shortAtStart - shortFor
	case short != m.short:
		m.turned = f.Now
	}
	m.short, m.stepped = short, true
}

// move goes one state further, and says whether it did.
func (m *Machine) move() bool {
	f := &m.facts
	switch {
	case f.Leave == Stopping:
		return m.stop()
	case f.Hold && !m.ordered:
		m.waits = "an operator to end the hold"
		return false
	case f.Planned && f.Leave == Stay:
		return m.up()
	default:
		return m.down()
	}
}

// to enters a state that was ordered.
func (m *Machine) to(s State, format string, args ...any) bool {
	m.state, m.since, m.cause, m.returned = s, m.facts.Now, fmt.Sprintf(format, args...), false
	switch s {
	case Announced:
		m.answers = true
	case Degraded, LastResort: // as before
	default:
		m.answers = false
	}
	if s != Absent && s != Bound && s != Canary {
		m.ordered = false
	}
	m.route = m.attributes(s)
	return true
}

// turn says whether the node may change something by itself now.
func (m *Machine) turn() bool {
	return m.ordered || m.reached(m.changed+changeEvery, "at most one change in 10 s")
}

// auto enters a state by itself; turn has to be asked before.
func (m *Machine) auto(s State, format string, args ...any) bool {
	if !m.ordered {
		m.changed = m.facts.Now
	}
	return m.to(s, format, args...)
}

// attributes returns those of the route in a state, nil for none.
func (m *Machine) attributes(s State) *Attributes {
	switch s {
	case Canary, LastResort:
		return m.lowest
	case Announced:
		return m.baseline
	case Degraded:
		return m.rungs[m.rung]
	case Draining:
		a := m.attributes(m.from)
		if m.shutdown < 0 {
			return a
		}
		low := a.with(GracefulShutdown)
		return &low
	}
	return nil
}

// reached says whether it is t. If not it is stepped again then, and what it waits
// for is said with the time that is left.
func (m *Machine) reached(t time.Duration, waits string) bool {
	if m.facts.Now >= t {
		return true
	}
	left := (t - m.facts.Now + time.Second - 1).Truncate(time.Second)
	m.next, m.waits = min(m.next, t), fmt.Sprintf("%s, for another %s", waits, left)
	return false
}

// listen wishes the address and the socket.
func (m *Machine) listen() {
	if !m.listening {
		m.listening, m.bound, m.trial = true, m.facts.Bound, trial{}
	}
}

// unlisten takes them away.
func (m *Machine) unlisten() { m.listening, m.bound, m.trial = false, false, trial{} }
