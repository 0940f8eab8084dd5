package lab

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// says is a line of ExaBGP.
func says(peer, message string) []byte {
	return fmt.Appendf(nil, `{"exabgp": "4.0.1", "type": "update", "neighbor": {"address": {"local": "192.0.2.1", "peer": %q}, "message": {"update": %s}}}`, peer, message)
}

func TestRIB(t *testing.T) {
	vip, other := netip.MustParsePrefix("198.51.100.53/32"), netip.MustParsePrefix("198.51.100.54/32")
	r := rib{}
	for _, c := range []struct {
		line    []byte
		changed []netip.Prefix
		best    string
	}{
		{says("192.0.2.11", `{"attribute": {"origin": "igp", "as-path": [64512]}, "announce": {"ipv4 unicast": {"192.0.2.11": [{"nlri": "198.51.100.53/32"}]}}}`), []netip.Prefix{vip}, "192.0.2.11"},
		{says("192.0.2.12", `{"attribute": {"as-path": [64512], "community": [[64512, 100]]}, "announce": {"ipv4 unicast": {"192.0.2.12": [{"nlri": "198.51.100.53/32"}, {"nlri": "198.51.100.54/32"}, {"nlri": "203.0.113.0/32"}, {"nlri": "198.51.100.0/24"}]}}}`), []netip.Prefix{vip, other}, "192.0.2.11 192.0.2.12"},
		{says("192.0.2.11", `{"attribute": {"as-path": [64512], "community": [[65535, 0]]}, "announce": {"ipv4 unicast": {"192.0.2.11": [{"nlri": "198.51.100.53/32"}]}}}`), []netip.Prefix{vip}, "192.0.2.12"},
		{says("192.0.2.12", `{"attribute": {"as-path": [64512, 64512]}, "announce": {"ipv4 unicast": {"192.0.2.12": [{"nlri": "198.51.100.53/32"}]}}}`), []netip.Prefix{vip}, "192.0.2.12"},
		{says("192.0.2.11", `{"attribute": {"as-path": [64512], "med": 1000}, "announce": {"ipv4 unicast": {"192.0.2.11": [{"nlri": "198.51.100.53/32"}]}}}`), []netip.Prefix{vip}, "192.0.2.11"},
		{says("192.0.2.11", `{"withdraw": {"ipv4 unicast": [{"nlri": "198.51.100.53/32"}]}}`), []netip.Prefix{vip}, "192.0.2.12"},
		{says("192.0.2.11", `{"withdraw": {"ipv4 unicast": [{"nlri": "198.51.100.53/32"}]}}`), nil, "192.0.2.12"},
		{[]byte(`{"type": "state", "neighbor": {"address": {"peer": "192.0.2.12"}, "state": "connected"}}`), nil, "192.0.2.12"},
		{[]byte(`{"type": "state", "neighbor": {"address": {"peer": "192.0.2.12"}, "state": "down", "reason": "peer reset"}}`), []netip.Prefix{vip, other}, ""},
	} {
		changed, err := r.note(c.line)
		if err != nil {
			t.Fatal(err)
		}
		if len(changed) == 2 && changed[0] == other {
			changed[0], changed[1] = changed[1], changed[0] // a map's order
		}
		if !reflect.DeepEqual(changed, c.changed) {
			t.Errorf("%s: changed %v, want %v", c.line, changed, c.changed)
		}
		if best := strings.Trim(fmt.Sprint(r.best(vip)), "[]"); best != c.best {
			t.Errorf("%s: best %q, want %q", c.line, best, c.best)
		}
	}
	if _, err := r.note([]byte("no JSON")); err == nil {
		t.Error("a line that is no JSON is taken")
	}
}
