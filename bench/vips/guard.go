//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"edged/test/lab"
)

// The experiment of all checks failing at once.
const (
	failWithin  = time.Second      // all edges' checks begin to fail in this time
	failFor     = 40 * time.Second // a ladder of three steps takes 23 s
	sampleEvery = 250 * time.Millisecond
	labsAtOnce  = 4 // they wait for most of their time
	fewest      = 2 // edges that must announce: min_announcers of the VIPs
)

// doomed are the VIPs whose checks fail: one whose ladder takes 20 s, and one that
// wants to withdraw at once, while some of the others still pass their checks.
var doomed = []lab.VIP{
	lab.DefaultVIPs[0],
	{
		Name: "ns2", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.54/32")},
		Keys: "min_announcers: 2, min_pops: 2, ladder: [withdraw], drain: {hold: 2s, linger: 2s}",
	},
}

// guarded has the checks of all edges fail within a second, again and again, and
// counts who still announces.
func (b *bench) guarded() error {
	rounds := max(1, b.rounds/2)
	var labs []*lab.Lab
	defer func() {
		for _, l := range labs {
			l.Close()
		}
	}()
	for range min(rounds, labsAtOnce) {
		l, err := b.edges(lab.Config{Edges: 4, VIPs: doomed, BFD: -1}) // sessions are not what fails here
		if err != nil {
			return err
		}
		labs = append(labs, l)
	}
	left := make(chan struct{}, rounds)
	for range rounds {
		left <- struct{}{}
	}
	close(left)
	var mu sync.Mutex // guards what follows
	var announcers, violations, quiet []float64
	var failed error
	var all sync.WaitGroup
	for _, l := range labs {
		all.Go(func() {
			for range left {
				o, err := b.doom(l)
				mu.Lock()
				failed = errors.Join(failed, err)
				announcers, violations, quiet = append(announcers, float64(o.announcers)), append(violations, float64(o.violations)), append(quiet, float64(o.quiet))
				stop := failed != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	all.Wait()
	if failed != nil {
		return failed
	}
	b.add("all checks fail within 1 s: samples with fewer than min_announcers", "samples", violations, most(0))
	b.add("all checks fail within 1 s: fewest announcers of a VIP at the router", "edges", announcers)
	b.add("all checks fail within 1 s: edges without an alarm", "edges", quiet, most(0))
	return nil
}

// doomsday is what came of one round.
type doomsday struct {
	announcers int // the fewest that the router had at any time, of any of the VIPs
	violations int // samples with fewer than must be
	quiet      int // edges that raised no alarm
}

// doom has all checks fail once, and starts the edges anew.
func (b *bench) doom(l *lab.Lab) (doomsday, error) {
	o := doomsday{announcers: len(l.Edges)}
	if err := b.ctx.Err(); err != nil {
		return o, err
	}
	logged := map[*lab.Edge]int{}
	for _, e := range l.Edges {
		logged[e] = len(e.Log())
	}
	var failing sync.WaitGroup
	broken := make([]error, len(l.Edges))
	for i, e := range l.Edges {
		delay := rand.N(failWithin)
		failing.Go(func() {
			time.Sleep(delay)
			for _, v := range doomed {
				broken[i] = errors.Join(broken[i], e.IP(fmt.Sprintf("route del table local local %s dev lo", v.Prefixes[0])))
			}
		})
	}
	for end := time.Now().Add(failFor); time.Now().Before(end); time.Sleep(sampleEvery) {
		for _, v := range doomed {
			paths, err := l.Router.Paths(v.Prefixes[0])
			if err != nil {
				return o, err
			}
			o.announcers = min(o.announcers, len(paths))
			if len(paths) < fewest {
				o.violations++
			}
		}
	}
	failing.Wait()
	if err := errors.Join(broken...); err != nil {
		return o, err
	}
	for _, e := range l.Edges {
		if !strings.Contains(e.Log()[logged[e]:], `"alarm":"vips"`) {
			o.quiet++
		}
	}
	// Anew, without the penalties for what was done to them.
	for _, e := range l.Edges {
		e.Kill()
		for _, v := range doomed { // comes back with its local route
			if err := e.IP(fmt.Sprintf("address del %s dev lo", v.Prefixes[0])); err != nil {
				return o, err
			}
		}
		if err := os.RemoveAll(filepath.Join(e.Dir, "state", "vips")); err != nil {
			return o, err
		}
	}
	return o, l.Start(upWithin, l.Edges...)
}
