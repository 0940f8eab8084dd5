package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"edged/test/netns"
)

// Edge is one edge, running or not. Its wires are cut and mended as those of any
// Host, by the names Fabric and Management.
type Edge struct {
	*netns.Host
	Name string
	PoP  string
	Dir  string

	number  int
	program string
	process
}

// Address is the edge's on the fabric, for IPv4.
func (e *Edge) Address() netip.Addr { return fabric4(e.number).Addr() }

func (e *Edge) config() string { return filepath.Join(e.Dir, "edged.yaml") }

// Socket is the edge's control socket, for edged --node.
func (e *Edge) Socket() string { return filepath.Join(e.Dir, "state", "control.sock") }

// Start starts edged. It does not wait until anything is announced.
func (e *Edge) Start() error {
	return e.start(e.Host, filepath.Join(e.Dir, "log"), e.program, "serve", "--config", e.config())
}

// Log returns what the edge has logged, of all its runs.
func (e *Edge) Log() string {
	text, err := os.ReadFile(filepath.Join(e.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Edged runs an edged command against the edge, from inside its namespace, and
// returns both outputs. The error is an *exec.ExitError when the command refuses.
func (e *Edge) Edged(args ...string) (stdout, stderr string, err error) {
	cmd := exec.Command(e.program, append(args, "--node", e.Socket())...)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := e.Host.Start(cmd); err != nil {
		return "", "", err
	}
	err = cmd.Wait()
	return out.String(), errOut.String(), err
}

// Metric returns the value of a metric, named as it is printed, with its labels.
// It errs when there is none.
func (e *Edge) Metric(name string) (value float64, err error) {
	var text []byte
	if err := e.Get("/metrics", &text); err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			_, err := fmt.Sscan(rest, &value)
			return value, err
		}
	}
	return 0, errors.New("no metric " + name)
}

// Has says whether lo has an address.
func (e *Edge) Has(a netip.Addr) (bool, error) {
	out, err := e.Run("ip", "-oneline", "address", "show", "dev", "lo")
	return strings.Contains(out, " "+a.String()+"/"), err
}

// Without waits until lo has none of the addresses.
func (e *Edge) Without(limit time.Duration, addresses ...netip.Addr) error {
	return Until(limit, func() error {
		for _, a := range addresses {
			if has, err := e.Has(a); err != nil || has {
				return errors.Join(fmt.Errorf("%s has %s: %v", e.Name, a, has), err)
			}
		}
		return nil
	})
}

// process is one that is started, paused and ended.
type process struct {
	cmd   *exec.Cmd // nil: it does not run
	ended chan error
}

// start starts a program in a host, whose output goes to the end of a file.
func (p *process) start(h *netns.Host, log, name string, args ...string) error {
	if p.Running() {
		return fmt.Errorf("%s runs already", name)
	}
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = file, file
	if err := h.Start(cmd); err != nil {
		return err
	}
	p.cmd, p.ended = cmd, make(chan error, 1)
	go func(ended chan<- error) { ended <- cmd.Wait() }(p.ended)
	return nil
}

// Running says whether the process was started, and not ended by this program.
func (p *process) Running() bool { return p.cmd != nil }

// PID is that of the process, which must run.
func (p *process) PID() int { return p.cmd.Process.Pid }

// Kill ends it as kill -9 does, if it runs.
func (p *process) Kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.ended // it was killed, and says so
	p.cmd = nil
}

// Pause keeps it from running, with all its sockets open; Kill ends it even so.
func (p *process) Pause() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (p *process) Resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// Reload has edged read its configuration again.
func (p *process) Reload() error { return p.cmd.Process.Signal(syscall.SIGHUP) }

// Stop ends it by SIGTERM and returns how long that took. It errs when the
// process takes longer than the limit, or ends with an error.
func (p *process) Stop(limit time.Duration) (time.Duration, error) {
	begun := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	defer func() { p.cmd = nil }()
	select {
	case err := <-p.ended:
		return time.Since(begun), err
	case <-time.After(limit):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return time.Since(begun), fmt.Errorf("it did not end within %s of SIGTERM", limit)
	}
}
