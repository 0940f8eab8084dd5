package lab

import (
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

// lab is a lab in a test, which ends with it.
type lab struct {
	*Lab
	t *testing.T
}

func newLab(t *testing.T, c Config) *lab {
	t.Helper()
	if testing.Short() {
		t.Skip("takes some seconds or more")
	}
	kind := c.Router
	if kind == "" {
		kind = BIRD
	}
	if err := Possible(kind); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no lab can run here: %v", err)
		}
		t.Skipf("no lab can run here: %v", err)
	}
	c.Dir = t.TempDir()
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

// describe logs what a failure is understood by.
func (l *lab) describe() {
	for _, c := range l.FIB.Since(time.Time{}, noPrefix) {
		l.t.Log(c)
	}
	for _, e := range l.Edges {
		if e.Running() {
			l.t.Logf("%s:\n%s", e.Name, e.Log())
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
