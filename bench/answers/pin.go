//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// The server under test has the first CPU for itself; the loader, and all else
// that this command does, has the second.
const (
	serverCPU = 0
	loaderCPU = 1
)

const pinnedMark = "EDGED_BENCH_PINNED"

// pinSelf starts the program again with all its threads on the loader's CPU,
// and returns in the second life. A thread's mask is inherited by what it
// executes, and only so do the Go runtime's own threads get it too.
func pinSelf() error {
	if os.Getenv(pinnedMark) != "" {
		return nil
	}
	if n := runtime.NumCPU(); n < 2 {
		return fmt.Errorf("%d CPU is usable, two are needed: one for the server, one for the loader", n)
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := setCPU(loaderCPU); err != nil {
		return err
	}
	return syscall.Exec(exe, os.Args, append(os.Environ(), pinnedMark+"=1"))
}

func setCPU(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to CPU %d: %w", cpu, err)
	}
	return nil
}

// startOn starts a command on a CPU, in a process group of its own.
func startOn(cpu int, cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := setCPU(cpu); err != nil {
		return err
	}
	defer setCPU(loaderCPU)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd.Start()
}
