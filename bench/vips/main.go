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
	"slices"
	"strings"
	"syscall"
	"time"

	"edged/bench/bars"
	"edged/test/lab"
)

const maxRounds = 1000

func main() {
	lab.Main()
	o := options{}
	only := flag.String("only", "", "experiments to run, by their numbers in a list, such as B1,B5; empty: all")
	flag.IntVar(&o.rounds, "rounds", 200, fmt.Sprintf("of B1, 1 to %d; the slow experiments have a fraction of it", maxRounds))
	flag.BoolVar(&o.json, "json", false, "print JSON instead of Markdown")
	flag.Parse()
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "vips:", err)
		os.Exit(1)
	}
}

type options struct {
	only   []string // numbers of experiments; none: all
	rounds int
	json   bool
}

// run does the experiments, writes the report, and errs when a bar is missed.
func run(ctx context.Context, o options, out io.Writer) error {
	if o.rounds < 1 || o.rounds > maxRounds {
		return fmt.Errorf("%d rounds, want 1 to %d", o.rounds, maxRounds)
	}
	for _, id := range o.only {
		if !slices.ContainsFunc(experiments, func(e experiment) bool { return e.id == id }) {
			return fmt.Errorf("no experiment %q; see the package's comment", id)
		}
	}
	if err := lab.Possible(lab.BIRD, lab.FRR, lab.ExaBGP); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "vips")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := bench{ctx: ctx, dir: dir, rounds: o.rounds, report: &report{When: time.Now().UTC(), Machine: bars.Machine(), Load: bars.Load()}}
	for _, e := range experiments {
		if len(o.only) > 0 && !slices.Contains(o.only, e.id) {
			continue
		}
		b.id = e.id
		if err := e.run(&b); err != nil {
			return fmt.Errorf("%s: %w", e.id, err)
		}
	}
	if o.json {
		err = bars.WriteJSON(out, b.report)
	} else {
		b.report.writeMarkdown(out)
	}
	if missed := b.report.Bars.Missed(); len(missed) > 0 {
		return errors.New("missed: " + strings.Join(missed, "; "))
	}
	return err
}

// experiment is one of the numbered ones.
type experiment struct {
	id  string
	run func(*bench) error
}

var experiments = []experiment{
	{"B1", func(b *bench) error { return b.routes(lab.BIRD) }},
	{"B2", (*bench).thousand},
	{"B3", func(b *bench) error { return b.drained(lab.BIRD) }},
	{"B4", (*bench).preferences},
	{"B5", func(b *bench) error { return b.killed(lab.BIRD) }},
	{"B6", (*bench).silent}, // and B7
	{"B8", (*bench).restarted},
	{"B13", (*bench).terminated},
	{"B16", (*bench).otherRouters},
	{"H2", (*bench).guarded},
}

// bench is a run.
type bench struct {
	ctx     context.Context
	dir     string
	rounds  int
	program string // edged, once it was built
	id      string // of the experiment
	labs    int
	report  *report
}

// lab makes one, with a directory of its own.
func (b *bench) lab(c lab.Config) (*lab.Lab, error) {
	b.labs++
	c.Dir = fmt.Sprintf("%s/%d", b.dir, b.labs)
	c.Program = b.program
	if err := os.Mkdir(c.Dir, 0o700); err != nil {
		return nil, err
	}
	return lab.New(c)
}
