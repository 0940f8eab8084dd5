package geo

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	"edged/edge"
)

const (
	noPoP  = 0xffff
	noPool = -1
)

// slot is what a candidate can be asked for: an address of one family, a
// CNAME target, or any of them.
type slot uint8

const (
	slotV4 slot = iota
	slotV6
	slotCNAME
	slotAny
	slots
)

// View is everything a decision depends on, immutable and safe for concurrent
// use. Its zero value is not usable; see [Build].
type View struct {
	node      string
	pop       uint16
	pops      []edge.PoP
	endpoints []Endpoint
	states    []State // by endpoint
	pools     []pool
	byName    map[string]int
	covers    []*cover
	cfg       Config
}

// Endpoint is one member with an address or a CNAME target, as answers refer
// to it: by its index in the view.
type Endpoint struct {
	Pool    int // index of the pool that lists it
	PoP     uint16
	Address netip.Addr
	CNAME   string
	Weight  uint32 // in force: the member's, or what its state says
	Verdict edge.Verdict
}

type pool struct {
	Pool
	cands []candidate
	byPoP [][]int32      // Closest: the candidates of each PoP, in the order given
	open  [slots][]int32 // Closest: by PoP, the first of them that has the pool's best verdict, or -1
	cover *cover         // Closest only
	best  [slots]tier
	has   [slots]bool // a member exists, whatever its verdict
	seed  uint64

	ttl       uint32      // seconds, of every answer
	limit     uint32      // seconds to the next change within the pool, at most TTLMax
	serves    [slots]bool // a member may be answered, and the fallback does not come before it
	fallsBack bool        // the fallback CNAME answers
}

// candidate is what a policy chooses among: the endpoints of one PoP (one
// endpoint under Failover), or a nested pool.
type candidate struct {
	pop    uint16
	tier   [slots]tier
	pool   int32           // nested pool, or noPool
	sole   [slotAny]uint16 // the one usable endpoint of a slot, or several
	weight uint32
	seed   uint64            // stands for the candidate in hashes, whatever its place in the list
	all    [slotAny][]uint16 // endpoints by slot
	usable [slotAny][]uint16 // those with the best verdict
	state  *State            // of the member that is a nested pool, else nil
}

// several stands in candidate.sole for any other number of endpoints than one.
const several = 0xffff

// Build makes a view. It refuses, naming all faults at once: unknown PoPs,
// pools and maps, cycles among pools, pools that mix addresses and CNAMEs, and
// maps that lack a PoP which a pool uses.
func Build(cfg Config) (*View, error) { return build(cfg, nil) }

// With returns a view that differs from v in the states of members, the pins and
// the prices only. While pins and prices of a cover's PoPs stay, the cover does.
func (v *View) With(f Verdicts, pins []Pin, prices Prices) (*View, error) {
	cfg := v.cfg
	cfg.Verdicts, cfg.Pins, cfg.Prices = f, pins, prices
	return build(cfg, v)
}

// WithVerdicts returns a view that differs from v in the states of members only.
func (v *View) WithVerdicts(f Verdicts) (*View, error) {
	return v.With(f, v.cfg.Pins, v.cfg.Prices)
}

// Alike says whether two views have the same PoPs and pools, so that the
// indexes in decisions of one hold in the other.
func (v *View) Alike(w *View) bool {
	return slices.Equal(v.pops, w.pops) && slices.EqualFunc(v.cfg.Pools, w.cfg.Pools, func(a, b Pool) bool {
		return a.Name == b.Name && a.FallbackCNAME == b.FallbackCNAME && slices.Equal(a.Members, b.Members)
	})
}

func build(cfg Config, old *View) (*View, error) {
	b := &builder{view: &View{
		node: cfg.Node, pop: noPoP, pops: cfg.PoPs, cfg: cfg,
		byName: map[string]int{}, pools: make([]pool, len(cfg.Pools)),
	}, old: old, popIndex: map[string]uint16{}, built: make([]int, len(cfg.Pools))}
	b.fleet()
	b.errs = append(b.errs, checkPins(cfg.Pins)...)
	for i, p := range cfg.Pools {
		if _, dup := b.view.byName[p.Name]; dup {
			b.errorf("pool %q: listed twice", p.Name)
		}
		b.view.byName[p.Name] = i
	}
	for i := range cfg.Pools {
		b.pool(i)
	}
	if len(b.errs) > 0 {
		return nil, fmt.Errorf("%s", strings.Join(b.errs, "\n"))
	}
	return b.view, nil
}

type builder struct {
	view     *View
	old      *View
	popIndex map[string]uint16
	built    []int // per pool: 0 not seen, 1 being built, 2 built
	errs     []string
}

func (b *builder) errorf(format string, args ...any) {
	b.errs = append(b.errs, fmt.Sprintf(format, args...))
}

func (b *builder) fleet() {
	if len(b.view.pops) > edge.MaxPoPs {
		b.errorf("%d PoPs: at most %d are supported", len(b.view.pops), edge.MaxPoPs)
		return
	}
	for i, p := range b.view.pops {
		b.popIndex[p.Name] = uint16(i)
	}
	i, ok := b.popIndex[b.view.cfg.PoP]
	if !ok {
		b.errorf("node %q: its PoP %q is not in the list of PoPs", b.view.node, b.view.cfg.PoP)
		return
	}
	b.view.pop = i
}

// pool builds pool i after the pools nested in it.
func (b *builder) pool(i int) {
	if b.built[i] != 0 {
		return
	}
	b.built[i] = 1
	p := &b.view.pools[i]
	p.Pool = b.view.cfg.Pools[i]
	p.seed = hashString(p.Name)
	if p.Answers < 1 || p.Answers > MaxAnswers {
		b.errorf("pool %q: answers %d: want 1 to %d", p.Name, p.Answers, MaxAnswers)
	}
	if p.TTLMin == 0 || p.TTLMin > p.TTLMax {
		b.errorf("pool %q: ttl min %d, max %d: want 0 < min <= max", p.Name, p.TTLMin, p.TTLMax)
	}
	if !(p.UpFraction >= 0 && p.UpFraction <= 1) {
		b.errorf("pool %q: up fraction %v: want 0 to 1", p.Name, p.UpFraction)
	}
	p.limit = p.TTLMax
	for n, m := range p.Members {
		b.member(i, n, m)
	}
	if p.has[slotCNAME] && (p.has[slotV4] || p.has[slotV6]) {
		b.errorf("pool %q: holds both addresses and CNAME targets: an answer can be only one of them", p.Name)
	}
	p.ttl = max(p.TTLMin, p.limit)
	p.rank(b.view)
	if p.Policy == Closest {
		b.closest(p)
	}
	b.built[i] = 2
}

func (b *builder) member(i, n int, m Member) {
	p := &b.view.pools[i]
	pop := uint16(noPoP)
	if m.PoP != "" {
		var ok bool
		if pop, ok = b.popIndex[m.PoP]; !ok {
			b.errorf("pool %q: member %d: unknown PoP %q", p.Name, n+1, m.PoP)
			return
		}
	}
	if m.Pool != "" {
		b.nested(i, n, m, pop)
		return
	}
	s := slotCNAME
	if m.CNAME == "" {
		s = slot(edge.FamilyOf(m.Address))
	}
	if pop == noPoP && p.Policy == Closest {
		b.errorf("pool %q: member %d (%s%s): policy closest needs its PoP", p.Name, n+1, m.CNAME, addrText(m.Address))
		return
	}
	state, weight := b.state(p, m)
	e := Endpoint{Pool: i, PoP: pop, Address: m.Address.Unmap(), CNAME: m.CNAME, Weight: weight, Verdict: state.Verdict}
	id := uint16(len(b.view.endpoints))
	if len(b.view.endpoints) >= 0xffff {
		b.errorf("pool %q: more than 65535 endpoints in all", p.Name)
		return
	}
	b.view.endpoints, b.view.states = append(b.view.endpoints, e), append(b.view.states, state)
	c := p.candidateFor(pop)
	c.weight += weight
	if len(c.all[slotV4])+len(c.all[slotV6])+len(c.all[slotCNAME]) == 0 {
		c.seed = hashString(m.PoP)
		if pop == noPoP {
			c.seed = hashString(m.CNAME + addrText(m.Address))
		}
	}
	c.all[s] = append(c.all[s], id)
	p.has[s], p.has[slotAny] = true, true
}

// state asks for the state of a member, and notes until when it holds.
func (b *builder) state(p *pool, m Member) (s State, weight uint32) {
	if f := b.view.cfg.Verdicts; f != nil {
		s = f(p.Name, m)
	}
	if s.TTL > 0 {
		p.limit = min(p.limit, s.TTL)
	}
	if s.Weight != nil {
		return s, *s.Weight
	}
	return s, m.Weight
}

func (b *builder) nested(i, n int, m Member, pop uint16) {
	p := &b.view.pools[i]
	j, ok := b.view.byName[m.Pool]
	switch {
	case !ok:
		b.errorf("pool %q: member %d: unknown pool %q", p.Name, n+1, m.Pool)
		return
	case b.built[j] == 1:
		b.errorf("pool %q: member %d: pool %q contains itself", p.Name, n+1, m.Pool)
		return
	}
	b.pool(j)
	for s := range slots {
		p.has[s] = p.has[s] || b.view.pools[j].has[s]
	}
	state, weight := b.state(p, m)
	p.limit = min(p.limit, b.view.pools[j].limit)
	p.cands = append(p.cands, candidate{pop: pop, pool: int32(j), weight: weight, seed: hashString("pool " + m.Pool), state: &state})
}

// candidateFor returns the candidate that an endpoint in pop belongs to.
// Under Failover the order given counts, so each endpoint stands alone.
func (p *pool) candidateFor(pop uint16) *candidate {
	if p.Policy != Failover && pop != noPoP {
		for i := range p.cands {
			if p.cands[i].pop == pop && p.cands[i].pool == noPool {
				return &p.cands[i]
			}
		}
	}
	p.cands = append(p.cands, candidate{pop: pop, pool: noPool})
	return &p.cands[len(p.cands)-1]
}

// closest indexes the candidates by PoP and attaches the cover.
func (b *builder) closest(p *pool) {
	p.byPoP = make([][]int32, len(b.view.pops))
	for i, c := range p.cands {
		pops := b.popsOf(c)
		if len(pops) == 0 {
			b.errorf("pool %q: member pool %q has no endpoint in a PoP: policy closest needs one", p.Name, b.view.pools[c.pool].Name)
		}
		for _, pop := range pops {
			if !slices.Contains(p.byPoP[pop], int32(i)) {
				p.byPoP[pop] = append(p.byPoP[pop], int32(i))
			}
		}
	}
	p.openPoPs()
	set := make([]bool, len(p.byPoP))
	for pop, cands := range p.byPoP {
		set[pop] = len(cands) > 0
	}
	src, ok := b.view.cfg.Maps[p.Map]
	if !ok {
		b.errorf("pool %q: unknown map %q", p.Name, p.Map)
		return
	}
	if len(b.errs) > 0 {
		return // the set may be incomplete; a cover of it would be wasted
	}
	c, err := b.coverFor(p.Map, src, set)
	if err != nil {
		b.errorf("pool %q: map %q: %v", p.Name, p.Map, err)
		return
	}
	p.cover = c
}

// popsOf lists the PoPs that a candidate stands in: its own, or those of the
// pool nested in it.
func (b *builder) popsOf(c candidate) []uint16 {
	if c.pop != noPoP {
		return []uint16{c.pop}
	}
	if c.pool == noPool {
		return nil
	}
	var pops []uint16
	for _, inner := range b.view.pools[c.pool].cands {
		pops = append(pops, b.popsOf(inner)...)
	}
	return pops
}

// coverFor finds or builds the cover of a map for a set of PoPs. Pools with
// the same set share it, and so does the next view while map, pins and prices are
// the same.
func (b *builder) coverFor(name string, src MapSource, set []bool) (*cover, error) {
	pins, prices := b.pinsIn(set), b.pricingOf(src.Map, set)
	same := func(c *cover) bool {
		return c.mapName == name && c.src == src && c.node == b.view.pop && slices.Equal(c.set, set) && slices.Equal(c.pins, pins) && c.pricing.same(prices)
	}
	if i := slices.IndexFunc(b.view.covers, same); i >= 0 {
		return b.view.covers[i], nil
	}
	if b.old != nil && slices.Equal(b.old.pops, b.view.pops) {
		if i := slices.IndexFunc(b.old.covers, same); i >= 0 {
			b.view.covers = append(b.view.covers, b.old.covers[i])
			return b.old.covers[i], nil
		}
	}
	c, err := newCover(name, src, set, b.view.pops, b.view.pop, pins, prices)
	if err != nil {
		return nil, err
	}
	b.view.covers = append(b.view.covers, c)
	return c, nil
}

// PoolIndex returns the number by which decisions refer to a pool.
func (v *View) PoolIndex(name string) (int, bool) {
	i, ok := v.byName[name]
	return i, ok
}

// Pools returns the number of pools.
func (v *View) Pools() int { return len(v.pools) }

// Pool returns the configuration of pool i. The caller must not change it.
func (v *View) Pool(i int) Pool { return v.pools[i].Pool }

// TTL returns the TTL of pool i's answers in seconds: the time to the next change
// in the pool and those nested in it, within the pool's bounds. It is the same
// for all clients.
func (v *View) TTL(i int) uint32 { return v.pools[i].ttl }

// Endpoints returns all endpoints, by the index used in decisions. The caller
// must not change them.
func (v *View) Endpoints() []Endpoint { return v.endpoints }

// PoPs returns the fleet. The caller must not change it.
func (v *View) PoPs() []edge.PoP { return v.pops }

// Aliases says whether pool i answers with CNAME targets instead of addresses.
func (v *View) Aliases(i int) bool { return v.pools[i].has[slotCNAME] }

// HasFamily says whether pool i lists an endpoint of the family, whatever its
// verdict.
func (v *View) HasFamily(i int, f edge.Family) bool { return v.pools[i].has[slot(f)] }

// Maps returns the maps in use by name. The caller must not change them.
func (v *View) Maps() map[string]MapSource { return v.cfg.Maps }

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func hashString(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}
