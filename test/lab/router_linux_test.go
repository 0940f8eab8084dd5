package lab

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"edged/bgp"
)

// routes are those of ns1 with these attributes.
func routes(a bgp.Attributes) []bgp.Route {
	return []bgp.Route{{Prefix: ns1[0], Attributes: a}, {Prefix: ns1[1], Attributes: a}}
}

// announcers starts one in each edge's place, and announces ns1.
func (l *lab) announcers() (all []*Announcer) {
	l.t.Helper()
	for _, e := range l.Edges {
		a, err := l.Announce(e, ns1...)
		l.must(err)
		_, err = a.Apply(routes(bgp.Attributes{})...)
		l.must(err)
		all = append(all, a)
	}
	for _, p := range ns1 {
		l.must(l.Reach(5*time.Second, p, l.Edges...))
	}
	return all
}

// Every kind of router spreads queries over the edges, and what edges say of
// their routes moves queries as it should.
func TestRouters(t *testing.T) {
	for _, kind := range []Kind{BIRD, FRR, ExaBGP} {
		t.Run(string(kind), func(t *testing.T) {
			l := newLab(t, Config{Router: kind})
			all := l.announcers()
			first, others := l.Edges[0], l.Edges[1:]
			for _, c := range []struct {
				a    bgp.Attributes
				want Path
			}{
				{bgp.Attributes{Communities: []bgp.Community{bgp.GracefulShutdown}}, Path{Edge: "e1", Communities: []string{GracefulShutdown}, ASPath: 1}},
				{bgp.Attributes{Prepend: 3, Communities: []bgp.Community{64512<<16 | 100}}, Path{Edge: "e1", Communities: []string{"64512:100"}, ASPath: 4, LocalPref: 100}},
				{bgp.Attributes{MED: 1000}, Path{Edge: "e1", ASPath: 1, MED: 1000, LocalPref: 100}},
			} {
				_, err := all[0].Apply(routes(c.a)...)
				l.must(err)
				for _, p := range ns1 {
					l.must(l.Reach(5*time.Second, p, others...))
					if got, ok, err := l.Router.PathFrom(p, first); err != nil || !ok || !reflect.DeepEqual(got, c.want) {
						t.Errorf("%s with %s: the router has %v, %v, %v, want %v", p, c.a, got, ok, err, c.want)
					}
				}
				_, err = all[0].Apply(routes(bgp.Attributes{})...)
				l.must(err)
				for _, p := range ns1 {
					l.must(l.Reach(5*time.Second, p, l.Edges...))
				}
			}

			for _, p := range ns1 {
				load := l.Client.Load(Rate{VIP: p.Addr(), UDP: 200, TCP: 20})
				l.must(Until(10*time.Second, func() error {
					if load.Sent() < 200 {
						return fmt.Errorf("%d queries", load.Sent())
					}
					return nil
				}))
				udp, tcp, err := load.Stop()
				l.must(err)
				if n := udp.By(); len(udp) < 200 || len(udp.Lost()) > 0 || n["e1"] == 0 || n["e2"] == 0 || n["e3"] == 0 {
					t.Errorf("%s over UDP: %v", p, udp)
				}
				if n := tcp.By(); len(tcp) < 15 || len(tcp.Lost()) > 0 || len(n) < 2 {
					t.Errorf("%s over TCP: %v", p, tcp)
				}
			}

			_, err := all[0].Apply()
			l.must(err)
			for _, p := range ns1 {
				l.must(l.Reach(5*time.Second, p, others...))
				if got, ok, err := l.Router.PathFrom(p, first); err != nil || ok {
					t.Errorf("%s withdrawn: the router has %v, %v", p, got, err)
				}
			}
			all[1].Kill()
			for _, p := range ns1 {
				l.must(l.Reach(5*time.Second, p, l.Edges[2]))
			}
		})
	}
}
