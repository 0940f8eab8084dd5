package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	length time.Duration
	flying int // slow connections at a time
	edged  string
	seed   uint64
}

func main() {
	var o options
	minutes := flag.Float64("minutes", 10, "length of the attack")
	flag.IntVar(&o.flying, "connections", 800, "slow TCP connections to hold at a time")
	flag.StringVar(&o.edged, "edged", "", "an edged binary (default: built from ./cmd/edged)")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of the packets")
	flag.Parse()
	o.length = time.Duration(*minutes * float64(time.Minute))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, stdout, progress io.Writer) error {
	if o.length < time.Second {
		return errors.New("the attack must last at least a second")
	}
	dir, err := os.MkdirTemp("", "edged-hostile-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	n, err := startNode(ctx, dir, o.edged)
	if err != nil {
		return err
	}
	w, err := n.attack(ctx, o, progress)
	if err != nil {
		n.stop()
		return err
	}
	w.stopped = n.stop()
	w.log = n.lastLog()
	w.write(stdout)
	if faults := w.faults(); len(faults) > 0 {
		return errors.New(strings.Join(faults, "\nhostile: "))
	}
	return nil
}

// attack runs floods and the good client for the whole length, watches the
// process each second, and then waits for connections to run out.
func (n *node) attack(ctx context.Context, o options, progress io.Writer) (*watched, error) {
	w := &watched{
		quiet: n.usage(), packets: make([]atomic.Int64, len(attacks)), opened: make([]atomic.Int64, len(slows)),
		length: o.length, limit: min(maxConnections, o.flying),
	}
	flood, end := context.WithTimeout(ctx, o.length)
	defer end()
	var wg sync.WaitGroup
	var broken atomic.Pointer[error]
	start := func(f func() error) {
		wg.Go(func() {
			if err := f(); err != nil {
				broken.CompareAndSwap(nil, &err)
			}
		})
	}
	seed := o.seed
	rng := func() *rand.Rand { seed++; return rand.New(rand.NewPCG(o.seed, seed)) }
	for i := range 2 {
		r := rng()
		start(func() error { return floodUDP(flood, n.server, fmt.Sprintf("127.0.1.%d", 1+i), r, w.packets) })
	}
	for i := range o.flying {
		r := rng()
		start(func() error { floodTCP(flood, n.server, i, r, w.opened); return nil })
	}
	goodUDP, goodTCP := rng(), rng()
	start(func() error { return askUDP(flood, n.server, "127.0.2.1", goodUDP, &w.udp) })
	start(func() error { askTCP(flood, n.server, "127.0.2.2", goodTCP, &w.tcp); return nil })
	begin, said := time.Now(), time.Duration(0)
	for pause(flood, time.Second) && n.alive() {
		u := n.usage()
		w.see(u, time.Since(begin))
		if since := time.Since(begin); since-said >= 10*time.Second {
			said = since
			fmt.Fprintf(progress, "%v: %.1f MB, %d descriptors, %d goroutines, good: %.2f %% udp, %.2f %% tcp\n", since.Round(time.Second),
				float64(u.rss)/1e6, u.descriptors, u.goroutines, w.udp.share(), w.tcp.share())
		}
	}
	end()
	wg.Wait()
	if err := broken.Load(); err != nil {
		return nil, *err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	w.lived = n.alive()
	// What is left of the flood runs out by the idle timeout.
	for range 30 {
		if w.after = n.usage(); !w.lived || w.after.descriptors <= w.quiet.descriptors+slack && w.after.goroutines <= w.quiet.goroutines+slack {
			break
		}
		pause(ctx, time.Second)
	}
	return w, nil
}
