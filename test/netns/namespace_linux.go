package netns

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Possible returns why no namespace with links can be made here; nil: it can.
func Possible() error {
	if _, err := exec.LookPath("ip"); err != nil {
		return fmt.Errorf("iproute2 is missing: %w", err)
	}
	n, err := NewNetwork("probe")
	if err != nil {
		return err
	}
	n.Close()
	return nil
}

// Namespace is a network namespace. It is that of one thread, and ends with it
// unless sockets or processes are left in it.
type Namespace struct {
	calls chan func()
	path  string
}

// New makes a namespace in which nothing is up, not even lo. It errs where the
// privilege is missing.
func New() (*Namespace, error) {
	n := &Namespace{calls: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- fmt.Errorf("cannot make a network namespace: %w; it needs root", err)
			return
		}
		n.path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
		made <- nil
		for call := range n.calls {
			call()
		}
	}()
	return n, <-made
}

// Path is the namespace as a file, for other processes of this one's user.
func (n *Namespace) Path() string { return n.path }

// Do runs f on the namespace's thread, one at a time. Sockets that f itself
// opens, and processes that it starts, are in the namespace for good; goroutines
// that it starts are not.
func (n *Namespace) Do(f func() error) error {
	done := make(chan error)
	n.calls <- func() { done <- f() }
	return <-done
}

// Enter runs f on a further thread in the namespace, which ends with f. Unlike in
// Do, f may take its time; processes are started with Do or Start only, for they
// would end with the thread.
func (n *Namespace) Enter(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock
		done <- n.enter(f)
	}()
	return <-done
}

func (n *Namespace) enter(f func() error) error {
	file, err := os.Open(n.path)
	if err != nil {
		return err
	}
	err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
	file.Close()
	if err != nil {
		return fmt.Errorf("cannot enter %s: %w", n.path, err)
	}
	return f()
}

// Close ends the thread, and with it what Start has started. Nothing may be
// called after it.
func (n *Namespace) Close() { close(n.calls) }

// Start starts a process inside, which is killed when the namespace closes.
func (n *Namespace) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return n.Do(cmd.Start)
}

// Run runs a program inside to its end, and returns what it prints. The error
// holds what it says on standard error.
func (n *Namespace) Run(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := n.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return out.String(), fmt.Errorf("%s %q: %w: %s", name, args, err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

// IP carries out lines of the ip command inside, such as
// "route add 192.0.2.0/24 nexthop via 198.51.100.1 nexthop via 198.51.100.2". It
// errs at the first that fails, and says which that is.
func (n *Namespace) IP(lines ...string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := n.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("ip %q: %w: %s", lines, err, strings.TrimSpace(out.String()))
	}
	return nil
}

// Sysctl sets a kernel setting of the namespace, such as net.ipv4.ip_forward.
func (n *Namespace) Sysctl(name, value string) error {
	return n.Do(func() error {
		return os.WriteFile("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), []byte(value), 0)
	})
}
