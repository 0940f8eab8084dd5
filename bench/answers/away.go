//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"edged/bench/pin"
)

// watchProcessor, as the first argument, makes this program a process that
// watches the server's processor, see away.
const watchProcessor = "watch-processor"

// lookEach is how often it looks.
const lookEach = 2 * time.Millisecond

// away tells when not even a thread of the highest priority could run on the
// server's processor: one that wakes up there every two milliseconds notes when it was
// late. On a virtual machine that is mostly when the host ran something else; no server
// can answer then.
type away struct {
	cmd  *exec.Cmd
	stop io.Closer // of the process's input: it ends with it
	out  *bufio.Reader
}

func newAway() (*away, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	a := &away{cmd: exec.Command(exe, watchProcessor)}
	a.cmd.Stderr = os.Stderr
	in, err := a.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	a.stop = in
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	a.out = bufio.NewReader(out)
	if err := pin.Start(a.cmd); err != nil {
		return nil, err
	}
	if _, err := a.out.ReadString('\n'); err != nil {
		a.stop.Close()
		_ = a.cmd.Wait()
		return nil, fmt.Errorf("the process that watches the processor: %w", err)
	}
	return a, nil
}

// span is a stretch of time.
type span struct{ from, to time.Duration }

// end ends the process and returns when the processor was away for more than
// lookEach, on the monotonic clock. Only the first call returns something.
func (a *away) end() ([]span, error) {
	if a.cmd.ProcessState != nil {
		return nil, nil
	}
	a.stop.Close()
	var list []span
	for {
		var s span
		if _, err := fmt.Fscanf(a.out, "%d %d\n", &s.from, &s.to); err != nil {
			break
		}
		list = append(list, s)
	}
	return list, a.cmd.Wait()
}

// monotonic is the kernel's clock that all processes share.
func monotonic() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // cannot fail for this clock
	return time.Duration(t.Nano())
}

// watch is the process: it prints from when to when a look was late, in ns.
func watch(stdin io.Reader, stdout io.Writer) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, stdin)
	}()
	runtime.LockOSThread()
	attr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: -20, Runtime: uint64(100 * time.Microsecond)}
	if err := unix.SchedSetAttr(0, attr, 0); err != nil {
		return fmt.Errorf("highest priority: %w", err)
	}
	late := make([]span, 0, 1<<16)
	fmt.Fprintln(stdout, "watching")
	for next := monotonic() + lookEach; len(late) < cap(late); next += lookEach {
		t := unix.NsecToTimespec(int64(next))
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &t, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		now := monotonic()
		if now-next > lookEach {
			late = append(late, span{next, now})
			next = now
		}
		select {
		case <-done:
			w := bufio.NewWriter(stdout)
			for _, l := range late {
				fmt.Fprintf(w, "%d %d\n", l.from, l.to)
			}
			return w.Flush()
		default:
		}
	}
	return errors.New("late too often")
}
