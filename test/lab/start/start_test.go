//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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

// possible skips a test where no lab can run.
func possible(t *testing.T) {
	t.Helper()
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
}

// nothingLeft fails a test that left files of a lab behind.
func nothingLeft(t *testing.T) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "lab*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// The lab says when all is announced, what to try, that works, and nothing is left
// when it stops. It had said so while an edge was a canary, or heard no other.
func TestLabComesAndGoes(t *testing.T) {
	possible(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out buffer
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, lab.Config{Edges: 3, PoPs: 2, Router: lab.BIRD}, &out) }()
	err := lab.Until(2*time.Minute, func() error {
		if !strings.Contains(out.String(), "Ctrl-C ends it all") {
			return context.DeadlineExceeded
		}
		return nil
	})
	for _, edge := range []string{"e1", "e2", "e3"} {
		list, _, _ := strings.Cut(out.String(), " vip list --node ")
		program := list[strings.LastIndexByte(list, ' ')+1:]
		text, err := exec.Command(program, "vip", "list", "--node", filepath.Join(filepath.Dir(program), edge, "state", "control.sock")).CombinedOutput()
		if err != nil || !strings.Contains(string(text), "ns1  announced ") || strings.Contains(string(text), "frozen") {
			t.Errorf("%s: %v, %s, want all announced and nothing frozen", edge, err, text)
		}
	}
	stop()
	if failed := <-ended; failed != nil || err != nil {
		t.Fatalf("%v, %v:\n%s", failed, err, out.String())
	}
	for _, want := range []string{"all is announced, after ", "/in client dig @198.51.100.53 www.example.com. +nsid\n", "vip drain node/e1 --reason trying"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
	nothingLeft(t)
}

// Ctrl-C while edged is built is no error, and leaves nothing.
func TestStoppedWhileBuilding(t *testing.T) {
	possible(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var out buffer
	if err := run(ctx, lab.Config{Edges: 1, PoPs: 1, Router: lab.BIRD}, &out); err != nil || out.String() != "building edged ...\n" {
		t.Errorf("%v, it says %q", err, out.String())
	}
	nothingLeft(t)
}

// Each way in which people end a lab ends it in order.
func TestStopped(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		ctx, stop := stopped(t.Context(), os.Stdin)
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		<-ctx.Done()
		stop()
	}

	ours, theirs := terminal(t)
	ctx, stop := stopped(t.Context(), theirs)
	defer stop()
	if ctx.Err() != nil {
		t.Fatal("it is stopped from the beginning")
	}
	if err := ours.Close(); err != nil { // as a window that is closed
		t.Fatal(err)
	}
	<-ctx.Done()
}

// terminal returns both ends of one.
func terminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals: %v", err)
	}
	t.Cleanup(func() { ours.Close() })
	fd := int(ours.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}
