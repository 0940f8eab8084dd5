package conformance

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"
)

// scopeFacts are what the client subnet checks share.
type scopeFacts struct {
	supported bool // a client subnet option came back at least once
}

// learnScopes finds out whether the server does ECS.
func (s *session) learnScopes() *scopeFacts {
	facts := &scopeFacts{}
	for _, p := range append([]netip.Prefix{sampleSubnet}, s.sample(false)[:4]...) {
		r, err := s.udp(s.edns(s.Name, dns.TypeA, subnet(p)))
		if err != nil {
			continue
		}
		if _, ok := r.ecs(); ok {
			facts.supported = true
			break
		}
	}
	return facts
}

// answered is what one subnet got.
type answered struct {
	asked  netip.Prefix
	block  netip.Prefix // what the scope says the answer holds for
	answer string
}

// locate asks for Name as a client in p.
func (s *session) locate(p netip.Prefix) (answered, error) {
	r, err := s.udp(s.edns(s.Name, dns.TypeA, subnet(p)))
	if err != nil {
		return answered{}, err
	}
	e, _ := r.ecs()
	return answered{p, block(p, e.scope), r.answer()}, nil
}

// cover checks a sample of subnets: every answer must hold for the whole block
// that its scope names, or a resolver that caches it serves the wrong answer to
// whoever is in the rest (RFC 7871 §7.2.1). For each subnet of the sample it
// asks inside its block, and beside the block at every length: a neighbour
// whose scope reaches back over the block must have the same answer. So must all
// of the sample among themselves.
func (s *session) cover(v6 bool) outcome {
	sample := s.sample(v6)
	if varies, err := s.varies(sample[0]); err != nil {
		return fail("%v", err)
	} else if varies {
		return skip("the answer changes from one query to the next, so answers cannot be compared")
	}
	queries, longest, shortest := 0, 0, 128
	distinct := map[string]bool{}
	var seen []answered
	for _, p := range sample {
		got, err := s.locate(p)
		if err != nil {
			return fail("%s: %v", p, err)
		}
		longest, shortest = max(longest, got.block.Bits()), min(shortest, got.block.Bits())
		others := append([]answered{}, seen...)
		for _, q := range neighbours(got.block, p.Bits()) {
			near, err := s.locate(q)
			if err != nil {
				return fail("%s: %v", q, err)
			}
			others = append(others, near)
			distinct[near.answer] = true
			queries++
		}
		for _, other := range others {
			if fault := conflict(got, other); fault != "" {
				return fail("%s", fault)
			}
		}
		distinct[got.answer] = true
		seen = append(seen, got)
	}
	if len(distinct) == 1 {
		return pass("all of %d subnets get one answer, scopes /%d to /%d", len(sample)+queries, shortest, longest)
	}
	return pass("%d subnets, %d different answers, scopes /%d to /%d, none covers another's", len(sample)+queries, len(distinct), shortest, longest)
}

// conflict says which of two different answers claims the other's subnet, or "".
func conflict(a, b answered) string {
	if a.answer == b.answer {
		return ""
	}
	if !a.block.Overlaps(b.asked) {
		a, b = b, a
	}
	if !a.block.Overlaps(b.asked) {
		return ""
	}
	return fmt.Sprintf("%s gets %s for all of %s, but %s, inside it, gets %s", a.asked, a.answer, a.block, b.asked, b.answer)
}

// varies tells whether one subnet gets different answers (weights, rotation).
func (s *session) varies(p netip.Prefix) (bool, error) {
	first, err := s.locate(p)
	if err != nil {
		return false, err
	}
	for range 7 {
		again, err := s.locate(p)
		if err != nil {
			return false, err
		}
		if again.answer != first.answer {
			return true, nil
		}
	}
	return false, nil
}

// neighbours returns the public subnets of the given length that say most about
// b: the last one inside it and three between, and for each length up to b's the
// first subnet of the sibling block.
func neighbours(b netip.Prefix, bits int) []netip.Prefix {
	var near []netip.Prefix
	add := func(p netip.Prefix) {
		if routable(p.Addr()) {
			near = append(near, p)
		}
	}
	for _, bit := range []int{b.Bits(), b.Bits() + 1, b.Bits() + 3} {
		if bit < bits {
			add(flip(b.Addr(), bit, bits))
		}
	}
	if b.Bits() < bits {
		last := b.Addr()
		for bit := b.Bits(); bit < bits; bit++ {
			last = flip(last, bit, bits).Addr()
		}
		add(netip.PrefixFrom(last, bits))
	}
	for bit := b.Bits() - 1; bit >= 0; bit-- {
		add(flip(netip.PrefixFrom(b.Addr(), bit+1).Masked().Addr(), bit, bits))
	}
	return near
}

// flip returns the subnet of a with one bit turned; bit 0 is the first.
func flip(a netip.Addr, bit, bits int) netip.Prefix {
	b := a.AsSlice()
	b[bit/8] ^= 0x80 >> (bit % 8)
	a, _ = netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, bits).Masked()
}

// sampleSize is how many subnets of each family are looked at, each with up to
// 30 (v4) or 60 (v6) neighbours.
const sampleSize = 32

// sample returns subnets to ask for: the user's own of that family first, then
// a fixed spread over the space in use, at /24 and /56 as resolvers send them.
func (s *session) sample(v6 bool) []netip.Prefix {
	var list []netip.Prefix
	bits := 24
	if v6 {
		bits = 56
	}
	for _, p := range s.Subnets {
		if p.Addr().Is6() == v6 {
			list = append(list, netip.PrefixFrom(p.Addr(), max(p.Bits(), min(bits, p.Addr().BitLen()))).Masked())
		}
	}
	// Multiples of the golden ratio spread evenly whatever their number.
	for i := uint64(1); len(list) < sampleSize; i++ {
		h := i * 0x9e3779b97f4a7c15
		var a netip.Addr
		if v6 {
			registries := [...]uint32{0x20010000, 0x24000000, 0x26000000, 0x28000000, 0x2a000000, 0x2c000000}
			top := registries[i%6] + uint32(h>>44)
			var b [16]byte
			binary.BigEndian.PutUint64(b[:], uint64(top)<<32|h&0xffffff00)
			a = netip.AddrFrom16(b)
		} else {
			var b [4]byte
			binary.BigEndian.PutUint32(b[:], uint32(h>>32))
			a = netip.AddrFrom4(b)
		}
		if p := netip.PrefixFrom(a, bits).Masked(); routable(p.Addr()) {
			list = append(list, p)
		}
	}
	return list
}

// routable tells whether an address is public unicast, as far as a check needs
// to know: special-purpose blocks may rightly get another scope.
func routable(a netip.Addr) bool {
	if a.Is6() {
		return a.As16()[0]&0xe0 == 0x20 && a.IsGlobalUnicast() && !special6.Contains(a) && !sixToFour.Contains(a) && !documentation6.Contains(a) && !newDocumentation6.Contains(a)
	}
	b := a.As4()
	return b[0] > 0 && b[0] < 224 && b[0] != 127 && !a.IsPrivate() && !a.IsLinkLocalUnicast() &&
		!(b[0] == 100 && b[1]&0xc0 == 64) && !(b[0] == 198 && b[1]&0xfe == 18) &&
		!(b[0] == 192 && b[1] == 0) && !(b[0] == 198 && b[1] == 51) && !(b[0] == 203 && b[1] == 0)
}

// Blocks of 2000::/3 that name no place of their own.
var (
	special6          = netip.MustParsePrefix("2001::/23")
	sixToFour         = netip.MustParsePrefix("2002::/16")
	documentation6    = netip.MustParsePrefix("2001:db8::/32")
	newDocumentation6 = netip.MustParsePrefix("3fff::/20")
)
