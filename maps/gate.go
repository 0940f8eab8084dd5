package maps

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// Gate is what a new map was held against before it was written, and who let it
// pass if it did not by itself. It was signed off when the map was built.
type Gate struct {
	InForce  string      `json:"in_force,omitempty"` // version of the map in force; empty: there was none
	Rules    []GateRule  `json:"rules"`
	Accepted *Acceptance `json:"accepted,omitempty"` // nil: nobody had to
}

// GateRule is one rule with what it found.
type GateRule struct {
	Name    string  `json:"name"`
	Outcome Outcome `json:"outcome"`
	Figure  float64 `json:"figure"`
	Limit   float64 `json:"limit"`
	Unit    string  `json:"unit"` // of both, such as ms
	Note    string  `json:"note,omitempty"`
}

// Acceptance is a person's word that a map may be used although rules refuse it.
type Acceptance struct {
	By     string `json:"by"`
	Reason string `json:"reason"`
}

// Outcome is what a rule says.
type Outcome uint8

// The outcomes.
const (
	NotApplicable Outcome = iota // there is nothing to hold the map against
	Passed
	Refused
	outcomes
)

var outcomeNames = [outcomes]string{"not applicable", "ok", "refused"}

// String returns the outcome in words.
func (o Outcome) String() string {
	if o < outcomes {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// MarshalText writes the outcome in words.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (o *Outcome) UnmarshalText(b []byte) error {
	for i, name := range outcomeNames {
		if name == string(b) {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("unknown outcome %q: want ok, refused or not applicable", b)
}

// Refused returns the names of the rules that refuse the map.
func (g *Gate) Refused() (names []string) {
	for _, r := range g.Rules {
		if r.Outcome == Refused {
			names = append(names, r.Name)
		}
	}
	return names
}

// maxGateRules bounds what a file may claim.
const maxGateRules = 64

func encodeGate(g *Gate) []byte {
	b := appendText(nil, g.InForce)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(g.Rules)))
	for _, r := range g.Rules {
		b = appendText(b, r.Name)
		b = binary.LittleEndian.AppendUint16(b, uint16(r.Outcome))
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(r.Figure))
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(r.Limit))
		b = appendText(b, r.Unit)
		b = appendText(b, r.Note)
	}
	var a Acceptance
	if g.Accepted != nil {
		a = *g.Accepted
	}
	return appendText(appendText(b, a.By), a.Reason)
}

func (m *Map) parseGate(c *cursor) (err error) {
	g := &Gate{}
	if g.InForce, err = c.text(); err != nil {
		return err
	}
	n, err := c.uint16()
	if err != nil {
		return err
	}
	if n > maxGateRules {
		return fmt.Errorf("gate has %d rules, want at most %d", n, maxGateRules)
	}
	g.Rules = make([]GateRule, n)
	for i := range g.Rules {
		if err := g.Rules[i].parse(c); err != nil {
			return err
		}
	}
	var a Acceptance
	if a.By, err = c.text(); err != nil {
		return err
	}
	if a.Reason, err = c.text(); err != nil {
		return err
	}
	if a != (Acceptance{}) {
		g.Accepted = &a
	}
	if refused := g.Refused(); len(refused) > 0 && g.Accepted == nil {
		return fmt.Errorf("gate refuses the map (%s), and nobody signed it off", strings.Join(refused, ", "))
	}
	m.gate = g
	return nil
}

func (r *GateRule) parse(c *cursor) (err error) {
	if r.Name, err = c.text(); err != nil {
		return err
	}
	outcome, err := c.uint16()
	if err != nil {
		return err
	}
	if outcome >= uint16(outcomes) {
		return fmt.Errorf("rule %q of the gate has outcome %d, want less than %d", r.Name, outcome, outcomes)
	}
	r.Outcome = Outcome(outcome)
	for _, to := range []*float64{&r.Figure, &r.Limit} {
		bits, err := c.uint64()
		if err != nil {
			return err
		}
		if *to = math.Float64frombits(bits); math.IsNaN(*to) || math.IsInf(*to, 0) {
			return fmt.Errorf("rule %q of the gate has %v, want a number", r.Name, *to)
		}
	}
	if r.Unit, err = c.text(); err != nil {
		return err
	}
	r.Note, err = c.text()
	return err
}
