package fleet

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edged/test/fleet/rig"

	// What the binary is made of, so that results are not cached over a change.
	_ "edged/config"
	_ "edged/health/fleet"
)

// program is edged, built once for all tests; impossible is why none can run.
var (
	program    rig.Program
	impossible error
)

// long has the split of a fleet last as long as the promise is about.
var long = flag.Bool("long", false, "keep a fleet split for two minutes")

func TestMain(m *testing.M) {
	rig.Main()
	forgerMain()

	flag.Parse()
	_ = flag.Set("test.parallel", "4") // they wait for most of their time
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if impossible = rig.Possible(); impossible != nil || testing.Short() {
		return m.Run()
	}
	sources, _ := filepath.Glob("../../cmd/edged/*.go") // no error: the pattern is good
	for _, name := range sources {
		_, _ = os.ReadFile(name) // for the test cache, like the imports
	}
	dir, err := os.MkdirTemp("", "edged")
	if err == nil {
		defer os.RemoveAll(dir)
		program, err = rig.Build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// fleet is a fleet in a test.
type fleet struct {
	*rig.Fleet
	t       *testing.T
	watches []*rig.Watch
}

// makeFleet makes a fleet and its servers, and ends them with the test. No node
// is started.
func makeFleet(t *testing.T, c rig.Config) *fleet {
	t.Helper()
	if testing.Short() {
		t.Skip("takes a minute or more")
	}
	if impossible != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no fleet can run here: %v", impossible)
		}
		t.Skipf("no fleet can run here: %v", impossible)
	}
	t.Parallel()
	if c.Pools == nil {
		c.Pools = map[string]string{"www": ""}
	}
	c.Program, c.Dir = program, t.TempDir()
	made, err := rig.New(c)
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{Fleet: made, t: t}
	t.Cleanup(func() {
		for _, w := range f.watches {
			w.Stop()
		}
		if t.Failed() {
			f.describe()
		}
		f.Close()
	})
	return f
}

// newFleet makes a fleet of which all nodes run and agree that all servers are
// up.
func newFleet(t *testing.T, c rig.Config) *fleet {
	t.Helper()
	f := makeFleet(t, c)
	f.do("start", f.Nodes, (*rig.Node).Start)
	f.waitAgreed(time.Minute, f.Nodes)
	return f
}

// describe logs what the nodes have logged last.
func (f *fleet) describe() {
	for _, n := range f.Nodes {
		lines := strings.Split(n.Log(), "\n")
		f.t.Logf("log of %s, the end:\n%s", n.Name, strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
}

// do does something to nodes, one after the other.
func (f *fleet) do(what string, nodes []*rig.Node, each func(*rig.Node) error) {
	f.t.Helper()
	for _, n := range nodes {
		if err := each(n); err != nil {
			f.t.Fatalf("%s %s: %v", what, n.Name, err)
		}
	}
}

// must fails the test on an error.
func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// wait waits until done returns nil.
func (f *fleet) wait(limit time.Duration, what string, done func() error) {
	f.t.Helper()
	begun := time.Now()
	if err := rig.Until(limit, done); err != nil {
		f.t.Fatalf("%s: %v", what, err)
	}
	f.t.Logf("%s: after %.1f s", what, time.Since(begun).Seconds())
}

// hold lets time pass in which something must stay true.
func (f *fleet) hold(length time.Duration, what string, true func() error) {
	f.t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(length); time.Now().Before(end); <-tick.C {
		if err := true(); err != nil {
			f.t.Fatalf("%s: %v", what, err)
		}
	}
}

// waitAgreed waits until nodes have the same view, hear each other and believe
// each other, all servers are up but the dead ones, and those are down.
func (f *fleet) waitAgreed(limit time.Duration, nodes []*rig.Node, dead ...*rig.Server) {
	f.t.Helper()
	f.wait(limit, fmt.Sprintf("%d nodes agree, %d servers dead", len(nodes), len(dead)), func() error {
		return f.Agreed(nodes, dead...)
	})
}

// watch begins to ask nodes for all clients.
func (f *fleet) watch(nodes []*rig.Node, pools ...string) []*rig.Watch {
	f.t.Helper()
	var all []*rig.Watch
	for _, n := range nodes {
		w, err := n.Watch(50*time.Millisecond, rig.Questions(pools...)...)
		if err != nil {
			f.t.Fatal(err)
		}
		all = append(all, w)
	}
	f.watches = append(f.watches, all...)
	return all
}

// unchanged fails the test unless each question of a watch had one answer, and
// that often.
func unchanged(t *testing.T, watches []*rig.Watch, pools ...string) {
	t.Helper()
	for _, w := range watches {
		for _, q := range rig.Questions(pools...) {
			if spans := w.Spans(q); len(spans) != 1 || spans[0].Answer.Lost {
				t.Errorf("%s, %s: the answer changed: %v", w.Node().Name, q, spans)
			}
		}
	}
}

// noneBad fails the test when an answer was lost or empty.
func noneBad(t *testing.T, watches []*rig.Watch) {
	t.Helper()
	for _, w := range watches {
		for _, bad := range w.Bad() {
			t.Error(bad)
		}
	}
}
