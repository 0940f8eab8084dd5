package rig

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"edged/admin"
	"edged/edge"
	"edged/health"
	"edged/test/netns"
)

// Node is one node, running or not.
type Node struct {
	Name    string
	PoP     string
	Dir     string
	Address netip.Addr // where it gossips, and answers questions too

	inside  *netns.Host
	program string
	clock   string    // by how many seconds its clock is wrong; empty: it is right
	cmd     *exec.Cmd // nil: it does not run
	ended   chan error
}

func (n *Node) config() string { return filepath.Join(n.Dir, "edged.yaml") }
func (n *Node) log() string    { return filepath.Join(n.Dir, "log") }
func (n *Node) socket() string { return filepath.Join(n.Dir, "state", "control.sock") }

// Start starts the node. It does not wait until it answers.
func (n *Node) Start() error {
	if n.cmd != nil {
		return fmt.Errorf("%s runs already", n.Name)
	}
	log, err := os.OpenFile(n.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(n.program, "serve", "--config", n.config())
	cmd.Stdout, cmd.Stderr = log, log
	if n.clock != "" {
		cmd.Env = append(os.Environ(), clockVariable+"="+n.clock)
	}
	if err := n.inside.Start(cmd); err != nil {
		return err
	}
	n.cmd, n.ended = cmd, make(chan error, 1)
	go func(ended chan<- error) { ended <- cmd.Wait() }(n.ended)
	return nil
}

// Kill ends the node as kill -9 does, if it runs.
func (n *Node) Kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill()
	<-n.ended // it was killed, and says so
	n.cmd = nil
}

// stopWithin is how long a node may take to end.
const stopWithin = 15 * time.Second

// Stop ends the node as an operator does. It errs when the node does not end,
// or ends with an error.
func (n *Node) Stop() error {
	if n.cmd == nil {
		return fmt.Errorf("%s does not run", n.Name)
	}
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	defer func() { n.cmd = nil }()
	select {
	case err := <-n.ended:
		if err != nil {
			return fmt.Errorf("%s ended: %w", n.Name, err)
		}
		return nil
	case <-time.After(stopWithin):
		_ = n.cmd.Process.Kill()
		<-n.ended
		return fmt.Errorf("%s did not end within %s of SIGTERM", n.Name, stopWithin)
	}
}

// Forget removes all that the node has kept, but not its key.
func (n *Node) Forget() error { return os.RemoveAll(filepath.Join(n.Dir, "state")) }

// Cut loses all that the node sends and receives on a link, Gossip or Uplink.
func (n *Node) Cut(link string) error { return n.inside.Cut(link) }

// Join mends a link that was cut, and brings a node back that was parted.
func (n *Node) Join(link string) error { return n.inside.Join(link) }

// Part moves the node's gossip to where only other parted nodes hear it.
func (n *Node) Part() error { return n.inside.Move(Gossip, islandSwitch) }

// Log returns what the node has logged, of all its runs.
func (n *Node) Log() string {
	text, err := os.ReadFile(n.log())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Edged runs an edged command against the node, and returns both outputs. The
// error is an *exec.ExitError when the command refuses.
func (n *Node) Edged(args ...string) (stdout, stderr string, err error) {
	cmd := exec.Command(n.program, append(args, "--node", n.socket())...)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

// BuildMap builds a map of the node's configuration with some text in it
// replaced: pairs of what it is and what it shall be.
func (n *Node) BuildMap(path string, replace ...string) error {
	text, err := os.ReadFile(n.config())
	if err != nil {
		return err
	}
	config := path + ".yaml"
	if err := os.WriteFile(config, []byte(strings.NewReplacer(replace...).Replace(string(text))), 0o600); err != nil {
		return err
	}
	if out, err := exec.Command(n.program, "map", "build", "--config", config, "-o", path).CombinedOutput(); err != nil {
		return fmt.Errorf("map build: %w: %s", err, out)
	}
	return nil
}

// Health is what edged health --json prints, as far as it is looked at.
type Health struct {
	Node        string
	Incarnation uint64
	Frozen      string
	Hash        string
	Differences []string
	Targets     []Target
	Observers   []Observer
}

// Target is a web server as the fleet sees it.
type Target struct {
	ID        health.TargetID
	Target    string
	Endpoints []string
	Verdict   edge.Verdict
	Reason    string
	Since     time.Time // by the node's clock
	Decided   string
	Votes     []Vote
}

// Vote is what an observer says of a target.
type Vote struct {
	Observer string
	Verdict  edge.Verdict
	Fresh    bool
	Reason   string
}

// Observer is a node as the fleet sees it.
type Observer struct {
	Name          string
	Fresh         bool
	Suspect       string
	Targets, Down int
}

// Health asks the node for what it knows.
func (n *Node) Health() (h Health, err error) {
	err = n.get("/v1/health", &h)
	return h, err
}

// get asks the node's API, without the cost of a process.
func (n *Node) get(path string, v any) error {
	c, err := admin.NewClient(n.socket(), "")
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.Get(ctx, path, nil, v); err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	return nil
}

// Verdict returns the verdict on a server.
func (h *Health) Verdict(s *Server) (edge.Verdict, error) {
	t, err := h.target(s)
	return t.Verdict, err
}

// Votes returns what each observer says of a server.
func (h *Health) Votes(s *Server) ([]Vote, error) {
	t, err := h.target(s)
	return t.Votes, err
}

func (h *Health) target(s *Server) (Target, error) {
	for _, t := range h.Targets {
		for _, e := range t.Endpoints {
			if strings.HasSuffix(e, "/"+s.Address.String()) {
				return t, nil
			}
		}
	}
	return Target{}, fmt.Errorf("%s has no target for %s", h.Node, s.Address)
}

// Observer returns what is said of a node.
func (h *Health) Observer(name string) Observer {
	for _, o := range h.Observers {
		if o.Name == name {
			return o
		}
	}
	return Observer{}
}

// Metric returns the value of a metric of the node, named as it is printed, with
// its labels. It errs when there is none.
func (n *Node) Metric(name string) (value float64, err error) {
	var text []byte
	if err := n.get("/metrics", &text); err != nil {
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
