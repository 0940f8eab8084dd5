//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"edged/test/lab"
)

func main() {
	lab.Main()
	var c lab.Config
	flag.IntVar(&c.Edges, "edges", 3, "how many edges, 1 to 8")
	flag.IntVar(&c.PoPs, "pops", 0, "in how many PoPs, 1 to 3; 0: one for each two edges")
	router := flag.String("router", string(lab.BIRD), "bird, frr or exabgp")
	flag.Parse()
	c.Router = lab.Kind(*router)
	if c.PoPs == 0 {
		c.PoPs = min(max((c.Edges+1)/2, 1), len(lab.PoPs))
	}
	ctx, stop := stopped(context.Background(), os.Stdin)
	defer stop()
	if err := run(ctx, c, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

// stopped returns a context that ends at Ctrl-C, SIGTERM and SIGHUP, and when the
// terminal is gone: of that the kernel tells only the session's leader, which may be
// a make that waits for this program. Until stop is called, no signal ends the program.
func stopped(ctx context.Context, in *os.File) (_ context.Context, stop context.CancelFunc) {
	ctx, hangUp := context.WithCancel(ctx)
	ctx, release := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	fd := int(in.Fd())
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
		go func() {
			awaitHangUp(fd)
			hangUp()
		}()
	}
	return ctx, func() { release(); hangUp() }
}

// awaitHangUp waits until a terminal is gone.
func awaitHangUp(fd int) {
	for {
		gone := []unix.PollFd{{Fd: int32(fd)}} // which is always told
		if _, err := unix.Poll(gone, -1); err == nil || !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// startWithin is how long edges may take until all is announced.
const startWithin = time.Minute

// run starts a lab and keeps it until ctx ends.
func run(ctx context.Context, c lab.Config, out io.Writer) error {
	if err := lab.Possible(c.Router); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintln(out, "building edged ...")
	c.Program, err = lab.Build(ctx, dir)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	c.Dir = dir
	l, err := lab.New(c)
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Fprintf(out, "starting %d edges in %d PoPs, and %s as their router ...\n", c.Edges, c.PoPs, c.Router)
	if err := os.WriteFile(filepath.Join(dir, "in"), []byte(inScript(l)), 0o700); err != nil {
		return err
	}
	begun := time.Now()
	failed := start(ctx, l)
	if ctx.Err() != nil {
		return nil
	}
	if failed != nil {
		fmt.Fprintf(out, "not all is announced: %v; see the edges' logs, %s/e*/log\n", failed, dir)
	} else {
		fmt.Fprintf(out, "all is announced, after %.1f s\n", time.Since(begun).Seconds())
	}
	fmt.Fprint(out, hints(l))
	<-ctx.Done()
	fmt.Fprintln(out, "\nstopping; nothing is left behind")
	return nil
}

// start starts all edges and waits until they have settled: they announce all VIPs,
// hear each other, and the router has their routes.
func start(ctx context.Context, l *lab.Lab) error {
	for _, e := range l.Edges {
		if err := e.Start(); err != nil {
			return err
		}
	}
	for end := time.Now().Add(startWithin); ; {
		err := l.Settled(time.Second)
		if err == nil || ctx.Err() != nil || time.Now().After(end) {
			return err
		}
	}
}

// inScript runs a command in a host's namespace, with edged's node set.
func inScript(l *lab.Lab) string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n# in HOST COMMAND...: runs a command on a host of the lab\nhost=$1\nshift\ncase $host in\n")
	fmt.Fprintf(&b, "client) net=%s ;;\nrouter) net=%s ;;\n", l.Client.Path(), l.Router.Path())
	for _, e := range l.Edges {
		fmt.Fprintf(&b, "%s) net=%s ;;\n", e.Name, e.Path())
	}
	fmt.Fprintf(&b, "*) echo \"no host $host\" >&2; exit 2 ;;\nesac\nexec nsenter --net=$net \"$@\"\n")
	return b.String()
}

// hints says what to try.
func hints(l *lab.Lab) string {
	dir, vip, e := l.Config.Dir, l.Config.VIPs[0], l.Edges[0]
	edged := func(command string) string {
		return fmt.Sprintf("  %s %s --node %s\n", l.Config.Program, command, e.Socket())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nAsk the VIP through the router; each edge answers its share:\n")
	fmt.Fprintf(&b, "  %s/in client dig @%s %s +nsid\n", dir, vip.Prefixes[0].Addr(), lab.Good)
	fmt.Fprintf(&b, "See what %s does, and drain it:\n", e.Name)
	b.WriteString(edged("vip list") + edged("vip drain node/"+e.Name+" --reason trying") + edged("vip undrain node/"+e.Name+" --reason tried"))
	b.WriteString("See what the router has:\n")
	fmt.Fprintf(&b, "  %s/in router ip route show %s\n", dir, vip.Prefixes[0])
	if l.Config.Router == lab.BIRD {
		fmt.Fprintf(&b, "  birdc -s %s/bird.ctl show route all for %s\n", l.Router.Dir, vip.Prefixes[0])
	}
	fmt.Fprintf(&b, "Kill an edge, or cut its wire:\n  kill -9 %d\n  %s/in %s ip link set %s down\n", e.PID(), dir, l.Edges[len(l.Edges)-1].Name, lab.Fabric)
	fmt.Fprintf(&b, "Logs are %s/e*/log. Ctrl-C ends it all.\n", dir)
	return b.String()
}
