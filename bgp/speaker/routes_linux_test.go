package speaker

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"edged/bgp"
)

const (
	vip4 = "198.51.100.53/32"
	vip6 = "2001:db8::53/128"
)

// A route is announced, changed and withdrawn, and Sent says what BIRD has.
func TestRouteLife(t *testing.T) {
	l := newLab(t, "bird", "birdc")
	r := l.router(1)
	b := r.bird(r.session4(""))
	s := speak(t, Config{Peers: []Peer{r.peer()}})
	allow(t, s, vip4, vip6)
	up(t, s)

	p4 := netip.MustParsePrefix(vip4)
	if d, want := apply(t, s, plain(vip4)), (Diff{Announced: []netip.Prefix{p4}}); !reflect.DeepEqual(d, want) {
		t.Errorf("diff %+v, want %+v", d, want)
	}
	b.has(vip4 + " as_path 64512 next_hop 192.0.2.11")
	if d := apply(t, s, plain(vip4)); !d.Empty() {
		t.Errorf("the same once more changed %+v", d)
	}

	low := plain(vip4)
	low.Attributes = bgp.Attributes{Communities: []bgp.Community{64512<<16 | 100, bgp.GracefulShutdown}, Prepend: 3, MED: 50}
	if d, want := apply(t, s, low), (Diff{Changed: []netip.Prefix{p4}}); !reflect.DeepEqual(d, want) {
		t.Errorf("diff %+v, want %+v", d, want)
	}
	b.has(vip4 + " as_path 64512 64512 64512 64512 next_hop 192.0.2.11 med 50 community (64512,100) (65535,0)")
	if d := apply(t, s, low); !d.Empty() {
		t.Errorf("the same once more changed %+v", d)
	}
	want := []PeerRoutes{{Peer: "r1", Routes: []SentRoute{{Prefix: p4, Attributes: low.Attributes, NextHop: netip.MustParseAddr(our4)}}}}
	if got := s.Sent(); !reflect.DeepEqual(got, want) {
		t.Errorf("sent %+v, want %+v", got, want)
	}

	if d, want := apply(t, s), (Diff{Withdrawn: []netip.Prefix{p4}}); !reflect.DeepEqual(d, want) {
		t.Errorf("diff %+v, want %+v", d, want)
	}
	b.has()
	if got, want := s.Sent(), []PeerRoutes{{Peer: "r1"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("sent %+v, want %+v", got, want)
	}
}

// IPv6 routes go over IPv6 sessions, IPv4 ones over both, with the session's own
// address as the next hop (RFC 8950).
func TestFamilies(t *testing.T) {
	l := newLab(t, "bird", "birdc")
	r4, r6 := l.router(1), l.router(2)
	b4, b6 := r4.bird(r4.session4("")), r6.bird(r6.session6(""))
	s := speak(t, Config{Peers: []Peer{r4.peer(), r6.peer6()}})
	allow(t, s, vip4, vip6)
	apply(t, s, plain(vip4), plain(vip6)) // before the sessions are up
	up(t, s)
	b4.has(vip4 + " as_path 64512 next_hop " + our4)
	b6.has(vip4+" as_path 64512 next_hop "+our6, vip6+" as_path 64512 next_hop "+our6)
	for _, p := range s.Peers() {
		if want := map[string]int{"r1": 1, "r2v6": 2}[p.Name]; p.Sent != want {
			t.Errorf("%s was sent %d routes, want %d", p.Name, p.Sent, want)
		}
	}
}

// Peers hear what their groups share with the route's, and nobody's session ends
// when that changes.
func TestGroups(t *testing.T) {
	l := newLab(t, "bird", "birdc")
	r1, r2 := l.router(1), l.router(2)
	b1, b2 := r1.bird(r1.session4("")), r2.bird(r2.session4(""))
	fabric, transit := r1.peer(), r2.peer()
	fabric.Groups, transit.Groups = []string{"fabric"}, []string{"transit", "backup"}
	s := speak(t, Config{Peers: []Peer{fabric, transit}})
	allow(t, s, "198.51.100.1/32", "198.51.100.2/32", "198.51.100.3/32")
	one, two, three := plain("198.51.100.1/32"), plain("198.51.100.2/32"), plain("198.51.100.3/32")
	two.Groups, three.Groups = []string{"fabric"}, []string{"backup", "transit"}
	up(t, s)
	line := func(r bgp.Route) string { return r.Prefix.String() + " as_path 64512 next_hop 192.0.2.11" }

	apply(t, s, one, two, three)
	b1.has(line(one), line(two))
	b2.has(line(one), line(three))

	two.Groups = []string{"backup"}
	if d, want := apply(t, s, one, two, three), (Diff{Changed: []netip.Prefix{two.Prefix}}); !reflect.DeepEqual(d, want) {
		t.Errorf("diff %+v, want %+v", d, want)
	}
	b1.has(line(one))
	b2.has(line(one), line(two), line(three))

	fabric.Groups = []string{"fabric", "transit"}
	reset, err := s.SetPeers([]Peer{fabric, transit})
	if err != nil || len(reset) != 0 {
		t.Errorf("reset %q, %v, want none", reset, err)
	}
	b1.has(line(one), line(three))
	for _, p := range s.Peers() {
		if p.State != Established || p.Flaps != 0 {
			t.Errorf("%s is %s with %d flaps, want an unbroken session", p.Name, p.State, p.Flaps)
		}
	}
}

// What the router announces stays out: ten thousand routes, the default route
// and our own VIP. The withdrawal goes out all the same. (B10; test/lab looks at the memory of
// a whole node.)
func TestNothingImported(t *testing.T) {
	l := newLab(t, "bird", "birdc")
	r := l.router(1)
	var static strings.Builder
	static.WriteString("protocol static { ipv4; route 0.0.0.0/0 blackhole; route " + vip4 + " blackhole;\n")
	const many = 10_000
	for i := range many {
		fmt.Fprintf(&static, "route 10.%d.%d.0/24 blackhole;\n", i/256, i%256)
	}
	static.WriteString("}\n")
	b := r.bird(r.session4(""), static.String())
	heap := inUse()
	s := speak(t, Config{Peers: []Peer{r.peer()}})
	allow(t, s, vip4)
	up(t, s)
	apply(t, s, plain(vip4))
	until(t, 20*time.Second, func() string {
		if got := taken(t, s); got != many+2 {
			return fmt.Sprintf("%d routes were received, want %d", got, many+2)
		}
		return ""
	})
	if grown := inUse() - heap; grown > 30<<20 {
		t.Errorf("the heap grew by %d bytes with %d routes received, want at most 30 MiB", grown, many+2)
	}
	b.has(vip4 + " as_path 64512 next_hop 192.0.2.11")
	have, err := s.table()
	if want := map[netip.Prefix]bgp.Attributes{netip.MustParsePrefix(vip4): {}}; err != nil || !reflect.DeepEqual(have, want) {
		t.Errorf("the table holds %d paths, %v, want our own only", len(have), err)
	}
	apply(t, s)
	b.has()
	if have, err := s.table(); err != nil || len(have) != 0 {
		t.Errorf("the table holds %d paths after the withdrawal, %v", len(have), err)
	}
}

// Only what is allowed gets out: Apply refuses all else by name, and what comes
// into the table past it is stopped by the export policy. (B11)
func TestOnlyAllowed(t *testing.T) {
	l := newLab(t, "bird", "birdc")
	r := l.router(1)
	b := r.bird(r.session4(""))
	s := speak(t, Config{Peers: []Peer{r.peer()}})
	allow(t, s, vip4)
	up(t, s)
	apply(t, s, plain(vip4))
	ours := vip4 + " as_path 64512 next_hop 192.0.2.11"
	b.has(ours)

	others := []string{"198.51.100.54/32", "0.0.0.0/0", "198.51.100.0/24", "198.51.100.52/31", "2001:db8::54/128"}
	for _, other := range others {
		_, err := s.Apply(t.Context(), []bgp.Route{plain(vip4), plain(other)})
		if want := "route " + other + " is not one of the 1 VIP prefixes that may be announced"; err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %q", other, err, want)
		}
		smuggle(t, s, plain(other))
	}
	apply2 := "198.51.100.99/32" // what would come after them, had they gone out
	allow(t, s, vip4, apply2)
	smuggle(t, s, plain(apply2))
	b.has(ours, apply2+" as_path 64512 next_hop 192.0.2.11")

	// What is no longer allowed is withdrawn by policy at once.
	allow(t, s, apply2)
	b.has(apply2 + " as_path 64512 next_hop 192.0.2.11")
	if p := s.Peers()[0]; p.Sent != 1 || p.Flaps != 0 {
		t.Errorf("sent %d routes with %d flaps, want 1 and 0", p.Sent, p.Flaps)
	}
}

// A thousand VIPs come and go.
func TestThousand(t *testing.T) {
	l := newLab(t, "bird", "birdc")
	r := l.router(1)
	b := r.bird(r.session4(""))
	s := speak(t, Config{Peers: []Peer{r.peer()}})
	var list []string
	var routes []bgp.Route
	for i := range 1000 {
		p := fmt.Sprintf("198.18.%d.%d/32", i/250, i%250)
		list, routes = append(list, p), append(routes, plain(p))
	}
	allow(t, s, list...)
	up(t, s)
	for _, set := range [][]bgp.Route{routes, nil, routes[:500]} {
		apply(t, s, set...)
		until(t, 10*time.Second, func() string {
			if got := len(b.routes()); got != len(set) {
				return fmt.Sprintf("BIRD has %d routes, want %d", got, len(set))
			}
			return ""
		})
		if got := s.Peers()[0].Sent; got != len(set) {
			t.Errorf("sent %d routes, want %d", got, len(set))
		}
	}
}

// Whatever sets are wanted one after the other, what was sent is the last one, as
// Sent says and as BIRD has it.
func TestRandomSets(t *testing.T) {
	l := newLab(t, "bird", "birdc")
	r1, r2 := l.router(1), l.router(2)
	b1, b2 := r1.bird(r1.session4("")), r2.bird(r2.session6(""))
	one, two := r1.peer(), r2.peer6()
	one.Groups, two.Groups = []string{"a"}, []string{"b"}
	s := speak(t, Config{Peers: []Peer{one, two}})
	var pool []string
	for i := range 8 {
		pool = append(pool, fmt.Sprintf("198.51.100.%d/32", i), fmt.Sprintf("2001:db8::%d/128", i))
	}
	allow(t, s, pool...)
	up(t, s)
	apply(t, s, plain(pool[0])) // once the IPv6 session has it, it takes IPv4
	b2.has(pool[0] + " as_path 64512 next_hop " + our6)
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 60 {
		var set []bgp.Route
		want := map[string][]SentRoute{}
		for _, p := range pool {
			if rnd.IntN(2) == 0 {
				continue
			}
			route := plain(p)
			route.Attributes = bgp.Attributes{Prepend: rnd.IntN(3), MED: uint32(rnd.IntN(3))}
			if rnd.IntN(2) == 0 {
				route.Attributes.Communities = []bgp.Community{1<<16 | 2, bgp.GracefulShutdown}
			}
			route.Groups = [][]string{nil, {"a"}, {"b"}, {"a", "b"}, {"c"}}[rnd.IntN(5)]
			set = append(set, route)
			for _, peer := range []Peer{one, two} {
				if slices.Contains(peer.families(), familyOf(route.Prefix.Addr())) && newGroups(route.Groups).include(peer.Groups) {
					hop := map[bool]string{true: our4, false: our6}[peer.Address.Is4()]
					want[peer.Name] = append(want[peer.Name], SentRoute{route.Prefix, route.Attributes, netip.MustParseAddr(hop)})
				}
			}
		}
		rnd.Shuffle(len(set), func(i, j int) { set[i], set[j] = set[j], set[i] })
		apply(t, s, set...)
		if d := apply(t, s, set...); !d.Empty() {
			t.Fatalf("round %d: the same once more changed %+v", round, d)
		}
		for _, got := range s.Sent() {
			slices.SortFunc(want[got.Peer], func(a, b SentRoute) int { return a.Prefix.Compare(b.Prefix) })
			if !reflect.DeepEqual(got.Routes, want[got.Peer]) {
				t.Fatalf("round %d: %s was sent\n %+v\nwant\n %+v", round, got.Peer, got.Routes, want[got.Peer])
			}
		}
		if round%20 == 19 {
			b1.has(lines(want[one.Name])...)
			b2.has(lines(want[two.Name])...)
		}
	}
}

// lines says routes as bird.routes does.
func lines(routes []SentRoute) []string {
	var all []string
	for _, r := range routes {
		line := r.Prefix.String() + " as_path 64512" + strings.Repeat(" 64512", r.Attributes.Prepend) + " next_hop " + r.NextHop.String()
		if r.Attributes.MED > 0 {
			line += fmt.Sprintf(" med %d", r.Attributes.MED)
		}
		for i, c := range r.Attributes.Communities {
			if i == 0 {
				line += " community"
			}
			line += fmt.Sprintf(" (%d,%d)", c>>16, c&0xffff)
		}
		all = append(all, line)
	}
	return all
}
