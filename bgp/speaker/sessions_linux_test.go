package speaker

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// MD5 and GTSM work over IPv6 too, and several hops with an address of ours.
func TestTransports(t *testing.T) {
	l := newLab(t, "bird", "birdc")
	r1, r2 := l.router(1), l.router(2)
	b1, b2 := r1.bird(r1.session6(`ttl security on; password "right";`)), r2.bird(r2.session4("multihop 4;"), "protocol direct { ipv4; }\n")
	p1, p2 := r1.peer6(), r2.peer()
	p1.GTSM, p1.Password = true, "right"
	p2.Multihop, p2.Local = 4, netip.MustParseAddr(our4)
	s := speak(t, Config{Peers: []Peer{p1, p2}})
	allow(t, s, vip4)
	apply(t, s, plain(vip4))
	up(t, s)
	b1.has(vip4 + " as_path 64512 next_hop " + our6)
	b2.has(vip4 + " as_path 64512 next_hop " + our4)
}

// A peer that did not ask for IPv4 routes with IPv6 next hops gets none, and that
// is said.
func TestNoExtendedNextHop(t *testing.T) {
	l := newLab(t, "bird", "birdc")
	r := l.router(1)
	b := r.bird(strings.ReplaceAll(r.session6(""), "extended next hop;", ""))
	s := speak(t, Config{Peers: []Peer{r.peer6()}})
	allow(t, s, vip4, vip6)
	apply(t, s, plain(vip4), plain(vip6))
	up(t, s)
	b.has(vip6 + " as_path 64512 next_hop " + our6)
	if p := s.Peers()[0]; p.Sent != 1 || p.LastError != "" || p.Note != noExtended || !p.Only6 {
		t.Errorf("sent %d routes: %+v, want 1, no error and %q", p.Sent, p, noExtended)
	}
	allow(t, s, vip6)
	if p := s.Peers()[0]; p.Sent != 1 || p.LastError != "" || p.Note != "" || !p.Only6 {
		t.Errorf("sent %d routes: %+v, want 1 and no note", p.Sent, p)
	}
	if sent := s.Sent(); len(sent) != 1 || !sent[0].Only6 {
		t.Errorf("sent %+v, want it for IPv6 only", sent)
	}
}

// What keeps a session down is said in words within 10 s, and no route gets out.
// (B9)
func TestReasons(t *testing.T) {
	l := newLab(t, "bird", "birdc")
	type row struct {
		session string // options of BIRD's protocol
		change  func(*Peer)
		state   Session
		why     string // the end of the reason
	}
	rows := map[int]row{
		1: {
			`password "right";`, func(p *Peer) { p.Password = "wrong" }, Active,
			"no answer from 192.0.2.1: is it reachable, and the password the same at both ends?",
		},
		2: {
			``, func(p *Peer) { p.GTSM = true }, Active,
			"the peer is connected, but has sent no OPEN yet: is GTSM on at the peer too?",
		},
		// Its packets get through. What of ours does depends on when it minds their TTL.
		3: {
			`ttl security on;`, func(p *Peer) { p.Hold = 5 * time.Second }, "",
			"is GTSM on at the peer only?",
		},
		4: {
			``, func(p *Peer) { p.ASN = 64501 }, Active,
			"wrong AS: the peer's is not 64501",
		},
		5: {
			`neighbor as 64513;`, func(*Peer) {}, "",
			"the peer refused our OPEN, and its log says why: does it expect another AS of us?",
		},
		6: {
			`not us`, func(*Peer) {}, Active,
			"192.0.2.6 closed the connection before its OPEN: does it have us as a peer, and from this address?",
		},
		7: {
			`password "right";`, func(*Peer) {}, Active,
			"no answer from 192.0.2.7: is it reachable?",
		},
		8: {`passive on; ttl security on; password "right";`, func(p *Peer) { p.GTSM, p.Password = true, "right" }, Established, ""},
		9: {
			`disabled;`, func(*Peer) {}, Active,
			"cannot connect to 192.0.2.9: connection refused",
		},
	}
	var peers []Peer
	routers := map[int]*bird{}
	for n, row := range rows {
		r := l.router(n)
		session := r.session4(row.session)
		if row.session == "not us" {
			session = strings.ReplaceAll(r.session4(""), our4, "192.0.2.99")
		}
		routers[n] = r.bird(session)
		p := r.peer()
		row.change(&p)
		peers = append(peers, p)
	}
	slices.SortFunc(peers, func(a, b Peer) int { return a.Address.Compare(b.Address) })
	s := speak(t, Config{Peers: peers})
	allow(t, s, vip4)
	apply(t, s, plain(vip4))
	until(t, 10*time.Second, func() string {
		var wrong []string
		for _, p := range s.Peers() {
			row := rows[int(p.Address.As4()[3])]
			if row.state != "" && p.State != row.state || !strings.HasSuffix(p.LastError, row.why) || (row.why == "") != (p.LastError == "") {
				wrong = append(wrong, fmt.Sprintf("%s is %s: %q,\n  want %s: %q", p.Name, p.State, p.LastError, row.state, row.why))
			}
		}
		return strings.Join(wrong, "\n")
	})
	for n, b := range routers {
		if got, want := len(b.routes()) == 1, rows[n].state == Established; got != want {
			t.Errorf("r%d has routes: %v, want %v", n, got, want)
		}
	}
}

// A peer may connect to us; a password that is taken away is taken off the
// listening socket too.
func TestPassive(t *testing.T) {
	l := newLab(t, "bird", "birdc")
	r1, r2 := l.router(1), l.router(2)
	b1 := r1.bird(r1.session4("connect delay time 1;"))
	r2.bird(r2.session4(`password "right"; connect delay time 1; error wait time 1, 5;`))
	p1, p2 := r1.peer(), r2.peer()
	p1.Passive, p2.Passive = true, true
	p1.Password, p2.Password = "secret", "right"
	s := speak(t, Config{Listen: 179, Peers: []Peer{p1, p2}})
	allow(t, s, vip4)
	apply(t, s, plain(vip4))
	until(t, 15*time.Second, func() string {
		all := s.Peers()
		if all[1].State != Established {
			return "r2 is " + string(all[1].State)
		}
		return ""
	})
	if p := s.Peers()[0]; p.State != Active || p.LastError != "the peer has not connected yet" {
		t.Errorf("r1 is %s: %q, want it to wait for a password", p.State, p.LastError)
	}
	p1.Password = ""
	reset, err := s.SetPeers([]Peer{p1, p2})
	if want := []string{"r1"}; err != nil || !slices.Equal(reset, want) {
		t.Errorf("reset %q, %v, want %q", reset, err, want)
	}
	up(t, s)
	b1.has(vip4 + " as_path 64512 next_hop 192.0.2.11")
}

// Sessions outlive every change of VIPs, and only the session of a peer that
// changed is reset. (B14)
func TestSessionsStay(t *testing.T) {
	l := newLab(t, "bird", "birdc")
	r1, r2, r3 := l.router(1), l.router(2), l.router(3)
	b1 := r1.bird(r1.session4(""))
	r2.bird(r2.session4("error wait time 1, 5;"))
	r3.bird(r3.session4(""))
	s := speak(t, Config{Peers: []Peer{r1.peer(), r2.peer()}})
	up(t, s)
	since := s.Peers()[0].Since
	established := b1.birdc("show", "protocols", "edge4")

	for i := range 50 {
		p := fmt.Sprintf("198.51.100.%d/32", i)
		allow(t, s, vip4, p)
		route := plain(p)
		route.Attributes.MED = uint32(i)
		apply(t, s, plain(vip4), route)
	}
	changed, added := r2.peer(), r3.peer()
	changed.Hold = 30 * time.Second
	reset, err := s.SetPeers([]Peer{r1.peer(), changed, added})
	if want := []string{"r2"}; err != nil || !slices.Equal(reset, want) {
		t.Errorf("reset %q, %v, want %q", reset, err, want)
	}
	up(t, s)
	if reset, err := s.SetPeers([]Peer{r1.peer()}); err != nil || len(reset) != 0 {
		t.Errorf("reset %q, %v, want none", reset, err)
	}
	all := s.Peers()
	if len(all) != 1 || all[0].Since != since || all[0].Flaps != 0 || all[0].LastError != "" {
		t.Errorf("peers %+v, want r1 alone and unbroken since %s", all, since)
	}
	if now := b1.birdc("show", "protocols", "edge4"); now != established {
		t.Errorf("BIRD says\n%s\nwant as before\n%s", now, established)
	}
	b1.has(vip4+" as_path 64512 next_hop 192.0.2.11", "198.51.100.49/32 as_path 64512 next_hop 192.0.2.11 med 49")
}

// BFD comes up, sees a path that loses all packets long before the hold time,
// and the session comes back with the path.
func TestBFD(t *testing.T) {
	l := newLab(t, "bird", "birdc")
	r := l.router(1)
	b := r.bird(r.session4("bfd on; error wait time 1, 5;"),
		`protocol bfd { interface "*" { min rx interval 300 ms; min tx interval 300 ms; multiplier 3; }; }`)
	p := r.peer()
	p.Hold, p.BFD = 90*time.Second, BFD{Interval: 300 * time.Millisecond}
	s := speak(t, Config{Peers: []Peer{p}})
	allow(t, s, vip4)
	apply(t, s, plain(vip4))
	both := func(state Session, bfd BFDState) {
		t.Helper()
		until(t, 30*time.Second, func() string {
			if p := s.Peers()[0]; p.State == Established != (state == Established) || p.BFD != bfd {
				return fmt.Sprintf("the session is %s with BFD %q, want %s and %q", p.State, p.BFD, state, bfd)
			}
			return ""
		})
	}
	both(Established, BFDUp)
	b.has(vip4 + " as_path 64512 next_hop 192.0.2.11")
	l.cut(r)
	from := time.Now()
	both(Idle, BFDDown)
	b.has()
	t.Logf("both ends noticed the cut within %s", time.Since(from).Round(10*time.Millisecond))
	if p := s.Peers()[0]; p.Flaps != 1 || !strings.HasPrefix(p.LastError, "BFD is down") {
		t.Errorf("%d flaps, last error %q, want one flap because of BFD", p.Flaps, p.LastError)
	}
	l.join(r)
	both(Established, BFDUp)
	b.has(vip4 + " as_path 64512 next_hop 192.0.2.11")
}
