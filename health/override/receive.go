package override

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Receive takes a message of another member. An error wraps ErrMalformed,
// ErrForged or ErrReplayed, which are counted, or says that a change was taken
// but could not be saved. The message is not kept.
func (e *Engine) Receive(msg []byte) error {
	if len(msg) > 0 && msg[0] == kindAck {
		return e.counted(e.receiveAck(msg))
	}
	m, err := parseMessage(msg)
	if err != nil {
		return e.counted(err)
	}
	if m.kind == kindProposal {
		return e.counted(e.receiveProposal(m, msg))
	}
	return e.counted(e.receiveCommit(m, msg))
}

// verify checks that a member signed the message.
func (e *Engine) verify(signer string, msg []byte) error {
	key, ok := e.key(signer)
	if !ok {
		return fmt.Errorf("override message is %w: the key of %q is not known", ErrForged, signer)
	}
	if !genuine(e.cfg.Fleet, key, msg) {
		return fmt.Errorf("override message is %w: the signature is not %q's", ErrForged, signer)
	}
	return nil
}

func replayed(id ID, why string) error {
	return fmt.Errorf("override message %s is %w: %s", id, ErrReplayed, why)
}

// receiveProposal judges a proposal and answers it.
func (e *Engine) receiveProposal(m message, msg []byte) error {
	if err := e.verify(m.signer, msg); err != nil {
		return err
	}
	id := m.change.id()
	if m.signer == e.cfg.Self {
		return replayed(id, "it is this node's own")
	}
	rules, fleet := e.cfg.World()
	a := ack{signer: e.cfg.Self, hash: m.change.hash()}

	e.mu.Lock()
	now := e.cfg.Now()
	last, ok := e.seen[id.Node]
	repeat := ok && last.id == id && last.hash == a.hash
	if ok && !repeat && last.id.compare(id) >= 0 {
		e.mu.Unlock()
		return replayed(id, "a newer one of its node was seen: "+last.id.String())
	}
	if !repeat {
		e.set.hearClock(id.Node, m.change.made(), now)
	}
	known := e.set.knows(m.change, now)
	if e.set.gone[id] {
		e.mu.Unlock()
		return replayed(id, "it was cleared")
	}
	var err error
	switch {
	case errors.Is(known, errKnown):
		// committed already: the proposer missed the first answer
	case errors.Is(known, errPast):
		err = fmt.Errorf("it has ended: it is %s here, are the clocks right", now.UTC().Format("15:04:05 MST"))
	case known != nil:
		err = known
	case m.change.put != nil:
		_, err = e.set.Plan(*m.change.put, rules, fleet, now)
	}
	e.seen[id.Node] = proposed{id, a.hash}
	e.clock = max(e.clock, m.change.version())
	if repeat {
		e.stats.Repeats++
	} else {
		e.stats.Proposals++
		if err != nil {
			e.stats.Refused++
		}
	}
	e.mu.Unlock()

	if err != nil {
		a.refused, a.reason = true, shorten(err.Error(), 255)
	}
	if e.cfg.Mesh != nil {
		answer := seal(e.cfg.Fleet, e.cfg.Key, a.append(nil))
		go e.cfg.Mesh.Send(m.signer, answer) // lost: the proposer asks again
	}
	return nil
}

// shorten makes a text fit for an ack.
func shorten(s string, most int) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	for len(s) > most {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// receiveAck passes an answer on to the proposal that waits for it.
func (e *Engine) receiveAck(msg []byte) error {
	a, err := parseAck(msg)
	if err != nil {
		return err
	}
	if err := e.verify(a.signer, msg); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.await == nil || e.await.hash != a.hash {
		e.stats.Repeats++ // the majority was there before, or it is a replay
		return nil
	}
	select {
	case e.await.answers <- a:
	default:
		e.stats.Repeats++
	}
	return nil
}

// receiveCommit takes a committed change and passes it on.
func (e *Engine) receiveCommit(m message, msg []byte) error {
	e.mu.Lock()
	known, err := e.known(m.change)
	if known {
		e.stats.Repeats++
	}
	e.mu.Unlock()
	if known || err != nil {
		return err
	}
	if err := e.verify(m.signer, msg); err != nil {
		return err
	}
	changed, err := e.take([]message{m})
	if changed {
		e.broadcast(m.change.id(), append([]byte(nil), msg...))
	}
	return err
}

// known says whether a committed change is in the set already; it errs when it
// is over. The caller holds mu.
func (e *Engine) known(c change) (bool, error) {
	id := c.id()
	err := e.set.knows(c, e.cfg.Now())
	switch {
	case errors.Is(err, errKnown):
		r, ok := e.set.live[id]
		if !ok {
			r = e.set.clears[id]
		}
		if !r.equal(c) {
			return false, replayed(id, "the id is taken by another change")
		}
		return true, nil
	case errors.Is(err, errPast):
		return false, replayed(id, err.Error())
	}
	return false, err
}

// take puts committed changes, whose signatures are verified, into the set. A
// set that cannot be saved is used all the same, as the fleet does: the error
// says so.
func (e *Engine) take(all []message) (changed bool, err error) {
	e.mu.Lock()
	now := e.cfg.Now()
	next := e.set.clone()
	var errs []error
	for _, m := range all {
		e.clock = max(e.clock, m.change.version())
		key, _ := e.key(m.signer)
		switch err := next.add(record{change: m.change, signer: m.signer, sig: m.sig, key: key}, now); {
		case err == nil:
			changed = true
			e.stats.Commits++
		case errors.Is(err, errFull):
			errs = append(errs, fmt.Errorf("override message %s: %w", m.change.id(), err))
		}
	}
	if changed {
		errs = append(errs, e.save(next, now))
		e.set = next
	}
	e.mu.Unlock()
	if changed {
		e.cfg.Changed()
	}
	return changed, errors.Join(errs...)
}

// State returns the whole set as commits, for push/pull. Those whose signer is
// no member any more, or has another key now, get this node's signature: any
// member's is as good.
func (e *Engine) State() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	state := []byte{kindState}
	for _, r := range e.set.records() {
		if r.put != nil && r.put.Local || e.set.past(r.change, e.cfg.Now()) {
			continue
		}
		r = e.vouched(r)
		msg := r.commit()
		state = binary.BigEndian.AppendUint16(state, uint16(len(msg)))
		state = append(state, msg...)
	}
	return state
}

// vouched returns the record with a signature that other members accept, and
// keeps it so. The caller holds mu.
func (e *Engine) vouched(r record) record {
	key, ok := e.key(r.signer)
	switch {
	case ok && r.key.Equal(key):
		return r
	case ok && genuine(e.cfg.Fleet, key, r.commit()):
		r.key = key
	default:
		r = e.vouch(r.change)
	}
	if r.put != nil {
		e.set.live[r.id()] = r
	} else {
		e.set.clears[r.id()] = r
	}
	return r
}

// Merge takes another member's State. A malformed one is refused whole; forged
// changes in it are left out and counted. It says whether anything was new.
func (e *Engine) Merge(state []byte) (changed bool, err error) {
	all, err := parseState(state)
	if err != nil {
		return false, e.counted(err)
	}
	e.mu.Lock()
	now := e.cfg.Now()
	fresh := all[:0]
	for _, m := range all {
		if e.set.knows(m.change, now) == nil {
			fresh = append(fresh, m)
		}
	}
	e.mu.Unlock()
	var errs []error
	genuine := fresh[:0]
	for _, m := range fresh {
		if err := e.verify(m.signer, record{change: m.change, signer: m.signer, sig: m.sig}.commit()); err != nil {
			errs = append(errs, e.counted(err))
			continue
		}
		genuine = append(genuine, m)
	}
	if len(genuine) > 0 {
		changed, err = e.take(genuine)
		errs = append(errs, err)
	}
	return changed, errors.Join(errs...)
}
