//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"edged/bench/pin"
)

// holdMemory, as the first argument, makes this program a process that holds
// memory, see warm.
const holdMemory = "hold-memory"

// heldBytes is more than a reload takes up.
const heldBytes = 96 << 20

// beforeHup is how long before SIGHUP the memory held is free again: time enough
// for the process to end, and too short for a host to take it back.
const beforeHup = 100 * time.Millisecond

// warm is memory of the machine that its host has provided already: a process on
// the server's processor filled it, and holds it until release. The host of a
// virtual machine may take back memory that is free for two seconds (free page
// reporting), and provides it again at its next use, page by page, at some 3 ms for
// each MiB: thirty times of what a machine takes that owns its memory. Without warm
// the change of a map would measure that.
type warm struct {
	cmd  *exec.Cmd
	hold io.Closer // of the process's input: it ends with it
}

func newWarm() (*warm, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &warm{cmd: exec.Command(exe, holdMemory)}
	in, err := w.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	w.hold = in
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := pin.Start(w.cmd); err != nil {
		return nil, err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		w.end()
		return nil, fmt.Errorf("the process that holds memory: %w", err)
	}
	return w, nil
}

// release frees the memory, soon, and does not wait.
func (w *warm) release() {
	if w != nil {
		w.hold.Close()
	}
}

// end waits for the process.
func (w *warm) end() {
	if w != nil {
		w.hold.Close()
		_ = w.cmd.Wait()
	}
}

// hold is the process.
func hold(stdin io.Reader, stdout io.Writer) error {
	held, err := unix.Mmap(-1, 0, heldBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	_ = unix.Madvise(held, unix.MADV_HUGEPAGE) // as edged has it
	for i := 0; i < len(held); i += os.Getpagesize() {
		held[i] = 1
	}
	fmt.Fprintln(stdout, "held")
	_, err = io.Copy(io.Discard, stdin)
	return err
}
