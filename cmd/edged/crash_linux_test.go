package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// The tests here run edged as a process of its own, to kill it, or to give it a
// small disk: the test binary is edged when this variable is set. It may name a
// folder and its size, for a file system of its own there.
const childEnv = "EDGED_TEST_CHILD"

// beChild runs edged when this process is to be one.
func beChild() {
	on, ok := os.LookupEnv(childEnv)
	if !ok {
		return
	}
	os.Unsetenv(childEnv)
	if dir, size, small := strings.Cut(on, " "); small {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
			fmt.Fprintln(os.Stderr, "cannot mount:", err)
			os.Exit(3)
		}
	}
	main()
}

// child is edged with arguments, on a small disk if one is named.
func child(t *testing.T, disk string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"="+disk)
	if disk != "" {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
	}
	return cmd
}

// onSmallDisk runs edged to its end, and returns what it said.
func onSmallDisk(t *testing.T, disk string, args ...string) string {
	t.Helper()
	out, err := child(t, disk, args...).CombinedOutput()
	needsMounts(t, string(out), err)
	return string(out)
}

// needsMounts skips a test where users have no mounts of their own; under CI that
// is a failure.
func needsMounts(t *testing.T, out string, err error) {
	t.Helper()
	if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ENOSYS) && !strings.Contains(out, "cannot mount") {
		return
	}
	why := fmt.Sprintf("no mount namespaces for users here: %v %s", err, out)
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// process is a node in a process of its own.
type process struct {
	running
	cmd  *exec.Cmd
	said chan struct{} // closed when it says nothing more
}

// startProcess starts a node and waits until it serves.
func startProcess(t *testing.T, d nodeDir, disk string) *process {
	t.Helper()
	cmd := child(t, disk, "serve", "--config", d.file("edged.yaml"))
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		needsMounts(t, "", err)
		t.Fatal(err)
	}
	p := &process{running: running{t: t, socket: d.file("state/control.sock"), log: newLogBuffer()}, cmd: cmd, said: make(chan struct{})}
	t.Cleanup(func() { p.kill() })
	lines := bufio.NewScanner(out)
	var before strings.Builder
	for lines.Scan() {
		before.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "msg=serving ") {
			_, rest, _ := strings.Cut(lines.Text(), "dns=")
			fields := strings.FieldsFunc(rest, func(r rune) bool { return strings.ContainsRune("\"[] ", r) })
			p.dns = netip.MustParseAddrPort(fields[0])
			go func() {
				defer close(p.said)
				for lines.Scan() {
				}
			}()
			return p
		}
	}
	close(p.said)
	needsMounts(t, before.String(), nil)
	t.Fatalf("the node did not start:\n%s", before.String())
	return nil
}

// kill ends the node as kill -9 does.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.said
	p.cmd.Wait()
	p.log.close()
	<-p.log.closed
}

// segmentsIn returns how many segments a folder has.
func segmentsIn(dir string) int {
	list, _ := filepath.Glob(filepath.Join(dir, "*.beacons"))
	return len(list)
}

// TestKillDuringUpload: a node that is killed while it writes what comes has lost
// nothing that it reported, has no half file, and takes the upload up again.
func TestKillDuringUpload(t *testing.T) {
	d := newNodeDir(t)
	token := d.withUploads()
	const rows = 600_000 // more than a chunk
	d.write("first.csv", measuredRows(1000))
	d.write("june.csv", rowsOverHours(rows, 40))
	beacons := d.file("state/beacons")
	upload := func(url, name string) (int, string, string) {
		return command(t, "beacon", "upload", d.file(name), "--node", url, "--token-file", token)
	}
	p := startProcess(t, d, "")
	if code, out, errs := upload(p.adminURL(), "first.csv"); code != 0 || !strings.Contains(out, ": 1000 rows accepted, 0 rejected") {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	first := segmentsIn(beacons)
	for _, more := range []int{0, 3} { // when the upload has begun, and in the midst of a chunk
		ended, url := make(chan string, 1), p.adminURL()
		go func() {
			_, _, errs := upload(url, "june.csv")
			ended <- errs
		}()
		for len(ended) == 0 && segmentsIn(beacons) < first+more {
			runtime.Gosched()
		}
		p.kill()
		if errs := <-ended; more > 0 && !strings.Contains(errs, "(run this again to go on)") {
			t.Errorf("the upload says %q", errs)
		}
		if got := rowsIn(t, beacons); got < 1000 || more > 0 && got == 1000 { // opening verifies every file
			t.Errorf("%d rows are there after the crash", got)
		}
		p = startProcess(t, d, "")
	}
	partial := rowsIn(t, beacons)
	code, out, errs := upload(p.adminURL(), "june.csv")
	if want := fmt.Sprintf(": %d rows accepted", rows); code != 0 || !strings.Contains(out, want) {
		t.Errorf("again: %d %s%s", code, out, errs)
	}
	if got := rowsIn(t, beacons); got != rows+1000 || partial >= got {
		t.Errorf("%d rows are there, %d before, want %d", got, partial, rows+1000)
	}
	p.kill()
}

// rowsOverHours is a CSV file with so many rows of so many hours.
func rowsOverHours(n, hours int) string {
	var b strings.Builder
	b.WriteString("time,session,client,resolver,pop,rtt_ms,method\n")
	at := time.Now().UTC().Truncate(time.Hour).Unix()
	for i := range n {
		fmt.Fprintf(&b, "%d,s%d,81.%d.%d.%d,,fra,9,tcp\n", at-int64(1+i%hours)*3600, i, i>>16, i>>8&255, i&255)
	}
	return b.String()
}

// TestKillDuringBuild: a build that is killed leaves the map that was there, and
// what it read.
func TestKillDuringBuild(t *testing.T) {
	dir := mapFiles(t)
	segments, out := filepath.Join(dir, "segments"), filepath.Join(dir, "maps", "m.edmap")
	writeSegments(t, segments)
	if err := os.Mkdir(filepath.Dir(out), 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{"map", "build", "--config", filepath.Join(dir, "edged.yaml"), "-o", out}
	if said, err := child(t, "", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	before, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, writing := range []bool{false, true} {
		cmd := child(t, "", append(args, "--segments", segments)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { defer close(ended); cmd.Wait() }()
		for writing { // until it writes beside, or is through
			list, err := os.ReadDir(filepath.Dir(out))
			select {
			case <-ended:
				writing = false
			default:
				writing = err == nil && len(list) == 1
				runtime.Gosched()
			}
		}
		cmd.Process.Kill()
		<-ended
		mustMapRun(t, "verify", out)
		if rowsIn(t, segments) != 30 {
			t.Errorf("the segments have %d rows, want 30", rowsIn(t, segments))
		}
	}
	if said, err := child(t, "", append(args, "--segments", segments)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if after, err := os.ReadFile(out); err != nil || bytes.Equal(after, before) {
		t.Errorf("the map is the one before, %v", err)
	}
}

// TestFullDisks: no room is a clear error of import, build and upload, and a node
// serves on.
func TestFullDisks(t *testing.T) {
	d := newNodeDir(t)
	token := d.withUploads()
	d.write("june.csv", rowsOverHours(50_000, 20))
	small := d.file("small")
	beacons := d.file("state/beacons")
	for _, dir := range []string{small, beacons} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	said := onSmallDisk(t, small+" 128k", "beacon", "import", d.file("june.csv"), "--into", small)
	if !strings.Contains(said, "june.csv: not kept: no room for a segment of ") || !strings.Contains(said, "no space left on device: nothing that was accepted is lost; make room") {
		t.Errorf("import says %s", said)
	}
	said = onSmallDisk(t, small+" 64k", "map", "build", "--config", d.file("edged.yaml"), "-o", filepath.Join(small, "m.edmap"))
	if !strings.Contains(said, "no space left on device") || !strings.Contains(said, small) {
		t.Errorf("build says %s", said)
	}

	p := startProcess(t, d, beacons+" 128k")
	code, out, errs := command(t, "beacon", "upload", d.file("june.csv"), "--node", p.adminURL(), "--token-file", token)
	if code != 1 || !strings.Contains(errs, "status 507: not kept: no room for a segment of ") {
		t.Errorf("upload: %d %s%s", code, out, errs)
	}
	if got := p.answer("static.example.com.", dns.TypeA, ""); got != "192.0.2.1" {
		t.Errorf("with a full disk the node answers %q", got)
	}
	if got := p.answer("www.example.com.", dns.TypeA, europe); got != "198.51.100.1" {
		t.Errorf("with a full disk the node answers %q", got)
	}
	d.write("few.csv", measuredRows(10))
	if code, out, errs := command(t, "beacon", "upload", d.file("few.csv"), "--node", p.adminURL(), "--token-file", token); code == 0 && !strings.Contains(out, "10 rows accepted") {
		t.Errorf("a small upload: %d %s%s", code, out, errs)
	}
	p.kill()
}
