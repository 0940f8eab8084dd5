package beacon

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edged/test/netns"
)

// browse opens a page in a Chromium of its own on a host, until done says that it
// may be closed. The system's resolver there is the one given. A page tries once,
// and gives up what a busy machine is too slow for: then another browser opens
// it.
func browse(t *testing.T, h *netns.Host, resolver, page string, done func() error) {
	t.Helper()
	for try := 1; ; try++ {
		log, err := browseOnce(t, h, resolver, page, done)
		if err == nil {
			return
		}
		if try == tries {
			t.Fatalf("%s: %v; chromium says:\n%s", page, err, log)
		}
		t.Logf("%s: %v; once more", page, err)
	}
}

// How often a page is opened, and how long it has.
const (
	tries       = 3
	browserWait = 25 * time.Second
)

func browseOnce(t *testing.T, h *netns.Host, resolver, page string, done func() error) (log string, err error) {
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
	var says strings.Builder
	cmd.Stdout, cmd.Stderr = &says, &says
	must(t, h.Start(cmd))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	err = until(browserWait, func() error {
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
	return says.String(), err
}
