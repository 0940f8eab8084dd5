package maps

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
)

// Difference says what changes for clients when one map takes the place of
// another. Only first choices count: the PoP that a range's ranking begins
// with. PoPs are compared by name, so the maps may list different ones.
type Difference struct {
	ECS      TableDifference `json:"ecs"`
	Resolver TableDifference `json:"resolver"`
}

// TableDifference is the difference of one table, for each family.
type TableDifference struct {
	V4 SpaceDifference `json:"v4"` // counted in /24 blocks
	V6 SpaceDifference `json:"v6"` // counted in /48 blocks of 2000::/3
}

// SpaceDifference is the difference over the addresses of one family. Blocks
// that a range covers in part count in part.
type SpaceDifference struct {
	Known  float64 `json:"known"`  // blocks with a first choice in either map
	Moved  float64 `json:"moved"`  // blocks whose first choice changed
	Moves  []Move  `json:"moves"`  // from PoP to PoP, largest first
	Ranges []Moved `json:"ranges"` // the largest ranges that moved, at most MaxMoved
}

// Share returns the moved part of the known blocks, 0 to 1.
func (d *SpaceDifference) Share() float64 {
	if d.Known == 0 {
		return 0
	}
	return d.Moved / d.Known
}

// Move is how many blocks went from one PoP to another. A PoP's name is empty
// where the map has no first choice.
type Move struct {
	From   string  `json:"from"`
	To     string  `json:"to"`
	Blocks float64 `json:"blocks"`
}

// Moved is a range of addresses that went from one PoP to another.
type Moved struct {
	First netip.Addr `json:"first"`
	Last  netip.Addr `json:"last"`
	Move
}

// MaxMoved is the number of moved ranges that a difference lists.
const MaxMoved = 20

// Diff compares the first choices of two maps. It panics when a map is nil.
func Diff(before, after *Map) Difference {
	d := Difference{ECS: diffTables(before, after, before.ECS(), after.ECS())}
	if before.res == before.ecs && after.res == after.ecs {
		d.Resolver = d.ECS
		return d
	}
	d.Resolver = diffTables(before, after, before.Resolver(), after.Resolver())
	return d
}

func diffTables(before, after *Map, old, new *Table) TableDifference {
	return TableDifference{
		V4: diffSpace(before.choices4(old.V4), after.choices4(new.V4), Addr6{Lo: math.MaxUint32}, blocks4, address6As4),
		V6: diffSpace(before.choices6(old.V6), after.choices6(new.V6), Addr6{math.MaxUint64, math.MaxUint64}, blocks6, Addr6.Addr),
	}
}

// choice is a PoP's name that holds from an address to that of the next choice.
type choice struct {
	start Addr6 // a v4 address is the low 32 bits
	pop   string
}

func (m *Map) choices4(r *Ranges4) (list []choice) {
	for start, row := range r.All() {
		list = m.choose(list, Addr6{Lo: uint64(start)}, row)
	}
	return list
}

func (m *Map) choices6(r *Ranges6) (list []choice) {
	for start, row := range r.All() {
		list = m.choose(list, start, row)
	}
	return list
}

func (m *Map) choose(list []choice, start Addr6, row Row) []choice {
	name := ""
	if pop, ok := m.First(row); ok {
		name = m.pops[pop].Name
	}
	if n := len(list); n > 0 && list[n-1].pop == name {
		return list
	}
	return append(list, choice{start, name})
}

// diffSpace walks two lists of choices side by side, from one address at which
// either changes to the next, up to the end of the space.
func diffSpace(old, new []choice, end Addr6, blocks func(first, last Addr6) float64, addr func(Addr6) netip.Addr) SpaceDifference {
	d := SpaceDifference{Moves: []Move{}, Ranges: []Moved{}}
	moves := map[[2]string]float64{}
	var first Addr6
	for i, j := 0, 0; ; {
		lastOld, lastNew := lastOf(old, i, end), lastOf(new, j, end)
		last := lastOld
		if lastNew.Less(last) {
			last = lastNew
		}
		if from, to := old[i].pop, new[j].pop; from != "" || to != "" {
			size := blocks(first, last)
			d.Known += size
			if from != to {
				d.Moved += size
				moves[[2]string{from, to}] += size
				d.Ranges = append(d.Ranges, Moved{addr(first), addr(last), Move{from, to, size}})
			}
		}
		if last == end {
			break
		}
		if last == lastOld {
			i++
		}
		if last == lastNew {
			j++
		}
		first = last.next()
	}
	for pair, size := range moves {
		d.Moves = append(d.Moves, Move{pair[0], pair[1], size})
	}
	slices.SortFunc(d.Moves, func(a, b Move) int {
		return cmp.Or(cmp.Compare(b.Blocks, a.Blocks), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	slices.SortStableFunc(d.Ranges, func(a, b Moved) int { return cmp.Compare(b.Blocks, a.Blocks) })
	d.Ranges = slices.Clip(d.Ranges[:min(len(d.Ranges), MaxMoved)])
	return d
}

// lastOf returns the last address of a choice.
func lastOf(list []choice, i int, end Addr6) Addr6 {
	if i+1 < len(list) {
		return list[i+1].start.prev()
	}
	return end
}

// blocks4 returns the size of a v4 range in /24 blocks.
func blocks4(first, last Addr6) float64 { return float64(last.Lo-first.Lo+1) / 256 }

// blocks6 returns the size of a v6 range in /48 blocks, as far as it lies in
// 2000::/3: the space outside is not in use and would hide all else.
func blocks6(first, last Addr6) float64 {
	lo, hi := Addr6{Hi: 0x2000 << 48}, Addr6{0x3fff<<48 | 0xffffffffffff, math.MaxUint64}
	if first.Less(lo) {
		first = lo
	}
	if hi.Less(last) {
		last = hi
	}
	if last.Less(first) {
		return 0
	}
	return float64(last.Hi-first.Hi)/(1<<16) + (float64(last.Lo)-float64(first.Lo)+1)/(1<<32)/(1<<48)
}

func address6As4(a Addr6) netip.Addr { return address4(uint32(a.Lo)) }
