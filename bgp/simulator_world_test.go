package bgp

import (
	"fmt"
	"slices"
	"time"
)

// listenTo sets what a node hears of the others: who of them lives, and who
// announces.
func (n *simNode) listenTo() {
	w := n.w
	f := &n.facts
	if w.blind {
		f.Others, f.OtherPoPs, f.Frozen = len(w.nodes)-1, w.pops, ""
		return
	}
	f.Others, f.OtherPoPs = 0, 0
	hears := 1
	var seen uint16
	for _, other := range w.nodes {
		if other == n {
			continue
		}
		m, ok := n.hears(other)
		if ok {
			hears++
		}
		if m.announcing {
			f.Others++
			seen |= 1 << (other.id % w.pops)
		}
		if m.announcing != n.heard[other.id] {
			n.heard[other.id] = m.announcing
			n.breaker.Note(f.Now, other.Name, m.announcing)
		}
	}
	f.OtherPoPs = ones(seen)
	if announcing := n.wish.State == Announced; announcing != n.heard[n.id] {
		n.heard[n.id] = announcing
		n.breaker.Note(f.Now, n.Name, announcing)
	}
	f.Breaker = n.breaker.Open(f.Now, len(w.nodes))
	was := f.Frozen
	f.Frozen = ""
	if 2*hears <= len(w.nodes) {
		f.Frozen = "it hears no majority"
	}
	if was == "" && f.Frozen != "" {
		w.frozen++
	}
}

// hears returns how another node stood at its newest beat that arrived, if that
// was lately. Nothing is sent for it: which beats arrive, and when, is a hash of
// the schedule, the two nodes and the beat.
func (n *simNode) hears(other *simNode) (mark, bool) {
	w := n.w
	phase := time.Duration(other.id) * 110 * time.Millisecond
	for k := int((w.now - phase) / beat); k >= 0; k-- {
		sent := phase + time.Duration(k)*beat
		if sent < n.born || w.now-sent >= hearsFor+maxDelay {
			break
		}
		h := mix(w.seed<<20 ^ uint64(n.id)<<16 ^ uint64(other.id)<<12 ^ uint64(k))
		arrived := sent + 5*time.Millisecond + time.Duration(h>>40)*(maxDelay-5*time.Millisecond)/(1<<24)
		if w.now < arrived || w.now-arrived >= hearsFor || float64(h&0xffff)/0x10000 < w.loss || w.parted(sent, n.id, other.id) {
			continue
		}
		for i := len(other.log) - 1; i >= 0; i-- {
			if m := other.log[i]; m.at <= sent {
				if m.alive {
					return m, true
				}
				break
			}
		}
	}
	return mark{}, false
}

// mix is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// parted says whether two nodes were on different sides at a time.
func (w *world) parted(at time.Duration, i, j int) bool {
	for k := len(w.parts) - 1; k >= 0; k-- {
		if p := w.parts[k]; p.at <= at {
			return p.sides>>i&1 != p.sides>>j&1
		}
	}
	return false
}

// letter is an ask or a grant on its way.
type letter struct {
	at       time.Duration
	from, to int
	nonce    Nonce
	grant    bool
}

// send posts a letter, unless it is lost.
func (w *world) send(l letter) {
	if w.rng.Float64() < w.loss || w.parted(w.now, l.from, l.to) {
		return
	}
	l.at = w.now + 5*time.Millisecond + w.upTo(maxDelay-5*time.Millisecond)
	w.post.put(l)
}

func (w *world) deliver(l letter) {
	n, from := w.nodes[l.to], w.nodes[l.from]
	if !n.alive {
		return
	}
	now := w.now - n.born
	if l.grant {
		if err := n.guard.Take(now, Grant{l.nonce, from.Name, n.Name, w.vip.Name}); err == nil {
			n.step()
		}
		return
	}
	standing := n.machine.Standing()
	if w.careless {
		standing = Standing{Healthy: true, Announcing: true, Confirmed: true}
	}
	grant, err := n.guard.Consider(now, Ask{Nonce: l.nonce, Asker: from.Name, VIP: w.vip.Name, Prefixes: w.vip.Prefixes}, standing)
	if w.careless {
		clear(n.guard.promises)
	}
	if err == nil {
		w.send(letter{from: n.id, to: from.id, nonce: grant.Nonce, grant: true})
	}
}

// postbox gives letters in the order of their arrival. There are few at a time.
type postbox []letter

func (p *postbox) put(l letter) {
	i, _ := slices.BinarySearchFunc(*p, l, func(a, b letter) int {
		if a.at <= b.at { // the last one arrives first
			return 1
		}
		return -1
	})
	*p = slices.Insert(*p, i, l)
}

func (p postbox) next() (time.Duration, bool) {
	if len(p) == 0 {
		return 0, false
	}
	return p[len(p)-1].at, true
}

func (p *postbox) take() letter {
	l := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return l
}

// judge holds what must always hold, after a step of a node:
//
//  1. A route is not more preferred than the baseline.
//  2. What is withdrawn by choice leaves as many announcers, in as many PoPs, as
//     the VIP wants. Those that crashed or stopped since they may have promised
//     count: nothing can keep them.
//  3. A frozen node withdraws nothing by choice.
//  4. A node that is drained but able is announced within 10 s of too few others
//     announcing. (Not in blind worlds.)
func (w *world) judge(n *simNode, was Wish) {
	f, is := &n.facts, n.wish
	if is.Route != nil && morePreferred(*is.Route, w.vip.Baseline()) {
		w.failed("%s announces %s, which is more than the baseline %s", n.Name, is.Route, w.vip.Baseline())
	}

	if was.Route != nil && is.Route == nil && f.Leave != Stopping && !f.Forced {
		w.withdrawals++
		others := 0
		var seen uint16
		for _, o := range w.nodes {
			if o != n && (o.alive && o.wish.Route != nil || w.now-o.gone < PromiseFor) {
				others++
				seen |= 1 << (o.id % w.pops)
			}
		}
		if others < w.vip.MinAnnouncers || ones(seen) < w.vip.MinPoPs {
			w.failed("%s withdraws (%s) and leaves %d announcers in %d PoPs", n.Name, is.Cause, others, ones(seen))
		}
		if f.Frozen != "" {
			w.failed("%s withdraws (%s) while frozen", n.Name, is.Cause)
		}
	}
	if (f.Forced || f.Leave == Stopping) && was.Route != nil && is.Route == nil {
		n.gone = w.now // no promise can keep it
	}
	if was.State == Withdrawn && is.State == LastResort {
		w.returns++
	}

	if is.State == Withdrawn && f.Planned && f.Leave == Out && !f.Forced && !f.Hold && n.failing == 0 && n.missed >= 0 && !w.blind {
		began := max(n.missed, n.turns, n.fit, n.ordered, n.born+shortAtStart-10*time.Second+time.Second)
		if w.now > began+10*time.Second {
			w.failed("%s is drained but able, and not there %v after too few others were (%s, waits for %s)",
				n.Name, w.now-began, is.Cause, is.Waits)
		}
	}
}

// judgeEnd holds that the fleet has settled: nothing changes any more, and each
// node stands as it should.
func (w *world) judgeEnd() {
	if w.blind {
		return
	}
	for _, n := range w.nodes {
		f, is := &n.facts, n.wish
		others, pops := w.announcers(n)
		enough := others >= w.vip.MinAnnouncers && pops >= w.vip.MinPoPs
		damped := n.machine.Damping(w.now - n.born).Suppressed
		broken := f.Breaker != ""
		var want []State
		switch {
		case f.Leave == Out && (enough || f.Forced), !f.Planned && enough && !broken:
			want = []State{Withdrawn}
		case f.Leave == Out && n.failing > 0, !f.Planned:
			want = []State{Withdrawn, LastResort} // it cannot come back; it may not go
		case f.Leave == Out:
			want = []State{LastResort}
		case n.failing > 0 && enough && !broken:
			want = []State{Withdrawn, Bound} // Bound: it never was up
		case n.failing > 0:
			want = []State{Withdrawn, Bound, LastResort}
		case damped:
			want = []State{Degraded, Bound, LastResort, Withdrawn}
		default:
			want = []State{Announced}
		}
		if !f.Planned {
			want = append(want, Absent)
		}
		if !slices.Contains(want, is.State) {
			w.failed("%s ends as %s (%s, waits for %s), want one of %v: others %d in %d, facts %s", n.Name, is.State, is.Cause, is.Waits, want, others, pops, f.words())
		}
		if n.turns > endAt-settled {
			w.failed("%s still changed at %v, to %s: %s", n.Name, n.turns, is.State, is.Cause)
		}
	}
}

func (f *Facts) words() string {
	return fmt.Sprintf("%+v", *f)
}

// morePreferred says whether a route may win against one with the attributes b.
func morePreferred(a, b Attributes) bool {
	lacks := slices.ContainsFunc(b.Communities, func(c Community) bool { return !slices.Contains(a.Communities, c) })
	return lacks || a.Prepend < b.Prepend || a.MED < b.MED
}
