package rig

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace. It is that of one thread, and ends with it
// unless sockets or processes are left in it.
type namespace struct {
	calls chan func()
	path  string // of the namespace as a file, for other processes of this one's user
}

func newNamespace() (*namespace, error) {
	n := &namespace{calls: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- fmt.Errorf("cannot make a network namespace: %w", err)
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

// do runs f on the namespace's thread. Sockets that f itself opens, and processes
// that it starts, are in the namespace for good.
func (n *namespace) do(f func() error) error {
	done := make(chan error)
	n.calls <- func() { done <- f() }
	return <-done
}

// close ends the thread.
func (n *namespace) close() { close(n.calls) }

// start starts a process inside, which is killed when the namespace closes.
func (n *namespace) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return n.do(cmd.Start)
}

// ip carries out lines of the ip command inside.
func (n *namespace) ip(lines ...string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := n.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("ip %q: %w: %s", lines, err, strings.TrimSpace(out.String()))
	}
	return nil
}
