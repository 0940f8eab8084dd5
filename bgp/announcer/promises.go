package announcer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"edged/bgp"
	"edged/bgp/link"
)

// asks begins a round of asking for each VIP that wants promises. The caller
// holds the lock.
func (a *Announcer) asks(now time.Duration) []bgp.Ask {
	var all []bgp.Ask
	for _, v := range a.every() {
		if !v.wish.Ask && now >= v.resets || now < v.guard.Due() {
			continue
		}
		var nonce bgp.Nonce
		_, _ = rand.Read(nonce[:]) // never fails
		ask := v.guard.Begin(now, nonce)
		ask.Briefly = !v.wish.Ask
		all = append(all, ask)
	}
	return all
}

// sealed carries an ask or a grant.
type sealed struct {
	Message []byte `json:"message"`
}

// ask sends an ask to all other members, and takes the grants as they come.
func (a *Announcer) ask(ask bgp.Ask) {
	message := sealed{ask.Seal(a.cfg.Fleet.Name(), a.cfg.Key)}
	a.beside.Go(func() {
		ctx, cancel := context.WithTimeout(a.ctx, bgp.PromiseFor/2)
		defer cancel()
		var calls sync.WaitGroup
		for _, m := range a.cfg.Fleet.Members() {
			if m.Name == a.cfg.Self.Name {
				continue
			}
			calls.Go(func() {
				var answer sealed
				if err := a.cfg.Fleet.Call(ctx, m.Name, pathPromise, message, &answer); err != nil {
					a.refuse(ask.VIP, m.Name, err)
					return
				}
				a.takeGrant(m.Name, answer.Message)
			})
		}
		calls.Wait()
	})
}

// refuse notes why a member does not promise.
func (a *Announcer) refuse(vip, member string, err error) {
	why := err.Error()
	if said, ok := errors.AsType[*link.RemoteError](err); ok {
		why = said.Text
	}
	a.cfg.Log.Debug("no promise", "vip", vip, "of", member, "why", why)
	a.mu.Lock()
	defer a.mu.Unlock()
	if v := a.vips[vip]; v != nil {
		if v.refusals == nil {
			v.refusals = map[string]string{}
		}
		v.refusals[member] = why
	}
}

// takeGrant takes what a member answered to an ask. A grant counts as its signer's,
// whoever brought it.
func (a *Announcer) takeGrant(from string, message []byte) {
	grant, err := bgp.OpenGrant(a.cfg.Fleet.Name(), a.cfg.Fleet.Key, message)
	a.mu.Lock()
	if err == nil {
		err = a.took(grant)
	}
	a.dropped(err)
	a.mu.Unlock()
	if err != nil {
		a.cfg.Log.Warn("promise dropped", "from", from, "error", err)
		return
	}
	a.poke()
}

// took has the guard that asked take a grant: that of a part of the VIP, or else its
// own. The caller holds the lock.
func (a *Announcer) took(grant bgp.Grant) error {
	v := a.vips[grant.VIP]
	for _, p := range a.parts {
		if p.spec.Name == grant.VIP && p.guard.Asked(grant.Nonce) {
			v = p
		}
	}
	if v == nil {
		return nil
	}
	delete(v.refusals, grant.Granter)
	return v.guard.Take(a.now(), grant)
}

// Dropped counts messages about promises that were dropped, by why.
type Dropped struct{ Malformed, Forged, Foreign, Replayed uint64 }

// dropped counts why a message was dropped; nil: it was not. The caller holds
// the lock.
func (a *Announcer) dropped(err error) {
	switch {
	case errors.Is(err, bgp.ErrMalformed):
		a.drops.Malformed++
	case errors.Is(err, bgp.ErrForged):
		a.drops.Forged++
	case errors.Is(err, bgp.ErrForeign):
		a.drops.Foreign++
	case errors.Is(err, bgp.ErrReplayed):
		a.drops.Replayed++
	}
}

// promise answers an ask of another member.
func (a *Announcer) promise(caller string, message []byte) (sealed, error) {
	ask, err := bgp.OpenAsk(a.cfg.Fleet.Name(), a.cfg.Fleet.Key, message)
	if err == nil && ask.Asker != caller {
		err = fmt.Errorf("%w ask: it is of %q, and %q sent it", bgp.ErrForeign, ask.Asker, caller)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.dropped(err)
		return sealed{}, err
	}
	v := a.keeper(ask)
	if v == nil {
		return sealed{}, fmt.Errorf("%s has no VIP %q", a.cfg.Self.Name, ask.VIP)
	}
	asks := ask.VIP
	ask.VIP = v.spec.Name
	if ask.Briefly && a.now() < v.resets && a.cfg.Self.Name < ask.Asker { // of two that wait for each other one has to be the first
		return sealed{}, fmt.Errorf("%s itself waits for promises, to make a session anew", a.cfg.Self.Name)
	}
	if a.ending {
		return sealed{}, fmt.Errorf("%s just changes its sessions", a.cfg.Self.Name)
	}
	standing := v.machine.Standing()
	asked := v.spec
	asked.Prefixes = ask.Prefixes
	standing.Confirmed = v.wish.Route != nil && len(a.unsent(asked, *v.wish.Route)) == 0
	grant, err := v.guard.Consider(a.now(), ask, standing)
	if err != nil {
		a.dropped(err)
		return sealed{}, err
	}
	grant.VIP = asks
	return sealed{grant.Seal(a.cfg.Fleet.Name(), a.cfg.Key)}, nil
}

// keeper returns the VIP that can promise what is asked for: the one of that name, or another
// one of the plan that has all the prefixes, for these may go from one VIP to another; nil:
// there is none. The caller holds the lock.
func (a *Announcer) keeper(ask bgp.Ask) *vip {
	named := a.vips[ask.VIP]
	if named != nil && len(absent(ask.Prefixes, named.spec.Prefixes)) == 0 {
		return named
	}
	for _, name := range sortedKeys(a.vips) {
		if v := a.vips[name]; v.planned && len(ask.Prefixes) > 0 && len(absent(ask.Prefixes, v.answered())) == 0 {
			return v
		}
	}
	return named
}
