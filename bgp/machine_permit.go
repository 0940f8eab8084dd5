package bgp

import "fmt"

// obstacle is what keeps a node from withdrawing a VIP.
type obstacle uint8

const (
	free obstacle = iota
	held
	frozen
	broken
	fewOthers
	tooSoon
	noPermit
)

// obstacles are what a VIP waits for.
var obstacles = [...]string{
	free:      "",
	held:      "an operator to end the hold",
	frozen:    "the node to be frozen no more",
	broken:    "the breaker to close",
	fewOthers: "others to announce it",
	tooSoon:   "others to have announced it for 30 s",
	noPermit:  "promises of others to stay",
}

// obstacle returns the first thing that speaks against withdrawing now. The
// breaker is for nodes that withdraw by themselves or for a plan, not for what an
// operator does with one node.
func (m *Machine) obstacle() obstacle {
	f := &m.facts
	switch {
	case f.Forced && m.leaving:
		return free
	case f.Hold:
		return held
	case f.Unheard && m.leaving:
		return free
	case f.Frozen != "":
		return frozen
	case f.Breaker != "" && f.Leave == Stay:
		return broken
	case m.short:
		return fewOthers
	case m.returned && !m.reached(m.turned+enoughFor, obstacles[tooSoon]):
		return tooSoon
	case !f.Permit:
		return noPermit
	}
	return free
}

// detail says more about an obstacle.
func (m *Machine) detail(o obstacle) string {
	switch o {
	case held:
		return "held by an operator"
	case frozen:
		return "frozen, " + m.facts.Frozen
	case broken:
		return m.facts.Breaker
	case fewOthers:
		return m.tooFew()
	case tooSoon:
		return "enough others announce it, but not for 30 s yet"
	default:
		return m.facts.Promises
	}
}

// warrant says what allows a withdrawal that nothing speaks against.
func (m *Machine) warrant() string {
	switch f := &m.facts; {
	case f.Forced && f.Leave == Stay:
		return "and its plan gives it up"
	case f.Forced && m.leaving:
		return "forced by an operator"
	case f.Unheard && m.leaving:
		return "and no peer has it"
	default:
		return f.Promises
	}
}

// tooFew says how many others announce the VIP.
func (m *Machine) tooFew() string {
	return fmt.Sprintf("announced by %s in %s, want %d in %d",
		Counted(m.facts.Others, "other"), Counted(m.facts.OtherPoPs, "PoP"), m.vip.MinAnnouncers, m.vip.MinPoPs)
}

// order says who wants the VIP out.
func (m *Machine) order() string {
	if m.facts.Leave != Stay {
		return "drained"
	}
	return "not in the plan"
}

// why says for what reason a VIP is on its way out.
func (m *Machine) why() string {
	switch {
	case m.leaving:
		return m.order()
	case !m.trial.passed:
		return "checks fail: " + m.trial.cause
	default:
		return "suppressed for flapping"
	}
}

// suppressed says whether the VIP may not be announced as planned, for it flaps.
func (m *Machine) suppressed() bool {
	m.damping = m.damping.Decayed(m.facts.Now)
	return m.damping.Suppressed && !m.reached(m.damping.reuse(), "the penalty for flapping to decay")
}

// asks says whether the next move is a withdrawal that only wants promises. It is
// true a while before, for promises take time.
func (m *Machine) asks() bool {
	f, waits := &m.facts, m.waits
	if f.Leave == Stopping {
		return m.state == Draining
	}
	defer func() { m.waits = waits }() // asking is nothing that the next state waits for
	if f.Hold && !m.ordered || (f.Forced || f.Unheard) && m.leaving {
		return false
	}
	if o := m.obstacle(); o != free && o != noPermit {
		return false
	}
	switch m.state {
	case Draining:
		return m.shutdown >= 0 && m.reached(m.shutdown+m.vip.Hold-PromiseFor, waits)
	case LastResort:
		return m.leaving || m.drops && !(m.trial.passed && !m.damping.Suppressed)
	case Canary:
		return m.drops && !m.trial.passed
	case Announced:
		return m.drops && !m.trial.passed && len(m.rungs) == 1
	case Degraded:
		return m.drops && !m.trial.passed && m.rung == len(m.rungs)-1
	}
	return false
}
