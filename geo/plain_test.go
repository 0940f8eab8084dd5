package geo

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"edged/edge"
)

// plain decides the slow way: from the configuration and the list of networks,
// one member at a time, with nothing computed ahead. Its map has fewer than five
// PoPs, so that the order of a cover is the whole order.
type plain struct {
	cfg  Config
	nets []net
}

// plainCandidate is one PoP's endpoints, one endpoint, or a nested pool.
type plainCandidate struct {
	pop     string
	nested  string
	members []Member
	weight  uint32
	name    string // what hashes take it for
}

func (o plain) pool(name string) Pool {
	return o.cfg.Pools[slices.IndexFunc(o.cfg.Pools, func(p Pool) bool { return p.Name == name })]
}

func (o plain) candidates(p Pool) (list []plainCandidate) {
	for _, m := range p.Members {
		weight := m.Weight
		if s := o.cfg.Verdicts(p.Name, m); s.Weight != nil {
			weight = *s.Weight
		}
		if m.Pool != "" {
			list = append(list, plainCandidate{m.PoP, m.Pool, []Member{m}, weight, "pool " + m.Pool})
			continue
		}
		i := slices.IndexFunc(list, func(c plainCandidate) bool { return c.nested == "" && c.pop == m.PoP })
		if i < 0 || p.Policy == Failover {
			list = append(list, plainCandidate{pop: m.PoP, name: m.PoP})
			i = len(list) - 1
		}
		list[i].members = append(list[i].members, m)
		list[i].weight += weight
	}
	return list
}

// grade is how good a member is: 0 for ok, then worse; none when it may not be
// answered.
func (o plain) grade(p Pool, m Member) int {
	s := o.cfg.Verdicts(p.Name, m)
	switch {
	case s.Verdict <= edge.Unknown:
		return int(s.Verdict)
	case s.Verdict == edge.Drained && p.FailOpen.Drained:
		return 5
	case s.Verdict >= edge.Drained:
		return none
	}
	if p.FailOpen.Order == LastKnown {
		for _, other := range p.Members {
			so := o.cfg.Verdicts(p.Name, other)
			if other.Pool == "" && edge.FamilyOf(other.Address) == edge.FamilyOf(m.Address) &&
				(so.Verdict == edge.Failing || so.Verdict == edge.Dead) && so.LastOK.Sub(s.LastOK) > time.Minute {
				return 4
			}
		}
	}
	return 3
}

const none = math.MaxInt

// best is the best grade of a candidate for a family.
func (o plain) best(p Pool, c plainCandidate, family edge.Family) int {
	best := none
	if c.nested != "" {
		inner := o.pool(c.nested)
		for _, ic := range o.candidates(inner) {
			best = min(best, o.best(inner, ic, family))
		}
		if s := o.cfg.Verdicts(p.Name, c.members[0]); s.Verdict >= edge.Drained {
			best = max(best, o.grade(p, c.members[0]))
		}
		return best
	}
	for _, m := range c.members {
		if edge.FamilyOf(m.Address) == family {
			best = min(best, o.grade(p, m))
		}
	}
	ok, all := 0, 0
	for _, m := range p.Members {
		if m.Pool == "" && m.PoP == c.pop && edge.FamilyOf(m.Address) == family {
			all++
			if o.cfg.Verdicts(p.Name, m).Verdict == edge.OK {
				ok++
			}
		}
	}
	if best == 0 && c.pop != "" && float64(ok)/float64(all) < p.UpFraction {
		return 1
	}
	return best
}

// order is the PoPs as a client prefers them: pinned, as the network says, by
// distance from the first of them.
func (o plain) order(a netip.Addr, set []string) []string {
	var order []string
	add := func(pop string) {
		if slices.Contains(set, pop) && !slices.Contains(order, pop) {
			order = append(order, pop)
		}
	}
	longest := -1
	for _, p := range o.cfg.Pins {
		if p.Prefix.Contains(a) && p.Prefix.Bits() > longest && slices.Contains(set, p.PoP) {
			longest, order = p.Prefix.Bits(), []string{p.PoP}
		}
	}
	longest, ranking := -1, ""
	for _, n := range o.nets {
		if p := netip.MustParsePrefix(n.prefix); p.Contains(a) && p.Bits() > longest {
			longest, ranking = p.Bits(), n.ranking
		}
	}
	for _, pop := range strings.Fields(ranking) {
		add(pop)
	}
	from := o.cfg.PoP
	if len(order) > 0 {
		from = order[0]
	}
	rest := slices.Clone(fleet)
	at := fleet[slices.IndexFunc(fleet, func(p edge.PoP) bool { return p.Name == from })]
	slices.SortStableFunc(rest, func(x, y edge.PoP) int {
		return cmp.Compare(edge.DistanceKm(at.Lat, at.Lon, x.Lat, x.Lon), edge.DistanceKm(at.Lat, at.Lon, y.Lat, y.Lon))
	})
	for _, pop := range rest {
		add(pop.Name)
	}
	return order
}

// popsOf lists where a candidate stands.
func (o plain) popsOf(c plainCandidate) (pops []string) {
	if c.pop != "" || c.nested == "" {
		return []string{c.pop}
	}
	for _, inner := range o.candidates(o.pool(c.nested)) {
		pops = append(pops, o.popsOf(inner)...)
	}
	return pops
}

// preferred lists candidates in the policy's order, verdicts aside.
func (o plain) preferred(p Pool, client *Client) []plainCandidate {
	list := o.candidates(p)
	var key uint64
	switch p.Policy {
	case Failover:
		return list
	case Closest:
		var set []string
		for _, c := range list {
			set = append(set, o.popsOf(c)...)
		}
		var order []plainCandidate
		for _, pop := range o.order(client.ECS.Addr(), set) {
			for _, c := range list {
				if slices.Contains(o.popsOf(c), pop) {
					order = append(order, c)
				}
			}
		}
		return order
	case Weighted:
		key = turn(client, p.TTLMax)
	case Sticky:
		key, _ = block(client)
	}
	score := func(c plainCandidate) float64 {
		return rendezvous(key^hashString(p.Name), hashString(c.name), c.weight)
	}
	slices.SortStableFunc(list, func(a, b plainCandidate) int { return cmp.Compare(score(b), score(a)) })
	return list
}

// decide returns the addresses that an answer may hold, or the outcome in words.
func (o plain) decide(name string, client *Client, family edge.Family) string {
	p := o.pool(name)
	best := [2]int{none, none}
	for _, c := range o.candidates(p) {
		for f := range best {
			best[f] = min(best[f], o.best(p, c, edge.Family(f)))
		}
	}
	any := min(best[0], best[1])
	if p.FallbackCNAME != "" && (any == none || any >= 3 && p.FailOpen.Order == ToFallback) {
		return "fallback"
	}
	if best[family] == none {
		return "no data"
	}
	return o.choose(p, client, family, best[family], any)
}

func (o plain) choose(p Pool, client *Client, family edge.Family, best, any int) string {
	list := o.preferred(p, client)
	either := func(c plainCandidate) int { return min(o.best(p, c, edge.IPv4), o.best(p, c, edge.IPv6)) }
	first := list[slices.IndexFunc(list, func(c plainCandidate) bool { return either(c) == any })]
	good := func(c plainCandidate) bool { return o.best(p, c, family) == best }
	chosen := first
	if !good(first) {
		i := slices.IndexFunc(list, func(c plainCandidate) bool {
			there := c.pop == first.pop || p.Policy == Closest && slices.Contains(o.popsOf(c), first.pop)
			return good(c) && there && first.pop != ""
		})
		if i < 0 {
			i = slices.IndexFunc(list, good)
		}
		chosen = list[i]
	}
	if chosen.nested != "" {
		inner := o.pool(chosen.nested)
		best := [2]int{none, none}
		for _, c := range o.candidates(inner) {
			for f := range best {
				best[f] = min(best[f], o.best(inner, c, edge.Family(f)))
			}
		}
		return o.choose(inner, client, family, best[family], min(best[0], best[1]))
	}
	grade := none
	for _, m := range chosen.members {
		if edge.FamilyOf(m.Address) == family {
			grade = min(grade, o.grade(p, m))
		}
	}
	var weighted, unweighted []string
	for _, m := range chosen.members {
		if edge.FamilyOf(m.Address) != family || o.grade(p, m) != grade {
			continue
		}
		weight := m.Weight
		if s := o.cfg.Verdicts(p.Name, m); s.Weight != nil {
			weight = *s.Weight
		}
		if weight > 0 {
			weighted = append(weighted, m.Address.String())
		} else {
			unweighted = append(unweighted, m.Address.String())
		}
	}
	if weighted == nil {
		weighted = unweighted
	}
	slices.Sort(weighted)
	return strings.Join(weighted, ",")
}

// limit is the TTL of a pool's answers, before its min.
func (o plain) limit(p Pool) uint32 {
	limit := p.TTLMax
	for _, m := range p.Members {
		if ttl := o.cfg.Verdicts(p.Name, m).TTL; ttl > 0 {
			limit = min(limit, ttl)
		}
		if m.Pool != "" {
			limit = min(limit, o.limit(o.pool(m.Pool)))
		}
	}
	return limit
}

// TestPlain compares decisions with those of plain, over random pools, states,
// pins and networks.
func TestPlain(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	counts := map[string]int{}
	for round := range 150 {
		o := randomPlain(t, rng)
		v := mustBuild(t, o.cfg)
		for range 50 {
			a := randomClient(rng, o.nets).Addr()
			client := Client{Resolver: a, Now: rng.Uint64N(1 << 32), Rand: rng.Uint64(), ECS: netip.PrefixFrom(a, a.BitLen())}
			if !edge.Routable(client.ECS) {
				continue
			}
			p := o.cfg.Pools[rng.IntN(len(o.cfg.Pools))]
			for _, family := range []edge.Family{edge.IPv4, edge.IPv6} {
				got, _, _ := strings.Cut(decideText(v, p.Name, client, family), " /")
				if want := o.decide(p.Name, &client, family); got != want {
					t.Fatalf("round %d, pool %+v, pins %v, %v for %v:\n got %s\nwant %s", round, p, o.cfg.Pins, family, a, got, want)
				}
				i, _ := v.PoolIndex(p.Name)
				var d Decision
				v.Decide(i, &client, family, &d)
				counts[d.Outcome.String()]++
				if want := max(p.TTLMin, o.limit(p)); d.TTL != want {
					t.Fatalf("round %d, pool %+v: TTL %d, want %d", round, p, d.TTL, want)
				}
			}
		}
	}
	if counts["addresses"] < 1000 || counts["no data"] < 100 || counts["fallback"] < 100 {
		t.Errorf("outcomes %v: want many of each", counts)
	}
}

// randomPlain draws pools of one another, each with a few endpoints in a few
// states.
func randomPlain(t *testing.T, rng *rand.Rand) plain {
	o := plain{}
	seen := map[string]bool{}
	for range 1 + rng.IntN(10) {
		if n := randomNet(rng); !seen[n.prefix] {
			seen[n.prefix] = true
			n.ranking = strings.Trim(n.ranking, "?")
			o.nets = append(o.nets, n)
		}
	}
	inMap := slices.Clone(o.nets)
	for i := range inMap {
		if inMap[i].ranking == "" {
			inMap[i].ranking = "?"
		}
	}
	var pools []Pool
	address := 0
	for i := range 3 {
		p := testPool(t, fmt.Sprintf("p%d", i), Policy(rng.IntN(4)))
		p.Answers, p.TTLMin, p.TTLMax = MaxAnswers, 10, 100+uint32(rng.IntN(100))
		p.UpFraction = randomOf(rng, 0, 0, 0.5, 1)
		p.FailOpen = FailOpen{Order: FailOpenOrder(rng.IntN(3)), Drained: rng.IntN(2) == 0}
		if rng.IntN(2) == 0 {
			p.FallbackCNAME = "last.example.net."
		}
		for range 1 + rng.IntN(6) {
			address++
			text := fmt.Sprintf("%s 192.0.2.%d %d", fleet[rng.IntN(4)].Name, address, rng.IntN(3))
			switch {
			case rng.IntN(3) == 0:
				text = fmt.Sprintf("%s 2001:db8::%d %d", fleet[rng.IntN(4)].Name, address, rng.IntN(3))
			case i > 0 && rng.IntN(4) == 0:
				text = fmt.Sprintf("%s @p%d %d", randomOf(rng, "-", "a", "b"), rng.IntN(i), rng.IntN(3))
			}
			p.Members = append(p.Members, member(t, text))
		}
		pools = append(pools, p)
	}
	o.cfg = testConfig(testMap(t, inMap...), pools...)
	for _, p := range randomPins(rng, rng.IntN(4)) {
		o.cfg.Pins = append(o.cfg.Pins, p.Pin)
	}
	// Few kinds of state at a time, so that all of one pool may be in the same.
	kinds := make([]edge.Verdict, 1+rng.IntN(3))
	for i := range kinds {
		kinds[i] = edge.Verdict(rng.IntN(7))
	}
	seed := rng.Uint64()
	o.cfg.Verdicts = func(pool string, m Member) State {
		h := mix(seed ^ hashString(pool+m.Pool+m.PoP+addrText(m.Address)))
		s := State{Verdict: kinds[h%uint64(len(kinds))], LastOK: time.Unix(int64(h>>8%5*40), 0)}
		if h>>16%3 == 0 {
			s.TTL = uint32(h >> 20 % 200)
		}
		if h>>32%4 == 0 {
			s.Weight = new(uint32)
			*s.Weight = uint32(h >> 36 % 3)
		}
		return s
	}
	return o
}
