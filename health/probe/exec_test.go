//go:build unix

package probe

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"edged/health"
)

func TestExec(t *testing.T) {
	leakless(t)
	t.Setenv("SECRET", "of the daemon")
	at := netip.MustParseAddrPort("[2001:db8::1]:0")
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\nexit 0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	sh := func(script string) []string { return []string{"/bin/sh", "-c", script} }
	for _, row := range []struct {
		name    string
		command []string
		timeout time.Duration
		outcome health.Outcome
		reason  string
	}{
		{"passes", sh("exit 0"), 0, health.Passed, ""},
		{"passes with words", sh("echo fine"), 0, health.Passed, ""},
		{"fails", sh("exit 3"), 0, health.Wrong, "exit status 3"},
		{"fails with words", sh("echo; echo no database >&2; echo more; exit 1"), 0, health.Wrong, "exit status 1: no database"},
		{"is killed", sh("kill -TERM $$"), 0, health.Wrong, "signal: terminated"},
		{"no shell", []string{"/bin/echo", "$(exit 1)", ";", "exit", "1"}, 0, health.Passed, ""},
		{"environment", sh(`test "$EDGED_ADDRESS" = 2001:db8::1 && test -z "$SECRET" && test -n "$PATH"`), 0, health.Passed, ""},
		{"no input", sh("! read line"), 0, health.Passed, ""},
		{"endless output", sh("head -c 10000000 /dev/zero; exit 1"), 0, health.Wrong, "exit status 1: …"},
		{"hangs", sh("sleep 1000"), brief, health.Silent, "not finished within 100ms"},
		{"ignores signals", sh("trap '' TERM INT HUP; while :; do :; done"), brief, health.Silent, "not finished within 100ms"},
		{"endless output without end", sh("yes no"), brief, health.Silent, "not finished within 100ms"},
		{"leaves a child with its output", sh("sleep 1000 & exit 0"), 0, health.Passed, ""},
		{"is not there", []string{"/nonexistent/check"}, 0, health.Skipped, "cannot run /nonexistent/check: no such file or directory"},
		{"is not executable", []string{plain}, 0, health.Skipped, "cannot run " + plain + ": permission denied"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := health.Check{Kind: health.Exec, Command: row.command, Timeout: row.timeout}
			expect(t, open(t, c, at, Options{}), row.outcome, clean(row.reason))
		})
	}
}

// TestExecKillsAll sees that a command's children go with it.
func TestExecKillsAll(t *testing.T) {
	leakless(t)
	fifo := filepath.Join(t.TempDir(), "alive")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	// The fifo has an end as soon as none of them is left to hold it open.
	ended := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(fifo)
		ended <- err
	}()
	script := fmt.Sprintf("exec 3>%s; (sleep 1000 & sleep 1000) & sleep 1000", fifo)
	c := health.Check{Kind: health.Exec, Command: []string{"/bin/sh", "-c", script}, Timeout: 10 * brief}
	expect(t, open(t, c, netip.MustParseAddrPort("192.0.2.1:0"), Options{}), health.Silent, "not finished within 1s")
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(ample):
		t.Error("something of the command still runs")
	}
}

func TestOutputIsBounded(t *testing.T) {
	var o output
	for range 1000 {
		if n, err := o.Write([]byte(strings.Repeat("a", 100))); n != 100 || err != nil {
			t.Fatalf("wrote %d octets: %v", n, err)
		}
	}
	if len(o.kept) != maxOutput || cap(o.kept) > 2*maxOutput {
		t.Errorf("keeps %d octets in %d, want %d", len(o.kept), cap(o.kept), maxOutput)
	}
}
