package daemon

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"

	// What the binary is made of, so that results are not cached over a change.
	_ "edged/admin"
	_ "edged/config"
	_ "edged/dnsserver"
	_ "edged/dnsserver/conformance"
	_ "edged/mapper"
)

var update = flag.Bool("update", false, "rewrite the answers in the scripts")

// binary is edged, built once for all scripts.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "edged")
	sources, _ := filepath.Glob("../../cmd/edged/*.go") // no error: the pattern is good
	for _, name := range sources {
		_, _ = os.ReadFile(name) // for the test cache, like the imports
	}
	if err == nil {
		binary = filepath.Join(dir, "edged")
		var out []byte
		out, err = exec.Command("go", "build", "-o", binary, "edged/cmd/edged").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts (%v)", err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(binary)+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Values[nodeKey{}] = &node{}
			for _, name := range []string{"DNS", "ADMIN"} {
				addr, err := freeAddress()
				if err != nil {
					return err
				}
				env.Setenv(name, addr)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serve, "stop": stop, "waitlog": waitLog, "answers": answers, "expand": expand,
		},
	})
}

// freeAddress returns a loopback address whose port is free for TCP and UDP.
func freeAddress() (string, error) {
	for range 20 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		addr := ln.Addr().String()
		pc, err := net.ListenPacket("udp", addr)
		ln.Close()
		if err == nil {
			pc.Close()
			return addr, nil
		}
	}
	return "", fmt.Errorf("no free port found")
}

type nodeKey struct{}

// node is the running edged of a script.
type node struct {
	cmd *exec.Cmd
	log lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func nodeOf(ts *testscript.TestScript) *node { return ts.Value(nodeKey{}).(*node) }

// expand replaces $DNS, $ADMIN and $WORK in files.
func expand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		path := ts.MkAbs(name)
		text := os.Expand(ts.ReadFile(path), ts.Getenv)
		ts.Check(os.WriteFile(path, []byte(text), 0o644))
	}
}

func serve(ts *testscript.TestScript, neg bool, args []string) {
	n := nodeOf(ts)
	if neg || len(args) != 1 || n.cmd != nil {
		ts.Fatalf("usage: serve FILE, with no node running")
	}
	n.cmd = exec.Command(binary, "serve", "--config", ts.MkAbs(args[0]))
	n.cmd.Dir = ts.MkAbs(".")
	n.cmd.Stdout, n.cmd.Stderr = &n.log, &n.log
	ts.Check(n.cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- n.cmd.Wait() }()
	ts.Defer(func() {
		if n.cmd != nil {
			n.cmd.Process.Kill()
			<-ended
		}
	})
	n.cmd.Cancel = func() error { return <-ended }
	waitFor(ts, "the node to answer", func() bool {
		select {
		case err := <-ended:
			n.cmd = nil
			ts.Fatalf("the node ended: %v\n%s", err, n.log.String())
		default:
		}
		m := new(dns.Msg)
		m.SetQuestion("id.server.", dns.TypeTXT)
		m.Question[0].Qclass = dns.ClassCHAOS
		c := dns.Client{Timeout: 200 * time.Millisecond}
		_, _, err := c.Exchange(m, ts.Getenv("DNS"))
		return err == nil
	})
}

// waitFor polls until done, for half a minute at most.
func waitFor(ts *testscript.TestScript, what string, done func() bool) {
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		if time.Now().After(deadline) {
			ts.Fatalf("waited in vain for %s; the log:\n%s", what, nodeOf(ts).log.String())
		}
		<-tick.C
	}
}

func stop(ts *testscript.TestScript, _ bool, _ []string) {
	n := nodeOf(ts)
	if n.cmd == nil {
		ts.Fatalf("no node is running")
	}
	ts.Check(n.cmd.Process.Signal(syscall.SIGTERM))
	err := n.cmd.Cancel()
	n.cmd = nil
	if err != nil {
		ts.Fatalf("the node ended with %v\n%s", err, n.log.String())
	}
}

func waitLog(ts *testscript.TestScript, _ bool, args []string) {
	waitFor(ts, strings.Join(args, " "), func() bool {
		return strings.Contains(nodeOf(ts).log.String(), strings.Join(args, " "))
	})
}
