package main

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"edged/bgp"
	"edged/bgp/speaker"
	"edged/config"
)

// TestVIPCommandLines are refused or explained before a node is asked. Unknown commands had
// a flag named, and not the command.
func TestVIPCommandLines(t *testing.T) {
	for _, c := range []struct {
		args, want string
		code       int
	}{
		{"vip bogus --config x", `edged: unknown command "bogus" for "edged vip"; `, 1},
		{"vip lost", `did you mean "list"?`, 1},
		{"map bogus --json", `edged: unknown command "bogus" for "edged map"; `, 1},
		{"vip --bogus", `edged: unknown flag "--bogus": edged vip takes a command: abort, `, 1},
		{"vip maintenance node/a --reason x --for 1h --max-out 0", "edged: --max-out 0: want 1 or more", 1},
		{"vip drain node/a --reason x --for 0s", "edged: --for 0s: want more than nothing", 1},
		{"vip", "", 0},
		{"vip --help", "", 0},
	} {
		var out, errs strings.Builder
		code := run(t.Context(), strings.Fields(c.args), nil, &out, &errs)
		if code != c.code || !strings.Contains(errs.String(), c.want) {
			t.Errorf("edged %s: code %d, %q, want %d with %q", c.args, code, errs.String(), c.code, c.want)
		}
		if code == 0 && !strings.Contains(out.String(), "drain") {
			t.Errorf("edged %s says %q, want its help", c.args, out.String())
		}
	}
}

// TestNobodyToPromise warns of a minimum that no other node can promise to keep.
func TestNobodyToPromise(t *testing.T) {
	for text, want := range map[string]string{
		"min_announcers: 2": "vips.ns1.min_announcers: 2 others must stay before this node withdraws, but there is no fleet",
		"min_announcers: 1": "",
	} {
		c, err := config.Parse([]byte(`
node: {name: fra1, pop: fra}
pops: [{name: fra, lat: 50, lon: 8}]
listen: {external: ["127.0.0.1:5354"]}
bgp: {asn: 64512, router_id: 192.0.2.11, peers: [{name: tor, address: 192.0.2.1, asn: 64500}]}
vips: {ns1: {prefixes: [198.51.100.53/32], `+text+`}}
`), "/etc/edged.yaml")
		if err != nil {
			t.Fatal(err)
		}
		b := newBuilder(c)
		b.readVIPs(func(key string, err error) { t.Errorf("%s: %v", key, err) })
		got := ""
		for _, w := range b.warnings {
			got += w.String() + "\n"
		}
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: warns %q, want %q", text, got, want)
		}
	}
}

// TestPeersWithoutBFD had a peer refused that has no BFD, for it had a multiplier.
func TestPeersWithoutBFD(t *testing.T) {
	c, err := config.Parse([]byte(`
node: {name: fra1, pop: fra}
pops: [{name: fra, lat: 50, lon: 8}]
listen: {external: ["127.0.0.1:5354"]}
bgp:
  asn: 64512
  router_id: 192.0.2.11
  peers:
    - {name: plain, address: 192.0.2.1, asn: 64500}
    - {name: watched, address: 192.0.2.2, asn: 64500, bfd: {interval: 300ms}}
vips:
  ns1: {prefixes: [198.51.100.53/32], communities: ["64512:200", "64512:100"], ladder: [gshut, prepend: 2, med: 7, community: "64512:666", withdraw]}
`), "/etc/edged.yaml")
	if err != nil {
		t.Fatal(err)
	}
	b := newBuilder(c)
	b.readVIPs(func(key string, err error) { t.Errorf("%s: %v", key, err) })
	if got := b.announce.Peers[0].BFD; got != (speaker.BFD{}) {
		t.Errorf("a peer without BFD has %+v", got)
	}
	if got, want := b.announce.Peers[1].BFD, (speaker.BFD{Interval: 300 * time.Millisecond, Multiplier: 3}); got != want {
		t.Errorf("a peer with BFD has %+v, want %+v", got, want)
	}
	s, err := speaker.New(speaker.Config{ASN: uint32(c.BGP.ASN), RouterID: c.BGP.RouterID, Peers: b.announce.Peers})
	if err != nil {
		t.Fatalf("the speaker refuses what the configuration allows: %v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	v := b.announce.VIPs[0]
	if want := []bgp.Rung{{Kind: bgp.Gshut}, {Kind: bgp.Prepend, Value: 2}, {Kind: bgp.SetMED, Value: 7}, {Kind: bgp.AddCommunity, Value: 64512<<16 | 666}, {}}; !reflect.DeepEqual(v.Ladder, want) {
		t.Errorf("the ladder is %+v, want %+v", v.Ladder, want)
	}
	if err := v.Check(); err != nil {
		t.Errorf("a VIP that the configuration allows: %v", err)
	}
}
