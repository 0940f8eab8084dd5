package speaker

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

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
	b := r.bird(r.session4(""), r.session6(""))
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
	_ = fmt.Sprint
	_ = strings.Join
}
