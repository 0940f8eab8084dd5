package lab

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// exabgp is a router of two parts: ExaBGP speaks BGP, and what it hears it writes
// into a pipe; this process keeps the routes, chooses, and tells the kernel.
type exabgp struct {
	process
	kernel *netlink.Handle // of the router's namespace
	pipe   *os.File
	read   sync.WaitGroup

	mu  sync.Mutex // guards the rest
	rib rib
	err error
}

// exabgpScript is the program that ExaBGP talks to. The shell stays, and with it
// its output, which ExaBGP listens to.
const exabgpScript = "#!/bin/sh\ncat >%s\n"

func (r *Router) exabgpConfig() string {
	c := r.config
	var b strings.Builder
	fmt.Fprintf(&b, "process fib {\n\trun %s;\n\tencoder json;\n}\n", r.file("fib.sh"))
	for n := range c.Edges {
		for _, s := range []struct{ edge, local netip.Prefix }{{fabric4(n + 1), router4}, {fabric6(n + 1), router6}} {
			family := "ipv4"
			if s.edge.Addr().Is6() {
				family = "ipv6"
			}
			password := ""
			if c.Password != "" {
				password = fmt.Sprintf("\tmd5-password \"%s\";\n", c.Password)
			}
			fmt.Fprintf(&b, "neighbor %s {\n\trouter-id 192.0.2.1;\n\tlocal-address %s;\n\tlocal-as %d;\n\tpeer-as %d;\n\thold-time %d;\n\tpassive true;\n%s"+
				"\tfamily { %s unicast; }\n\tapi { processes [ fib ]; neighbor-changes; receive { parsed; update; } }\n}\n",
				s.edge.Addr(), s.local.Addr(), RouterASN, EdgeASN, int(c.Hold.Seconds()), password, family)
		}
	}
	return b.String()
}

func (r *Router) startExaBGP() error {
	pipe := r.file("pipe")
	_ = os.Remove(pipe) // of an earlier start
	err := errors.Join(
		os.WriteFile(r.file("exabgp.conf"), []byte(r.exabgpConfig()), 0o600),
		os.WriteFile(r.file("fib.sh"), fmt.Appendf(nil, exabgpScript, pipe), 0o700),
		unix.Mkfifo(pipe, 0o600))
	if err != nil {
		return err
	}
	x := &exabgp{rib: rib{}}
	if err := r.Host.Do(func() (err error) { x.kernel, err = netlink.NewHandle(unix.NETLINK_ROUTE); return err }); err != nil {
		return err
	}
	// For reading and writing, so that opening does not wait for the writer.
	if x.pipe, err = os.OpenFile(pipe, os.O_RDWR, 0); err != nil {
		return err
	}
	r.exabgp = x
	args := []string{
		"exabgp.daemon.daemonize=false", "exabgp.daemon.user=root", "exabgp.daemon.drop=false", "exabgp.api.cli=false",
		fmt.Sprintf("exabgp.tcp.bind=%s %s", router4.Addr(), router6.Addr()), "exabgp.tcp.port=179",
		"exabgp.log.destination=" + r.file("log"), "exabgp.cache.attributes=false",
		"exabgp", r.file("exabgp.conf"),
	}
	if err := x.start(r.Host, r.file("out"), "env", args...); err != nil {
		return err
	}
	x.read.Go(x.follow)
	return Until(10*time.Second, func() error {
		out, err := r.Run("ss", "-Hltn", "sport = :179")
		if err == nil && strings.Count(out, "\n") < 2 {
			err = errors.New("ExaBGP does not listen; see " + filepath.Join(r.Dir, "out"))
		}
		return err
	})
}

// follow keeps the routes by what ExaBGP says, until the pipe is closed.
func (x *exabgp) follow() {
	lines := bufio.NewScanner(x.pipe)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		x.mu.Lock()
		changed, err := x.rib.note(lines.Bytes())
		for _, p := range changed {
			err = errors.Join(err, x.install(p))
		}
		x.err = errors.Join(x.err, err)
		x.mu.Unlock()
	}
}

// install is called with mu held.
func (x *exabgp) install(prefix netip.Prefix) error {
	a := prefix.Addr()
	route := netlink.Route{
		Dst:      &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(prefix.Bits(), a.BitLen())},
		Protocol: unix.RTPROT_BGP,
	}
	best := x.rib.best(prefix)
	if len(best) == 0 {
		return x.kernel.RouteDel(&route)
	}
	for _, hop := range best {
		route.MultiPath = append(route.MultiPath, &netlink.NexthopInfo{Gw: hop.AsSlice()})
	}
	return x.kernel.RouteReplace(&route)
}

func (x *exabgp) paths(prefix netip.Prefix) (all []Path) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for a, p := range x.rib[prefix] {
		p.Edge = edgeAt(a)
		all = append(all, p)
	}
	return all
}

func (x *exabgp) stop(limit time.Duration) error {
	_, err := x.Stop(limit)
	x.kill()
	return errors.Join(err, x.err)
}

// kill ends ExaBGP, and takes its routes out of the kernel.
func (x *exabgp) kill() {
	x.Kill()
	x.pipe.Close()
	x.read.Wait()
	for _, p := range slices.Collect(maps.Keys(x.rib)) {
		delete(x.rib, p)
		x.err = errors.Join(x.err, x.install(p))
	}
	x.kernel.Close()
}
