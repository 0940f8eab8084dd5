package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"edged/bgp"
	"edged/edge"
)

// BGP configures the sessions over which VIPs are announced. Without an ASN
// there are none.
type BGP struct {
	ASN      int        `yaml:"asn"`       // of this node, 1 to 4294967294; 0: no BGP
	RouterID netip.Addr `yaml:"router_id"` // an IPv4 address that no other speaker has
	Listen   int        `yaml:"listen"`    // TCP port for passive peers; 0: 179 when there is one
	Peers    []Peer     `yaml:"peers"`
}

// Peer is a router to announce to.
type Peer struct {
	Name         string        `yaml:"name"`
	Address      netip.Addr    `yaml:"address"`
	ASN          int           `yaml:"asn"`           // another than this node's
	LocalAddress netip.Addr    `yaml:"local_address"` // empty: the system's choice
	PasswordFile Path          `yaml:"password_file"` // TCP MD5 (RFC 2385)
	GTSM         bool          `yaml:"gtsm"`          // RFC 5082; unless it is given, on for a direct connection
	Multihop     int           `yaml:"multihop"`      // hops to the peer, 2 to 255; 0: directly connected
	Passive      bool          `yaml:"passive"`       // wait for the peer to connect
	Hold         time.Duration `yaml:"hold"`          // 3s to 18h, in whole seconds; keepalives come three times as often
	BFD          BFD           `yaml:"bfd"`
	Groups       []string      `yaml:"groups"`
}

// BFD detects that a path is lost (RFC 5880). Without an interval it is off.
type BFD struct {
	Interval   time.Duration `yaml:"interval"`   // 50ms to 10s
	Multiplier int           `yaml:"multiplier"` // packets lost until the session is down, 1 to 50
}

// VIP is an address that this node announces together with others.
type VIP struct {
	Prefixes      []netip.Prefix `yaml:"prefixes"`       // host routes
	Listen        int            `yaml:"listen"`         // port for DNS on it
	MinAnnouncers int            `yaml:"min_announcers"` // others that must have promised to stay before this node withdraws, 1 to 1000
	MinPoPs       int            `yaml:"min_pops"`       // in which they must stand, 1 to min_announcers
	Communities   []string       `yaml:"communities"`    // such as 64512:100
	Groups        []string       `yaml:"groups"`         // of peers that hear of it; empty: all
	Drain         Drain          `yaml:"drain"`
	Ladder        []Rung         `yaml:"ladder"` // how it becomes less preferred, step by step
}

// Drain says how a VIP goes.
type Drain struct {
	Hold   time.Duration `yaml:"hold"`   // from de-preferring to withdrawing, 0s to 1h
	Linger time.Duration `yaml:"linger"` // from withdrawing to unbinding, at most, 0s to 1h
}

// Rung is a step of a ladder: "gshut", "withdraw", {prepend: 3}, {med: 1000} or
// {community: "64512:666"}.
type Rung struct {
	Kind  string
	Value string // empty for gshut and withdraw
}

// rungKinds are the kinds of rungs; true: with a value.
var rungKinds = map[string]bool{"gshut": false, "withdraw": false, "prepend": true, "med": true, "community": true}

// MarshalYAML gives the form that is read.
func (r Rung) MarshalYAML() (any, error) {
	if r.Value == "" {
		return r.Kind, nil
	}
	if n, err := strconv.ParseUint(r.Value, 10, 32); err == nil {
		return map[string]uint64{r.Kind: n}, nil
	}
	return map[string]string{r.Kind: r.Value}, nil
}

// rung reads a step of a ladder, as a word or as a mapping of one key.
func (t *tree) rung(n *yaml.Node, key string) (Rung, bool) {
	word, value := n, &yaml.Node{}
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 {
		word, value = n.Content[0], n.Content[1]
	}
	valued, known := rungKinds[word.Value]
	switch {
	case word.Kind != yaml.ScalarNode || value.Kind != 0 && value.Kind != yaml.ScalarNode:
		t.errorf(n, key, "want a step such as gshut or prepend: 3, got %s", describe(n))
	case !known:
		t.errorf(n, key, "unknown step %q; %s", word.Value, edge.Suggest(word.Value, sortedKeys(rungKinds)))
	case valued && value.Value == "":
		t.errorf(n, key, "%s needs a value, as in %s: 3", word.Value, word.Value)
	case !valued && value.Kind != 0:
		t.errorf(n, key, "%s has no value", word.Value)
	default:
		return Rung{Kind: word.Value, Value: value.Value}, true
	}
	return Rung{}, false
}

// The defaults of what VIPs have in lists and maps.
var (
	defaultPeer = Peer{Hold: 9 * time.Second}
	defaultBFD  = BFD{Multiplier: 3}
	defaultVIP  = VIP{
		Listen: 53, MinAnnouncers: 1, MinPoPs: 1, Drain: defaultDrain,
		Ladder: []Rung{{Kind: "gshut"}, {Kind: "prepend", Value: "3"}, {Kind: "withdraw"}},
	}
	defaultDrain = Drain{Hold: 30 * time.Second, Linger: 30 * time.Second}
)

// maxASN is the largest AS number in use (RFC 7300).
const maxASN = math.MaxUint32 - 1

// PortBGP is the TCP port that routers connect to, unless bgp.listen says another (RFC 4271).
const PortBGP = 179

func (ck *checker) bgp() {
	b := &ck.BGP
	groups := map[string]bool{}
	ck.inRange("bgp.asn", b.ASN, 0, maxASN)
	if b.ASN == 0 && (len(b.Peers) > 0 || b.RouterID.IsValid()) && !ck.reported["bgp.asn"] {
		ck.errorf("bgp.asn", "required when there is BGP, but not given")
	}
	if b.ASN > 0 && (!b.RouterID.Is4() || usable(b.RouterID) != "") && !ck.reported["bgp.router_id"] {
		ck.errorf("bgp.router_id", "want an IPv4 address that no other speaker has, got %q", addrText(b.RouterID))
	}
	ck.inRange("bgp.listen", b.Listen, 0, 65535)
	names, addresses := map[string]bool{}, map[netip.Addr]bool{}
	for i := range b.Peers {
		p, key := &b.Peers[i], index("bgp.peers", i)
		if ck.reported[key] {
			continue
		}
		ck.peer(key, p)
		if names[p.Name] && p.Name != "" {
			ck.errorf(key+".name", "peer %q is listed already", p.Name)
		}
		if addresses[p.Address] && p.Address.IsValid() {
			ck.errorf(key+".address", "%s is the address of a peer already", p.Address)
		}
		names[p.Name], addresses[p.Address] = true, true
		for _, g := range p.Groups {
			groups[g] = true
		}
		if p.Passive && b.Listen == 0 {
			b.Listen = PortBGP
		}
	}
	ck.vips(groups, addresses)
}

func (ck *checker) peer(key string, p *Peer) {
	if ck.given(key+".name", p.Name) {
		if err := checkLabel(p.Name); err != nil {
			ck.errorf(key+".name", "%v", err)
		}
	}
	if !p.Address.IsValid() {
		ck.given(key+".address", "")
	} else if why := usable(p.Address.WithZone("")); why != "" {
		ck.errorf(key+".address", "address %s %s", p.Address, why)
	}
	if l := p.LocalAddress; l.IsValid() && p.Address.IsValid() && l.Is4() != p.Address.Is4() {
		ck.errorf(key+".local_address", "%s and the peer's address %s are not of one family", l, p.Address)
	}
	ck.required(key + ".asn")
	if ck.source.has(key + ".asn") {
		ck.inRange(key+".asn", p.ASN, 1, maxASN)
	}
	switch {
	case p.ASN == ck.BGP.ASN && p.ASN > 0:
		ck.errorf(key+".asn", "%d is this node's own: a session within one AS could send our own VIPs back", p.ASN)
	case p.Multihop != 0 && (p.Multihop < 2 || p.Multihop > 255):
		ck.errorf(key+".multihop", "%d is out of range: want 2 to 255, or 0 for a direct connection", p.Multihop)
	case p.Multihop != 0 && p.GTSM:
		ck.errorf(key+".gtsm", "and multihop exclude each other: GTSM is for a direct connection")
	}
	if !ck.source.has(key + ".gtsm") {
		p.GTSM = p.Multihop == 0
	}
	if p.Hold < 3*time.Second || p.Hold > 18*time.Hour || p.Hold%time.Second != 0 {
		ck.errorf(key+".hold", "%s is out of range: want 3s to 18h in whole seconds", p.Hold)
	}
	if p.BFD.Multiplier == 0 && !ck.source.has(key+".bfd.multiplier") {
		p.BFD.Multiplier = defaultBFD.Multiplier
	}
	if d := p.BFD.Interval; d != 0 {
		if d < 50*time.Millisecond || d > 10*time.Second {
			ck.errorf(key+".bfd.interval", "%s is out of range: want 50ms to 10s", d)
		}
		ck.inRange(key+".bfd.multiplier", p.BFD.Multiplier, 1, 50)
		if p.Multihop != 0 {
			ck.errorf(key+".bfd", "is for a direct connection, not for multihop")
		}
	}
	ck.groupNames(key, p.Groups)
}

func (ck *checker) groupNames(key string, groups []string) {
	for i, g := range groups {
		if err := checkLabel(g); err != nil {
			ck.errorf(index(key+".groups", i), "%v", err)
		}
	}
}

// vips checks the VIPs against themselves, each other and what else has an
// address here.
func (ck *checker) vips(groups map[string]bool, peers map[netip.Addr]bool) {
	owner := map[netip.Addr]string{}
	ck.atMost("vips", len(ck.VIPs), bgp.MaxVIPs)
	for _, name := range sortedKeys(ck.VIPs) {
		key := "vips." + name
		if ck.reported[key] {
			continue
		}
		v := ck.VIPs[name]
		if ck.BGP.ASN == 0 && !ck.reported["bgp.asn"] {
			ck.errorf("bgp.asn", "required to announce vips, but not given")
		}
		if len(v.Prefixes) == 0 {
			ck.given(key+".prefixes", "")
		}
		ck.atMost(key+".prefixes", len(v.Prefixes), bgp.MaxPrefixes)
		ck.atMost(key+".communities", len(v.Communities), bgp.MaxCommunities)
		ck.atMost(key+".ladder", len(v.Ladder), bgp.MaxRungs)
		for i, p := range v.Prefixes {
			at := index(key+".prefixes", i)
			if !p.IsValid() || ck.reported[at] {
				continue
			}
			a := p.Addr()
			switch why := usable(a); {
			case !p.IsSingleIP():
				ck.errorf(at, "%s is no host route: want /%d", p, a.BitLen())
			case why != "":
				ck.errorf(at, "address %s %s", a, why)
			case a.IsLoopback(), a.IsLinkLocalUnicast():
				ck.errorf(at, "address %s has no meaning to a router", a)
			case owner[a] != "":
				ck.errorf(at, "%s belongs to vip %q already", p, owner[a])
			case a == ck.Fleet.Advertise.Addr(), a == ck.Fleet.Link.Addr():
				ck.errorf(at, "%s is how other nodes reach this one, which a vip never is", a)
			case peers[a]:
				ck.errorf(at, "%s is the address of a peer", a)
			case a == ck.BGP.RouterID, slices.ContainsFunc(ck.BGP.Peers, func(p Peer) bool { return p.LocalAddress == a }):
				ck.errorf(at, "%s is this node's own address, which no other node can announce", a)
			case slices.ContainsFunc(ck.Listen.External, func(l netip.AddrPort) bool { return Covers(l, a, v.Listen) }):
				ck.errorf(at, "%s is in listen.external too; a vip listens by itself, when it is up", a)
			}
			owner[a] = name
		}
		ck.inRange(key+".listen", v.Listen, 1, 65535)
		ck.inRange(key+".min_announcers", v.MinAnnouncers, 1, 1000)
		if v.MinAnnouncers >= 1 && (v.MinPoPs < 1 || v.MinPoPs > v.MinAnnouncers) {
			ck.errorf(key+".min_pops", "%d is out of range: want 1 to min_announcers, which is %d", v.MinPoPs, v.MinAnnouncers)
		}
		for i, c := range v.Communities {
			if err := checkCommunity(c); err != nil {
				ck.errorf(index(key+".communities", i), "%v", err)
			}
		}
		ck.groupNames(key, v.Groups)
		for i, g := range v.Groups {
			if !groups[g] {
				ck.errorf(index(key+".groups", i), "no peer is in group %q; %s", g, edge.Suggest(g, sortedKeys(groups)))
			}
		}
		ck.upToHour(key+".drain.hold", v.Drain.Hold)
		ck.upToHour(key+".drain.linger", v.Drain.Linger)
		ck.ladder(key, v.Ladder)
	}
}

// Covers says whether packets to an address and port come to a socket on l.
func Covers(l netip.AddrPort, a netip.Addr, port int) bool {
	return int(l.Port()) == port && (l.Addr() == a || l.Addr().IsUnspecified() && (l.Addr().Is4() == a.Is4()))
}

func (ck *checker) atMost(key string, n, most int) {
	if n > most {
		ck.errorf(key, "%d are too many: want at most %d", n, most)
	}
}

func (ck *checker) upToHour(key string, d time.Duration) {
	if d < 0 || d > time.Hour {
		ck.errorf(key, "%s is out of range: want 0s to 1h", d)
	}
}

func (ck *checker) ladder(key string, rungs []Rung) {
	if len(rungs) == 0 {
		ck.errorf(key+".ladder", "is empty; want at least one step, such as gshut")
	}
	worst := map[string]int{}
	for i, r := range rungs {
		at := index(key+".ladder", i)
		switch n, err := strconv.Atoi(r.Value); r.Kind {
		case "prepend":
			if err != nil || n < 1 || n > 10 {
				ck.errorf(at, "prepend %q is out of range: want 1 to 10", r.Value)
			}
		case "med":
			if err != nil || n < 1 || n > math.MaxUint32 {
				ck.errorf(at, "med %q is out of range: want 1 to %d", r.Value, uint32(math.MaxUint32))
			}
		case "community":
			if err := checkCommunity(r.Value); err != nil {
				ck.errorf(at, "%v", err)
			}
		case "withdraw":
			if i < len(rungs)-1 {
				ck.errorf(at, "withdraw is the last step: nothing can follow it")
			}
		}
		if n, err := strconv.Atoi(r.Value); err == nil {
			if was := worst[r.Kind]; was > 0 && n <= was {
				ck.errorf(at, "%s %d is no step down: %d is before it", r.Kind, n, was)
			}
			worst[r.Kind] = max(worst[r.Kind], n)
		}
	}
}

// checkCommunity errs unless s is a community of ours to give: the well-known
// ones (RFC 1997) say something to every router, and edged decides on those.
func checkCommunity(s string) error {
	c, err := bgp.ParseCommunity(s)
	if err == nil && (c>>16 == 0 || c>>16 == 0xFFFF) {
		err = fmt.Errorf("community %q is one of the well-known or reserved ones", s)
	}
	return err
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
