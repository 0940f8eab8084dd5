package speaker

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"

	"edged/bgp"
	"edged/test/netns"
)

// The network of all tests: we are 192.0.2.11 and 2001:db8:1::11 in AS 64512,
// routers are 192.0.2.N and 2001:db8:1::N in AS 64500.
const (
	ourASN   = 64512
	theirASN = 64500
	our4     = "192.0.2.11"
	our6     = "2001:db8:1::11"
)

// lab is a switch with us on it, and routers.
type lab struct {
	t   testing.TB
	hub *netns.Namespace
}

func newLab(t testing.TB, programs ...string) *lab {
	t.Helper()
	need(t, programs...)
	hub, err := netns.New()
	must(t, err)
	t.Cleanup(hub.Close)
	must(t, hub.IP(
		"link add name hub type bridge mcast_snooping 0", "link set dev hub up",
		fmt.Sprintf("link add name us type veth peer name edge0 netns /proc/%d/ns/net", os.Getpid()),
		"link set dev us master hub up",
	))
	t.Cleanup(func() { _ = ip("link delete dev edge0") })
	must(t, ip("address add "+our4+"/24 dev edge0", "address add "+our6+"/64 dev edge0 nodad", "link set dev edge0 up"))
	return &lab{t: t, hub: hub}
}

// router is a namespace on the hub.
type router struct {
	*netns.Namespace
	t      testing.TB
	port   string // of the hub
	number int
}

// router plugs in one with the addresses that end in number.
func (l *lab) router(number int) *router {
	l.t.Helper()
	space, err := netns.New()
	must(l.t, err)
	l.t.Cleanup(space.Close)
	r := &router{Namespace: space, t: l.t, port: fmt.Sprintf("r%d", number), number: number}
	must(l.t, l.hub.IP(
		fmt.Sprintf("link add name %s type veth peer name eth0 netns %s", r.port, space.Path()),
		"link set dev "+r.port+" master hub up",
	))
	must(l.t, space.IP("link set dev lo up", "address add "+r.v4()+"/24 dev eth0",
		"address add "+r.v6()+"/64 dev eth0 nodad", "link set dev eth0 up"))
	return r
}

func (r *router) v4() string { return fmt.Sprintf("192.0.2.%d", r.number) }
func (r *router) v6() string { return fmt.Sprintf("2001:db8:1::%d", r.number) }

// peer is the router as the speaker knows it, over IPv4.
func (r *router) peer() Peer {
	return Peer{Name: fmt.Sprintf("r%d", r.number), Address: netip.MustParseAddr(r.v4()), ASN: theirASN}
}

// peer6 is the same over IPv6.
func (r *router) peer6() Peer {
	p := r.peer()
	p.Name, p.Address = p.Name+"v6", netip.MustParseAddr(r.v6())
	return p
}

// cut loses all packets to and from the router, silently.
func (l *lab) cut(r *router)  { must(l.t, l.hub.IP("link set dev "+r.port+" nomaster")) }
func (l *lab) join(r *router) { must(l.t, l.hub.IP("link set dev "+r.port+" master hub")) }

// run starts a program in the router; it ends with the test.
func (r *router) run(name string, args ...string) {
	r.t.Helper()
	cmd := exec.Command(name, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	must(r.t, r.Start(cmd))
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if r.t.Failed() {
			r.t.Logf("%s said:\n%s", name, out.String())
		}
	})
}

func (r *router) file(name, text string) string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), name)
	must(r.t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// bird is a router that runs BIRD.
type bird struct {
	*router
	control string
}

// session is a BGP protocol of BIRD's. %s of options stands for what differs
// from a plain active neighbour.
func (r *router) session4(options string) string {
	return fmt.Sprintf("protocol bgp edge4 { local %s as %d; neighbor %s as %d; ipv4 { import all; export all; }; %s }\n",
		r.v4(), theirASN, our4, ourASN, options)
}

func (r *router) session6(options string) string {
	return fmt.Sprintf("protocol bgp edge6 { local %s as %d; neighbor %s as %d; ipv6 { import all; export all; }; ipv4 { extended next hop; import all; export all; }; %s }\n",
		r.v6(), theirASN, our6, ourASN, options)
}

// bird runs BIRD with these protocols.
func (r *router) bird(protocols ...string) *bird {
	r.t.Helper()
	config := fmt.Sprintf("log stderr all;\nrouter id %s;\nprotocol device {}\n%s", r.v4(), strings.Join(protocols, ""))
	path := r.file("bird.conf", config)
	b := &bird{router: r, control: filepath.Join(filepath.Dir(path), "ctl")}
	r.run("bird", "-f", "-c", path, "-s", b.control)
	until(r.t, 5*time.Second, func() string {
		if _, err := os.Stat(b.control); err != nil {
			return "BIRD has not started"
		}
		return ""
	})
	return b
}

func (b *bird) birdc(command ...string) string {
	b.t.Helper()
	out, err := exec.Command("birdc", append([]string{"-s", b.control}, command...)...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("birdc %q: %v: %s", command, err, out)
	}
	return string(out)
}

var (
	birdRoute = regexp.MustCompile(`(?m)^(\S*)\s+(?:unicast|blackhole) \[`) // no prefix: the one before
	birdValue = regexp.MustCompile(`(?m)^\tBGP\.(as_path|next_hop|med|community): (.*)$`)
)

// routes returns what BIRD has from us, a line each: prefix, AS path, next hop,
// and MED and communities where there are any.
func (b *bird) routes() []string {
	b.t.Helper()
	var lines []string
	for _, table := range []string{"master4", "master6"} {
		text := b.birdc("show", "route", "all", "table", table)
		starts := birdRoute.FindAllStringSubmatchIndex(text, -1)
		prefix := ""
		for i, at := range starts {
			end := len(text)
			if i+1 < len(starts) {
				end = starts[i+1][0]
			}
			if at[2] < at[3] {
				prefix = text[at[2]:at[3]]
			}
			if !strings.Contains(text[at[0]:end], "Type: BGP") {
				continue // its own
			}
			line := prefix
			for _, v := range birdValue.FindAllStringSubmatch(text[at[0]:end], -1) {
				line += " " + v[1] + " " + strings.TrimSpace(v[2])
			}
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

// has waits until BIRD has exactly these routes.
func (b *bird) has(want ...string) {
	b.t.Helper()
	slices.Sort(want)
	until(b.t, 10*time.Second, func() string {
		if got := b.routes(); !slices.Equal(got, want) {
			return fmt.Sprintf("BIRD has\n %s\nwant\n %s", strings.Join(got, "\n "), strings.Join(want, "\n "))
		}
		return ""
	})
}

// until waits for f to have nothing to complain about. Routers are other
// processes: all one can do is look again.
func until(t testing.TB, patience time.Duration, f func() string) {
	t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	end := time.After(patience)
	for {
		complaint := f()
		if complaint == "" {
			return
		}
		select {
		case <-look.C:
		case <-end:
			t.Fatalf("after %s: %s", patience, complaint)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// speak starts a speaker that is closed with the test.
func speak(t testing.TB, c Config) *Speaker {
	t.Helper()
	c.ASN, c.RouterID = ourASN, netip.MustParseAddr(our4)
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	s, err := New(c)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// up waits until all sessions are.
func up(t testing.TB, s *Speaker) {
	t.Helper()
	until(t, 15*time.Second, func() string {
		for _, p := range s.Peers() {
			if p.State != Established {
				return fmt.Sprintf("%s is %s: %q", p.Name, p.State, p.LastError)
			}
		}
		return ""
	})
}

// allow lets these prefixes out.
func allow(t testing.TB, s *Speaker, list ...string) {
	t.Helper()
	var all []netip.Prefix
	for _, p := range list {
		all = append(all, netip.MustParsePrefix(p))
	}
	must(t, s.Allow(all))
}

func apply(t testing.TB, s *Speaker, routes ...bgp.Route) Diff {
	t.Helper()
	d, err := s.Apply(t.Context(), routes)
	must(t, err)
	return d
}

func plain(prefix string) bgp.Route { return bgp.Route{Prefix: netip.MustParsePrefix(prefix)} }

// smuggle puts a route into GoBGP's table past all of ours.
func smuggle(t testing.TB, s *Speaker, r bgp.Route) {
	t.Helper()
	_, err := s.server.AddPath(apiutil.AddPathRequest{Paths: []*apiutil.Path{encode(s.asn, r)}})
	must(t, err)
}

// taken counts the routes that peers announced to us.
func taken(t testing.TB, s *Speaker) (n int) {
	t.Helper()
	must(t, s.server.ListPeer(t.Context(), &api.ListPeerRequest{}, func(p *api.Peer) {
		for _, family := range p.AfiSafis {
			n += int(family.GetState().GetReceived())
		}
	}))
	return n
}

// inUse is the heap in use, in bytes.
func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
