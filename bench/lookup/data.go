package main

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"time"

	"github.com/gaissmai/bart"

	"edged/edge"
	"edged/maps"
)

// values is the number of different rows the prefixes lead to.
const values = 512

// data4 is the same table in three forms, and addresses to look up in it.
type data4 struct {
	size   int // of the map file in bytes
	ranges *maps.Ranges4
	starts []uint32 // the plain form: every range start, whole
	rows   []maps.Row
	trie   *bart.Table[maps.Row]
	keys   []uint32
	addrs  []netip.Addr
}

// newData4 draws prefixes, 62 % of them /24 and the rest from /10 to /32, over
// the whole space.
func newData4(prefixes, addresses int) (*data4, error) {
	rng := rand.New(rand.NewPCG(4, 1))
	d := &data4{trie: new(bart.Table[maps.Row])}
	d.trie.Insert(netip.MustParsePrefix("0.0.0.0/0"), maps.MakeRow(0, false))
	for range prefixes {
		length := 24
		if rng.Float64() >= 0.62 {
			length = 10 + rng.IntN(23)
		}
		d.trie.Insert(netip.PrefixFrom(addr4(rng.Uint32()), length).Masked(), maps.MakeRow(rng.Uint32N(values), true))
	}
	var builder maps.Builder4
	for _, edge := range edges(d.trie) {
		row, _ := d.trie.Lookup(edge)
		builder.Add(number4(edge), row)
	}
	m, err := open(builder.Finish(), nil)
	if err != nil {
		return nil, err
	}
	d.ranges, d.size = m.ECS().V4, m.Size()
	for start, row := range d.ranges.All() {
		d.starts, d.rows = append(d.starts, start), append(d.rows, row)
	}
	for range addresses {
		key := rng.Uint32()
		d.keys, d.addrs = append(d.keys, key), append(d.addrs, addr4(key))
	}
	return d, nil
}

// The three ways to look all addresses up; each returns the sum of the rows.

func (d *data4) find() (sum uint32) {
	for _, key := range d.keys {
		sum += uint32(d.ranges.Rows[d.ranges.Find(key)])
	}
	return sum
}

func (d *data4) binary() (sum uint32) {
	for _, key := range d.keys {
		sum += uint32(d.rows[sort.Search(len(d.starts), func(i int) bool { return d.starts[i] > key })-1])
	}
	return sum
}

func (d *data4) bart() (sum uint32) {
	for _, addr := range d.addrs {
		row, _ := d.trie.Lookup(addr)
		sum += uint32(row)
	}
	return sum
}

// data6 is data4 for IPv6, keyed by the top 64 bits.
type data6 struct {
	size   int // of the map file in bytes
	ranges *maps.Ranges6
	trie   *bart.Table[maps.Row]
	keys   []uint64
	addrs  []netip.Addr
}

// newData6 draws prefixes from /32 to /64 under 40,000 random /32s between
// 2400:: and 2a10::, where the registries allocate. Each address lies in one of
// the prefixes, as clients do; or, anywhere in the /32s, where few addresses
// have a long prefix and a trie need not go deep.
func newData6(prefixes, addresses int, anywhere bool) (*data6, error) {
	rng := rand.New(rand.NewPCG(6, 1))
	d := &data6{trie: new(bart.Table[maps.Row])}
	d.trie.Insert(netip.MustParsePrefix("::/0"), maps.MakeRow(0, false))
	blocks := make([]uint64, 40_000)
	for i := range blocks {
		blocks[i] = uint64(0x2400_0000+rng.Uint32N(0x0610_0000)) << 32
	}
	nets := make([]netip.Prefix, prefixes)
	for i := range nets {
		addr := maps.Addr6{Hi: blocks[rng.IntN(len(blocks))] | uint64(rng.Uint32())}.Addr()
		nets[i] = netip.PrefixFrom(addr, 32+rng.IntN(33)).Masked()
		d.trie.Insert(nets[i], maps.MakeRow(rng.Uint32N(values), true))
	}
	var builder maps.Builder6
	for _, edge := range edges(d.trie) {
		row, _ := d.trie.Lookup(edge)
		at := maps.Addr6From(edge)
		builder.Add(at.Hi, at.Lo, row)
	}
	m, err := open(nil, builder.Finish())
	if err != nil {
		return nil, err
	}
	d.ranges, d.size = m.ECS().V6, m.Size()
	for range addresses {
		net := nets[rng.IntN(len(nets))]
		if anywhere {
			net = netip.PrefixFrom(net.Addr(), 32).Masked()
		}
		key := maps.Addr6From(net.Addr())
		key.Hi |= rng.Uint64() & (1<<(64-net.Bits()) - 1)
		key.Lo = rng.Uint64()
		d.keys, d.addrs = append(d.keys, key.Hi), append(d.addrs, key.Addr())
	}
	return d, nil
}

func (d *data6) find() (sum uint32) {
	for _, key := range d.keys {
		sum += uint32(d.ranges.Rows[d.ranges.Find(key)])
	}
	return sum
}

func (d *data6) binary() (sum uint32) {
	starts := d.ranges.Starts
	for _, key := range d.keys {
		sum += uint32(d.ranges.Rows[sort.Search(len(starts), func(i int) bool { return starts[i] > key })-1])
	}
	return sum
}

func (d *data6) bart() (sum uint32) {
	for _, addr := range d.addrs {
		row, _ := d.trie.Lookup(addr)
		sum += uint32(row)
	}
	return sum
}

// edges returns every address at which the result of a lookup can change.
func edges(table *bart.Table[maps.Row]) []netip.Addr {
	var all []netip.Addr
	for prefix := range table.All() {
		all = append(all, prefix.Addr())
		if after := last(prefix).Next(); after.IsValid() {
			all = append(all, after)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// last returns the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(b); bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

func addr4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

func number4(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// open writes a map file with these ranges in both tables, opens it as a node
// does, and returns the map; a family that is nil is of one row throughout.
func open(v4 *maps.Ranges4, v6 *maps.Ranges6) (*maps.Map, error) {
	if v4 == nil {
		var none maps.Builder4
		none.Add(0, maps.MakeRow(0, false))
		v4 = none.Finish()
	}
	if v6 == nil {
		var none maps.Builder6
		none.Add(0, 0, maps.MakeRow(0, false))
		v6 = none.Finish()
	}
	table := maps.Table{V4: v4, V6: v6}
	b, err := maps.Encode(&maps.Contents{
		PoPs:    []edge.PoP{{Name: "fra", Lat: 50.11, Lon: 8.68}},
		Created: time.Unix(0, 0),
		Orders:  [][]uint16{{0}},
		Rankings: slices.Repeat([]maps.Ranking{{
			Hops: []maps.Hop{{PoP: 0, RTT: 25}}, Order: 0,
		}}, values),
		ECS: table, Resolver: table,
	})
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "lookup")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "lookup.edmap")
	if err := maps.WriteFile(path, b); err != nil {
		return nil, err
	}
	return maps.Open(path)
}
