package speaker

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCheckPeers(t *testing.T) {
	good := Peer{Name: "tor-a", Address: netip.MustParseAddr("192.0.2.1"), ASN: 64500}
	for want, change := range map[string]func(*Peer){
		"":                                      func(*Peer) {},
		"it has no name":                        func(p *Peer) { p.Name = "" },
		"want a unicast address without a zone": func(p *Peer) { p.Address = netip.MustParseAddr("fe80::1%eth0") },
		`our address "2001:db8::1" is not one of the same family`: func(p *Peer) { p.Local = netip.MustParseAddr("2001:db8::1") },
		"it has no AS number": func(p *Peer) { p.ASN = 0 },
		"it has our own AS number 64512: only peers of other ASes are possible, for inside one AS a prepended route is a loop": func(p *Peer) { p.ASN = 64512 },
		"the password has 81 bytes, want at most 80":                           func(p *Peer) { p.Password = strings.Repeat("x", 81) },
		"GTSM is for directly connected peers, not with multihop":              func(p *Peer) { p.GTSM, p.Multihop = true, 2 },
		"multihop 1: want 2 to 255, or 0 for a directly connected peer":        func(p *Peer) { p.Multihop = 1 },
		"a passive peer needs a port to connect to; set the port to listen on": func(p *Peer) { p.Passive = true },
		"hold time 2s: want whole seconds, at least 3s":                        func(p *Peer) { p.Hold = 2 * time.Second },
		"hold time 3.5s: want whole seconds, at least 3s":                      func(p *Peer) { p.Hold = 3500 * time.Millisecond },
		"BFD interval 0s: want 50ms to 1m0s":                                   func(p *Peer) { p.BFD.Multiplier = 3 },
		"BFD interval 10ms: want 50ms to 1m0s":                                 func(p *Peer) { p.BFD.Interval = 10 * time.Millisecond },
		"BFD multiplier 256: want 1 to 255":                                    func(p *Peer) { p.BFD = BFD{time.Second, 256} },
		"BFD is for directly connected peers, not with multihop":               func(p *Peer) { p.BFD.Interval, p.Multihop = time.Second, 4 },
	} {
		p := good
		change(&p)
		s := &Speaker{asn: 64512}
		got := ""
		if err := s.checkPeers([]Peer{p}); err != nil {
			got = err.Error()
		}
		if want != "" {
			want = `BGP peer "` + p.Name + `" (` + p.Address.String() + "): " + want
		}
		if got != want {
			t.Errorf("error %q, want %q", got, want)
		}
	}
	twice := []Peer{good, good}
	twice[1].Name = "tor-b"
	want := `BGP peer "tor-b" (192.0.2.1): name or address is given twice`
	if err := (&Speaker{asn: 64512}).checkPeers(twice); err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
}

func TestResets(t *testing.T) {
	a := Peer{Name: "a", Address: netip.MustParseAddr("192.0.2.1"), ASN: 64500}
	b := Peer{Name: "b", Address: netip.MustParseAddr("192.0.2.2"), ASN: 64500, BFD: BFD{Interval: time.Second}}
	with := func(p Peer, change func(*Peer)) Peer {
		change(&p)
		return p
	}
	for name, c := range map[string]struct {
		now  []Peer
		want []string
	}{
		"the same":             {[]Peer{a, b}, nil},
		"in another order":     {[]Peer{b, a}, nil},
		"one less":             {[]Peer{b}, nil},
		"one more":             {[]Peer{a, b, {Name: "c", Address: netip.MustParseAddr("192.0.2.3"), ASN: 64500}}, nil},
		"defaults spelled out": {[]Peer{with(a, func(p *Peer) { p.Hold = DefaultHold }), with(b, func(p *Peer) { p.BFD.Multiplier = 3 })}, nil},
		"another group":        {[]Peer{with(a, func(p *Peer) { p.Groups = []string{"fabric"} }), b}, nil},
		"another name":         {[]Peer{with(a, func(p *Peer) { p.Name = "x" }), b}, nil},
		"another hold time":    {[]Peer{with(a, func(p *Peer) { p.Hold = 3 * time.Second }), b}, []string{"a"}},
		"another password":     {[]Peer{a, with(b, func(p *Peer) { p.Password = "new" })}, []string{"b"}},
		"no BFD":               {[]Peer{a, with(b, func(p *Peer) { p.BFD = BFD{} })}, []string{"b"}},
		"another address":      {[]Peer{with(a, func(p *Peer) { p.Address = netip.MustParseAddr("192.0.2.9") }), b}, []string{"a"}},
		"both":                 {[]Peer{with(a, func(p *Peer) { p.GTSM = true }), with(b, func(p *Peer) { p.ASN = 1 })}, []string{"a", "b"}},
	} {
		if got := Resets([]Peer{a, b}, c.now); !slices.Equal(got, c.want) {
			t.Errorf("%s: resets %q, want %q", name, got, c.want)
		}
	}
}
