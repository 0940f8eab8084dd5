package announcer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
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

// asksAtOnce is how many asks go in one call. A node of many VIPs would have more calls to make
// than a member takes.
const asksAtOnce = 64

// questions carries asks.
type questions struct {
	Messages [][]byte `json:"messages"` // at most asksAtOnce
}

// answers has one for each of the questions, in their order.
type answers struct {
	Answers []answer `json:"answers"`
}

type answer struct {
	Grant []byte `json:"grant,omitempty"`
	Error string `json:"error,omitempty"` // why there is none
}

// askAll sends asks to all other members, and takes the grants as they come.
func (a *Announcer) askAll(asks []bgp.Ask) {
	for chunk := range slices.Chunk(asks, asksAtOnce) {
		var q questions
		for _, ask := range chunk {
			q.Messages = append(q.Messages, ask.Seal(a.cfg.Fleet.Name(), a.cfg.Key))
		}
		a.beside.Go(func() {
			ctx, cancel := context.WithTimeout(a.ctx, bgp.PromiseFor/2)
			defer cancel()
			var calls sync.WaitGroup
			for _, m := range a.cfg.Fleet.Members() {
				if m.Name != a.cfg.Self.Name {
					calls.Go(func() { a.askMember(ctx, m.Name, chunk, q) })
				}
			}
			calls.Wait()
		})
	}
}

// askMember asks one member, and takes what it grants.
func (a *Announcer) askMember(ctx context.Context, member string, asks []bgp.Ask, q questions) {
	var got answers
	err := a.cfg.Fleet.Call(ctx, member, pathPromise, q, &got)
	if err == nil && len(got.Answers) != len(asks) {
		err = fmt.Errorf("%s answered %d of %d asks", member, len(got.Answers), len(asks))
	}
	for i, ask := range asks {
		switch {
		case err != nil:
			a.refuse(ask.VIP, member, err)
		case got.Answers[i].Error != "":
			a.refuse(ask.VIP, member, errors.New(got.Answers[i].Error))
		default:
			a.takeGrant(member, got.Answers[i].Grant)
		}
	}
}

// promises answers asks of another member.
func (a *Announcer) promises(caller string, q questions) (answers, error) {
	if len(q.Messages) > asksAtOnce {
		return answers{}, fmt.Errorf("%d asks at once, want at most %d", len(q.Messages), asksAtOnce)
	}
	all := answers{[]answer{}}
	for _, m := range q.Messages {
		var to answer
		grant, err := a.promise(caller, m)
		if to.Grant = grant; err != nil {
			to = answer{Error: err.Error()}
		}
		all.Answers = append(all.Answers, to)
	}
	return all, nil
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
type Dropped struct {
	Malformed uint64 `json:"malformed"`
	Forged    uint64 `json:"forged"`
	Foreign   uint64 `json:"foreign"`
	Replayed  uint64 `json:"replayed"`
}

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

// promise answers an ask of another member, by a sealed grant.
func (a *Announcer) promise(caller string, message []byte) ([]byte, error) {
	ask, err := bgp.OpenAsk(a.cfg.Fleet.Name(), a.cfg.Fleet.Key, message)
	if err == nil && ask.Asker != caller {
		err = fmt.Errorf("%w ask: it is of %q, and %q sent it", bgp.ErrForeign, ask.Asker, caller)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.dropped(err)
		return nil, err
	}
	keepers := a.keepers(ask)
	switch {
	case len(keepers) == 0:
		return nil, fmt.Errorf("%s has no VIP %q", a.cfg.Self.Name, ask.VIP)
	case ask.Briefly && a.cfg.Self.Name < ask.Asker && slices.ContainsFunc(keepers, func(k keeper) bool { return a.now() < k.vip.resets }):
		// of two that wait for each other one has to be the first
		return nil, fmt.Errorf("%s itself waits for promises, to make a session anew", a.cfg.Self.Name)
	case a.ending:
		return nil, fmt.Errorf("%s just changes its sessions", a.cfg.Self.Name)
	}
	for _, k := range keepers { // before any of them is bound by a promise that another one refuses
		if k.vip.guard.Refuses(k.ask, k.standing) {
			keepers = []keeper{k}
			break
		}
	}
	var grant bgp.Grant
	for _, k := range keepers {
		if grant, err = k.vip.guard.Consider(a.now(), k.ask, k.standing); err != nil {
			a.dropped(err)
			return nil, err
		}
	}
	grant.VIP = ask.VIP
	return grant.Seal(a.cfg.Fleet.Name(), a.cfg.Key), nil
}

// keeper is a VIP that is to promise to keep some of the prefixes that are asked for.
type keeper struct {
	vip      *vip
	ask      bgp.Ask
	standing bgp.Standing
}

// keepers returns the VIPs that can promise what is asked for: the one of that name what it
// has, and others of the plan the rest, for prefixes may go from one VIP to another. Where
// something is left that is for the one of that name to refuse; without it there are none. The
// caller holds the lock.
func (a *Announcer) keepers(ask bgp.Ask) (all []keeper) {
	rest := ask.Prefixes
	keeps := func(v *vip, prefixes []netip.Prefix) {
		k := keeper{v, ask, v.machine.Standing()}
		k.ask.VIP, k.ask.Prefixes = v.spec.Name, prefixes
		asked := v.spec
		asked.Prefixes = prefixes
		k.standing.Confirmed = v.wish.Route != nil && len(a.unsent(asked, *v.wish.Route)) == 0
		all, rest = append(all, k), absent(rest, prefixes)
	}
	named := a.vips[ask.VIP]
	if named != nil {
		if has := common(rest, named.spec.Prefixes); len(has) > 0 {
			keeps(named, has)
		}
	}
	for _, name := range sortedKeys(a.vips) {
		if v := a.vips[name]; v != named && v.planned {
			if has := common(rest, v.answered()); len(has) > 0 {
				keeps(v, has)
			}
		}
	}
	if len(rest) > 0 {
		if all = nil; named != nil {
			keeps(named, ask.Prefixes)
		}
	}
	return all
}
