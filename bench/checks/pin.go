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

// The server has the first CPU for itself, the checker the second.
const (
	serverCPU  = 0
	checkerCPU = 1
)

const pinnedMark = "EDGED_BENCH_PINNED"

// pinSelf starts the program again with all its threads on the checker's CPU, and
// returns in the second life. A thread's mask is inherited by what it executes,
// and only so do the Go runtime's own threads get it too, and GOMAXPROCS is 1.
func pinSelf() error {
	if os.Getenv(pinnedMark) != "" {
		return nil
	}
	if n := runtime.NumCPU(); n < 2 {
		return fmt.Errorf("%d CPU is usable, two are needed: one for the server, one for the checker", n)
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := setCPU(checkerCPU); err != nil {
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

// startOn starts a command on a CPU. It is killed when this program dies.
func startOn(cpu int, cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	if err := setCPU(cpu); err != nil {
		return err
	}
	defer unix.SchedSetaffinity(0, &before)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd.Start()
}
