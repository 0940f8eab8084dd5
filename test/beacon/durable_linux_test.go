package beacon

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"edged/mapper/beacon"
	"edged/mapper/beacon/token"
)

// localConfig is a node on loopback, which is no public address.
const localConfig = `
node: {name: fra1, pop: fra}
data_dir: fra
pops: [{name: fra, lat: 50.11, lon: 8.68}, {name: iad, lat: 38.95, lon: -77.45}]
listen: {external: ["127.0.0.1:0"], threads: 1, admin: ""}
zones: [{name: b.example.com, file: b.zone}]
pools: {edges: {policy: failover, endpoints: [{pop: fra, address: 127.0.0.1}]}}
names: {"*.b.example.com": {pool: edges}}
beacon: {zone: b.example.com, listen: ["127.0.0.1:0"], cert_file: cert.pem, key_file: key.pem, token_key_file: token.keys, origins: ["https://www.example.com"], allow_private: true}
`

// local is a node on loopback.
type local struct {
	t        *testing.T
	dir      string
	cmd      *exec.Cmd
	log      string
	dns, url string
	client   *http.Client
}

// startLocal starts a node and waits until it serves.
func startLocal(t *testing.T) *local {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the real binary")
	}
	l := &local{t: t, dir: t.TempDir()}
	writeFiles(t, l.dir)
	must(t, os.WriteFile(filepath.Join(l.dir, "fra.yaml"), []byte(localConfig), 0o600))
	l.log = filepath.Join(l.dir, "log")
	l.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxConnsPerHost: 100}}
	t.Cleanup(l.client.CloseIdleConnections)
	return l
}

func (l *local) start() {
	l.t.Helper()
	file, err := os.Create(l.log)
	must(l.t, err)
	defer file.Close()
	l.cmd = exec.Command(binary, "serve", "--config", "fra.yaml")
	l.cmd.Dir, l.cmd.Stderr = l.dir, file
	must(l.t, l.cmd.Start())
	l.t.Cleanup(l.kill)
	must(l.t, until(wait, func() error {
		text, err := os.ReadFile(l.log)
		found := regexp.MustCompile(`(?s)https=\[(\S+)\].*dns=\[(\S+)\]`).FindSubmatch(text)
		if err == nil && found == nil {
			return fmt.Errorf("the node does not serve:\n%s", text)
		}
		if err == nil {
			l.url, l.dns = "https://"+string(found[1]), string(found[2])
		}
		return err
	}))
}

// kill ends the node like a crash does.
func (l *local) kill() {
	if l.cmd.ProcessState == nil {
		_ = l.cmd.Process.Signal(syscall.SIGKILL) // an error: it has ended
		_ = l.cmd.Wait()
	}
}

// report measures in a session of its own, and returns which it is and how the
// report was answered; 0: not at all.
func (l *local) report() (id uint64, code int) {
	r, err := l.client.Get(l.url + "/session")
	if err != nil {
		return 0, 0
	}
	var s struct {
		Token string   `json:"token"`
		PoPs  []string `json:"pops"`
	}
	err = json.NewDecoder(r.Body).Decode(&s)
	r.Body.Close()
	t, bad := token.Parse(s.Token, []token.Key{token.Key(bytes.Repeat([]byte{0x5e}, 32))})
	if err != nil || bad != nil {
		l.t.Errorf("/session: %s %v %v", r.Status, err, bad)
		return 0, 0
	}
	body := s.Token + "\n" + strings.Join(s.PoPs, " 20.5\n") + " 20.5\n"
	if r, err = l.client.Post(l.url+"/r", "text/plain", strings.NewReader(body)); err != nil {
		return t.Session, 0
	}
	r.Body.Close()
	return t.Session, r.StatusCode
}

// TestKill holds that what was answered with 204 is there after kill -9, and that
// nothing is half there.
func TestKill(t *testing.T) {
	l := startLocal(t)
	l.start()
	var (
		mu           sync.Mutex
		acknowledged = map[uint64]bool{} // guarded by mu
		reporters    sync.WaitGroup
		enough       = make(chan struct{})
		once         sync.Once
	)
	for range 20 {
		reporters.Go(func() {
			for range 10 {
				id, code := l.report()
				if code == 0 {
					return // it is dead
				}
				if code != http.StatusNoContent {
					t.Errorf("a report is answered %d", code)
				}
				mu.Lock()
				acknowledged[id] = true
				if len(acknowledged) >= 30 {
					once.Do(func() { close(enough) })
				}
				mu.Unlock()
			}
		})
	}
	select {
	case <-enough:
	case <-time.After(wait):
		t.Fatal("too few reports were answered")
	}
	l.kill()
	reporters.Wait()
	set, err := beacon.OpenAll(filepath.Join(l.dir, "fra", "beacons"))
	must(t, err)
	defer set.Close()
	kept := map[uint64]int{}
	for s, err := range set.Sessions() {
		must(t, err)
		kept[s.ID] = len(s.Rows)
	}
	for id := range acknowledged {
		if kept[id] != 2 {
			t.Errorf("session %x was acknowledged and has %d rows, want 2", id, kept[id])
		}
	}
	t.Logf("%d sessions were acknowledged, %d are kept", len(acknowledged), len(kept))
}

// TestDiskFull holds that a full disk is said, answered with 503 and counted,
// that the node serves on, and that it keeps measurements again when there is room.
func TestDiskFull(t *testing.T) {
	l := startLocal(t)
	beacons := filepath.Join(l.dir, "fra", "beacons")
	must(t, os.MkdirAll(beacons, 0o755))
	if err := syscall.Mount("tmpfs", beacons, "tmpfs", 0, "size=16k"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no small disk can be had here: %v", err)
		}
		t.Skipf("no small disk can be had here: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(beacons, syscall.MNT_DETACH)) })
	l.start()
	taken := 0
	for ; taken < 20; taken++ { // a file takes a page of the four
		if _, code := l.report(); code == http.StatusServiceUnavailable {
			break
		} else if code != http.StatusNoContent {
			t.Fatalf("a report is answered %d", code)
		}
	}
	if taken == 0 || taken == 20 {
		t.Fatalf("%d reports were taken before the disk was full", taken)
	}
	text, err := os.ReadFile(l.log)
	must(t, err)
	if !strings.Contains(string(text), "what beacons measured cannot be kept") || !strings.Contains(string(text), "no room for a segment") {
		t.Errorf("the log does not say that the disk is full:\n%s", text)
	}
	in, err := dns.Exchange(new(dns.Msg).SetQuestion("www.b.example.com.", dns.TypeA), l.dns)
	if err != nil || len(in.Answer) != 1 {
		t.Errorf("the node does not answer any more: %v %v", in, err)
	}
	set, err := beacon.OpenAll(beacons)
	must(t, err)
	set.Close()
	if set.Rows != 2*taken {
		t.Errorf("%d rows are kept of %d reports that were taken", set.Rows, taken)
	}
	found, err := filepath.Glob(filepath.Join(beacons, "*.beacons"))
	must(t, err)
	must(t, os.Remove(found[0]))
	if _, code := l.report(); code != http.StatusNoContent {
		t.Errorf("a report is answered %d when there is room again", code)
	}
}
