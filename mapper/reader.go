package mapper

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"net/netip"
	"sync"

	"edged/mapper/beacon"
	"edged/mapper/estimate"
)

// reader gathers measurements while sessions are read. Its method unit is called
// by several goroutines.
type reader struct {
	o      Reading
	pops   []uint16 // the fleet's index of each of the set's PoPs
	newest int64    // hour of the set, Unix time / 3600
	agg    beacon.Aggregation

	mu        sync.Mutex // guards what follows
	m         *Measurements
	resolvers map[netip.Addr]map[beacon.Unit]float64
}

// notInFleet stands for a PoP of the set that the fleet does not have.
const notInFleet = math.MaxUint16

func newReader(set *beacon.Set, o Reading, agg beacon.Aggregation) *reader {
	r := &reader{o: o, agg: agg, m: &Measurements{}, resolvers: map[netip.Addr]map[beacon.Unit]float64{}}
	index := map[string]uint16{}
	for i, p := range o.PoPs {
		index[p.Name] = uint16(i)
	}
	for _, name := range set.PoPs {
		at, ok := index[name]
		if !ok {
			at = notInFleet
		}
		r.pops = append(r.pops, at)
	}
	if n := len(set.Hours); n > 0 {
		r.newest = set.Hours[n-1].Start.Unix() / 3600
	}
	return r
}

// unit takes in all sessions of a unit.
func (r *reader) unit(unit beacon.Unit, list []beacon.Session) error {
	var (
		m        Measurements // of this unit
		sessions []estimate.Session
		asked    = map[netip.Addr]float64{}
		sources  = map[netip.Addr]struct{}{}
		age      = 0.0
		failures [][]estimate.Value // of each session
	)
	for _, s := range list {
		session, failed := r.session(s, &m)
		if len(session.Values) == 0 {
			continue
		}
		if !r.o.Part.takes(s.ID) {
			if r.o.Part == Seen {
				m.Held = append(m.Held, HeldSession{ID: s.ID, Client: s.Rows[0].Client, Values: session.Values})
			}
			continue
		}
		sources[session.Client] = struct{}{}
		age += r.age(s)
		m.Newest = max(m.Newest, s.Time())
		sessions = append(sessions, session)
		m.Rows += len(session.Values)
		m.Failures += len(failed)
		failures = append(failures, failed)
		if resolver := s.Rows[0].Resolver; resolver.IsValid() {
			asked[resolver]++
		}
	}
	var expected func(uint16) float64
	if r.o.Locate != nil {
		expected = estimate.Line(r.o.PoPs, r.o.Locate(unit.Prefix().Addr()))
	}
	corrected, cells := estimate.Correct(sessions, expected)
	samples, cells := weighted(unit, corrected, cells)
	if err := r.agg.Add(samples); err != nil {
		return err
	}
	left := failing(sessions, failures, m.Failures)
	for i := range m.Held {
		m.Held[i].Failing = left
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.m.Unknown += m.Unknown
	r.m.Refused += m.Refused
	r.m.Lowered += m.Lowered
	r.m.Held = append(r.m.Held, m.Held...)
	r.m.Newest = max(r.m.Newest, m.Newest)
	if len(sessions) == 0 {
		return nil
	}
	r.m.Units = append(r.m.Units, MeasuredUnit{unit, len(sessions), cells, len(sources), age / float64(len(sessions)), left})
	r.m.Sessions += len(sessions)
	r.m.Rows += m.Rows
	r.m.Failures += m.Failures
	for addr, n := range asked {
		if r.resolvers[addr] == nil {
			r.resolvers[addr] = map[beacon.Unit]float64{}
		}
		r.resolvers[addr][unit] = n
	}
	return nil
}

// age is how many hours before the newest one a session was.
func (r *reader) age(s beacon.Session) float64 { return float64(r.newest - s.Time()/3600) }

// session makes of a session's rows those values that count, and counts the
// others. The attempts that failed have values without a time.
func (r *reader) session(s beacon.Session, m *Measurements) (session estimate.Session, failed []estimate.Value) {
	session = estimate.Session{
		Client: beacon.SourceOf(s.Rows[0].Client).Prefix().Addr(), Weight: math.Exp2(-r.age(s) / beacon.HalfLife),
	}
	for _, row := range s.Rows {
		pop, counts := r.pops[row.PoP], 1.0
		if pop == notInFleet {
			m.Unknown++
			continue
		}
		if r.o.Weigh != nil {
			counts = r.o.Weigh(s, row)
		}
		if counts <= 0 {
			m.Refused++
			continue
		}
		if counts < 1 {
			m.Lowered++
		}
		value := estimate.Value{PoP: pop, RTT: float64(row.RTT) / 10, Less: 1 - counts}
		if row.Failed() {
			failed = append(failed, value)
			continue
		}
		session.Values = append(session.Values, value)
	}
	return session, failed
}

// weighted makes samples with whole weights. What rounding takes from one goes to
// the next of its PoP, so that the sum is right. Of each cell it notes how many
// samples there are; a cell of none goes.
func weighted(unit beacon.Unit, corrected []estimate.Sample, cells []estimate.Cell) ([]beacon.Sample, []estimate.Cell) {
	samples, kept := make([]beacon.Sample, 0, len(corrected)), cells[:0]
	for _, c := range cells {
		left := 0.0
		for len(corrected) > 0 && corrected[0].PoP == c.PoP {
			sum := left + beacon.MaxWeight*corrected[0].Weight
			whole := math.Floor(sum + 1e-9) // nine tenths and a tenth are one
			if left = sum - whole; whole > 0 {
				samples = append(samples, beacon.Sample{Unit: unit, PoP: c.PoP, Value: corrected[0].Tenths, Weight: uint16(min(whole, beacon.MaxWeight))})
				c.Samples++
			}
			corrected = corrected[1:]
		}
		if c.Samples > 0 {
			kept = append(kept, c)
		}
	}
	return samples, kept
}

// fillCells puts what an engine made of the samples into the units' cells. The
// engine must have all samples of each cell, and no other cells.
func fillCells(units []MeasuredUnit, cells iter.Seq2[beacon.Cell, error]) error {
	u, c := 0, 0 // next to fill
	for made, err := range cells {
		if err != nil {
			return err
		}
		for u < len(units) && c == len(units[u].Cells) {
			u, c = u+1, 0
		}
		if u == len(units) {
			return fmt.Errorf("the engine has a cell of %v that nobody measured", made.Unit)
		}
		cell := &units[u].Cells[c]
		if made.Unit != units[u].Unit || made.PoP != cell.PoP || int(made.Count) != cell.Samples {
			return fmt.Errorf("the engine has %d samples of %v and pop %d, want %d of %v and pop %d",
				made.Count, made.Unit, made.PoP, cell.Samples, units[u].Unit, cell.PoP)
		}
		cell.RTT, cell.P90 = float64(made.P50)/10, float64(made.P90)/10
		cell.Weight = float64(made.Weight) / beacon.MaxWeight
		cell.Spread = float64(made.Deviation) / float64(made.Weight) / 10
		c++
	}
	for u < len(units) && c == len(units[u].Cells) {
		u, c = u+1, 0
	}
	if u < len(units) {
		return errors.New("the engine has fewer cells than were measured")
	}
	return nil
}
