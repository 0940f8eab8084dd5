package geo

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"edged/edge"
	"edged/geo/place"
	"edged/geo/shed"
	"edged/maps"
)

// coverDepth is how many PoPs of the order decide whether two neighbouring
// ranges are one. Two ranges that agree on the first three PoPs share a scope,
// and keep sharing it when one or two of those PoPs fail; beyond that the order
// goes on by distance from the first. A larger depth makes smaller scopes, and
// with them worse cache hit rates at resolvers, for clients whose three nearest
// PoPs are all down.
const coverDepth = 3

// cover is one map reduced to one set of PoPs: for each address the class, the
// order in which the PoPs come.
type cover struct {
	mapName string
	src     MapSource
	fleet   []edge.PoP
	node    uint16
	set     []bool // by PoP index
	pins    []coverPin
	pricing pricing

	ecs, resolver coverTable
	depth         int
	heads         []uint16   // depth PoPs for each class
	known         []bool     // by class: false when the place is unknown and the order starts at this node
	pinned        []uint16   // by class: one more than the index of the pin that made it, or 0
	tails         [][]uint16 // by PoP: the set in order of distance from it; nil outside the set
	carrier       uint32     // class of IPv6 blocks that carry IPv4 addresses
}

type coverTable struct {
	v4 *ranges4
	v6 *maps.Ranges6 // rows are classes
}

// newCover reduces a map to the PoPs in set, at the prices given, with the pins
// laid over it.
// Addresses of unknown place take the order by distance from this node's PoP.
func newCover(name string, src MapSource, set []bool, pops []edge.PoP, node uint16, pins []coverPin, prices pricing) (*cover, error) {
	c := &cover{mapName: name, src: src, fleet: pops, node: node, set: set, pins: pins, pricing: prices}
	c.tails = make([][]uint16, len(pops))
	for i := range pops {
		if set[i] || i == int(node) {
			c.tails[i] = byDistance(pops, set, i)
		}
	}
	for _, in := range set {
		if in && c.depth < coverDepth {
			c.depth++
		}
	}
	// A shorter order makes fewer classes; one PoP deep, they always fit.
	for {
		b := &coverBuilder{cover: c}
		if err := b.translate(src.Map.PoPs(), pops); err != nil {
			return nil, err
		}
		if b.build() {
			return c, nil
		}
		c.depth--
	}
}

// build lays out the tables, unless there are too many classes.
func (b *coverBuilder) build() bool {
	c := b.cover
	c.heads, c.known, c.pinned = nil, nil, nil
	// The carriers' class is that of unknown place, under another number.
	c.carrier = b.newClass(b.key(maps.Ranking{Order: maps.NoOrder}, 0, 0))
	b.ids, b.pinnedRows = make(map[classKey]uint32, c.src.Map.Rankings()), map[pinnedRow]maps.Row{}
	b.classes = make([]uint32, c.src.Map.Rankings())
	for i := range b.classes {
		b.classes[i] = b.class(c.src.Map.Ranking(uint32(i)), 0, 0)
	}
	b.divide()
	c.ecs = b.table(c.src.Map.ECS())
	c.resolver = c.ecs
	if *c.src.Map.Resolver() != *c.src.Map.ECS() {
		c.resolver = b.table(c.src.Map.Resolver())
	}
	return len(c.known) <= maxClasses
}

// byDistance orders the PoPs in set by distance from PoP i; ties go to the
// lower index.
func byDistance(pops []edge.PoP, set []bool, i int) []uint16 {
	km := make([]float64, len(pops))
	var order []uint16
	for j, p := range pops {
		if set[j] {
			km[j] = edge.DistanceKm(pops[i].Lat, pops[i].Lon, p.Lat, p.Lon)
			order = append(order, uint16(j))
		}
	}
	slices.SortStableFunc(order, func(a, b uint16) int { return cmp.Compare(km[a], km[b]) })
	return order
}

type coverBuilder struct {
	cover      *cover
	popOf      []uint16 // the map's PoP index → the fleet's, noPoP outside the set
	classes    []uint32 // by ranking: those of the map, then those under pins and of pieces
	ids        map[classKey]uint32
	pinnedRows map[pinnedRow]maps.Row
	divided    []bool              // by ranking of the map: at the margin of a price; nil: none is
	pieces     map[uint32]maps.Row // by class: the row that stands for it in pieces
	hops       []maps.Hop          // scratch
}

// classKey is what tells classes apart.
type classKey struct {
	head  [coverDepth]uint16
	n     int // PoPs in head
	known bool
	pin   uint16 // as in cover.pinned
}

func (b *coverBuilder) translate(inMap, fleet []edge.PoP) error {
	index := map[string]uint16{}
	for i, p := range fleet {
		index[p.Name] = uint16(i)
	}
	b.popOf = make([]uint16, len(inMap))
	found := make([]bool, len(fleet))
	for i, p := range inMap {
		b.popOf[i] = noPoP
		if j, ok := index[p.Name]; ok && b.cover.set[j] {
			b.popOf[i], found[j] = j, true
		}
	}
	var missing []string
	for j, in := range b.cover.set {
		if in && !found[j] {
			missing = append(missing, fleet[j].Name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("it lacks PoP %s; build it again with the present list of PoPs", strings.Join(missing, ", "))
	}
	return nil
}

func (b *coverBuilder) table(t *maps.Table) coverTable {
	v4 := b.pieces4(b.pinned4(t.V4)) // which adds to the classes
	return coverTable{v4: newRanges4(v4, b.classes), v6: b.table6(t.V6)}
}

// table6 lays out the IPv6 ranges with the carriers cut out.
func (b *coverBuilder) table6(t *maps.Ranges6) *maps.Ranges6 {
	t = b.pieces6(b.pinned6(t)) // which adds to the classes
	rows := make([]maps.Row, len(b.classes))
	for ranking, class := range b.classes {
		rows[ranking] = maps.MakeRow(class, false)
	}
	v6 := maps.NewBuilder6(t.Len() + 4*len(carriers))
	from := maps.Addr6{}
	for _, c := range carriers {
		v6.Copy(t, from, c.first, rows)
		v6.Add(c.first.Hi, c.first.Lo, maps.MakeRow(b.cover.carrier, false))
		from = c.after
	}
	v6.Copy(t, from, maps.Addr6{}, rows)
	return v6.Finish()
}

// class returns the class of a ranking under a pin (0: none), a new one if there
// is none like it. The block matters to divided rankings only.
func (b *coverBuilder) class(r maps.Ranking, pin uint16, block uint64) uint32 {
	key := b.key(r, pin, block)
	id, ok := b.ids[key]
	if !ok {
		id = b.newClass(key)
		b.ids[key] = id
	}
	return id
}

func (b *coverBuilder) newClass(key classKey) uint32 {
	c := b.cover
	c.heads = append(c.heads, key.head[:key.n]...)
	c.known = append(c.known, key.known)
	c.pinned = append(c.pinned, key.pin)
	return uint32(len(c.known) - 1)
}

// key finds the first PoPs of a ranking under a pin, whose PoP comes first, at the
// prices for a block.
func (b *coverBuilder) key(r maps.Ranking, pin uint16, block uint64) (key classKey) {
	c := b.cover
	key.pin = pin
	add := func(pop uint16) {
		if pop != noPoP && key.n < c.depth && !slices.Contains(key.head[:key.n], pop) {
			key.head[key.n] = pop
			key.n++
		}
	}
	if pin > 0 {
		add(c.pins[pin-1].pop)
	}
	if c.pricing.live != nil {
		hops := b.priced(r)
		shed.Order(hops, c.pricing.live, block, c.pricing.epoch)
		for _, hop := range hops {
			add(hop.PoP)
		}
	} else {
		for _, hop := range r.Hops {
			add(b.popOf[hop.PoP])
		}
	}
	key.known = key.n > 0 || r.Order != maps.NoOrder
	if r.Order != maps.NoOrder {
		for _, inMap := range c.src.Map.Order(r.Order) {
			if key.n == c.depth {
				break
			}
			add(b.popOf[inMap])
		}
	}
	from := c.node
	if key.n > 0 {
		from = key.head[0]
	}
	for _, pop := range c.tails[from] {
		if key.n == c.depth {
			break
		}
		add(pop)
	}
	return key
}

// head returns the first PoPs of a class.
func (c *cover) head(class uint32) []uint16 {
	return c.heads[int(class)*c.depth:][:c.depth]
}

// order returns all PoPs of the set in the order of a class. It allocates; the
// query path walks head and tail itself.
func (c *cover) order(class uint32) []uint16 {
	head := c.head(class)
	order := slices.Clone(head)
	if len(head) == 0 {
		return order
	}
	for _, pop := range c.tails[head[0]] {
		if !slices.Contains(head, pop) {
			order = append(order, pop)
		}
	}
	return order
}

// place finds the class of an address and the length of the block around it
// that has this class throughout.
func (t *coverTable) place(a netip.Addr) (class uint32, block uint8) {
	if a.Is4() {
		b := a.As4()
		return t.v4.find(binary.BigEndian.Uint32(b[:]))
	}
	wide := maps.Addr6From(a)
	row, block, exception := t.v6.FindBlock(wide.Hi)
	if exception {
		row, block = t.v6.FindLong(wide)
	}
	return row.Ranking(), block
}

// samples bounds the work for a source prefix that spans several blocks.
const samples = 256

// plurality finds the class that most of a prefix has, where the prefix is
// longer than one block: exactly, for up to 256 units of one address (IPv4) or
// one /64 (IPv6), else by 256 samples at even distance. Ties go to the class met
// first.
func (t *coverTable) plurality(p netip.Prefix) uint32 {
	var classes, counts [64]uint32
	n, best := 0, 0
	vote := func(class uint32) {
		i := 0
		for i < n && classes[i] != class {
			i++
		}
		if i == n {
			if n == len(classes) {
				return
			}
			classes[n] = class
			n++
		}
		counts[i]++
		if counts[i] > counts[best] {
			best = i
		}
	}
	if p.Addr().Is4() {
		b := p.Addr().As4()
		base := uint64(binary.BigEndian.Uint32(b[:]))
		step, count := span(p.Bits(), 32)
		for i := range count {
			class, _ := t.v4.find(uint32(base + i*step))
			vote(class)
		}
		return classes[best]
	}
	wide := maps.Addr6From(p.Addr())
	step, count := span(min(p.Bits(), 64), 64)
	for i := range count {
		row, _ := t.v6.FindLong(maps.Addr6{Hi: wide.Hi + i*step, Lo: wide.Lo})
		vote(row.Ranking())
	}
	return classes[best]
}

// span divides a prefix of the given length, in units of width bits, into at
// most 256 even steps.
func span(length, width int) (step, count uint64) {
	free := width - length
	if free <= 8 {
		return 1, 1 << free
	}
	return 1 << (free - 8), samples
}

// location is where a client was taken to be.
type location struct {
	class  uint32
	scope  uint8 // meaningful for a decision with ECS only
	source Source
}

// locate places a client: by its subnet if it sent a usable one, else by its
// resolver's address.
func (c *cover) locate(client *Client) location {
	if client.ECS.Bits() > 0 {
		p := unwrapECS(client)
		if c.usable(p) {
			class, block := c.ecs.place(p.Addr())
			if int(block) > p.Bits() {
				class = c.ecs.plurality(p)
			}
			if class == c.carrier {
				// It does not reach into the address carried, and others
				// beside it may: no scope but theirs is safe.
				block = carrierMost
			}
			return c.located(class, block+carrierBits(client.ECS, p), SourceECS)
		}
	}
	addr, _ := locatingResolver(client)
	if !addr.IsValid() {
		addr = netip.IPv6Unspecified()
	}
	class, _ := c.resolver.place(addr)
	return c.located(class, 0, SourceResolver)
}

// unwrapECS returns the client subnet, as IPv4 where it is inside an IPv6
// carrier of IPv4 addresses.
func unwrapECS(client *Client) netip.Prefix {
	if client.ECS.Addr().Is4() {
		return client.ECS
	}
	return place.UnwrapPrefix(client.ECS)
}

// carrierMost is where the carried address begins in most carriers of IPv4
// addresses; carrierBits says where it begins in the one around p, 0 for none.
const carrierMost = 96

func carrierBits(ecs, p netip.Prefix) uint8 {
	switch b := ecs.Addr().As16(); {
	case ecs.Addr().Is4() || p.Addr().Is6():
		return 0
	case b[0] == 0x20 && b[1] == 0x02: // 6to4
		return 16
	}
	return carrierMost
}

// carriers are the blocks that unwrapECS takes addresses out of. In the IPv6
// table they are a class of their own, so that no block reaches into them.
var carriers = [...]struct{ first, after maps.Addr6 }{
	{maps.Addr6{Lo: 0xffff_0000_0000}, maps.Addr6{Lo: 0x1_0000_0000_0000}},
	{maps.Addr6{Hi: 0x0064_ff9b_0000_0000}, maps.Addr6{Hi: 0x0064_ff9b_0000_0000, Lo: 1 << 32}},
	{maps.Addr6{Hi: 0x2001_0000_0000_0000}, maps.Addr6{Hi: 0x2001_0001_0000_0000}},
	{maps.Addr6{Hi: 0x2002_0000_0000_0000}, maps.Addr6{Hi: 0x2003_0000_0000_0000}},
}

// locatingResolver returns the resolver's address, unwrapped, and its length in
// bits.
func locatingResolver(client *Client) (netip.Addr, int) {
	a := client.Resolver
	if a.Is6() {
		a = place.Unwrap(a)
	}
	return a, a.BitLen()
}

// likely returns the IPv4 address that locate will look up, for all but odd
// clients.
func (c *cover) likely(client *Client) (t *coverTable, addr uint32, ok bool) {
	a, t := client.Resolver, &c.resolver
	if client.ECS.Bits() > 0 {
		a, t = client.ECS.Addr(), &c.ecs
	}
	if !a.Is4() {
		return nil, 0, false
	}
	b := a.As4()
	return t, binary.BigEndian.Uint32(b[:]), true
}

func (c *cover) located(class uint32, scope uint8, source Source) location {
	if !c.known[class] {
		source = SourceNode
	} else if c.src.Degraded != "" {
		source = SourcePlace
	}
	return location{class: class, scope: scope, source: source}
}

// usable says whether a client subnet locates the client: it does when any of it
// is routable on the Internet, or when a pin or the map's measurements tell of it,
// so that a private network can be steered by listing it.
func (c *cover) usable(p netip.Prefix) bool {
	if edge.Routable(p) {
		return true
	}
	if class, _ := c.ecs.place(p.Addr()); c.pinned[class] > 0 {
		return true
	}
	t := c.src.Map.ECS()
	if p.Addr().Is4() {
		b := p.Addr().As4()
		return t.V4.Rows[t.V4.Find(binary.BigEndian.Uint32(b[:]))].Measured()
	}
	row, _ := t.V6.FindLong(maps.Addr6From(p.Addr()))
	return row.Measured()
}
