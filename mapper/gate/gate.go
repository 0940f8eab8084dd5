package gate

import (
	"fmt"
	"slices"
	"strings"

	"edged/mapper"
	"edged/mapper/compare"
	"edged/mapper/simulate"
	"edged/maps"
)

// The limits.
const (
	MaxHoles    = 0.1  // % of demand: place data loses a network now and then
	MinCoverage = 90.0 // % of the coverage of the map in force
	MaxMoved    = 10.0 // % of demand
	MaxRegret   = 1.0  // ms more than the map in force, mean

	// MaxUncounted is in % of addresses, which say little of how many clients there are:
	// so it is more than MaxMoved.
	MaxUncounted = 20.0

	// LeastHeld is the fewest sessions that tell what first choices cost. Those of a
	// source that brings too much count less.
	LeastHeld = 20
)

// Input is a map with what it is judged by.
type Input struct {
	InForce *maps.Map            // nil: it is the first one
	New     *maps.Map            //
	Fleet   []string             // names of the PoPs that there are; nil: those of the new map
	Demand  []simulate.Demand    // nil: /24 blocks count alike
	Unit    string               // of the demand
	Held    []mapper.HeldSession // by the indexes of the new map's PoPs
}

// Judge applies all rules.
func Judge(in Input) *maps.Gate {
	g := &maps.Gate{}
	before := in.New // a first map is held against itself where only its own figure counts
	if in.InForce != nil {
		before = in.InForce
		g.InForce = in.InForce.Version()
	}
	c := compare.Maps(before, in.New, in.Demand, in.Unit, nil)
	g.Rules = []maps.GateRule{in.holes(c), in.pops(), in.coverage(c), in.moved(c), in.uncounted(c), in.regret()}
	return g
}

const noneInForce = "no map is in force"

func (in *Input) holes(c *compare.Result) maps.GateRule {
	r := maps.GateRule{Name: "holes", Limit: MaxHoles, Unit: "%"}
	if in.InForce == nil {
		r.Figure = percent(c.Unranked, c.Asked)
		r.Note = "of demand has no first choice"
	} else {
		r.Figure = percent(c.Lost, c.Total)
		r.Note = "of demand had a first choice and would have none"
	}
	return judged(r, r.Figure > r.Limit)
}

func (in *Input) pops() maps.GateRule {
	r := maps.GateRule{Name: "pops", Unit: "pops"}
	var names []string
	for _, p := range in.New.PoPs() {
		if in.Fleet != nil && !slices.Contains(in.Fleet, p.Name) {
			names = append(names, p.Name+" is not in the fleet")
		}
	}
	if in.InForce != nil {
		for _, p := range in.InForce.PoPs() {
			if !has(in.New, p.Name) {
				names = append(names, p.Name+" is in force and missing")
			}
		}
	}
	r.Figure = float64(len(names))
	r.Note = brief(names)
	return judged(r, len(names) > 0)
}

func has(m *maps.Map, name string) bool {
	for _, p := range m.PoPs() {
		if p.Name == name {
			return true
		}
	}
	return false
}

// brief lists the first few.
func brief(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

func (in *Input) coverage(c *compare.Result) maps.GateRule {
	r := maps.GateRule{Name: "coverage", Unit: "%", Figure: percent(c.Measured.After, c.Asked), Note: "of demand has a measured ranking"}
	if in.InForce == nil {
		return notApplicable(r, noneInForce)
	}
	r.Limit = percent(c.Measured.Before, c.Asked) * MinCoverage / 100
	r.Note += ", at least nine tenths of the map in force"
	return judged(r, r.Figure < r.Limit)
}

func (in *Input) moved(c *compare.Result) maps.GateRule {
	r := maps.GateRule{Name: "moved", Limit: MaxMoved, Unit: "%"}
	if in.InForce == nil {
		return notApplicable(r, noneInForce)
	}
	r.Figure = percent(c.Moved, c.Total)
	r.Note = "of " + c.Unit
	if len(c.Moves) > 0 {
		m := c.Moves[0]
		r.Note += fmt.Sprintf(", most (%.2f %%) from %s to %s", percent(m.Demand, c.Total), orNone(m.From), orNone(m.To))
	}
	return judged(r, r.Figure > r.Limit)
}

// uncounted looks at clients of whom the demand says nothing: they go by the same map
// and prices, and would move unseen.
func (in *Input) uncounted(c *compare.Result) maps.GateRule {
	r := maps.GateRule{Name: "uncounted", Limit: MaxUncounted, Unit: "%"}
	switch {
	case in.InForce == nil:
		return notApplicable(r, noneInForce)
	case c.Uncounted.Total == 0:
		return notApplicable(r, "demand is of all IPv4 addresses with a first choice")
	}
	r.Figure = percent(c.Uncounted.Moved, c.Uncounted.Total)
	r.Note = fmt.Sprintf("of the %.0f /24 blocks without any demand", c.Uncounted.Total)
	return judged(r, r.Figure > r.Limit)
}

func (in *Input) regret() maps.GateRule {
	r := maps.GateRule{Name: "regret", Limit: MaxRegret, Unit: "ms"}
	if in.InForce == nil {
		return notApplicable(r, noneInForce)
	}
	held := mapper.CompareHeld(in.InForce, in.New, in.Held)
	if held.Weight < LeastHeld {
		return notApplicable(r, fmt.Sprintf("%d of %d sessions held back measured both first choices, want %d", held.Compared, held.Sessions, LeastHeld))
	}
	r.Figure = held.Worse()
	r.Note = fmt.Sprintf("%.2f ms in place of %.2f above the best, by %d sessions held back", held.After, held.Before, held.Compared)
	if held.Left > 0 {
		r.Note += fmt.Sprintf("; %d more leave a pop that clients fail to reach", held.Left)
	}
	return judged(r, r.Figure > r.Limit)
}

func judged(r maps.GateRule, refused bool) maps.GateRule {
	r.Outcome = maps.Passed
	if refused {
		r.Outcome = maps.Refused
	}
	return r
}

func notApplicable(r maps.GateRule, why string) maps.GateRule {
	r.Outcome, r.Limit, r.Note = maps.NotApplicable, 0, why
	return r
}

func percent(part, whole float64) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * part / whole
}

func orNone(pop string) string {
	if pop == "" {
		return "(none)"
	}
	return pop
}
