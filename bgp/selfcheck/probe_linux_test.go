package selfcheck

import (
	"net/netip"
	"reflect"
	"testing"

	"edged/dnsserver"
)

// TestProbe asks another address of loopback, which stands for one that is behind a
// wire. The machine's own is not asked; where nobody answers there is nothing.
func TestProbe(t *testing.T) {
	s, port := startServer(t, dnsserver.RRL{})
	if err := s.Listen(t.Context(), []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), port)}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at   []string
		want map[string]map[string]uint64 // by address
	}{
		{[]string{"127.0.0.2"}, map[string]map[string]uint64{"127.0.0.2/32": {"ams-1": 5}}},
		{[]string{"127.0.0.2", "127.0.0.1", "::1"}, map[string]map[string]uint64{"127.0.0.2/32": {"ams-1": 5}}},
		{[]string{"127.0.0.1"}, map[string]map[string]uint64{}},
		{[]string{"127.0.0.2", "127.0.0.3"}, map[string]map[string]uint64{"127.0.0.2/32": {"ams-1": 5}, "127.0.0.3/32": {}}},
	} {
		got := map[string]map[string]uint64{}
		for p, counts := range Probe(t.Context(), vipAt(port, c.at...), 5) {
			got[p.String()] = counts
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %v, want %v", c.at, got, c.want)
		}
	}
}
