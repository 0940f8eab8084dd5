package geo

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"edged/edge"
	"edged/maps"
)

// Trace is the whole reasoning behind one decision, for people and as JSON. It
// is written by the code that decides.
type Trace struct {
	Pool      string           `json:"pool"`
	Family    string           `json:"family"`
	Resolver  string           `json:"resolver,omitempty"`
	ECS       string           `json:"ecs,omitempty"`
	Stages    []Stage          `json:"stages"`
	Outcome   Outcome          `json:"outcome"`
	Why       string           `json:"why,omitempty"` // for outcomes without a stage
	PoP       string           `json:"pop,omitempty"`
	Endpoints []ChosenEndpoint `json:"endpoints"`
	Scope     uint8            `json:"scope"`
	ScopeSent bool             `json:"scope_sent"` // false when the query has no ECS
	TTL       uint32           `json:"ttl"`
	TTLWhy    string           `json:"ttl_why"` // what bounds it
}

// Stage is one pool's part of a decision: the first for the pool of the name,
// then one for each pool nested in the candidate chosen. There is none when the
// pool does not have the family.
type Stage struct {
	Pool       string      `json:"pool"`
	Policy     string      `json:"policy"`
	Location   *Location   `json:"location,omitempty"`
	Best       string      `json:"best_verdict"`
	Candidates []Candidate `json:"candidates"`
}

// Location says where the client was taken to be, and by what.
type Location struct {
	Source     Source   `json:"source"`
	Address    string   `json:"address"`
	PassedOver []string `json:"passed_over,omitempty"`
	Map        string   `json:"map"`
	Version    string   `json:"version"`
	Degraded   string   `json:"degraded,omitempty"`
	From       string   `json:"from"` // the map's range around the address
	To         string   `json:"to"`
	Measured   bool     `json:"measured"`
	Block      uint8    `json:"block"` // length of the block around the address with the same order of PoPs
	Plurality  bool     `json:"plurality,omitempty"`
	Pin        string   `json:"pin,omitempty"` // the pin that decided which PoP is first

	ranking uint32 // of the map, at the address
}

// Candidate is one PoP, endpoint or nested pool that a policy weighed.
type Candidate struct {
	Name   string  `json:"name"`
	Chosen bool    `json:"chosen"`
	Reason string  `json:"reason"`
	RTT    float64 `json:"rtt_ms,omitempty"`      // measured; 0 when not
	Km     int     `json:"distance_km,omitempty"` // from the PoP ranked first
	// MapPrice is what the map was made with, Price what the load of the moment
	// adds, in milliseconds that count as if the round trip took longer.
	MapPrice float64 `json:"map_price_ms,omitempty"`
	Price    float64 `json:"price_ms,omitempty"`
	Verdict  string  `json:"verdict"`
	Weight   uint32  `json:"weight"`
	// Members are the endpoints of the family that it stands for, those of
	// nested pools too, and the nested pool itself when something is said of it.
	Members []MemberState `json:"members,omitempty"`
}

// MemberState is the state of one member and who says so.
type MemberState struct {
	Member  string       `json:"member"` // address, CNAME target or "pool NAME"
	Verdict edge.Verdict `json:"verdict"`
	Weight  uint32       `json:"weight"`
	Why     string       `json:"why,omitempty"`
	TTL     uint32       `json:"ttl,omitempty"` // seconds until it may change; 0: no limit
}

// ChosenEndpoint is one of the endpoints that an answer draws from.
type ChosenEndpoint struct {
	Address string       `json:"address"` // address or CNAME target
	PoP     string       `json:"pop,omitempty"`
	Weight  uint32       `json:"weight"`
	Verdict edge.Verdict `json:"verdict"`
	Used    bool         `json:"used"` // in this answer
}

// Explain decides like Decide, and returns how.
func (v *View) Explain(poolIndex int, client *Client, family edge.Family) (Decision, *Trace) {
	tr := &Trace{
		Pool: v.pools[poolIndex].Name, Family: family.String(), Resolver: addrText(client.Resolver),
		Stages: []Stage{}, Endpoints: []ChosenEndpoint{}, ScopeSent: client.ECS.IsValid(),
	}
	if client.ECS.IsValid() {
		tr.ECS = client.ECS.String()
	}
	var d Decision
	v.decide(poolIndex, client, family, &d, tr)
	tr.Outcome, tr.Scope, tr.TTL = d.Outcome, d.Scope, d.TTL
	tr.PoP, tr.TTLWhy = v.popName(d.PoP), v.ttlWhy(poolIndex)
	for i := range tr.Endpoints {
		e := &tr.Endpoints[i]
		for _, id := range d.Endpoints[:d.N] {
			used := v.endpoints[id]
			e.Used = e.Used || used.CNAME+addrText(used.Address) == e.Address
		}
	}
	return d, tr
}

func (v *View) popName(pop uint16) string {
	if pop == noPoP {
		return ""
	}
	return v.pops[pop].Name
}

func (tr *Trace) fallback(v *View, p *pool) {
	if tr == nil {
		return
	}
	tr.unchosen(v, p, slotAny)
	switch {
	case p.best[slotAny] == tierNone:
		tr.Why = "every endpoint is " + tr.closed() + ": the pool's fallback " + p.FallbackCNAME + " answers"
	default:
		tr.Why = "no endpoint is better than " + p.best[slotAny].String() + ": the pool fails open to its fallback " + p.FallbackCNAME
	}
}

// closed says what keeps the members of the last stage from being answered, all
// of them: drained, disabled, or some the one and some the other.
func (tr *Trace) closed() string {
	drained, disabled := false, false
	for _, c := range tr.Stages[len(tr.Stages)-1].Candidates {
		for _, m := range c.Members {
			drained = drained || m.Verdict == edge.Drained
			disabled = disabled || m.Verdict == edge.Disabled
		}
	}
	switch {
	case drained && disabled:
		return "disabled or drained"
	case disabled:
		return edge.Disabled.String()
	}
	return edge.Drained.String()
}

// closedBy says why the members of a candidate are not answered, in the words of
// those who say so.
func closedBy(members []MemberState) string {
	var words []string
	for _, m := range members {
		word := m.Why
		if word == "" {
			word = m.Verdict.String()
		}
		if m.Verdict >= edge.Drained && !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return strings.Join(words, "; ")
}

func (tr *Trace) noData(v *View, p *pool, want slot) {
	switch {
	case tr == nil:
	case p.has[want]:
		tr.unchosen(v, p, want)
		tr.Why = "every endpoint of this family is " + tr.closed() + ", for every client alike"
	default:
		tr.Why = "no endpoint of the pool has this family"
	}
}

// unchosen records a pool of which nothing was chosen.
func (tr *Trace) unchosen(v *View, p *pool, want slot) {
	st := Stage{Pool: p.Name, Policy: p.Policy.String(), Best: p.best[want].String()}
	for i := range p.cands {
		c := &p.cands[i]
		cand := Candidate{Name: v.candidateName(c), Verdict: c.tier[want].String(), Weight: c.weight, Members: v.memberStates(nil, c, want)}
		cand.Reason = closedBy(cand.Members)
		if c.tier[want] != tierNone {
			cand.Reason = "verdict " + cand.Verdict + "; the fallback comes before it"
		} else if len(cand.Members) == 0 {
			cand.Reason = "no " + slotWords[want]
		}
		st.Candidates = append(st.Candidates, cand)
	}
	tr.Stages = append(tr.Stages, st)
}

func (tr *Trace) endpoints(v *View, c *candidate, want slot) {
	if tr == nil {
		return
	}
	for _, id := range c.usable[want] {
		e := v.endpoints[id]
		tr.Endpoints = append(tr.Endpoints, ChosenEndpoint{
			Address: e.CNAME + addrText(e.Address), PoP: v.popName(e.PoP), Weight: e.Weight, Verdict: e.Verdict,
		})
	}
}

// stage records one run of a policy: first is its choice whatever the family,
// chosen the one for the family wanted.
func (tr *Trace) stage(v *View, s *selector, want slot, first, chosen int) {
	if tr == nil {
		return
	}
	st := Stage{Pool: s.pool.Name, Policy: s.pool.Policy.String(), Best: s.pool.best[want].String()}
	var rtts map[uint16]float64
	if s.pool.Policy == Closest {
		st.Location, rtts = s.pool.cover.explain(s.client, s.at)
	}
	unpriced := s.unpriced(st.Location)
	ahead := true
	for _, i := range s.ranked() {
		c := &s.pool.cands[i]
		cand := Candidate{Name: v.candidateName(c), Chosen: i == chosen, Verdict: c.tier[want].String(), Weight: c.weight}
		cand.Reason = s.reason(v, i, want, first, chosen, unpriced, ahead)
		cand.Members = v.memberStates(nil, c, want)
		ahead = ahead && i != chosen
		if st.Location != nil && c.pop != noPoP {
			from := v.pops[s.pool.cover.head(s.at.class)[0]]
			cand.RTT = rtts[c.pop]
			cand.MapPrice, cand.Price = s.pool.cover.prices(c.pop)
			cand.Km = int(edge.DistanceKm(from.Lat, from.Lon, v.pops[c.pop].Lat, v.pops[c.pop].Lon))
		}
		st.Candidates = append(st.Candidates, cand)
	}
	tr.Stages = append(tr.Stages, st)
}

// ranked lists all candidates in the policy's order of preference, verdicts
// aside.
func (s *selector) ranked() []int {
	p := s.pool
	var order []int
	seen := make([]bool, len(p.cands))
	if p.Policy == Closest {
		for _, pop := range p.cover.order(s.at.class) {
			for _, i := range p.byPoP[pop] {
				if !seen[i] {
					order, seen[i] = append(order, int(i)), true
				}
			}
		}
	}
	for len(order) < len(p.cands) {
		best := -1
		for i := range p.cands {
			if seen[i] {
				continue
			}
			hashed := p.Policy == Weighted || p.Policy == Sticky
			if best < 0 || hashed && s.score(i) > s.score(best) {
				best = i
			}
		}
		order, seen[best] = append(order, best), true
	}
	return order
}

func (s *selector) score(i int) float64 {
	c := &s.pool.cands[i]
	return rendezvous(s.key^s.pool.seed, c.seed, c.weight)
}

func (s *selector) reason(v *View, i int, want slot, first, chosen, unpriced int, ahead bool) string {
	c := &s.pool.cands[i]
	reason := s.place(v, c, i, want, first, chosen, ahead)
	switch price := s.pool.price(v, c.pop); {
	case i == unpriced && i != chosen && unpriced != first:
		reason = price + ": " + v.candidateName(&s.pool.cands[chosen]) + " instead by price"
	case i == chosen && i == first && unpriced >= 0 && unpriced != first:
		reason = "least round-trip time plus price, " + v.candidateName(&s.pool.cands[unpriced]) + " without prices"
	case price != "":
		reason += "; " + price
	}
	if ok, all := s.pool.share(v, c.pop, want); c.pool == noPool && c.tier[want] == tierDegraded && s.pool.thin(ok, all) {
		reason += fmt.Sprintf("; %d of %d %ss in the PoP ok, a share below %v", ok, all, slotWords[want], s.pool.UpFraction)
	}
	return reason
}

// slotWords name what a slot holds.
var slotWords = [slotAny]string{"IPv4 endpoint", "IPv6 endpoint", "CNAME target"}

// place says why a candidate was chosen, or was not.
func (s *selector) place(v *View, c *candidate, i int, want slot, first, chosen int, ahead bool) string {
	preferred := map[Policy]string{
		Closest: "ranked first for this client", Failover: "first in the list",
		Weighted: "this resolver's turn, by weight", Sticky: "this client block's hash, by weight",
	}[s.pool.Policy]
	if s.pool.Policy == Closest {
		if pin := s.pool.cover.pin(s.at.class); pin != nil && pin.pop == c.pop {
			preferred = "pinned for this client"
		}
	}
	familyWord := slotWords[want]
	switch best := s.pool.best[want]; {
	case i == chosen && i != first:
		return "takes this family: the PoP chosen for the client has no " + familyWord + " with verdict " + best.String()
	case i == chosen && ahead:
		return preferred + ", among those with verdict " + best.String()
	case i == chosen:
		return preferred
	case c.tier[want] == tierNone && c.tier[slotAny] == tierNone:
		return closedBy(v.memberStates(nil, c, slotAny))
	case c.tier[want] == tierNone:
		return "no " + familyWord + " that may be answered"
	case c.tier[want] != best:
		return "verdict " + c.tier[want].String() + "; others are " + best.String()
	case i == first:
		return "chosen for the client, but not for this family"
	case !ahead:
		return "comes later"
	}
	return "not in the PoP chosen for the client"
}

// memberStates lists the endpoints of a slot, or of all, behind a candidate.
func (v *View) memberStates(list []MemberState, c *candidate, want slot) []MemberState {
	if c.pool == noPool {
		for s, ids := range c.all {
			if want != slotAny && want != slot(s) {
				continue
			}
			for _, id := range ids {
				e, s := &v.endpoints[id], &v.states[id]
				list = append(list, MemberState{e.CNAME + addrText(e.Address), e.Verdict, e.Weight, s.Why, s.TTL})
			}
		}
		return list
	}
	inner := &v.pools[c.pool]
	if s := c.state; s.Verdict >= edge.Drained || s.Weight != nil {
		list = append(list, MemberState{"pool " + inner.Name, s.Verdict, c.weight, s.Why, s.TTL})
	}
	for i := range inner.cands {
		list = v.memberStates(list, &inner.cands[i], want)
	}
	return list
}

// ttlWhy says what bounds the TTL of a pool's answers.
func (v *View) ttlWhy(poolIndex int) string {
	p := &v.pools[poolIndex]
	switch {
	case p.limit == p.TTLMax:
		return "the pool's max"
	case p.limit < p.TTLMin:
		return "the pool's min; " + v.nextChange(p)
	}
	return v.nextChange(p)
}

// nextChange finds what makes a pool's limit, which is below its TTLMax.
func (v *View) nextChange(p *pool) string {
	for i := range p.cands {
		c := &p.cands[i]
		for _, ids := range c.all {
			for _, id := range ids {
				if e := &v.endpoints[id]; v.states[id].TTL == p.limit {
					return fmt.Sprintf("%s of pool %s may change in %d s", e.CNAME+addrText(e.Address), p.Name, p.limit)
				}
			}
		}
		if c.pool == noPool {
			continue
		}
		inner := &v.pools[c.pool]
		switch {
		case c.state.TTL == p.limit:
			return fmt.Sprintf("pool %s in pool %s may change in %d s", inner.Name, p.Name, p.limit)
		case inner.limit != p.limit:
		case inner.limit == inner.TTLMax:
			return "the max of pool " + inner.Name
		default:
			return v.nextChange(inner)
		}
	}
	return "" // not reached: something makes the limit
}

func (v *View) candidateName(c *candidate) string {
	switch {
	case c.pool != noPool && c.pop != noPoP:
		return v.popName(c.pop) + "/" + v.pools[c.pool].Name
	case c.pool != noPool:
		return v.pools[c.pool].Name
	case c.pop != noPoP:
		return v.popName(c.pop)
	}
	for _, ids := range c.all {
		for _, id := range ids {
			return v.endpoints[id].CNAME + addrText(v.endpoints[id].Address)
		}
	}
	return ""
}

// explain tells how locate found a location, and the measured RTTs (in
// milliseconds, by the fleet's PoP index) of the map's row.
func (c *cover) explain(client *Client, at location) (*Location, map[uint16]float64) {
	loc := &Location{Source: at.source, Map: c.mapName, Version: c.src.Map.Version(), Degraded: c.src.Degraded}
	if pin := c.pin(at.class); pin != nil {
		loc.Pin = pin.String()
	}
	table, covered := c.src.Map.Resolver(), &c.resolver
	addr, length := locatingResolver(client)
	switch subnet := unwrapECS(client); {
	case !client.ECS.IsValid():
		loc.PassedOver = append(loc.PassedOver, "ecs: the query has none")
	case client.ECS.Bits() == 0:
		loc.PassedOver = append(loc.PassedOver, "ecs: source prefix length 0, the client asks not to be located by it")
	case !c.usable(subnet):
		loc.PassedOver = append(loc.PassedOver, "ecs: "+subnet.String()+" is not routable, and neither a pin nor a measurement tells of it")
	default:
		table, covered = c.src.Map.ECS(), &c.ecs
		addr, length = subnet.Addr(), subnet.Bits()
	}
	loc.Address = netip.PrefixFrom(addr, length).String()
	if !addr.IsValid() {
		loc.Address = "none"
		addr = netip.IPv6Unspecified()
	}
	row, from, to := table.Lookup(addr)
	loc.ranking = row.Ranking()
	loc.From, loc.To, loc.Measured = from.String(), to.String(), row.Measured()
	_, loc.Block = covered.place(addr)
	loc.Plurality = addr.IsValid() && length > 0 && int(loc.Block) > length
	return loc, c.rtts(row)
}

func (c *cover) rtts(row maps.Row) map[uint16]float64 {
	index := map[string]uint16{}
	for i, p := range c.fleet {
		index[p.Name] = uint16(i)
	}
	inMap := c.src.Map.PoPs()
	rtts := map[uint16]float64{}
	for _, hop := range c.src.Map.Ranking(row.Ranking()).Hops {
		if i, ok := index[inMap[hop.PoP].Name]; ok && hop.RTT > 0 {
			rtts[i] = float64(hop.RTT) / 2
		}
	}
	return rtts
}
