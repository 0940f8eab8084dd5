package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"edged/config"
)

// stopTimeout bounds how long a stopping node waits for what it has begun.
const stopTimeout = 4500 * time.Millisecond

// reloadTimeout bounds how long a stopping node waits for a reload.
const reloadTimeout = time.Second

func serveCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "run a node",
		Long: `Run a node until SIGINT or SIGTERM. SIGHUP and "edged reload" make it read its
files again; bad files are refused whole, and what was served is served still.

A node whose files are bad when it starts serves what it served last, which it
keeps in its data_dir, and raises an alarm. Without that, it does not start.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), path, cmd.ErrOrStderr())
		},
	}
	configFlag(cmd, &path)
	cmd.MarkFlagRequired("config")
	return cmd
}

// serve runs the node that the file at path describes until ctx is done.
func serve(ctx context.Context, path string, stderr io.Writer) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP) // first of all: by default it ends the process
	defer signal.Stop(hangup)
	n, err := startNode(path, stderr)
	if err != nil {
		return err
	}
	unmapProgram()
	n.log.Info("serving", "node", n.started.Node.Name, "dns", n.server.Addrs(), "admin", n.adminURL(), "config", path)
	reloader := make(chan struct{})
	go func() {
		defer close(reloader)
		for {
			select {
			case <-hangup:
				n.Reload(ctx)
			case <-ctx.Done():
				return
			}
		}
	}()
	<-ctx.Done()
	n.log.Info("stopping")
	select {
	case <-reloader:
	case <-time.After(reloadTimeout): // its files do not let themselves be read
		n.log.Error("stopping in the middle of a reload")
	}
	return n.stop()
}

// startNode starts what the file at path says or, if that is not possible, what
// the node served last.
func startNode(path string, stderr io.Writer) (*node, error) {
	source, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	l, c, err := load(source)
	if err == nil {
		var n *node
		if n, err = newNode(source, l, newLog(stderr, l.config.Log), nil); err == nil {
			return n, nil
		}
	}
	if errors.Is(err, errLocked) {
		return nil, err
	}
	dataDir := config.Path(config.GuessDataDir(source))
	if c != nil {
		dataDir = c.DataDir
	}
	kept, keptErr := lastGoodIn(dataDir).open(source)
	switch {
	case errors.Is(keptErr, errNothingKept):
		return nil, err
	case keptErr != nil:
		return nil, errors.Join(err, keptErr)
	}
	n, keptErr := newNode(source, kept, newLog(stderr, kept.config.Log), err)
	if keptErr != nil {
		return nil, errors.Join(err, fmt.Errorf("last good state: %w", keptErr))
	}
	return n, nil
}

// lines returns what an error says, one line each.
func lines(err error) []string { return strings.Split(err.Error(), "\n") }

// newLog returns the node's log, on w.
func newLog(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	level.UnmarshalText([]byte(c.Level)) // the configuration has checked the word
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
