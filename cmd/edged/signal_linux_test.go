package main

import (
	"bufio"
	"strings"
	"syscall"
	"testing"
)

// TestSignalComesTwice: timeout(1) and others signal a process and its group. A node
// that took that for impatience ended at once and drained nothing.
func TestSignalComesTwice(t *testing.T) {
	d := newNodeDir(t)
	cmd := child(t, "", "serve", "--config", d.file("edged.yaml"))
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(log); lines.Scan(); {
		if strings.Contains(lines.Text(), "msg=serving ") || strings.Contains(lines.Text(), "msg=stopping") {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
