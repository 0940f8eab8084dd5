package beacon

import (
	"cmp"
	"context"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
)

// rowsAtOnce is how many rows ByUnit holds at a time, at some 20 octets each in
// sessions of four: less than half a gigabyte.
const rowsAtOnce = 24 << 20

// ByUnit calls do once for each unit, with all its sessions in the order of
// their hours and then their numbers. A session belongs to the unit of its first
// row's client. Units come in no order, from several goroutines; do may not keep
// what it is given. ByUnit returns the first error, of reading or of do.
//
// Segments are ordered by hour, so they are read once for that many rows,
// taking up the units whose turn it is. Memory is bounded by that and by what the
// largest unit has.
func (s *Set) ByUnit(ctx context.Context, workers int, do func(Unit, []Session) error) error {
	return s.byUnit(ctx, workers, rowsAtOnce, do)
}

func (s *Set) byUnit(ctx context.Context, workers, atOnce int, do func(Unit, []Session) error) error {
	turns := uint64(max(1, (s.Rows+atOnce-1)/atOnce))
	for turn := range turns {
		r, err := s.regroup(ctx, workers, func(u Unit) bool { return u.turn(turns) == turn })
		if err != nil {
			return err
		}
		if err := r.each(ctx, workers, do); err != nil {
			return err
		}
	}
	return nil
}

// turn parts units evenly, wherever they lie.
func (u Unit) turn(of uint64) uint64 {
	h := uint64(u) * 0x9e3779b97f4a7c15
	h = (h ^ h>>32) * 0xd6e8feb86659fd93
	turn, _ := bits.Mul64(h^h>>32, of)
	return turn
}

// regrouped is the sessions of some units, packed as in segments.
type regrouped struct {
	set   *Set
	hours [][]byte              // groups, of each hour of the set
	parts [][unitParts][]placed // by hour and the units' part, ordered by number
}

// unitParts is in how many parts units are worked on: more than there are
// processors, so that all are at work until the end.
const unitParts = 64

// placed is where a session is.
type placed struct {
	unit   Unit
	at     int   // offset in its hour's octets
	hour   int32 // index in the set's
	groups int32
}

// regroup reads all hours and takes the sessions of the units it is asked for.
func (s *Set) regroup(ctx context.Context, workers int, take func(Unit) bool) (*regrouped, error) {
	r := &regrouped{set: s, hours: make([][]byte, len(s.Hours)), parts: make([][unitParts][]placed, len(s.Hours))}
	err := eachHour(ctx, s, workers, func(h *Hour) error {
		i := h.index()
		from := h.Start.Unix()
		for session, err := range h.sessions(false) {
			if err != nil {
				return err
			}
			rows := session.Rows
			p := placed{unit: UnitOf(rows[0].Client), at: len(r.hours[i]), hour: int32(i)}
			if !take(p.unit) {
				continue
			}
			for len(rows) > 0 {
				n := groupLength(rows)
				r.hours[i] = appendGroup(r.hours[i], from, rows[:n])
				rows = rows[n:]
				p.groups++
			}
			part := &r.parts[i][p.unit.turn(unitParts)]
			*part = append(*part, p)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// part returns the sessions of a part of the units, ordered by unit, hour and
// number.
func (r *regrouped) part(i uint64) []placed {
	var list []placed
	for h := range r.parts {
		list = append(list, r.parts[h][i]...)
		r.parts[h][i] = nil
	}
	slices.SortFunc(list, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.unit, b.unit), cmp.Compare(a.hour, b.hour), cmp.Compare(a.at, b.at))
	})
	return list
}

// each unpacks unit by unit, in several goroutines.
func (r *regrouped) each(ctx context.Context, workers int, do func(Unit, []Session) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Uint64
	var wg sync.WaitGroup
	for range max(1, workers) {
		wg.Go(func() {
			u := unpacker{r: r, pops: make([]uint16, len(r.set.PoPs))}
			for i := range u.pops {
				u.pops[i] = uint16(i)
			}
			for i := next.Add(1) - 1; i < unitParts && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := u.units(ctx, r.part(i), do); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// unpacker has the memory of one goroutine.
type unpacker struct {
	r        *regrouped
	pops     []uint16 // each its own index: they are the set's already
	rows     []Row
	sessions []Session
}

func (u *unpacker) units(ctx context.Context, list []placed, do func(Unit, []Session) error) error {
	for len(list) > 0 && ctx.Err() == nil {
		n := 1
		for n < len(list) && list[n].unit == list[0].unit {
			n++
		}
		if err := u.unpack(list[:n]); err != nil {
			return err
		}
		if err := do(list[0].unit, u.sessions); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

func (u *unpacker) unpack(list []placed) error {
	u.rows, u.sessions = u.rows[:0], u.sessions[:0]
	for _, p := range list {
		b, from, first := u.r.hours[p.hour][p.at:], u.r.set.Hours[p.hour].Start.Unix(), len(u.rows)
		for range p.groups {
			size, err := groupSize(b)
			if err != nil {
				return err
			}
			g := parseGroup(b[:size])
			if u.rows, err = g.appendRows(u.rows, from, u.pops); err != nil {
				return err
			}
			b = b[size:]
		}
		// The rows may still move: only their number is good until all are there.
		u.sessions = append(u.sessions, Session{ID: u.rows[first].Session, PoPs: u.r.set.PoPs, Rows: u.rows[first:]})
	}
	at := 0
	for i, s := range u.sessions {
		u.sessions[i].Rows = u.rows[at : at+len(s.Rows) : at+len(s.Rows)]
		at += len(s.Rows)
	}
	return nil
}
