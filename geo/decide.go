package geo

import (
	"math"
	"math/bits"
	"net/netip"
	"runtime"

	"edged/edge"
)

// Source says what located the client.
type Source uint8

// The sources of a location, best first.
const (
	SourceNone     Source = iota // the decision does not depend on the client
	SourceECS                    // the client subnet of the query (RFC 7871)
	SourceResolver               // the resolver's address
	SourcePlace                  // either of them, in place data, for want of the map
	SourceNode                   // unknown place: taken to be near this node
	Sources                      // how many there are
)

var sourceNames = [...]string{"none", "ecs", "resolver", "place", "node"}

// String returns one lower-case word.
func (s Source) String() string { return sourceNames[s] }

// MarshalText gives the word, for JSON.
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Outcome is the kind of an answer.
type Outcome uint8

// The outcomes.
const (
	NoData    Outcome = iota // no endpoint of this family in the whole pool, or none that may be answered
	Addresses                // Decision.Endpoints
	Alias                    // one CNAME, Decision.Endpoints[0]
	Fallback                 // the pool's fallback CNAME
)

var outcomeNames = [...]string{"no data", "addresses", "alias", "fallback"}

// String returns the outcome in words.
func (o Outcome) String() string { return outcomeNames[o] }

// MarshalText gives the words, for JSON.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Client is who asks.
type Client struct {
	Resolver netip.Addr   // source address of the query
	ECS      netip.Prefix // masked client subnet; the zero value when none was sent
	Now      uint64       // Unix time in seconds; decides the turn of weighted pools
	Rand     uint64       // random bits for the choice among the endpoints of one PoP
}

// Decision is what a client gets. It is a plain value that holds no pointer.
type Decision struct {
	TTL       uint32 // seconds
	Pool      uint16 // the pool that the answer came from, in the end
	PoP       uint16 // index of the chosen PoP; 65535 when none
	Scope     uint8  // SCOPE PREFIX-LENGTH for an answer to a query with ECS
	N         uint8  // endpoints in use
	Outcome   Outcome
	Source    Source
	Endpoints [MaxAnswers]uint16 // indexes into View.Endpoints
}

// Decide answers for a pool, a client and a family. The choice of the PoP does
// not depend on the family unless that PoP lacks it. Decide is safe for
// concurrent use and does not allocate.
func (v *View) Decide(poolIndex int, client *Client, family edge.Family, d *Decision) {
	v.decide(poolIndex, client, family, d, nil)
	runtime.KeepAlive(v) // and with it the memory of its covers
}

func (v *View) decide(poolIndex int, client *Client, family edge.Family, d *Decision, tr *Trace) {
	p := &v.pools[poolIndex]
	*d = Decision{TTL: p.ttl, PoP: noPoP, Pool: uint16(poolIndex)}
	want := slot(family)
	if p.has[slotCNAME] {
		want = slotCNAME
	}
	// The client is located even when the answer turns out the same for all:
	// whether an endpoint is left must not show in the scope of one family.
	switch {
	case p.serves[want]:
		v.choose(p, client, want, d, tr)
	case p.fallsBack:
		d.Outcome = Fallback
		tr.fallback(v, p)
	default:
		tr.noData(v, p, want)
	}
	if !client.ECS.IsValid() || client.ECS.Bits() == 0 {
		d.Scope = 0
	}
}

// Touch asks for the memory that a decision for this client will need first,
// and TouchMore, some time later, for what that leads to. They pay when several
// decisions are prepared before the first is made.
func (v *View) Touch(poolIndex int, client *Client) {
	if c := v.pools[poolIndex].cover; c != nil {
		if t, addr, ok := c.likely(client); ok {
			t.v4.touch(addr)
		}
	}
}

// TouchMore goes on after Touch.
func (v *View) TouchMore(poolIndex int, client *Client) {
	if c := v.pools[poolIndex].cover; c != nil {
		if t, addr, ok := c.likely(client); ok {
			t.v4.touchMore(addr)
		}
	}
}

// choose runs a pool's policy, which has something for the wanted slot, and
// enters the pool nested in the candidate it finds.
func (v *View) choose(p *pool, client *Client, want slot, d *Decision, tr *Trace) {
	sel := selector{pool: p, client: client}
	switch p.Policy {
	case Closest:
		sel.at = p.cover.locate(client)
		d.Scope, d.Source = max(d.Scope, sel.at.scope), sel.at.source
	case Weighted:
		sel.key = turn(client, p.TTLMax)
	case Sticky:
		var scope uint8
		sel.key, scope = block(client)
		d.Scope = max(d.Scope, scope)
	}
	first := sel.pick(slotAny, noPoP)
	chosen := first
	if first < 0 || p.cands[first].tier[want] != p.best[want] {
		if chosen = -1; first >= 0 {
			chosen = sel.pick(want, p.cands[first].pop)
		}
		if chosen < 0 {
			chosen = sel.pick(want, noPoP)
		}
	}
	if chosen < 0 {
		tr.noData(v, p, want) // not reached: something has the best verdict
		return
	}
	tr.stage(v, &sel, want, first, chosen)
	c := &p.cands[chosen]
	if c.pool != noPool {
		d.Pool = uint16(c.pool)
		v.choose(&v.pools[c.pool], client, want, d, tr)
		return
	}
	d.PoP, d.Outcome = c.pop, Addresses
	if want == slotCNAME {
		d.Outcome = Alias
	}
	if id := c.sole[want]; id != several {
		d.N, d.Endpoints[0] = 1, id
	} else {
		v.endpointsOf(c.usable[want], int(p.Answers), client.Rand, d)
	}
	tr.endpoints(v, c, want)
}

// selector is one run of one pool's policy.
type selector struct {
	pool   *pool
	client *Client
	at     location // Closest
	key    uint64   // Weighted and Sticky: what the choice hashes on
}

// pick returns the candidate that the policy prefers among those with the
// pool's best verdict for the slot, or -1. With a PoP given, only candidates in
// that PoP count.
func (s *selector) pick(want slot, only uint16) int {
	p := s.pool
	best := p.best[want]
	switch p.Policy {
	case Closest:
		if only != noPoP {
			return int(p.open[want][only])
		}
		return s.closest(want)
	case Failover:
		for i := range p.cands {
			if c := &p.cands[i]; c.tier[want] == best && (only == noPoP || c.pop == only) {
				return i
			}
		}
		return -1
	}
	chosen, top := -1, math.Inf(-1)
	for i := range p.cands {
		c := &p.cands[i]
		if c.tier[want] != best || only != noPoP && c.pop != only {
			continue
		}
		if score := rendezvous(s.key^p.seed, c.seed, c.weight); chosen < 0 || score > top {
			chosen, top = i, score
		}
	}
	return chosen
}

// closest walks the order of the client's class.
func (s *selector) closest(want slot) int {
	open := s.pool.open[want]
	head := s.pool.cover.head(s.at.class)
	for _, pop := range head {
		if i := open[pop]; i >= 0 {
			return int(i)
		}
	}
	for _, pop := range s.pool.cover.tails[head[0]] {
		if i := open[pop]; i >= 0 {
			return int(i)
		}
	}
	return -1
}

// endpointsOf puts up to n of the endpoints into the decision: all of them,
// from a random one on, or a random choice by weight without repetition.
func (v *View) endpointsOf(ids []uint16, n int, rnd uint64, d *Decision) {
	if len(ids) <= n {
		d.N = uint8(len(ids))
		at := 0
		if len(ids) > 1 {
			at = int(rnd % uint64(len(ids)))
		}
		for i := range ids {
			d.Endpoints[i] = ids[at]
			if at++; at == len(ids) {
				at = 0
			}
		}
		return
	}
	d.N = uint8(n)
	for i := range n {
		top, chosen := math.Inf(-1), uint16(0)
		for _, id := range ids {
			if taken(d.Endpoints[:i], id) {
				continue
			}
			if score := rendezvous(rnd, uint64(id), v.endpoints[id].Weight); score > top {
				top, chosen = score, id
			}
		}
		d.Endpoints[i] = chosen
	}
}

func taken(ids []uint16, id uint16) bool {
	for _, have := range ids {
		if have == id {
			return true
		}
	}
	return false
}

// rendezvous scores a candidate for a key; the highest score wins. Weighted
// rendezvous hashing (Schindelhauer and Schomaker, 2005): shares follow the
// weights, and a changed weight moves no more keys than it must. A candidate
// without weight scores below every other.
func rendezvous(key, id uint64, weight uint32) float64 {
	h := mix(key ^ mix(id))
	u := (float64(h>>12) + 0.5) / (1 << 52) // exact, and neither 0 nor 1
	if weight == 0 {
		return u - 1 // below 0
	}
	return -float64(weight) / math.Log(u) // above 0
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// turn is the key of a weighted choice: one resolver keeps its choice, over all
// families, for one TTL. The answer is not tailored to a subnet, so any client
// of that resolver may have it: scope 0.
func turn(client *Client, ttl uint32) uint64 {
	return addrKey(client.Resolver) ^ mix(client.Now/uint64(ttl))
}

// block is the key of a sticky choice, the client's /24 or /48, and the scope
// that goes with it.
func block(client *Client) (key uint64, scope uint8) {
	a, _ := locatingResolver(client)
	outer := uint8(0)
	if client.ECS.Bits() > 0 {
		p := unwrapECS(client)
		a, outer = p.Addr(), carrierBits(client.ECS, p)
	}
	scope = 48
	if a.Is4() {
		scope = 24
	}
	p, err := a.Prefix(int(scope))
	if err != nil {
		return 0, scope // no address at all: all such clients are one
	}
	return addrKey(p.Addr()), scope + outer
}

func addrKey(a netip.Addr) uint64 {
	b := a.As16()
	var hi, lo uint64
	for i := range 8 {
		hi, lo = hi<<8|uint64(b[i]), lo<<8|uint64(b[8+i])
	}
	return mix(hi) ^ bits.RotateLeft64(mix(lo), 32)
}
