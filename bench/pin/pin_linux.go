package pin

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// The processors.
const (
	Server = 0
	Self   = 1
)

const mark = "EDGED_BENCH_PINNED"

// Again starts the program again with all its threads on Self, and returns in the
// second life. A thread's mask is inherited by what it executes, and only so do
// the Go runtime's own threads get it too, and GOMAXPROCS is 1.
func Again() error {
	if os.Getenv(mark) != "" {
		return nil
	}
	if n := runtime.NumCPU(); n < 2 {
		return fmt.Errorf("%d CPU is usable, two are needed: one for the server, one for what measures it", n)
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := set(Self); err != nil {
		return err
	}
	return syscall.Exec(exe, os.Args, append(os.Environ(), mark+"=1"))
}

func set(cpu int) error {
	var mask unix.CPUSet
	mask.Set(cpu)
	if err := unix.SchedSetaffinity(0, &mask); err != nil {
		return fmt.Errorf("pin to CPU %d: %w", cpu, err)
	}
	return nil
}

// Start starts a command on Server, in a process group of its own. It is killed
// when this program dies.
func Start(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	if err := set(Server); err != nil {
		return err
	}
	defer unix.SchedSetaffinity(0, &before)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd.Start()
}
