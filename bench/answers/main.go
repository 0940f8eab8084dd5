//go:build linux

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
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"edged/bench/bars"
	"edged/bench/pin"
)

// options are the command line.
type options struct {
	rounds   int
	seconds  int
	nets     int // prefixes in regimes A, C, D and E
	netsB    int // and in B
	regimes  string
	servers  string
	edged    string // a binary to use instead of building one
	patience time.Duration
	json     bool
	cold     bool // let the change of the map find memory as it is
	seed     uint64
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == watchProcessor {
		if err := watch(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 2 && os.Args[1] == holdMemory {
		if err := hold(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "answers:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	quick := flag.Bool("quick", false, "one round of one second: to see that everything works, not to measure")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds; figures are medians over them")
	flag.IntVar(&o.seconds, "seconds", 5, "length of one load")
	flag.IntVar(&o.nets, "nets", 300_000, "random /24s in regimes A, C, D and E")
	flag.IntVar(&o.netsB, "nets-b", 1_000_000, "mixed prefixes in regime B")
	flag.StringVar(&o.regimes, "regimes", "ABCDE", "which regimes to run, as letters")
	flag.StringVar(&o.servers, "servers", "echo,edged,gdnsd,knot,pdns,nsd", "which servers to run")
	flag.StringVar(&o.edged, "edged", "", "an edged binary (default: built from ./cmd/edged)")
	flag.DurationVar(&o.patience, "patience", 90*time.Second, "give a server up that does not answer right within this time")
	flag.BoolVar(&o.json, "json", false, "print JSON instead of Markdown")
	flag.BoolVar(&o.cold, "cold", false, "do not make sure that the machine has its memory before the map changes; see bench/README.md")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of the data and of the order")
	flag.Parse()
	if *quick {
		o.rounds, o.seconds = 1, 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "answers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, stdout, progress io.Writer) error {
	if err := pin.Again(); err != nil {
		return err
	}
	if o.rounds < 1 || o.seconds < 1 || o.nets < 1 || o.netsB < 1 {
		return errors.New("rounds, seconds and nets must be at least 1")
	}
	dir, err := os.MkdirTemp("", "edged-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	chosen := strings.Split(o.servers, ",")
	r := &report{
		When: time.Now().UTC(), Machine: bars.Machine(), Rounds: o.rounds, Seconds: float64(o.seconds),
		Nets: map[string]int{}, Notes: map[string]string{}, Versions: map[string]string{},
		Startup: map[string]float64{}, RSS: map[string][2]int64{},
	}
	if o.edged == "" && slices.Contains(chosen, "edged") {
		if o.edged, err = buildEdged(dir); err != nil {
			fmt.Fprintln(progress, err)
		}
	}
	servers := slices.DeleteFunc(allServers(o.edged), func(s *server) bool { return !slices.Contains(chosen, s.name) })
	for _, s := range servers {
		r.Versions[s.name] = version(s)
	}
	if strings.ContainsAny(o.regimes, "ACDE") {
		if err := r.first(ctx, o, filepath.Join(dir, "300k"), servers, progress); err != nil {
			return err
		}
	}
	if strings.Contains(o.regimes, "B") {
		if err := r.second(ctx, o, filepath.Join(dir, "1m"), servers, progress); err != nil {
			return err
		}
	}
	if slices.Contains(chosen, "edged") {
		r.judge()
	}
	if o.json {
		err = r.writeJSON(stdout)
	} else {
		r.writeMarkdown(stdout, servers)
	}
	if failures := r.failures(); len(failures) > 0 {
		return errors.New(strings.Join(failures, "\nanswers: "))
	}
	return err
}

// first runs the regimes on random /24s, and with the same servers the start,
// memory and swap figures.
func (r *report) first(ctx context.Context, o options, dir string, servers []*server, progress io.Writer) error {
	d := makeData(o.seed, o.nets, lengths24)
	l, err := makeLab(dir, d, o)
	if err != nil {
		return err
	}
	defer l.stopAll()
	for name, note := range l.startAll(dir, servers, o.patience, progress) {
		r.Notes[name] = note
	}
	var regimes []regime
	for _, reg := range regimes300k {
		if strings.Contains(o.regimes, reg.key) {
			regimes = append(regimes, reg)
			r.Nets[reg.key] = o.nets
		}
	}
	rows, err := l.run(ctx, regimes, o.rounds, rand.New(rand.NewPCG(o.seed, 9)), progress)
	if err != nil {
		return err
	}
	r.Rows = append(r.Rows, rows...)
	if !strings.Contains(o.regimes, "E") {
		return nil
	}
	r.Nets["E"] = o.nets
	for _, p := range l.servers {
		rss, peak := p.memory()
		r.Startup[p.server.name] = float64(p.startup) / float64(time.Millisecond)
		r.RSS[p.server.name] = [2]int64{rss, peak}
		if p.server.name != "edged" {
			continue
		}
		if r.Swaps, err = l.swapUnderLoad(p, o, filepath.Join(dir, "edged")); err != nil {
			r.SwapNote = err.Error()
		}
	}
	return nil
}

// second runs the regime on a million mixed prefixes.
func (r *report) second(ctx context.Context, o options, dir string, servers []*server, progress io.Writer) error {
	l, err := makeLab(dir, makeData(o.seed+1, o.netsB, lengthsMixed), o)
	if err != nil {
		return err
	}
	defer l.stopAll()
	takes := slices.DeleteFunc(slices.Clone(servers), func(s *server) bool { return !withNets(s) })
	for name, note := range l.startAll(dir, takes, o.patience, progress) {
		r.Notes[name] = note
	}
	r.Nets["B"] = o.netsB
	rows, err := l.run(ctx, regimes1M, o.rounds, rand.New(rand.NewPCG(o.seed, 10)), progress)
	r.Rows = append(r.Rows, rows...)
	return err
}

func makeLab(dir string, d *data, o options) (*lab, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return newLab(dir, d, time.Duration(o.seconds)*time.Second)
}

// swapUnderLoad finds the most that edged answers and then, once a round,
// replaces its map by one with every net moved and has it reload at half that
// rate.
func (l *lab) swapUnderLoad(p *process, o options, dir string) ([]swapResult, error) {
	p.thaw()
	defer p.freeze()
	most, err := blast(p.addr, l.blastQ, time.Second, false)
	if err != nil {
		return nil, err
	}
	rate := int(float64(most.Answered) / most.Took.Seconds() / 2)
	var list []swapResult
	old, next := l.data, rotated(l.data)
	for range o.rounds {
		if err := buildMap(o.edged, dir, next); err != nil {
			return list, err
		}
		var w *warm
		if !o.cold {
			var err error
			if w, err = newWarm(); err != nil {
				return list, err
			}
		}
		res, err := swap(p, l.blastQ, rate, time.Duration(max(4, o.seconds))*time.Second, old, next, w)
		w.end()
		if err != nil {
			return list, err
		}
		list = append(list, res)
		old, next = next, old
	}
	return list, nil
}
