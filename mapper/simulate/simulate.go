// Package simulate says what happens to clients and PoPs when some PoPs go down:
// everybody whose first choice is gone takes the next in the map's ranking, as
// the edges would. Nothing sheds load by price here, so the loads are what the
// fleet must bear in the first minutes.
//
// It is pure: the same map and demand give the same result.
package simulate

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"edged/maps"
)

// Demand is what the clients of a network ask for, in requests per second.
type Demand struct {
	Prefix   netip.Prefix
	Requests float64
}

// demandHeader is the header that a file of demand may have.
const demandHeader = "prefix,requests"

// The bounds of demand, requests/s: the least of a line, one in thirty years, and the most
// of all lines, which maps can still say of a PoP.
const (
	leastDemand = 1e-9
	mostDemand  = 1e12
)

// ReadDemand reads lines of prefix,requests in CSV. The first may be this header,
// and lines that begin with # do not count. The error names the first line that is
// wrong.
func ReadDemand(r io.Reader, name string) ([]Demand, error) {
	records := csv.NewReader(r)
	records.Comment = '#'
	records.FieldsPerRecord = 2
	records.TrimLeadingSpace = true
	var list []Demand
	total := 0.0
	for first := true; ; first = false {
		record, err := records.Read()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		line, _ := records.FieldPos(0)
		if first && isHeader(record) {
			if text := strings.ToLower(strings.TrimSpace(record[0]) + "," + strings.TrimSpace(record[1])); text != demandHeader {
				return nil, fmt.Errorf("%s:%d: bad header %q: want %q, or no header, and demand in requests per second", name, line, strings.Join(record, ","), demandHeader)
			}
			continue
		}
		prefix, err := netip.ParsePrefix(strings.TrimSpace(record[0]))
		if err != nil || prefix != prefix.Masked() || prefix.Addr().Is4In6() {
			return nil, fmt.Errorf("%s:%d: %q is not a network such as 203.0.113.0/24", name, line, record[0])
		}
		requests, err := strconv.ParseFloat(strings.TrimSpace(record[1]), 64)
		if err != nil || !(requests >= 0) || math.IsInf(requests, 0) {
			return nil, fmt.Errorf("%s:%d: %q is not a number of requests per second", name, line, record[1])
		}
		if total += requests; total > mostDemand || requests > 0 && requests < leastDemand {
			return nil, fmt.Errorf("%s:%d: %q requests per second: want 0 or %v and more, and %v at most in all lines together", name, line, record[1], leastDemand, mostDemand)
		}
		list = append(list, Demand{prefix, requests})
	}
}

// isHeader says whether a record holds neither a network nor a number, or names a
// column.
func isHeader(record []string) bool {
	first := strings.TrimSpace(record[0])
	if strings.EqualFold(first, "prefix") || strings.EqualFold(first, "requests") {
		return true
	}
	_, isNumber := strconv.ParseFloat(strings.TrimSpace(record[1]), 64)
	return !strings.ContainsAny(first, "0123456789:") && isNumber != nil
}

// Result is what changes.
type Result struct {
	Down   []string `json:"down"`
	Total  float64  `json:"total"`   // demand with a first choice before
	Moved  float64  `json:"moved"`   // of it, that of clients whose first choice is down
	NoHome float64  `json:"no_home"` // of it, that of clients with no PoP left
	// RTTBefore and RTTAfter are the means of the moved demand in ms, as far as
	// both are known, which is RTTKnown of it.
	RTTBefore float64 `json:"rtt_before_ms"`
	RTTAfter  float64 `json:"rtt_after_ms"`
	RTTKnown  float64 `json:"rtt_known"`
	PoPs      []PoP   `json:"pops"`  // in the map's order
	Moves     []Move  `json:"moves"` // largest first
}

// PoP is the load of one PoP. Capacity is 0 when the map does not say.
type PoP struct {
	Name     string  `json:"name"`
	Before   float64 `json:"before"`
	After    float64 `json:"after"`
	Capacity float64 `json:"capacity,omitempty"`
}

// Over returns the load above capacity.
func (p PoP) Over() float64 {
	if p.Capacity == 0 {
		return 0
	}
	return max(0, p.After-p.Capacity)
}

// Move is demand that goes from one PoP to another; To is empty when none is left.
type Move struct {
	From   string  `json:"from"`
	To     string  `json:"to"`
	Demand float64 `json:"demand"`
}

// Down takes PoPs out of a map's client table. Without demand every known IPv4
// address counts alike, 256 of them as 1. It errs when the map has no such PoP.
func Down(m *maps.Map, down []string, demand []Demand) (*Result, error) {
	s := &simulation{m: m, down: make([]bool, len(m.PoPs())), moves: map[[2]int]float64{}}
	for _, p := range m.PoPs() {
		s.result.PoPs = append(s.result.PoPs, PoP{Name: p.Name, Capacity: float64(p.Capacity)})
	}
	for _, name := range down {
		i := slices.IndexFunc(s.result.PoPs, func(p PoP) bool { return p.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("map has no pop %q", name)
		}
		s.down[i] = true
	}
	s.result.Down = down
	if demand == nil {
		s.spread(netip.MustParsePrefix("0.0.0.0/0"), 1<<24)
	}
	for _, d := range demand {
		s.spread(d.Prefix, d.Requests)
	}
	return s.finish(), nil
}

type simulation struct {
	m      *maps.Map
	down   []bool
	moves  map[[2]int]float64 // by PoPs from and to; -1: none
	result Result
}

// spread adds demand that lies evenly over a network's addresses.
func (s *simulation) spread(p netip.Prefix, requests float64) {
	end := maps.LastOf(p)
	whole := maps.Span(p.Addr(), end)
	for at := p.Addr(); ; {
		row, _, to := s.m.ECS().Lookup(at)
		if end.Less(to) {
			to = end
		}
		s.add(row, requests*maps.Span(at, to)/whole)
		if to == end {
			return
		}
		at = to.Next()
	}
}

// add moves the demand of one row.
func (s *simulation) add(row maps.Row, demand float64) {
	first, ok := s.m.First(row)
	if !ok {
		return
	}
	r := &s.result
	r.Total += demand
	r.PoPs[first].Before += demand
	if !s.down[first] {
		r.PoPs[first].After += demand
		return
	}
	r.Moved += demand
	to, before, after := s.next(row)
	s.moves[[2]int{int(first), to}] += demand
	if to < 0 {
		r.NoHome += demand
		return
	}
	r.PoPs[to].After += demand
	if before > 0 && after > 0 {
		r.RTTKnown += demand
		r.RTTBefore += demand * before
		r.RTTAfter += demand * after
	}
}

// next returns the first PoP of a ranking that is not down, or -1, and the times
// of the ranking's first and of that one in ms, 0 when not known.
func (s *simulation) next(row maps.Row) (to int, before, after float64) {
	ranking := s.m.Ranking(row.Ranking())
	for i, hop := range ranking.Hops {
		if i == 0 {
			before = float64(hop.RTT) / 2
		}
		if !s.down[hop.PoP] {
			return int(hop.PoP), before, float64(hop.RTT) / 2
		}
	}
	if ranking.Order != maps.NoOrder {
		for _, pop := range s.m.Order(ranking.Order) {
			if !s.down[pop] {
				return int(pop), before, 0
			}
		}
	}
	return -1, before, 0
}

func (s *simulation) finish() *Result {
	r := &s.result
	if r.RTTKnown > 0 {
		r.RTTBefore /= r.RTTKnown
		r.RTTAfter /= r.RTTKnown
	}
	r.Moves = []Move{}
	for pair, demand := range s.moves {
		move := Move{From: r.PoPs[pair[0]].Name, Demand: demand}
		if pair[1] >= 0 {
			move.To = r.PoPs[pair[1]].Name
		}
		r.Moves = append(r.Moves, move)
	}
	slices.SortFunc(r.Moves, func(a, b Move) int {
		return cmp.Or(cmp.Compare(b.Demand, a.Demand), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return r
}
