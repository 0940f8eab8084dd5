package lab

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	// What the binary is made of, so that results are not cached over a change.
	_ "edged/config"
	_ "edged/health/fleet"
)

// program is edged, built once for all tests; impossible is why none can run.
var (
	program    string
	impossible error
)

func TestMain(m *testing.M) {
	Main()
	flag.Parse()
	_ = flag.Set("test.parallel", "3") // they wait for most of their time
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if impossible = Possible(BIRD, FRR, ExaBGP); impossible != nil || testing.Short() {
		return m.Run()
	}
	sources, _ := filepath.Glob("../../cmd/edged/*.go") // no error: the pattern is good
	for _, name := range sources {
		_, _ = os.ReadFile(name) // for the test cache, like the imports
	}
	dir, err := os.MkdirTemp("", "edged")
	if err == nil {
		defer os.RemoveAll(dir)
		program, err = Build(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// The VIP of most tests.
var (
	ns1  = DefaultVIPs[0].Prefixes
	vip4 = ns1[0]

	addresses = []netip.Addr{ns1[0].Addr(), ns1[1].Addr()}
)

// clients ask as many questions as the figures are given for.
var clients = Rate{VIP: vip4.Addr(), UDP: 400, TCP: 20}

// lab is a lab in a test, which ends with it.
type lab struct {
	*Lab
	t *testing.T
}

// newLab makes a lab, without any edge that runs.
func newLab(t *testing.T, c Config) *lab {
	t.Helper()
	if testing.Short() {
		t.Skip("takes some seconds or more")
	}
	if impossible != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no lab can run here: %v", impossible)
		}
		t.Skipf("no lab can run here: %v", impossible)
	}
	t.Parallel()
	c.Dir, c.Program = t.TempDir(), program
	made, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{made, t}
	t.Cleanup(func() {
		if t.Failed() {
			l.describe()
		}
		made.Close()
	})
	return l
}

// upWithin is how long edges may take until all they have is announced: 15 s is
// what they promise, and this machine may be busy.
const upWithin = 40 * time.Second

// startLab makes a lab in which all edges run, announce and hear each other.
func startLab(t *testing.T, c Config) *lab {
	t.Helper()
	l := newLab(t, c)
	l.must(l.Start(upWithin, l.Edges...))
	return l
}

// describe logs what a failure is understood by.
func (l *lab) describe() {
	for _, c := range l.FIB.Since(time.Time{}, netip.Prefix{}) {
		l.t.Log(c)
	}
	for _, e := range l.Edges {
		l.t.Logf("%s:\n%s", e.Name, e.Log())
		if e.Running() {
			s, err := e.Status()
			l.t.Logf("%s: %+v, %v", e.Name, s, err)
		}
	}
	if text, err := os.ReadFile(l.Router.file("log")); err == nil {
		l.t.Logf("router:\n%s", text)
	}
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// under has clients ask while do happens.
func (l *lab) under(do func() error) Outcome {
	l.t.Helper()
	o, err := l.Under(clients, do)
	l.must(err)
	return o
}

// hold fails the test when what ought to hold does not, at any time in a while.
func (l *lab) hold(while time.Duration, what string, holds func() error) {
	l.t.Helper()
	for end := time.Now().Add(while); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if err := holds(); err != nil {
			l.t.Fatalf("%s: %v", what, err)
		}
	}
}
