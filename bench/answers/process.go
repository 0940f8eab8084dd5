//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"edged/bench/pin"
)

// process is one started server.
type process struct {
	server  *server
	addr    netip.AddrPort
	cmd     *exec.Cmd
	died    chan error // gets the exit error, once
	logPath string
	startup time.Duration // until the first right answer
}

// start writes the server's configuration for d into dir, starts it on CPU 0 and
// waits up to patience for the first right answer.
func (s *server) start(dir string, d *data, patience time.Duration) (*process, error) {
	dir = filepath.Join(dir, s.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	addr, err := freePort()
	if err != nil {
		return nil, err
	}
	argv, err := s.configure(dir, addr, d)
	if err != nil {
		return nil, fmt.Errorf("configure: %w", err)
	}
	p := &process{server: s, addr: addr, died: make(chan error, 1), logPath: filepath.Join(dir, "log")}
	log, err := os.Create(p.logPath)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, log, log
	begin := time.Now()
	if err := pin.Start(p.cmd); err != nil {
		return nil, err
	}
	go func() { p.died <- p.cmd.Wait() }()
	for {
		if right, _ := p.answers(d); right {
			p.startup = time.Since(begin)
			return p, nil
		}
		select {
		case err := <-p.died:
			return nil, fmt.Errorf("ended before it answered: %v: %s", err, p.lastLog())
		case <-time.After(time.Millisecond):
		}
		if time.Since(begin) > patience {
			p.stop()
			return nil, fmt.Errorf("gave up after %v", patience)
		}
	}
}

func (p *process) lastLog() string {
	text, _ := os.ReadFile(p.logPath)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " | ")
}

// freeze stops the server while another is measured; thaw lets it go on.
func (p *process) freeze() { syscall.Kill(-p.cmd.Process.Pid, syscall.SIGSTOP) }
func (p *process) thaw()   { syscall.Kill(-p.cmd.Process.Pid, syscall.SIGCONT) }

// stop ends the server's process group: kindly, then not.
func (p *process) stop() {
	p.thaw()
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.died:
	case <-time.After(5 * time.Second):
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.died
	}
}

// pids returns the server's process and all that descend from it: NSD answers
// from a child.
func (p *process) pids() []int {
	list := []int{p.cmd.Process.Pid}
	for i := 0; i < len(list); i++ {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", list[i]))
		for _, f := range files {
			text, _ := os.ReadFile(f)
			for _, word := range strings.Fields(string(text)) {
				if pid, err := strconv.Atoi(word); err == nil {
					list = append(list, pid)
				}
			}
		}
	}
	return list
}

// cpu returns the CPU time that the server has used so far, all threads and
// those that have ended included, to the nanosecond: the CPU-time clock of each
// of its processes (clock_getcpuclockid(3)).
func (p *process) cpu() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range p.pids() {
		var ts unix.Timespec
		const schedClock = 2 // CPUCLOCK_SCHED: what the scheduler counted
		if err := unix.ClockGettime(int32(^pid<<3|schedClock), &ts); err != nil {
			return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
		}
		sum += time.Duration(ts.Nano())
	}
	return sum, nil
}

// ticks returns the user and system time of the server in clock ticks (10 ms): too
// coarse to measure by, good enough to split a measured time in two.
func (p *process) ticks() (user, system int64) {
	for _, pid := range p.pids() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(text), ") ") // the program's name may hold spaces
		fields := strings.Fields(rest)
		if len(fields) < 13 {
			continue
		}
		u, _ := strconv.ParseInt(fields[11], 10, 64)
		s, _ := strconv.ParseInt(fields[12], 10, 64)
		user, system = user+u, system+s
	}
	return user, system
}

// memory returns the resident set now and at its highest, in bytes, over all
// processes of the server.
func (p *process) memory() (rss, peak int64) {
	for _, pid := range p.pids() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for _, line := range strings.Split(string(text), "\n") {
			key, value, _ := strings.Cut(line, ":")
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			switch key {
			case "VmRSS":
				rss += kb << 10
			case "VmHWM":
				peak += kb << 10
			}
		}
	}
	return rss, peak
}
