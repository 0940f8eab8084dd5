package bgp

// up goes one state further for a VIP that is planned and that nobody wants out.
func (m *Machine) up() bool {
	switch m.state {
	case Absent:
		m.ordered = true
		m.listen()
		return m.to(Bound, "planned")

	case Bound:
		return m.rise()

	case Withdrawn:
		if m.leaving {
			m.ordered, m.leaving = true, false
			m.listen()
			return m.to(Bound, "wanted again")
		}
		return m.rise() // its checks failed

	case Canary:
		switch {
		case !m.trial.passed:
			m.rung = len(m.rungs) - 1
			return m.descend()
		case !m.reached(m.since+canaryFor, "the canary to be seen"):
			return false
		case !m.facts.Sent:
			m.waits = "a peer to be sent the route"
			return false
		}
		return m.to(Announced, "%s", m.cause)

	case Announced:
		if m.trial.passed {
			return false
		}
		m.rung = 0
		return m.descend()

	case Degraded:
		if !m.trial.passed {
			return m.descend()
		}
		if m.suppressed() || !m.turn() {
			return false
		}
		return m.auto(Announced, "checks pass again")

	case LastResort:
		fit := m.trial.passed && !m.suppressed()
		switch {
		case m.leaving && fit:
			m.leaving = false
			return m.again()
		case m.leaving:
			m.leaving = false
			return m.to(LastResort, "wanted again, but not fit")
		case fit:
			return m.turn() && m.auto(Announced, "checks pass again")
		case m.drops:
			return m.withdraw()
		}

	case Draining:
		m.leaving = false
		if m.trial.passed && !m.suppressed() {
			return m.again()
		}
		return m.to(LastResort, "wanted again, but not fit")
	}
	return false
}

// again announces a VIP that is wanted again before it was withdrawn: as a canary when no peer
// has had it.
func (m *Machine) again() bool {
	if !m.facts.Heard {
		return m.to(Canary, "wanted again")
	}
	return m.to(Announced, "wanted again")
}

// rise announces a VIP that has no route, once it is fit.
func (m *Machine) rise() bool {
	switch {
	case !m.bound:
		m.waits = "the address and the socket"
		return false
	case !m.trial.passed:
		m.waits = "checks to pass"
		return m.comeBack()
	case m.suppressed():
		return m.stayDown()
	case m.facts.Frozen != "" && !m.ordered:
		m.waits = "the node to be frozen no more"
		return m.comeBack()
	}
	return m.turn() && m.auto(Canary, "checks pass")
}

// stayDown has a VIP that flaps wait, and then be announced less preferred: there
// for the moment in which the others fail, and in nobody's way before. Whatever
// dies sooner than checks pass for steadyFor is announced no more.
func (m *Machine) stayDown() bool {
	steady := m.reached(m.trial.since+steadyFor, "the penalty for flapping to decay, or checks to pass for 30 s")
	if frozen := m.facts.Frozen != "" && !m.ordered; frozen || !steady || len(m.rungs) == 1 { // of one, nothing is less preferred
		return m.comeBack()
	}
	if !m.turn() {
		return false
	}
	m.rung, m.answers = len(m.rungs)-1, true
	return m.auto(Degraded, "flaps: a penalty of %.0f", m.damping.Penalty)
}

// comeBack announces a VIP as the last resort when too few others do. One check
// that passed is enough.
func (m *Machine) comeBack() bool {
	if !m.short || !m.reached(m.turned+shortFor, "others to announce it") {
		return false
	}
	if m.trial.good == 0 {
		m.waits = "a check to pass"
		return false
	}
	if !m.turn() {
		return false
	}
	m.answers = !m.leaving
	m.auto(LastResort, "%s", m.tooFew())
	m.returned = true
	return true
}

// descend takes a VIP whose checks fail one rung down.
func (m *Machine) descend() bool {
	next := m.rung + 1
	if next >= len(m.rungs) && !m.drops && m.state != Canary || !m.turn() {
		return false
	}
	if m.state != Degraded {
		m.damping = m.damping.Flap(m.facts.Now)
	}
	switch {
	case next < len(m.rungs):
		m.rung = next
	case m.drops:
		return m.withdraw()
	}
	return m.auto(Degraded, "checks fail: %s", m.trial.cause)
}

// down goes one state further for a VIP that the plan does not name, or that an
// operator wants out.
func (m *Machine) down() bool {
	f := &m.facts
	switch m.state {
	case Absent:
		if !f.Planned {
			return false
		}
		m.leaving = true
		return m.to(Withdrawn, "%s", m.order())

	case Bound:
		m.unlisten()
		if !f.Planned {
			return m.to(Absent, "%s", m.order())
		}
		m.leaving = true
		return m.to(Withdrawn, "%s", m.order())

	case Canary, Announced, Degraded:
		return m.drain()

	case LastResort:
		if !m.leaving {
			return m.drain()
		}
		return m.withdraw()

	case Draining:
		if m.shutdown < 0 {
			if !m.reached(m.since+f.AnswerTTL, "answers that name this PoP to expire") {
				return false
			}
			m.shutdown = f.Now
			m.route = m.attributes(Draining)
		}
		if !m.reached(m.shutdown+m.vip.Hold, "traffic to move") {
			return false
		}
		return m.withdraw()

	case Withdrawn:
		m.leaving = true
		if m.short && f.Planned && !f.Forced {
			m.listen()
			return m.comeBack()
		}
		if m.listening {
			least := min(stopLinger, m.vip.Linger)
			if !m.reached(m.since+least, "the route to be gone everywhere") ||
				!f.Quiet && !m.reached(m.since+m.vip.Linger, "the VIP to be quiet") {
				return false
			}
			m.unlisten()
		}
		if !f.Planned {
			m.leaving = false
			return m.to(Absent, "%s", m.order())
		}
	}
	return false
}

// drain begins the way out.
func (m *Machine) drain() bool {
	m.from, m.leaving, m.shutdown = m.state, true, -1
	return m.to(Draining, "%s", m.order())
}

// withdraw takes the route away, or makes it the last resort when that may not be.
// An operator's wish is carried out at once, the machine's own at its turn.
func (m *Machine) withdraw() bool {
	o := m.obstacle()
	if o != free && m.state == LastResort {
		m.waits = obstacles[o]
		return false
	}
	if !m.leaving && !m.turn() {
		return false
	}
	enter := m.to
	if !m.leaving {
		enter = m.auto
	}
	if o == free {
		return enter(Withdrawn, "%s, %s", m.why(), m.warrant())
	}
	return enter(LastResort, "%s, but not withdrawn: %s", m.why(), m.detail(o))
}

// stop ends the VIP with the process, whatever else there is.
func (m *Machine) stop() bool {
	f := &m.facts
	if m.before == nil {
		m.before, m.stopped = &Kept{State: m.state}, f.Now
	}
	switch m.state {
	case Absent:
		return false

	case Canary, Announced, Degraded, LastResort:
		m.drain()
		m.cause = "stopping"
		return true

	case Draining:
		if m.shutdown < 0 {
			m.shutdown = f.Now
			m.route = m.attributes(Draining)
		}
		if !m.reached(m.shutdown+stopShutdown, "traffic to move") {
			return false
		}
		if f.Permit {
			return m.to(Withdrawn, "stopping, %s", f.Promises)
		}
		if !m.reached(m.stopped+stopShutdown, "promises of others to stay") {
			return false // it was draining before, and has only now asked
		}
		return m.to(Withdrawn, "stopping without enough promises: %s", f.Promises)

	case Withdrawn:
		if m.listening && !m.reached(m.since+stopLinger, "the route to be gone everywhere") {
			return false
		}
	}
	m.unlisten()
	return m.to(Absent, "stopped")
}
