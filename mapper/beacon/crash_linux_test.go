package beacon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The tests here run their own binary as a child, which does what the variable
// says.
const childEnv = "EDGED_BEACON_CHILD"

func TestMain(m *testing.M) {
	switch job, dir, _ := strings.Cut(os.Getenv(childEnv), " "); job {
	case "":
		os.Exit(m.Run())
	case "append":
		os.Exit(appendForEver(dir))
	case "fill":
		os.Exit(fillDisk(dir))
	case "import":
		os.Exit(importUntilKilled(dir))
	}
}

func child(t *testing.T, job string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+job)
	cmd.Stderr = os.Stderr
	return cmd
}

// batchRows are the rows of a batch, always the same, of two hours.
func batchRows(batch int) []Row {
	rng := rand.New(rand.NewPCG(uint64(batch), 77))
	var rows []Row
	for i := range 40 {
		rows = append(rows, Row{
			Session: uint64(batch)<<32 | uint64(i), Time: noon.Unix() + int64(i%2)*hourLength,
			Client: randomAddr(rng), PoP: uint16(rng.IntN(len(fleet))), RTT: uint16(rng.IntN(1000)),
		})
	}
	return rows
}

// appendForEver appends batches from the number in the environment on, says each
// on standard output when it is durable, and merges now and then.
func appendForEver(dir string) int {
	dir, first, _ := strings.Cut(dir, " ")
	n, err := strconv.Atoi(first)
	if err != nil {
		return 2
	}
	w, err := NewWriter(dir)
	if err != nil {
		return 2
	}
	for ; ; n++ {
		if _, err := w.Append(Batch{ID: fmt.Sprint(n), PoPs: fleet, Rows: batchRows(n)}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(n)
		if n%7 == 0 {
			if _, err := w.Merge(noon.AddDate(1, 0, 0)); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
	}
}

// TestKill: a writer that is killed at any moment has lost nothing that it
// acknowledged, and nothing half is read.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	acknowledged := 0 // batches 1 to this
	for range 15 {
		cmd := child(t, fmt.Sprintf("append %s %d", dir, acknowledged+1))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r, until := bufio.NewScanner(out), acknowledged+1+rng.IntN(20)
		for acknowledged < until && r.Scan() {
			if acknowledged, err = strconv.Atoi(r.Text()); err != nil {
				t.Fatal(err)
			}
		}
		for range rng.IntN(200_000) { // a moment within the next batch or merge
			_ = rng.Uint64()
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for r.Scan() { // acknowledged before the signal came
			if acknowledged, err = strconv.Atoi(r.Text()); err != nil {
				t.Fatal(err)
			}
		}
		cmd.Wait()
		checkBatches(t, dir, acknowledged)
	}
	if acknowledged < 15 {
		t.Errorf("only %d batches were acknowledged", acknowledged)
	}
	// What a crash left behind is no hindrance, and goes.
	if _, err := Retain(dir, Keep{}, time.Now().Add(2*strayAge)); err != nil {
		t.Fatal(err)
	}
	if strays, err := filepath.Glob(filepath.Join(dir, "*"+besideSuffix)); err != nil || len(strays) > 0 {
		t.Errorf("strays %q, %v", strays, err)
	}
	checkBatches(t, dir, acknowledged)
}

// checkBatches holds that batches up to a number are there whole and once, and
// of the next one whole hours or nothing.
func checkBatches(t *testing.T, dir string, acknowledged int) {
	t.Helper()
	from, to := all()
	hours := map[string][]string{} // "batch hour" → rows
	for s, err := range Sessions(dir, from, to) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range s.Rows {
			key := fmt.Sprint(s.ID>>32, " ", r.Time)
			hours[key] = append(hours[key], line(r, s.PoPs))
		}
	}
	for batch := 1; batch <= acknowledged+1; batch++ {
		want := map[string][]string{}
		for _, r := range batchRows(batch) {
			key := fmt.Sprint(batch, " ", r.Time)
			want[key] = append(want[key], line(r, fleet))
		}
		for key, rows := range want {
			got, there := hours[key]
			if !there && batch > acknowledged {
				continue
			}
			slices.Sort(got)
			slices.Sort(rows)
			if !slices.Equal(got, rows) {
				t.Fatalf("of %d batches, %s has %d rows, want %d", acknowledged, key, len(got), len(rows))
			}
			delete(hours, key)
		}
	}
	if len(hours) > 0 {
		t.Fatalf("of %d batches there are %d hours too many", acknowledged, len(hours))
	}
}

// What TestKillImport imports: some ten chunks.
const importRows, importChunk = 4 * progressLines, progressLines / 2

func importOptions(w *Writer) Options {
	o := options()
	o.Into, o.Batch, o.chunk = w, "june", importChunk
	return o
}

// importUntilKilled imports, and says on standard output how far it is.
func importUntilKilled(dir string) int {
	w, err := NewWriter(dir)
	if err != nil {
		return 2
	}
	o := importOptions(w)
	o.Progress = func(octets int64) { fmt.Println(octets) }
	if _, err := Intake(context.Background(), strings.NewReader(rowsAsText(importRows, 3000)), o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestKillImport: an import that is killed is taken up again, and every row is
// there once.
func TestKillImport(t *testing.T) {
	from, to := all()
	for round := range 4 {
		dir := t.TempDir()
		cmd := child(t, "import "+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewScanner(out)
		for range round {
			r.Scan()
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		w := writer(t, dir)
		there := len(text(t, dir, from, to)) // and no half file
		report, err := Intake(t.Context(), strings.NewReader(rowsAsText(importRows, 3000)), importOptions(w))
		if err != nil || report.Accepted != importRows || report.Known > there {
			t.Errorf("round %d: again %s, %d known of %d that were there, %v", round, summary(report), report.Known, there, err)
		}
		if got := len(text(t, dir, from, to)); got != importRows {
			t.Errorf("round %d: %d rows are there, want %d", round, got, importRows)
		}
	}
}

// TestDiskFull: a file system without room is a clear error; what was accepted
// stays, and goes on once there is room.
func TestDiskFull(t *testing.T) {
	cmd := child(t, "fill "+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.Output()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS) || strings.HasPrefix(string(out), "cannot mount") {
		skipWithout(t, fmt.Sprintf("no mount namespaces for users here: %v %s", err, out))
	}
	if err != nil || string(out) != "ok\n" {
		t.Errorf("%s%v", out, err)
	}
}

// skipWithout skips a test whose needs are missing; under CI that is a failure.
func skipWithout(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// fillDisk appends batches into a small file system of its own until it is full.
func fillDisk(dir string) int {
	fail := func(format string, args ...any) int {
		fmt.Printf(format+"\n", args...)
		return 1
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=128k"); err != nil {
		return fail("cannot mount: %v", err)
	}
	w, err := NewWriter(dir)
	if err != nil {
		return fail("%v", err)
	}
	appendBatch := func(n int) error {
		_, err := w.Append(Batch{ID: fmt.Sprint(n), PoPs: fleet, Rows: batchRows(n)})
		return err
	}
	n := 1
	for ; n < 1000; n++ {
		if err = appendBatch(n); err != nil {
			break
		}
	}
	if !errors.Is(err, syscall.ENOSPC) || !strings.HasPrefix(err.Error(), "no room for a segment of ") ||
		!strings.HasSuffix(err.Error(), "nothing that was accepted is lost; make room, or keep beacons for a shorter time") {
		return fail("the error is %v", err)
	}
	if strays, _ := filepath.Glob(filepath.Join(dir, "*"+besideSuffix)); len(strays) > 0 {
		return fail("left behind: %q", strays)
	}
	count := func() (rows int) {
		for s, err := range Sessions(dir, time.Time{}, noon.AddDate(1, 0, 0)) {
			if err != nil {
				return -1
			}
			rows += len(s.Rows)
		}
		return rows
	}
	// The batch that had no room may have one of its hours there.
	if got, want := count(), 40*(n-1); n < 3 || got != want && got != want+20 {
		return fail("%d rows after %d batches, want %d", got, n-1, want)
	}
	if _, err := Retain(dir, Keep{Octets: 64 << 10}, noon); err != nil {
		return fail("%v", err)
	}
	if err := appendBatch(n); err != nil {
		return fail("with room again: %v", err)
	}
	if got := count(); got < 20 {
		return fail("%d rows with room again", got)
	}
	fmt.Println("ok")
	return 0
}
