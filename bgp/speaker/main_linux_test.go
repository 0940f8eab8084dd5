package speaker

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"edged/test/netns"
)

// insideKey marks the process that has a network namespace for itself.
const insideKey = "EDGED_SPEAKER_TEST_INSIDE"

// The main thread stands for the process where a path names its namespace, so
// nothing else, such as a namespace of the tests', may have it.
func init() { runtime.LockOSThread() }

// TestMain runs the tests once more in a network namespace of their own: the
// speaker is in this process, on all of its threads, and needs ports 179 and 3784
// and links to routers. Without the right to make one they run here, and those
// that need a network say that they skip.
func TestMain(m *testing.M) {
	if os.Getenv(insideKey) != "" {
		if err := ip("link set dev lo up"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		goleak.VerifyTestMain(m, leftOver) // all tests and their routers are over then
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideKey+"=yes")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	switch err := cmd.Start(); {
	case errors.Is(err, os.ErrPermission):
		os.Exit(m.Run())
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = cmd.Wait() // its code says it all
	os.Exit(cmd.ProcessState.ExitCode())
}

// ip carries out lines of the ip command in this process's namespace.
func ip(lines ...string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %q: %w: %s", lines, err, out)
	}
	return nil
}

// need skips a test that cannot run here, which is a failure in CI.
func need(t testing.TB, programs ...string) {
	t.Helper()
	missing := func(what string) {
		t.Helper()
		if os.Getenv("CI") != "" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	if os.Getenv(insideKey) == "" {
		missing("no right to make network namespaces")
	}
	if err := netns.Possible(); err != nil {
		missing(err.Error())
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing(p + " is not installed")
		}
	}
}
