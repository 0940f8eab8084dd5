package assign

// Solve assigns every unit to one of its candidates. It errs only on a problem
// that makes no sense; one whose demand does not fit is solved with the
// shortages named.
func Solve(p *Problem) (*Result, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	s := newSolver(p)
	if p.Prices == nil {
		s.ascend(coldSample)
	}
	if s.raiseShort() {
		s.startAnew()
	}
	if p.Prices == nil {
		s.ascend(coldWhole)
	} else {
		s.ascend(warmWhole)
	}
	if s.fit() { // a shortage that shows only on the way
		s.startAnew()
		s.ascend(coldWhole)
		s.fit()
	}
	s.pullBack()
	return s.result(), nil
}

// startAnew finds prices for limits that were raised: those of limits that cannot
// be kept rise for ever.
func (s *solver) startAnew() {
	clear(s.prices)
	s.ascend(coldSample)
}

// solver is the state of one Solve.
type solver struct {
	problem   *Problem
	demand    []uint32
	first     []uint32
	packed    []uint32
	limit     []int64 // by PoP, as raised so far
	prices    []int32 // by PoP, in price units
	choice    []uint8 // by unit, counted from its first candidate
	load      []int64 // by PoP, of the choices
	shortages []Shortage
}

func newSolver(p *Problem) *solver {
	s := &solver{
		problem: p, demand: p.Demand, first: p.First, packed: pack(p),
		limit: make([]int64, len(p.Limits)), prices: make([]int32, len(p.Limits)),
		choice: make([]uint8, len(p.Demand)), load: make([]int64, len(p.Limits)),
	}
	for pop, l := range p.Limits {
		s.limit[pop] = Unlimited
		if l != (Limit{}) {
			s.limit[pop] = l.Soft
		}
	}
	for pop, price := range p.Prices {
		s.prices[pop] = int32(price*perMs + 0.5)
	}
	return s
}

func (s *solver) limited(pop int) bool { return s.limit[pop] != Unlimited }

// room returns how much more a PoP may be given; below 0 is an overload.
func (s *solver) room(pop int) int64 { return s.limit[pop] - s.load[pop] }
