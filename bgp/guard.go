package bgp

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// PromiseFor is how long a node that promised does not withdraw by choice. The
// asker counts from when it sent its ask, so that on its clock a promise always
// ends before it does on the clock of the node that gave it.
const PromiseFor = 10 * time.Second

// askEvery is how often a node asks again while it wants to withdraw.
const askEvery = 2 * time.Second

// Why an ask or a grant was dropped: errors of this package wrap one of these.
var (
	ErrMalformed = errors.New("malformed") // it is no message of the format
	ErrForged    = errors.New("forged")    // nobody we know has signed it
	ErrForeign   = errors.New("foreign")   // it is for another VIP or node, or of a node that is not asked
	ErrReplayed  = errors.New("replayed")  // it belongs to no ask that is still waited for
)

// Standing is how a VIP stands on a node that is asked to promise; see
// [Machine.Standing].
type Standing struct {
	Healthy    bool // its checks pass
	Announcing bool // as planned, not as a last resort or degraded
	Confirmed  bool // an established peer was sent the route
	Leaving    bool // an operator or the plan wants it out
}

// GuardCounts count what a guard did since it was made.
type GuardCounts struct {
	Asked    uint64 `json:"asked"`    // rounds begun
	Taken    uint64 `json:"taken"`    // grants that others gave
	Granted  uint64 `json:"granted"`  // promises given
	Refused  uint64 `json:"refused"`  // promises not given
	Foreign  uint64 `json:"foreign"`  // asks and grants dropped: see ErrForeign
	Replayed uint64 `json:"replayed"` // dropped: see ErrReplayed
}

// Guard decides for one VIP whether its node may withdraw: only while enough
// others hold a promise to stay, and while it holds none itself. It also gives
// the promises that others ask for. It counts no view of the fleet, since views
// lag: two nodes that leave at once would each count the other.
//
// A Guard, like its [Machine], is for one goroutine: a promise given between
// Permit and Step might be broken. Asks and grants are verified before they come
// here, by [OpenAsk] and [OpenGrant].
type Guard struct {
	vip    VIP
	self   Member
	others map[string]string // PoPs by name

	asks     []round
	grants   map[string]time.Duration // when what was granted was asked for, by granter
	promises map[string]promise       // given, by asker
	counts   GuardCounts
}

// round is an ask to all others.
type round struct {
	nonce Nonce
	sent  time.Duration
}

// promise is one given to another node.
type promise struct {
	nonce Nonce
	until time.Duration
}

// NewGuard returns the guard of a VIP on the node self. All members of the fleet
// other than self may be asked.
func NewGuard(v VIP, self Member, members []Member) *Guard {
	g := &Guard{self: self, grants: map[string]time.Duration{}, promises: map[string]promise{}}
	g.Set(v, members)
	return g
}

// Set replaces the VIP and the members. Promises given stay; grants of nodes
// that are no members any more count no more.
func (g *Guard) Set(v VIP, members []Member) {
	if !slices.Equal(g.vip.Prefixes, v.Prefixes) {
		g.asks = nil // grants for them say nothing about these prefixes
		clear(g.grants)
	}
	g.vip, g.others = v, map[string]string{}
	for _, m := range members {
		if m.Name != g.self.Name {
			g.others[m.Name] = m.PoP
		}
	}
	maps.DeleteFunc(g.grants, func(name string, _ time.Duration) bool { return g.others[name] == "" })
}

// Split returns a guard for prefixes that the VIP loses: v is the VIP with them
// alone. It asks for itself, and is bound by the promises that were given for the
// whole; new ones are not its to give.
func (g *Guard) Split(v VIP) *Guard {
	part := NewGuard(v, g.self, nil)
	part.others, part.promises = maps.Clone(g.others), maps.Clone(g.promises)
	return part
}

// Bind takes over the promises that another guard of the node gave, of a prefix that is
// this one's now.
func (g *Guard) Bind(from *Guard) {
	for asker, p := range from.promises {
		if p.until > g.promises[asker].until {
			g.promises[asker] = p
		}
	}
}

// Counts returns what the guard did so far.
func (g *Guard) Counts() GuardCounts { return g.counts }

// Due says when the next round of asking is due, for a node that wants to withdraw.
func (g *Guard) Due() time.Duration {
	if len(g.asks) == 0 {
		return 0
	}
	return g.asks[len(g.asks)-1].sent + askEvery
}

// Begin begins a round: the ask goes to all others, now. The nonce is random and
// serves once.
func (g *Guard) Begin(now time.Duration, nonce Nonce) Ask {
	g.expire(now)
	g.asks = append(g.asks, round{nonce, now})
	g.counts.Asked++
	return Ask{Nonce: nonce, Asker: g.self.Name, VIP: g.vip.Name, Prefixes: g.vip.Prefixes}
}

// Asked says whether an ask of this guard has the nonce.
func (g *Guard) Asked(n Nonce) bool {
	return slices.ContainsFunc(g.asks, func(r round) bool { return r.nonce == n })
}

// Take notes the grant of another node. It errs with ErrForeign or ErrReplayed
// and notes nothing when it belongs to no ask of the last PromiseFor.
func (g *Guard) Take(now time.Duration, grant Grant) error {
	g.expire(now)
	_, member := g.others[grant.Granter]
	if grant.Asker != g.self.Name || grant.VIP != g.vip.Name || !member {
		g.counts.Foreign++
		return fmt.Errorf("%w grant of %q to %q for %q", ErrForeign, grant.Granter, grant.Asker, grant.VIP)
	}
	i := slices.IndexFunc(g.asks, func(r round) bool { return r.nonce == grant.Nonce })
	if i < 0 {
		g.counts.Replayed++
		return fmt.Errorf("%w grant of %q for %q: nothing was asked with its nonce in the last %v", ErrReplayed, grant.Granter, grant.VIP, PromiseFor)
	}
	sent, held := g.grants[grant.Granter]
	if held && sent >= g.asks[i].sent {
		return nil // a copy, or one that came late
	}
	g.grants[grant.Granter] = g.asks[i].sent
	g.counts.Taken++
	return nil
}

// Permit says whether the node may withdraw the VIP now, and why or why not, such
// as "1 promise in 1 PoP, want 2 in 2".
func (g *Guard) Permit(now time.Duration) (bool, string) {
	g.expire(now)
	if len(g.others) == 0 {
		return false, "no other member of the fleet could promise to stay"
	}
	if bound := g.bound(now); bound != "" {
		return false, bound
	}
	return g.holds(g.vip.MinAnnouncers, g.vip.MinPoPs)
}

// holds says whether the node holds so many promises in so many PoPs, and how many it does.
func (g *Guard) holds(announcers, pops int) (bool, string) {
	in := map[string]bool{}
	for granter := range g.grants {
		in[g.others[granter]] = true
	}
	words := fmt.Sprintf("%s in %s, want %d in %d", Counted(len(g.grants), "promise"), Counted(len(in), "PoP"), announcers, pops)
	return len(g.grants) >= announcers && len(in) >= pops, words
}

// PermitBriefly says whether peers may be without the VIP while a session is made anew, and
// why or why not. It wants as many promises as a withdrawal does, or those of all others
// that have the VIP, by PoP, where these are fewer: such a VIP could have no session
// changed else. Where there is no other member there is nobody to wait for.
func (g *Guard) PermitBriefly(now time.Duration, have map[string]int) (bool, string) {
	g.expire(now)
	if bound := g.bound(now); bound != "" {
		return false, bound
	}
	if len(g.others) == 0 {
		return true, "no other member of the fleet could promise to stay"
	}
	nodes := 0
	for _, n := range have {
		nodes += n
	}
	return g.holds(max(1, min(g.vip.MinAnnouncers, nodes)), max(1, min(g.vip.MinPoPs, len(have))))
}

// bound says whom the node itself has promised to stay; empty: nobody.
func (g *Guard) bound(now time.Duration) string {
	for asker, p := range g.promises {
		return fmt.Sprintf("promised %s to stay for another %v", asker, (p.until - now).Round(time.Millisecond))
	}
	return ""
}

// Consider answers the ask of another node: with a promise not to withdraw by
// choice for PromiseFor, or with an error that says in words why not. The node
// has to be fit to carry what the asker leaves behind. A repeated ask gets the
// same grant, and prolongs nothing.
func (g *Guard) Consider(now time.Duration, ask Ask, s Standing) (Grant, error) {
	g.expire(now)
	_, member := g.others[ask.Asker]
	if ask.VIP != g.vip.Name || !member {
		g.counts.Foreign++
		return Grant{}, fmt.Errorf("%w ask of %q for %q", ErrForeign, ask.Asker, ask.VIP)
	}
	given, held := g.promises[ask.Asker]
	if why := g.reluctance(ask, s); why != "" {
		g.counts.Refused++
		return Grant{}, fmt.Errorf("%s does not promise %s to keep %s: %s", g.self.Name, ask.Asker, ask.VIP, why)
	}
	if !held || given.nonce != ask.Nonce {
		g.promises[ask.Asker] = promise{ask.Nonce, now + PromiseFor}
		g.counts.Granted++
	}
	return Grant{Nonce: ask.Nonce, Granter: g.self.Name, Asker: ask.Asker, VIP: ask.VIP}, nil
}

// Refuses says whether Consider would, for how the node stands.
func (g *Guard) Refuses(ask Ask, s Standing) bool { return g.reluctance(ask, s) != "" }

// reluctance says why the node cannot promise; empty: it can.
func (g *Guard) reluctance(ask Ask, s Standing) string {
	lacks := slices.IndexFunc(ask.Prefixes, func(p netip.Prefix) bool { return !slices.Contains(g.vip.Prefixes, p) })
	switch {
	case s.Leaving:
		return "it is leaving itself"
	case !s.Announcing:
		return "it does not announce it as planned"
	case !s.Healthy:
		return "its checks fail"
	case !s.Confirmed:
		return "no peer was sent the route"
	case lacks >= 0:
		return fmt.Sprintf("it does not announce %s", ask.Prefixes[lacks])
	}
	return ""
}

// expire forgets the asks and grants that were sent, and the promises that were
// given, longer than PromiseFor ago.
func (g *Guard) expire(now time.Duration) {
	over := func(sent time.Duration) bool { return now >= sent+PromiseFor }
	g.asks = slices.DeleteFunc(g.asks, func(r round) bool { return over(r.sent) })
	maps.DeleteFunc(g.grants, func(_ string, sent time.Duration) bool { return over(sent) })
	maps.DeleteFunc(g.promises, func(_ string, p promise) bool { return now >= p.until })
}
