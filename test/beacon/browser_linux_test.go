package beacon

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"edged/test/netns"
)

// browse opens a page in a Chromium of its own on a host, until done says that it
// may be closed. The system's resolver there is the one given.
func browse(t *testing.T, h *netns.Host, resolver, page string, done func() error) {
	t.Helper()
	dir := t.TempDir()
	resolv := filepath.Join(dir, "resolv.conf")
	must(t, os.WriteFile(resolv, []byte("nameserver "+resolver+"\n"), 0o644))
	chromium := []string{
		"chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad",
		"--ignore-certificate-errors", "--user-data-dir=" + filepath.Join(dir, "profile"), page,
	}
	// Names of mounts and processes are its own, so it sees its resolver and
	// leaves nothing running.
	inside := fmt.Sprintf("mount --bind %s /etc/resolv.conf && exec %s", resolv, strings.Join(chromium, " "))
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", inside)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	must(t, h.Start(cmd))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	err := until(browserWait, func() error {
		select {
		case err := <-ended:
			ended <- err
			return nil
		default:
			return done()
		}
	})
	if err == nil {
		err = done() // it may have ended by itself
	}
	_ = cmd.Process.Kill() // an error: it has ended
	<-ended
	if err != nil {
		t.Fatalf("%v; chromium says:\n%s", err, log.String())
	}
}
