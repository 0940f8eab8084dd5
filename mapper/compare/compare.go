package compare

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"edged/geo/place"
	"edged/mapper/simulate"
	"edged/maps"
)

// Locate says where an address is, and for which network around it that holds;
// ok is false when nobody knows.
type Locate func(netip.Addr) (p place.Place, network netip.Prefix, ok bool)

// Result is what changes.
type Result struct {
	Unit     string  `json:"unit"`     // of all demand: requests/s, sessions or /24 blocks
	Total    float64 `json:"total"`    // demand with a first choice in either map
	Moved    float64 `json:"moved"`    // of it, what gets another one
	Lost     float64 `json:"lost"`     // of it, what has none in the new map
	Asked    float64 `json:"asked"`    // all demand, also what has no first choice
	Unranked float64 `json:"unranked"` // of that, what the new map ranks nothing for
	Measured Pair    `json:"measured"` // demand whose ranking was measured
	// Uncounted are the IPv4 /24 blocks of which the demand says nothing. They have
	// clients all the same, who are in no other figure.
	Uncounted Blocks  `json:"uncounted"`
	RTT       Change  `json:"rtt"`       // of the moved demand
	PoPs      []PoP   `json:"pops"`      // of both maps, those of the new one first
	Moves     []Move  `json:"moves"`     // largest first
	Country   []Group `json:"countries"` // most moved first; without places none
	ASN       []Group `json:"asns"`      // likewise, the first MaxNetworks
	Spots     []Spot  `json:"-"`         // where the moved demand is
}

// Pair is a number by the old map and by the new one.
type Pair struct {
	Before float64 `json:"before"`
	After  float64 `json:"after"`
}

// Blocks are IPv4 /24 blocks.
type Blocks struct {
	Total float64 `json:"blocks"` // with a first choice in either map
	Moved float64 `json:"moved"`  // of them, those that get another one
}

// Change is how long round trips take at the first choice of the old map and at
// that of the new one, both as the new map expects them: means over Known demand,
// of which it expects both.
type Change struct {
	Known  float64 `json:"known"`
	Before float64 `json:"before_ms"`
	After  float64 `json:"after_ms"`
}

func (c *Change) add(demand, before, after float64) {
	c.Known += demand
	c.Before += float64(demand * before)
	c.After += float64(demand * after)
}

func (c *Change) finish() {
	if c.Known > 0 {
		c.Before, c.After = c.Before/c.Known, c.After/c.Known
	}
}

// PoP is the demand of one PoP by each map. Limits are of the new map, in
// requests/s; 0: it has none.
type PoP struct {
	Name     string  `json:"name"`
	Before   float64 `json:"before"`
	After    float64 `json:"after"`
	Capacity float64 `json:"capacity,omitempty"`
	Soft     float64 `json:"soft,omitempty"`
	Hard     float64 `json:"hard,omitempty"`
	Gone     bool    `json:"gone,omitempty"` // the new map does not know it
}

// Limit is the most that the PoP can have: its hard limit, or else its capacity;
// 0: it has none.
func (p PoP) Limit() float64 {
	if p.Hard > 0 {
		return p.Hard
	}
	return p.Capacity
}

// Move is demand that goes from one PoP to another; a name is empty where there
// is none.
type Move struct {
	From   string  `json:"from"`
	To     string  `json:"to"`
	Demand float64 `json:"demand"`
	RTT    Change  `json:"rtt"`
}

// Group is the demand of one country or network.
type Group struct {
	Name  string  `json:"name"`
	Total float64 `json:"total"`
	Moved float64 `json:"moved"`
	RTT   Change  `json:"rtt"`
}

// MaxNetworks is how many networks a result lists.
const MaxNetworks = 20

// Spot is the moved demand of a square of half a degree.
type Spot struct {
	Lat, Lon float64 // its middle
	Demand   float64
	RTT      Change
}

// spotStep is the size of a spot, degrees.
const spotStep = 0.5

// Maps compares two maps. The demand's unit is only a word for it; without demand
// it is /24 blocks. Locate may be nil.
func Maps(before, after *maps.Map, demand []simulate.Demand, unit string, locate Locate) *Result {
	c := &comparison{before: before, after: after, locate: locate}
	c.names()
	c.result.Unit = unit
	if demand == nil {
		c.result.Unit = "/24 blocks"
		c.spread(netip.MustParsePrefix("0.0.0.0/0"), 1<<24, true)
	}
	for _, d := range demand {
		c.spread(d.Prefix, d.Requests, false)
	}
	if demand != nil {
		c.countRest(demand)
	}
	return c.finish()
}

// comparison is one in progress. PoPs are indexes of result.PoPs; none is -1.
type comparison struct {
	before, after *maps.Map
	locate        Locate
	old, new      []int // by the maps' own indexes
	result        Result
	moves         map[[2]int]*Move
	countries     map[string]*Group
	networks      map[uint32]*Group
	spots         map[[2]int32]*Spot
}

const none = -1

func (c *comparison) names() {
	c.moves, c.countries = map[[2]int]*Move{}, map[string]*Group{}
	c.networks, c.spots = map[uint32]*Group{}, map[[2]int32]*Spot{}
	r := &c.result
	prices := c.after.Prices()
	for i, p := range c.after.PoPs() {
		pop := PoP{Name: p.Name, Capacity: float64(p.Capacity)}
		if prices != nil {
			pop.Soft, pop.Hard = prices[i].Soft, prices[i].Hard
		}
		c.new = append(c.new, i)
		r.PoPs = append(r.PoPs, pop)
	}
	for _, p := range c.before.PoPs() {
		at := slices.IndexFunc(r.PoPs, func(q PoP) bool { return q.Name == p.Name })
		if at < 0 {
			at = len(r.PoPs)
			r.PoPs = append(r.PoPs, PoP{Name: p.Name, Gone: true})
		}
		c.old = append(c.old, at)
	}
}

// spread walks over the parts of a network that neither map nor the places cut,
// and adds the demand that lies on each if it lies evenly. Where nobody said that
// there is any demand, what neither map ranks has none.
func (c *comparison) spread(p netip.Prefix, requests float64, assumed bool) {
	end := maps.LastOf(p)
	whole := maps.Span(p.Addr(), end)
	for at := p.Addr(); ; {
		oldRow, _, oldTo := c.before.ECS().Lookup(at)
		newRow, _, to := c.after.ECS().Lookup(at)
		if oldTo.Less(to) {
			to = oldTo
		}
		if end.Less(to) {
			to = end
		}
		var where place.Place
		if c.locate != nil {
			found, network, ok := c.locate(at)
			if network.Contains(at) { // an address may carry one of the other family, which is elsewhere
				if last := maps.LastOf(network); last.Less(to) {
					to = last
				}
			}
			if ok {
				where = found
			}
		}
		c.add(oldRow, newRow, where, requests*maps.Span(at, to)/whole, assumed)
		if to == end {
			return
		}
		at = to.Next()
	}
}

// firsts returns the first choices of rows of both maps.
func (c *comparison) firsts(oldRow, newRow maps.Row) (from, to int) {
	from, to = none, none
	if pop, ok := c.before.First(oldRow); ok {
		from = c.old[pop]
	}
	if pop, ok := c.after.First(newRow); ok {
		to = c.new[pop]
	}
	return from, to
}

func (c *comparison) add(oldRow, newRow maps.Row, where place.Place, demand float64, assumed bool) {
	from, to := c.firsts(oldRow, newRow)
	r := &c.result
	if from == none && to == none {
		if !assumed {
			r.Asked += demand
			r.Unranked += demand
		}
		return
	}
	r.Asked += demand
	r.Total += demand
	if oldRow.Measured() {
		r.Measured.Before += demand
	}
	if newRow.Measured() {
		r.Measured.After += demand
	}
	if from != none {
		r.PoPs[from].Before += demand
	}
	if to == none {
		r.Lost += demand
		r.Unranked += demand
	} else {
		r.PoPs[to].After += demand
	}
	groups := c.groups(where)
	for _, g := range groups {
		g.Total += demand
	}
	if from == to {
		return
	}
	r.Moved += demand
	move := c.moves[[2]int{from, to}]
	if move == nil {
		move = &Move{From: c.name(from), To: c.name(to)}
		c.moves[[2]int{from, to}] = move
	}
	move.Demand += demand
	changes := []*Change{&r.RTT, &move.RTT}
	for _, g := range groups {
		g.Moved += demand
		changes = append(changes, &g.RTT)
	}
	if s := c.spot(where); s != nil {
		s.Demand += demand
		changes = append(changes, &s.RTT)
	}
	if before, after, ok := c.expected(newRow, from, to); ok {
		for _, change := range changes {
			change.add(demand, before, after)
		}
	}
}

// expected returns the round trips to both PoPs as the new map's row has them.
func (c *comparison) expected(row maps.Row, from, to int) (before, after float64, ok bool) {
	for _, h := range c.after.Ranking(row.Ranking()).Hops {
		switch int(h.PoP) {
		case from:
			before = float64(h.RTT) / 2
		case to:
			after = float64(h.RTT) / 2
		}
	}
	return before, after, before > 0 && after > 0
}

func (c *comparison) name(pop int) string {
	if pop == none {
		return ""
	}
	return c.result.PoPs[pop].Name
}

// groups returns the country and the network of a place, as far as known.
func (c *comparison) groups(p place.Place) (list []*Group) {
	if p.Country != "" {
		g := c.countries[p.Country]
		if g == nil {
			g = &Group{Name: p.Country}
			c.countries[p.Country] = g
		}
		list = append(list, g)
	}
	if p.ASN != 0 {
		g := c.networks[p.ASN]
		if g == nil {
			g = &Group{Name: fmt.Sprintf("AS%d", p.ASN)}
			c.networks[p.ASN] = g
		}
		list = append(list, g)
	}
	return list
}

// spot returns the spot of a place; nil when it has no coordinates.
func (c *comparison) spot(p place.Place) *Spot {
	if !p.HasCoord {
		return nil
	}
	k := [2]int32{int32(math.Floor(p.Lat / spotStep)), int32(math.Floor(p.Lon / spotStep))}
	s := c.spots[k]
	if s == nil {
		s = &Spot{Lat: (float64(k[0]) + 0.5) * spotStep, Lon: (float64(k[1]) + 0.5) * spotStep}
		c.spots[k] = s
	}
	return s
}

func (c *comparison) finish() *Result {
	r := &c.result
	r.RTT.finish()
	r.Moves = make([]Move, 0, len(c.moves))
	for _, m := range c.moves {
		m.RTT.finish()
		r.Moves = append(r.Moves, *m)
	}
	slices.SortFunc(r.Moves, func(a, b Move) int {
		return cmp.Or(cmp.Compare(b.Demand, a.Demand), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	r.Country, r.ASN = mostMoved(c.countries), mostMoved(c.networks)
	r.ASN = r.ASN[:min(len(r.ASN), MaxNetworks)]
	for _, s := range c.spots {
		s.RTT.finish()
		r.Spots = append(r.Spots, *s)
	}
	slices.SortFunc(r.Spots, func(a, b Spot) int { return cmp.Or(cmp.Compare(a.Lat, b.Lat), cmp.Compare(a.Lon, b.Lon)) })
	return r
}

// mostMoved returns groups with moved demand, the most first.
func mostMoved[K comparable](groups map[K]*Group) []Group {
	list := []Group{}
	for _, g := range groups {
		if g.Moved > 0 {
			g.RTT.finish()
			list = append(list, *g)
		}
	}
	slices.SortFunc(list, func(a, b Group) int { return cmp.Or(cmp.Compare(b.Moved, a.Moved), cmp.Compare(a.Name, b.Name)) })
	return list
}
