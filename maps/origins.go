package maps

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"
	"unsafe"
)

// Origins says where the numbers of a map come from: of each hop, which level of
// the mapper's ladder and how much was measured there; of client units, what their
// clients brought. It is for explanations, and for what beacons measure next;
// answers do not depend on it.
type Origins struct {
	Newest time.Time    // the newest session, to the second; ages count from it
	Units  []UnitOrigin // by unit; at most MaxUnitOrigins
	Hops   []Origin     // of all hops of all rankings, in order
}

// MaxUnitOrigins is the largest number of units that a map says where their
// numbers come from: at 16 octets each, 4 MiB.
const MaxUnitOrigins = 1 << 18

// UnitOrigin is what the clients of one unit, an IPv4 /24 or an IPv6 /48, brought.
type UnitOrigin struct {
	Prefix   netip.Prefix
	Sessions int     // up to 65535
	Sources  int     // addresses that they come from, up to 65535
	Access   float64 // what all its round trips have in common, ms, in steps of 0.1
	Age      int     // hours, the mean of the sessions, up to 32767
	Kept     bool    // its first choice is that of the map before, although another was a little better
}

// Origin is where the number of a hop comes from: a level, 1 for the widest to 15
// and 0 for none, and about how much was measured there.
type Origin uint8

// originSteps are the amounts that an Origin tells apart.
var originSteps = [16]int{0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 1024, 4096}

// MakeOrigin returns the origin of a level and an amount, which is rounded down
// to a step.
func MakeOrigin(level uint8, samples int) Origin {
	step, ok := slices.BinarySearch(originSteps[:], samples)
	if !ok {
		step--
	}
	return Origin(min(level, 15)<<4 | uint8(max(step, 0)))
}

// Level returns the level, 0 for none.
func (o Origin) Level() uint8 { return uint8(o >> 4) }

// Samples returns the least amount that the origin stands for.
func (o Origin) Samples() int { return originSteps[o&15] }

// HopOrigins returns where the hops of a ranking come from; nil when the map does
// not say.
func (m *Map) HopOrigins(id uint32) []Origin {
	if m.origins.hops == nil {
		return nil
	}
	first := uint32(0)
	if id > 0 {
		first = m.rankings[id-1].end
	}
	end := m.rankings[id].end
	return m.origins.hops[first:end:end]
}

// UnitOrigin returns what the clients of an address's unit brought, and whether
// the map says so. The address must be valid.
func (m *Map) UnitOrigin(addr netip.Addr) (UnitOrigin, bool) {
	key := unitKey(addr.Unmap())
	i, ok := slices.BinarySearch(m.origins.keys, key)
	if !ok {
		return UnitOrigin{}, false
	}
	o := &m.origins
	return UnitOrigin{
		Prefix: unitPrefix(key), Sessions: int(o.sessions[i]), Sources: int(o.sources[i]),
		Access: float64(o.access[i]) / 10, Age: int(o.age[i] &^ originKept), Kept: o.age[i]&originKept != 0,
	}, true
}

// UnitOrigins returns how many units the map says that of.
func (m *Map) UnitOrigins() int { return len(m.origins.keys) }

// NewestSession returns the time of the newest session that the map was built
// from; the zero time when it does not say.
func (m *Map) NewestSession() time.Time { return m.origins.newest }

// origins is the section as the file holds it.
type origins struct {
	newest   time.Time
	keys     []uint64
	sessions []uint16
	sources  []uint16
	access   []uint16 // in 0.1 ms
	age      []uint16 // in hours, and originKept
	hops     []Origin
}

const originKept = 1 << 15

// unitKey is a unit's first bits: for IPv4 24 of them, for IPv6 48 under a bit
// that puts them behind.
func unitKey(a netip.Addr) uint64 {
	if a.Is4() {
		return uint64(number4(a) >> 8)
	}
	return unitKey6 | Addr6From(a).Hi>>16
}

const unitKey6 = 1 << 63

func unitPrefix(key uint64) netip.Prefix {
	if key&unitKey6 == 0 {
		return netip.PrefixFrom(address4(uint32(key)<<8), 24)
	}
	return netip.PrefixFrom(Addr6{Hi: key << 16}.Addr(), 48)
}

func encodeOrigins(o *Origins) []byte {
	units := slices.SortedFunc(slices.Values(o.Units), func(a, b UnitOrigin) int {
		return cmp.Compare(unitKey(a.Prefix.Addr()), unitKey(b.Prefix.Addr()))
	})
	newest := uint64(0)
	if !o.Newest.IsZero() {
		newest = uint64(o.Newest.Unix())
	}
	b := binary.LittleEndian.AppendUint64(nil, newest)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(units)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(o.Hops)))
	for _, u := range units {
		b = binary.LittleEndian.AppendUint64(b, unitKey(u.Prefix.Addr()))
	}
	for _, column := range []func(UnitOrigin) uint16{
		func(u UnitOrigin) uint16 { return bounded(float64(u.Sessions), math.MaxUint16) },
		func(u UnitOrigin) uint16 { return bounded(float64(u.Sources), math.MaxUint16) },
		func(u UnitOrigin) uint16 { return bounded(math.Round(u.Access*10), math.MaxUint16) },
		func(u UnitOrigin) uint16 {
			age := bounded(float64(u.Age), originKept-1)
			if u.Kept {
				age |= originKept
			}
			return age
		},
	} {
		for _, u := range units {
			b = binary.LittleEndian.AppendUint16(b, column(u))
		}
	}
	for _, h := range o.Hops {
		b = append(b, byte(h))
	}
	return b
}

func bounded(v, most float64) uint16 { return uint16(min(max(v, 0), most)) }

func (m *Map) parseOrigins(c *cursor) error {
	newest, err := c.uint64()
	if err != nil {
		return err
	}
	if newest >= endOfTime {
		return fmt.Errorf("newest session is %d seconds after 1970, want one from 1970 to 9999", int64(newest))
	}
	n, err := c.uint32()
	if err != nil {
		return err
	}
	hops, err := c.uint32()
	if err != nil {
		return err
	}
	switch {
	case n > MaxUnitOrigins:
		return fmt.Errorf("origins are of %d units, want at most %d", n, MaxUnitOrigins)
	case hops != uint32(len(m.hops)):
		return fmt.Errorf("origins are of %d hops, but the map has %d", hops, len(m.hops))
	}
	o := &m.origins
	if newest > 0 {
		o.newest = time.Unix(int64(newest), 0).UTC()
	}
	if o.keys, err = array[uint64](c, uint64(n)); err != nil {
		return err
	}
	for i := 1; i < len(o.keys); i++ {
		if o.keys[i] <= o.keys[i-1] {
			return errors.New("units of the origins are not in order")
		}
	}
	for _, column := range []*[]uint16{&o.sessions, &o.sources, &o.access, &o.age} {
		if *column, err = array[uint16](c, uint64(n)); err != nil {
			return err
		}
	}
	if uint64(len(c.b)) < uint64(hops) {
		return errShort
	}
	o.hops = unsafe.Slice((*Origin)(unsafe.SliceData(c.b)), hops) // single octets need no order
	c.b = c.b[hops:]
	return nil
}
