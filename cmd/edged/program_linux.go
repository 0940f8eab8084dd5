package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// unmapProgram lets go of the program's own pages that the start has read, of
// which serving needs about half: what is needed again is mapped again from the file. It
// touches only mappings that nothing was written to. Without it, a node that has
// started holds nearly all of a program that most of its subcommands are in.
func unmapProgram() {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer f.Close()
	for _, m := range cleanMappings(f, exe) {
		_, _, _ = unix.RawSyscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED) // a hint
	}
}

// mapping is a part of the address space.
type mapping struct{ start, end uintptr }

// cleanMappings returns where, according to smaps (proc_pid_smaps(5)), the file
// exe is mapped for reading, and no page has been written to since.
func cleanMappings(smaps io.Reader, exe string) (list []mapping) {
	var m mapping
	found := false
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		line := lines.Text()
		fields := strings.Fields(line)
		if len(fields) >= 5 && !strings.HasSuffix(fields[0], ":") { // a mapping begins
			_, err := fmt.Sscanf(fields[0], "%x-%x", &m.start, &m.end)
			found = err == nil && strings.HasSuffix(line, " "+exe) && strings.HasPrefix(fields[1], "r-")
		}
		if found && len(fields) == 3 && fields[0] == "Anonymous:" && fields[1] == "0" {
			list = append(list, m)
		}
	}
	return list
}
