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
	"edged/bench/pin"
)

// options are the command line.
type options struct {
	targets  int
	interval time.Duration
	length   time.Duration
	json     bool
	profile  io.Writer // gets a CPU profile of the HTTP checks
}

func main() {
	if err := command(); err != nil {
		fmt.Fprintln(os.Stderr, "checks:", err)
		os.Exit(1)
	}
}

func command() error {
	if slices.Equal(os.Args[1:], []string{serveArgument}) {
		return serve(os.Stdin, os.Stdout)
	}
	if err := pin.Again(); err != nil {
		return err
	}
	var o options
	seconds := flag.Int("seconds", 60, "length of the measurement of each row")
	flag.IntVar(&o.targets, "targets", 10_000, "targets to check")
	flag.DurationVar(&o.interval, "interval", 2*time.Second, "from one check of a target to the next")
	flag.BoolVar(&o.json, "json", false, "print JSON instead of Markdown")
	profile := flag.String("profile", "", "write a CPU profile of the HTTP checks to this file")
	flag.Parse()
	o.length = time.Duration(*seconds) * time.Second
	if *profile != "" {
		file, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer file.Close()
		o.profile = file
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, o, os.Stdout)
}

// run measures all ways, writes the report, and errs when a bar is missed.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	if o.targets < 1 || o.interval < 100*time.Millisecond || o.length < o.interval {
		return errors.New("want at least one target, an interval of 100ms or more, and a measurement of no less than that")
	}
	srv, err := startServer()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	r := &report{When: time.Now().UTC(), Machine: bars.Machine(), Load: bars.Load(), Targets: o.targets, Interval: o.interval.Seconds()}
	for i, w := range ways {
		each := o
		if i < len(ways)-1 {
			each.profile = nil
		}
		row, err := measure(ctx, w, srv, each)
		if err != nil {
			return err
		}
		r.Rows = append(r.Rows, row)
	}
	r.judge()
	if o.json {
		err = bars.WriteJSON(out, r)
	} else {
		r.writeMarkdown(out)
	}
	if missed := r.Bars.Missed(); len(missed) > 0 {
		return errors.New("missed: " + strings.Join(missed, "; "))
	}
	return err
}
