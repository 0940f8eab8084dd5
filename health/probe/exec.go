package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"edged/health"
)

// maxOutput bounds what is kept of a command's output; the rest is thrown
// away.
const maxOutput = 4 << 10

// command checks by running a program: exit status 0 passes. No shell is in
// between, and the environment holds PATH and EDGED_ADDRESS only. It is stopped
// with all that it started when its time is up.
type command struct {
	argv    []string
	environ []string
	timeout time.Duration // for its reason
}

func newCommand(t health.Target) (way, error) {
	argv := t.Check.Command
	if len(argv) == 0 || !filepath.IsAbs(argv[0]) {
		return nil, fmt.Errorf("command %q: want an absolute path and arguments", argv)
	}
	environ := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	if t.Address.IsValid() {
		environ = append(environ, "EDGED_ADDRESS="+t.Address.String())
	}
	return &command{argv: argv, environ: environ, timeout: t.Check.Timeout}, nil
}

func (c *command) attempt(ctx context.Context) error {
	var out output
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Env = c.environ
	cmd.Stdout, cmd.Stderr = &out, &out
	// A child that it left behind may hold its output open. This is how much a
	// probe may last beyond its time.
	cmd.WaitDelay = 100 * time.Millisecond
	ownGroup(cmd)
	if err := cmd.Start(); err != nil && ctx.Err() == nil {
		return skipped("cannot run %s: %v", c.argv[0], errors.Unwrap(err))
	}
	err := cmd.Wait()
	if cmd.Process != nil {
		killGroup(cmd) // whatever it left behind
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return &finding{health.Silent, fmt.Sprintf("not finished within %v", c.timeout)}
	case errors.Is(err, exec.ErrWaitDelay): // it exited with 0
		return nil
	case errors.As(err, &exit) && out.firstLine() != "":
		return wrong("%v: %s", exit, out.firstLine())
	case errors.As(err, &exit):
		return wrong("%v", exit)
	}
	return err
}

func (c *command) close() {}

// output keeps the first maxOutput octets that are written to it.
type output struct{ kept []byte }

func (o *output) Write(p []byte) (int, error) {
	o.kept = append(o.kept, p[:min(len(p), maxOutput-len(o.kept))]...)
	return len(p), nil
}

func (o *output) firstLine() string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(o.kept), []byte("\n"))
	return string(line)
}
