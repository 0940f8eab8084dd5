package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"edged/test/netns"
)

// Config says what a lab is like. The zero value of each field but Dir is a good
// default.
type Config struct {
	Dir      string        // for all files; its path must be short, for it holds sockets
	Program  string        // the edged binary; empty: none can be started
	Edges    int           // 1 to 8; 0: 3
	PoPs     int           // 1 to 3, in turn; 0: 2
	Router   Kind          // empty: BIRD
	Hold     time.Duration // the sessions' hold time; 0: 9 s
	BFD      time.Duration // between packets, three of which may be lost; 0: 300 ms; negative: none
	Password string        // TCP MD5 on all sessions; empty: none
	VIPs     []VIP         // that edges have in their files; nil: DefaultVIPs
	Extra    string        // further lines of each edge's configuration
}

// VIP is one in the edges' files.
type VIP struct {
	Name     string
	Prefixes []netip.Prefix
	Keys     string // further keys, as in "min_announcers: 2, drain: {hold: 2s}"
}

// DefaultVIPs is ns1, which two edges in two PoPs must go on announcing.
var DefaultVIPs = []VIP{{
	Name:     "ns1",
	Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.53/32"), netip.MustParsePrefix("2001:db8::53/128")},
	Keys:     `min_announcers: 2, min_pops: 2, communities: ["64512:100"], drain: {hold: 2s, linger: 2s}`,
}}

// PoPs are where edges stand.
var PoPs = []string{"fra", "iad", "nrt"}

// Lab is the whole network.
type Lab struct {
	Config Config // with the defaults filled in
	Edges  []*Edge
	Router *Router
	FIB    *FIB
	Client *Client

	network *netns.Network
	members []string // of the fleet, as the configuration has them

	announcers []*Announcer
	rivals     []*Rival
}

// Possible returns why no lab can run here; nil: it can.
func Possible(kinds ...Kind) error {
	if err := netns.Possible(); err != nil {
		return err
	}
	for _, k := range kinds {
		if err := k.installed(); err != nil {
			return err
		}
	}
	return nil
}

// Build builds edged in dir, and returns its path. It must be called inside the
// module. It errs when ctx ends first; Ctrl-C is for the caller alone.
func Build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "edged")
	build := exec.CommandContext(ctx, "go", "build", "-tags", "grpcnotrace", "-o", path, "edged/cmd/edged")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	build.Cancel = func() error { return syscall.Kill(-build.Process.Pid, syscall.SIGINT) } // compilers, too
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
}

// New makes a lab and starts its router, but no edge.
func New(c Config) (l *Lab, err error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	l = &Lab{Config: c}
	defer func() {
		if err != nil {
			l.Close()
			l = nil
		}
	}()
	if l.network, err = netns.NewNetwork(Fabric, Management, Island, Clients); err != nil {
		return l, err
	}
	if err := l.plugRouter(); err != nil {
		return l, err
	}
	if err := l.plugClient(); err != nil {
		return l, err
	}
	for n := range c.Edges {
		if err := l.plugEdge(n + 1); err != nil {
			return l, err
		}
	}
	if l.FIB, err = watchFIB(l.Router.Host); err != nil {
		return l, err
	}
	if c.Program != "" {
		if err := l.configure(); err != nil {
			return l, err
		}
	}
	return l, l.Router.Start()
}

func (c *Config) complete() error {
	set := func(at *int, fallback, most int, what string) error {
		if *at == 0 {
			*at = fallback
		}
		if *at < 1 || *at > most {
			return fmt.Errorf("a lab of %d %s: want 1 to %d", *at, what, most)
		}
		return nil
	}
	if err := errors.Join(set(&c.Edges, 3, 8, "edges"), set(&c.PoPs, 2, len(PoPs), "PoPs")); err != nil {
		return err
	}
	if c.Router == "" {
		c.Router = BIRD
	}
	if c.Hold == 0 {
		c.Hold = 9 * time.Second
	}
	if c.BFD == 0 {
		c.BFD = 300 * time.Millisecond
	}
	if c.VIPs == nil {
		c.VIPs = DefaultVIPs
	}
	return c.Router.installed()
}

func (l *Lab) plugRouter() error {
	h, err := l.network.Plug(
		netns.Link{Name: Fabric, Switch: Fabric, Addresses: []netip.Prefix{router4, router6}},
		netns.Link{Name: Clients, Switch: Clients, Addresses: []netip.Prefix{routerClient4, routerClient6}})
	if err != nil {
		return err
	}
	l.Router = &Router{Host: h, Dir: filepath.Join(l.Config.Dir, "router"), kind: l.Config.Router, config: &l.Config}
	if err := os.MkdirAll(l.Router.Dir, 0o700); err != nil {
		return err
	}
	for name, value := range map[string]string{
		"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1",
		"net.ipv4.fib_multipath_hash_policy": "1", "net.ipv6.fib_multipath_hash_policy": "1",
		"net.ipv4.conf.all.send_redirects": "0", "net.ipv4.conf." + Fabric + ".send_redirects": "0", // edges ask each other by way of it
	} {
		if err := h.Sysctl(name, value); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) plugClient() error {
	h, err := l.network.Plug(netns.Link{Name: Clients, Switch: Clients, Addresses: []netip.Prefix{client4, client6}})
	if err != nil {
		return err
	}
	l.Client = &Client{Host: h}
	return h.IP(defaultBy(routerClient4), defaultBy(routerClient6))
}

func defaultBy(router netip.Prefix) string {
	return "route add default via " + router.Addr().String()
}

func (l *Lab) plugEdge(number int) error {
	h, err := l.network.Plug(
		netns.Link{Name: Fabric, Switch: Fabric, Addresses: []netip.Prefix{fabric4(number), fabric6(number)}},
		netns.Link{Name: Management, Switch: Management, Addresses: []netip.Prefix{management(number)}})
	if err != nil {
		return err
	}
	name := fmt.Sprintf("e%d", number)
	e := &Edge{Host: h, Name: name, PoP: PoPs[(number-1)%l.Config.PoPs], Dir: filepath.Join(l.Config.Dir, name), number: number, program: l.Config.Program}
	l.Edges = append(l.Edges, e)
	if err := os.MkdirAll(e.Dir, 0o700); err != nil {
		return err
	}
	return h.IP(defaultBy(router4), defaultBy(router6))
}

// Edge returns the one of that name, which must be one.
func (l *Lab) Edge(name string) *Edge {
	for _, e := range l.Edges {
		if e.Name == name {
			return e
		}
	}
	panic("the lab has no edge " + name)
}

// Start starts edges and returns when all that run have Settled.
func (l *Lab) Start(limit time.Duration, edges ...*Edge) error {
	for _, e := range edges {
		if err := e.Start(); err != nil {
			return err
		}
	}
	return l.Settled(limit)
}

// Settled waits until the router sends the packets for all VIPs to all edges that
// run, BFD is up where it is configured at both ends (BIRD has it), and the edges hear
// each other.
func (l *Lab) Settled(limit time.Duration) error {
	var running []*Edge
	for _, e := range l.Edges {
		if e.Running() {
			running = append(running, e)
		}
	}
	for _, v := range l.Config.VIPs {
		for _, p := range v.Prefixes {
			if err := l.Reach(limit, p, running...); err != nil {
				return err
			}
		}
		if err := Await(limit, v.Name, "announced", running...); err != nil {
			return err
		}
	}
	return Until(limit, func() error {
		for _, e := range running {
			s, err := e.Status()
			if err != nil || s.Frozen != "" {
				return errors.Join(fmt.Errorf("%s is frozen: %q", e.Name, s.Frozen), err)
			}
			for _, p := range s.Peers {
				if l.Config.Router == BIRD && p.State == "established" && p.BFD != "" && p.BFD != "up" {
					return fmt.Errorf("%s: BFD with %s is %s", e.Name, p.Name, p.BFD)
				}
			}
		}
		return nil
	})
}

// Reach waits until the router sends a VIP's packets to just these edges.
func (l *Lab) Reach(limit time.Duration, vip netip.Prefix, edges ...*Edge) error {
	_, err := l.ReachAt(limit, vip, edges...)
	return err
}

// ReachAt does the same, and returns since when they go there.
func (l *Lab) ReachAt(limit time.Duration, vip netip.Prefix, edges ...*Edge) (time.Time, error) {
	want := make([]string, 0, len(edges))
	for _, e := range edges {
		want = append(want, e.Name)
	}
	return l.FIB.Wait(limit, vip, want...)
}

// Withdrawn waits until the router has no path of a VIP from an edge.
func (l *Lab) Withdrawn(limit time.Duration, vip netip.Prefix, e *Edge) error {
	return Until(limit, func() error {
		p, ok, err := l.Router.PathFrom(vip, e)
		if ok {
			return fmt.Errorf("the router still has %v", p)
		}
		return err
	})
}

// But returns all edges but some.
func (l *Lab) But(not ...*Edge) (edges []*Edge) {
	for _, e := range l.Edges {
		if !slices.Contains(not, e) {
			edges = append(edges, e)
		}
	}
	return edges
}

// Close ends all processes and removes the networks. The files remain.
func (l *Lab) Close() {
	for _, e := range l.Edges {
		e.Kill()
	}
	for _, a := range l.announcers {
		a.Kill()
	}
	for _, r := range l.rivals {
		r.Kill()
	}
	if l.Router != nil {
		l.Router.Kill()
	}
	if l.FIB != nil {
		l.FIB.close()
	}
	if l.network != nil {
		l.network.Close()
	}
}
