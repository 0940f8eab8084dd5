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
	"strings"
	"syscall"
	"time"

	"edged/bench/bars"
	"edged/test/fleet/rig"
)

// maxRounds keeps each server's deaths to three: one that dies a fourth time
// within minutes is known to flap, and clients do not come back to it.
const maxRounds = 7

func main() {
	rig.Main()
	rounds := flag.Int("rounds", 5, fmt.Sprintf("deaths of each kind, 1 to %d", maxRounds))
	asJSON := flag.Bool("json", false, "print JSON instead of Markdown")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *rounds, *asJSON, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
}

// run has servers die, writes the report, and errs when a bar is missed.
func run(ctx context.Context, rounds int, asJSON bool, out io.Writer) error {
	if rounds < 1 || rounds > maxRounds {
		return fmt.Errorf("%d rounds, want 1 to %d", rounds, maxRounds)
	}
	if err := rig.Possible(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "failover")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r := &report{When: time.Now().UTC(), Machine: bars.Machine(), Load: bars.Load()}
	if err := r.measure(ctx, dir, rounds); err != nil {
		return err
	}
	r.judge()
	if asJSON {
		err = bars.WriteJSON(out, r)
	} else {
		r.writeMarkdown(out)
	}
	if missed := r.Bars.Missed(); len(missed) > 0 {
		return errors.New("missed: " + strings.Join(missed, "; "))
	}
	return err
}
