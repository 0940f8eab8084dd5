package mapper

import (
	"net/netip"

	"edged/edge"
	"edged/maps"
)

// inForce finds first choices of the map in force.
type inForce struct {
	m     *maps.Map // nil: there is none
	index []uint16  // of the fleet's PoPs by the map's; noPoP: not in the fleet any more
}

func newInForce(m *maps.Map, pops []edge.PoP) *inForce {
	if m == nil {
		return &inForce{}
	}
	at := map[string]uint16{}
	for i, p := range pops {
		at[p.Name] = uint16(i)
	}
	f := &inForce{m: m}
	for _, p := range m.PoPs() {
		i, ok := at[p.Name]
		if !ok {
			i = noPoP
		}
		f.index = append(f.index, i)
	}
	return f
}

// at returns the first choice at an address of a space, noPoP when there is none.
func (f *inForce) at(table Tables, s *space, start maps.Addr6) uint16 {
	if f.m == nil {
		return noPoP
	}
	t := f.m.ECS()
	if table == Resolver {
		t = f.m.Resolver()
	}
	if s.bits == 32 {
		return f.first(t.V4.Rows[t.V4.Find(uint32(start.Lo))])
	}
	row, _ := t.V6.FindLong(start)
	return f.first(row)
}

// ecs returns the first choice of a client's address.
func (f *inForce) ecs(addr netip.Addr) uint16 {
	if f.m == nil {
		return noPoP
	}
	row, _, _ := f.m.ECS().Lookup(addr)
	return f.first(row)
}

func (f *inForce) first(row maps.Row) uint16 {
	pop, ok := f.m.First(row)
	if !ok {
		return noPoP
	}
	return f.index[pop]
}
