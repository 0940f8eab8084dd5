package mapper

import (
	"fmt"
	"net/netip"
	"strings"

	"edged/mapper/beacon"
	"edged/mapper/estimate"
	"edged/maps"
)

// Explanation says why a range of a map has the ranking that it has, as far as the
// map itself tells.
type Explanation struct {
	Source string     `json:"source"`         // measured, place or unknown
	Unit   *UnitBasis `json:"unit,omitempty"` // what the clients of the address's block brought; nil: nothing, or too little to be noted
	Hops   []HopBasis `json:"hops"`
	Then   []string   `json:"then"` // the PoPs behind them, by distance
}

// UnitBasis is what the clients of a block brought.
type UnitBasis struct {
	Prefix   netip.Prefix `json:"prefix"`
	Sessions int          `json:"sessions"`
	Sources  int          `json:"sources"`
	Access   float64      `json:"access_ms"` // what all its round trips have in common
	Age      int          `json:"age_hours"` // mean of the sessions, before the newest of all
	Kept     bool         `json:"kept"`      // its first choice is not the best by time and price
}

// HopBasis is one PoP of a ranking: its number, where that comes from, and why it
// stands there.
type HopBasis struct {
	PoP     string  `json:"pop"`
	RTT     float64 `json:"rtt_ms,omitempty"`
	Price   float64 `json:"price_ms,omitempty"` // for load, added where PoPs are compared
	Level   string  `json:"level,omitempty"`
	Samples int     `json:"samples,omitempty"` // at least: of the block itself, or else blocks of that level
	From    string  `json:"from"`
	Why     string  `json:"why"`
}

// Explain says why a row of a map's client table, or of its resolver table, is as
// it is for an address.
func Explain(m *maps.Map, resolver bool, addr netip.Addr) Explanation {
	table := m.ECS()
	if resolver {
		table = m.Resolver()
	}
	row, _, _ := table.Lookup(addr)
	ranking, pops := m.Ranking(row.Ranking()), m.PoPs()
	e := Explanation{Source: "place", Hops: []HopBasis{}, Then: []string{}}
	switch {
	case row.Measured():
		e.Source = "measured"
	case ranking.Order == maps.NoOrder:
		e.Source = "unknown"
	}
	if u, ok := m.UnitOrigin(addr); ok && !resolver {
		e.Unit = &UnitBasis{u.Prefix, u.Sessions, u.Sources, u.Access, u.Age, u.Kept}
	}
	origins, ranked := m.HopOrigins(row.Ranking()), make([]bool, len(pops))
	for i, h := range ranking.Hops {
		ranked[h.PoP] = true
		b := HopBasis{PoP: pops[h.PoP].Name, RTT: float64(h.RTT) / 2, From: "nobody says"}
		if prices := m.Prices(); prices != nil {
			b.Price = float64(prices[h.PoP].Price) / 1000
		}
		switch {
		case h.RTT == 0:
			b.From = "no round trip is known"
		case origins != nil:
			b.origin(origins[i])
		}
		e.Hops = append(e.Hops, b)
	}
	for i := range e.Hops {
		e.Hops[i].Why = e.why(i)
	}
	if ranking.Order != maps.NoOrder {
		for _, pop := range m.Order(ranking.Order) {
			if !ranked[pop] {
				e.Then = append(e.Then, pops[pop].Name)
			}
		}
	}
	return e
}

// levelWords say what counts on a level, and where.
var levelWords = [...]string{
	estimate.World:      "blocks all over the world",
	estimate.Near:       "blocks in places around, also across borders",
	estimate.Country:    "blocks of the country",
	estimate.Metro:      "blocks of the metro",
	estimate.NetCountry: "blocks of the network in the country",
	estimate.NetMetro:   "blocks of the network in the metro",
	estimate.Own:        "samples of its own",
}

func (b *HopBasis) origin(o maps.Origin) {
	level, ok := LevelOf(o)
	if !ok {
		b.From = "distance, or a list of networks"
		return
	}
	b.Level, b.Samples = level.String(), o.Samples()
	switch words := levelWords[level]; {
	case b.Samples == 1:
		b.From = "1 " + strings.NewReplacer("blocks", "block", "samples", "sample").Replace(words)
	case b.Samples > 3:
		b.From = fmt.Sprintf("%d or more %s", b.Samples, words)
	default:
		b.From = fmt.Sprintf("%d %s", b.Samples, words)
	}
}

// cost is what PoPs are compared by, ms.
func (b HopBasis) cost() float64 { return b.RTT + b.Price }

// why says why a hop stands where it does.
func (e *Explanation) why(i int) string {
	h := e.Hops[i]
	if h.RTT == 0 {
		return "as listed"
	}
	if i > 0 {
		return whyBehind(e.Hops[i-1], h)
	}
	best := h
	for _, other := range e.Hops[1:] {
		if other.RTT > 0 && other.cost() < best.cost() {
			best = other
		}
	}
	switch less := h.cost() - best.cost(); {
	case best.PoP == h.PoP && h.Price > 0:
		return "least round trip and price"
	case best.PoP == h.PoP:
		return "least round trip"
	case less < 0.05: // round trips have half a millisecond, so prices make it so
		return fmt.Sprintf("as good as %s at these prices: clients are shared out between them", best.PoP)
	case e.Unit != nil && e.Unit.Kept:
		return fmt.Sprintf("kept, although %s takes %.1f ms less: a change must gain 3 ms and a tenth, and probably so, and limits of PoPs hold", best.PoP, less)
	default:
		return fmt.Sprintf("merged with its neighbours, although %s takes %.1f ms less: that is within the tolerance, or was in the list", best.PoP, less)
	}
}

// whyBehind says why a hop stands behind another.
func whyBehind(before, h HopBasis) string {
	more := h.cost() - before.cost()
	switch {
	case before.RTT == 0 || more < 0:
		return "after " + before.PoP
	case more == 0:
		return "a tie with " + before.PoP + ": to half a millisecond they are the same"
	case h.Price != before.Price:
		return fmt.Sprintf("%.1f ms behind %s, prices counted", more, before.PoP)
	}
	return fmt.Sprintf("%.1f ms behind %s", more, before.PoP)
}

// Trace returns how the estimates of an address came about, the best first. Own
// reports whether its block measured anything.
func (e *Estimates) Trace(addr netip.Addr) (list []estimate.Trace, own bool) {
	unit := beacon.UnitOf(addr)
	for i, u := range e.units {
		if u.Unit == unit {
			return e.model.Explain(i), len(u.Cells) > 0
		}
	}
	p := e.locate(addr)
	if !p.HasCoord {
		return nil, false
	}
	p, _ = e.snap(p)
	return e.model.ExplainAt(p), false
}
