//go:build linux

package main

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"

	"edged/edge"
)

// popCount is how many PoPs the data has: pop00 to pop63, each with one address.
const popCount = 64

// net24 is a prefix of /24 or shorter and the PoP that its clients get.
type net24 struct {
	addr uint32 // in units of /24: the upper 24 bits of the address
	bits int
	pop  int
}

func (n net24) prefix() netip.Prefix { return netip.PrefixFrom(blockAddr(n.addr), n.bits) }

// data is what all servers are configured from and judged by.
type data struct {
	nets  []net24
	world []uint8 // per /24 of the address space: PoP + 1, or 0 outside all nets
	asked []uint32
	pops  []edge.PoP
}

// blockAddr returns the first address of a /24 given by its upper 24 bits.
func blockAddr(block uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(block >> 16), byte(block >> 8), byte(block)})
}

// popAddress returns the one address of a PoP, out of TEST-NET-2 (RFC 5737).
func popAddress(pop int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 51, 100, byte(pop + 1)})
}

func popName(pop int) string { return fmt.Sprintf("pop%02d", pop) }

// staticAddress is what the static name holds, and what a server without a map
// gives for the dynamic one (TEST-NET-1).
var staticAddress = netip.AddrFrom4([4]byte{192, 0, 2, 80})

// lengths24 draws /24s only.
var lengths24 = [25]int{24: 1}

// lengthsMixed draws lengths about as a full routing table has them, in percent.
var lengthsMixed = [25]int{24: 62, 23: 11, 22: 13, 21: 5, 20: 4, 19: 3, 18: 1, 16: 1}

// makeData draws n distinct prefixes of public space with a random PoP each;
// lengths holds the weight of each prefix length. Prefixes may nest; the longest
// wins. The same seed gives the same data.
func makeData(seed uint64, n int, lengths [25]int) *data {
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	total := 0
	for _, w := range lengths {
		total += w
	}
	d := &data{world: make([]uint8, 1<<24), pops: makePoPs()}
	seen := make(map[[2]uint32]bool, n)
	for len(d.nets) < n {
		bits, draw := 0, rng.IntN(total)
		for draw >= lengths[bits] {
			draw -= lengths[bits]
			bits++
		}
		addr := rng.Uint32() >> 8 >> (24 - bits) << (24 - bits)
		if !public(addr) || seen[[2]uint32{addr, uint32(bits)}] {
			continue
		}
		seen[[2]uint32{addr, uint32(bits)}] = true
		d.nets = append(d.nets, net24{addr, bits, rng.IntN(popCount)})
	}
	byLength := slices.Clone(d.nets)
	slices.SortStableFunc(byLength, func(a, b net24) int { return cmp.Compare(a.bits, b.bits) })
	for _, net := range byLength {
		for b := net.addr; b < net.addr+1<<(24-net.bits); b++ {
			d.world[b] = uint8(net.pop + 1)
		}
	}
	for _, net := range d.nets {
		d.asked = append(d.asked, net.addr+rng.Uint32N(1<<(24-net.bits)))
	}
	rng.Shuffle(len(d.asked), func(i, j int) { d.asked[i], d.asked[j] = d.asked[j], d.asked[i] })
	return d
}

// public tells whether a /24 lies in a /8 that is public unicast as a whole.
func public(block uint32) bool {
	switch top := block >> 16; top {
	case 0, 10, 100, 127, 169, 172, 192, 198, 203:
		return false
	default:
		return top < 224
	}
}

// makePoPs spreads the PoPs evenly over the inhabited latitudes.
func makePoPs() []edge.PoP {
	pops := make([]edge.PoP, popCount)
	for i := range pops {
		_, turn := math.Modf(float64(i) * 0.6180339887498949)
		pops[i] = edge.PoP{
			Name: popName(i), Capacity: 100000,
			Lat: math.Round((-45+110*(float64(i)+0.5)/popCount)*100) / 100,
			Lon: math.Round((turn*360-180)*100) / 100,
		}
	}
	return pops
}

// want returns the address that a client in the /24 must get.
func (d *data) want(block uint32) netip.Addr { return popAddress(int(d.world[block]) - 1) }

// judgeScope says what is wrong with a scope on the right answer for a /24: that
// it is longer than was asked about, or that a /24 inside the announced block
// gets another PoP. Space outside all nets is the server's to fill, so hole is a
// /24 of it inside the block that must be asked about; ok is false without one.
func (d *data) judgeScope(block uint32, scope int) (fault string, hole uint32, ok bool) {
	if scope > 24 {
		return fmt.Sprintf("scope /%d on a question for a /24", scope), 0, false
	}
	first := block >> (24 - scope) << (24 - scope)
	for b := first; b < first+1<<(24-scope); b++ {
		switch d.world[b] {
		case d.world[block]:
		case 0:
			hole, ok = b, true
		default:
			return fmt.Sprintf("scope /%d covers %s, which gets %s and not %s", scope, blockAddr(b), d.want(b), d.want(block)), 0, false
		}
	}
	return "", hole, ok
}
