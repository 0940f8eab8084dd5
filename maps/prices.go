package maps

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Pricing is what a map says of one PoP's load: the price that the rankings were
// made with, and what an edge needs to move the price when the load is another
// than was expected (package geo/shed does).
type Pricing struct {
	Price      uint32  // added to the PoP's round-trip times, in microseconds, at most MaxPricing
	Soft, Hard float64 // requests/s that the PoP should have, and can have, at most; 0: no limit
	// Demand, in requests/s, is that of all clients whose ranking the PoP is first
	// in. Leaving is the part of it that would go to another PoP of the ranking
	// if the price rose, ascending by how much; the rest has nowhere to go.
	Demand  float64
	Leaving []Leaving
}

// Leaving is the demand of clients that lose so many steps of half a millisecond,
// prices included, by going to their second choice.
type Leaving struct {
	Steps  uint32  // at most MaxLeaving
	Demand float64 // requests/s, above 0
}

// Bounds of a Pricing.
const (
	MaxPricing = 10_000_000 // microseconds
	MaxLeaving = 1<<10 - 1  // steps
)

// MaxRequests is the most requests/s that a map can say of anything.
const MaxRequests = 1e15

// Prices returns what the map says of each PoP's load, by PoP index; nil: nothing.
func (m *Map) Prices() []Pricing { return m.prices }

func encodePrices(prices []Pricing) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(prices)))
	for _, p := range prices {
		b = binary.LittleEndian.AppendUint32(b, p.Price)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p.Leaving)))
		for _, requests := range [...]float64{p.Soft, p.Hard, p.Demand} {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(requests))
		}
		for _, l := range p.Leaving {
			b = binary.LittleEndian.AppendUint32(b, l.Steps)
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(l.Demand))
		}
	}
	return b
}

func (m *Map) parsePrices(c *cursor) error {
	n, err := c.uint32()
	if err != nil {
		return err
	}
	if int(n) != len(m.pops) {
		return fmt.Errorf("prices are of %d pops, but the map has %d", n, len(m.pops))
	}
	m.prices = make([]Pricing, n)
	for i := range m.prices {
		p := &m.prices[i]
		if err := c.pricing(p); err != nil {
			return fmt.Errorf("pop %q: %w", m.pops[i].Name, err)
		}
	}
	return nil
}

func (c *cursor) pricing(p *Pricing) (err error) {
	if p.Price, err = c.uint32(); err != nil {
		return err
	}
	if p.Price > MaxPricing {
		return fmt.Errorf("price of %d µs, want at most %d", p.Price, MaxPricing)
	}
	leaving, err := c.uint32()
	if err != nil {
		return err
	}
	if leaving > MaxLeaving+1 {
		return fmt.Errorf("demand leaves at %d prices, want at most %d", leaving, MaxLeaving+1)
	}
	for _, to := range [...]*float64{&p.Soft, &p.Hard, &p.Demand} {
		if *to, err = c.requests(); err != nil {
			return err
		}
	}
	if p.Hard > 0 && p.Hard < p.Soft {
		return fmt.Errorf("hard limit %v is below the soft limit %v", p.Hard, p.Soft)
	}
	sum := 0.0
	for i := range int(leaving) {
		var l Leaving
		if l.Steps, err = c.uint32(); err != nil {
			return err
		}
		if l.Demand, err = c.requests(); err != nil {
			return err
		}
		switch {
		case l.Steps > MaxLeaving || i > 0 && l.Steps <= p.Leaving[i-1].Steps:
			return fmt.Errorf("demand leaves at %d steps, want them to ascend to %d at most", l.Steps, MaxLeaving)
		case l.Demand == 0:
			return fmt.Errorf("no demand leaves at %d steps: such steps are left out", l.Steps)
		}
		sum += l.Demand
		p.Leaving = append(p.Leaving, l)
	}
	if sum > p.Demand*(1+1e-9) { // sums of the same numbers in another order differ
		return fmt.Errorf("demand of %v leaves, of %v in all", sum, p.Demand)
	}
	return nil
}

// requests reads a number of requests/s.
func (c *cursor) requests() (float64, error) {
	bits, err := c.uint64()
	if err != nil {
		return 0, err
	}
	v := math.Float64frombits(bits)
	if !(v >= 0 && v <= MaxRequests) || math.Signbit(v) { // also when not a number
		return 0, fmt.Errorf("%v requests/s: want 0 to %g", v, float64(MaxRequests))
	}
	return v, nil
}
