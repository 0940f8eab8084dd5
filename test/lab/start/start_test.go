//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"edged/test/lab"
)

// The test's binary stands in for the command's.
func TestMain(m *testing.M) {
	lab.Main()
	os.Exit(m.Run())
}

// buffer is a strings.Builder for two goroutines.
type buffer struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// The lab says what to try, that works, and nothing is left when it stops.
func TestLabComesAndGoes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	if err := lab.Possible(lab.BIRD); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no lab can run here: %v", err)
		}
		t.Skipf("no lab can run here: %v", err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out buffer
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, lab.Config{Edges: 1, PoPs: 1, Router: lab.BIRD}, &out) }()
	err := lab.Until(2*time.Minute, func() error {
		if !strings.Contains(out.String(), "Ctrl-C ends it all") {
			return context.DeadlineExceeded
		}
		return nil
	})
	stop()
	if failed := <-ended; failed != nil || err != nil {
		t.Fatalf("%v, %v:\n%s", failed, err, out.String())
	}
	for _, want := range []string{"all is announced, after ", "/in client dig @198.51.100.53 www.example.com. +nsid\n", "vip drain node/e1 --reason trying"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "lab*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
