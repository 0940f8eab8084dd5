package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edged/config"
	"edged/mapper/beacon"
)

const uploadToken = "upload-token-0123456789"

// withUploads lets a node's files take uploads, and returns the token's file.
func (d nodeDir) withUploads() string {
	d.t.Helper()
	d.write("tokens", "ci map-builder "+uploadToken+"\n")
	d.write("token", uploadToken+"\n")
	d.change("edged.yaml", "maps:", "admin: {tokens_file: tokens}\nmaps:")
	return d.file("token")
}

// measuredRows is a CSV file with so many rows of the last hours.
func measuredRows(n int) string {
	var b strings.Builder
	b.WriteString("time,session,client,resolver,pop,rtt_ms,method\n")
	at := time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	for i := range n {
		fmt.Fprintf(&b, "%d,s%d,81.%d.%d.%d,,fra,%d.5,resource\n", at.Unix()+int64(i%7200), i, i>>16, i>>8&255, i&255, 10+i%50)
	}
	return b.String()
}

// zipped compresses text with gzip.
func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// adminURL returns where a node serves its API over TCP.
func (r *running) adminURL() string {
	r.t.Helper()
	_, out, errs := command(r.t, "status", "--json", "--node", r.socket)
	var s struct{ Admin string }
	if err := json.Unmarshal([]byte(out), &s); err != nil || s.Admin == "" {
		r.t.Fatalf("status: %s %s %v", out, errs, err)
	}
	return s.Admin
}

// rowsIn returns how many rows a folder of segments has.
func rowsIn(t *testing.T, dir string) int {
	t.Helper()
	set, err := beacon.OpenAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	return set.Rows
}

// TestUploadPullBuild: a file goes to a node, from there into a folder, and into a
// map; and when the node is away, nobody makes a map of a part unawares.
func TestUploadPullBuild(t *testing.T) {
	d := newNodeDir(t)
	token := d.withUploads()
	d.write("june.csv", measuredRows(300)+"x,s,81.2.3.4,,fra,5,resource\n")
	n := serveDir(t, d)
	url := n.adminURL()
	host := strings.TrimPrefix(url, "http://")

	for _, want := range []string{
		": 300 rows accepted, 1 rejected\n  1 bad time, such as \"x\": want RFC 3339 or Unix seconds: lines 302\n",
		": 300 rows accepted (300 of them were here), 1 rejected\n  1 bad time, such as \"x\": want RFC 3339 or Unix seconds: lines 302\n",
	} {
		code, out, errs := command(t, "beacon", "upload", d.file("june.csv"), "--node", url, "--token-file", token)
		if code != 0 || out != d.file("june.csv")+want {
			t.Fatalf("upload: %d\n%s%s\nwant %s", code, out, errs, want)
		}
	}
	if got := rowsIn(t, d.file("state/beacons")); got != 300 {
		t.Errorf("the node has %d rows, want 300", got)
	}
	for _, tt := range []struct{ file, text, want string }{
		{"wrong.csv", "a,b\n", `status 422: bad header: column "a" is unknown`},
		{"x.parquet", "PAR1xxxx", "a Parquet file cannot be sent as a stream"},
		{"bad.gz", zipped(t, measuredRows(300))[:2000], "bad.gz: the file is damaged or cut off: unexpected EOF: send it mended with --batch sha256-"},
	} {
		d.write(tt.file, tt.text)
		code, _, errs := command(t, "beacon", "upload", d.file(tt.file), "--node", url, "--token-file", token)
		if code != 1 || !strings.Contains(errs, tt.want) || strings.Contains(errs, "run this again") || strings.Contains(errs, "does it run") {
			t.Errorf("upload of %s: %d %s", tt.file, code, errs)
		}
	}
	if code, _, errs := command(t, "beacon", "upload", d.file("june.csv"), "--node", url); code != 1 || !strings.Contains(errs, "status 401") || strings.Contains(errs, "run this again") {
		t.Errorf("upload without a token: %d %s", code, errs)
	}
	if code, _, errs := command(t, "beacon", "upload", d.file("june.csv"), "--node", "http://127.0.0.1:1"); code != 1 || !strings.Contains(errs, "(run this again to go on)") {
		t.Errorf("upload to a node that is away: %d %s", code, errs)
	}

	// A second configuration is the map builder's own.
	builder, err := os.ReadFile(d.file("edged.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	d.write("builder.yaml", string(builder)+"beacon: {sources: [\""+url+"\", \"http://127.0.0.1:1\"]}\n")
	configFile, copies := d.file("builder.yaml"), d.file("copies")
	build := func(args ...string) (int, string, string) {
		return command(t, append([]string{"map", "build", "--config", configFile, "--segments", copies, "-o", d.file("new.edmap")}, args...)...)
	}
	if code, _, errs := build(); code != 1 || !strings.Contains(errs, "has nothing of node \""+url+"\": run edged beacon pull, or build --without ") {
		t.Errorf("build of nothing: %d %s", code, errs)
	}
	code, out, errs := command(t, "beacon", "pull", "--config", configFile, "--into", copies, "--token-file", token)
	folder := strings.ReplaceAll(host, ":", "_")
	if code != 1 || !strings.HasPrefix(out, folder+": 1 files, 1 of them new with ") || !strings.Contains(errs, "1 of 2 nodes were not copied whole: 127.0.0.1_1") {
		t.Errorf("pull with a node away: %d\n%s%s", code, out, errs)
	}
	if got := rowsIn(t, copies); got != 300 {
		t.Errorf("the copies have %d rows, want 300", got)
	}
	if code, _, errs := build(); code != 1 || !strings.Contains(errs, `has not all of node "http://127.0.0.1:1": `) {
		t.Errorf("build with a node away: %d %s", code, errs)
	}
	code, out, errs = build("--without", "127.0.0.1:1", "--pull", "--token-file", token)
	if code != 0 || !strings.Contains(out, "  of "+folder+": 1 files, pulled at ") || !strings.Contains(out, "  without 127.0.0.1:1\n") {
		t.Errorf("build without a node: %d\n%s%s", code, out, errs)
	}
	if code, _, errs := build("--without", "fra9"); code != 1 || !strings.Contains(errs, `--without "fra9": beacon.sources has no such node`) {
		t.Errorf("build without a node that is not there: %d %s", code, errs)
	}

	// Neither does a copy that has lost a file since, unless retain removed it.
	w, err := beacon.NewWriter(d.file("state/beacons"))
	if err != nil {
		t.Fatal(err)
	}
	old := beacon.Row{Session: 1, Time: time.Now().Add(-72 * time.Hour).Unix(), Client: netip.MustParseAddr("81.2.3.4"), RTT: 90}
	if _, err := w.Append(beacon.Batch{ID: "old", PoPs: []string{"fra"}, Rows: []beacon.Row{old}}); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := build("--without", "127.0.0.1:1", "--pull", "--token-file", token); code != 0 {
		t.Errorf("build of two files: %d %s", code, errs)
	}
	lost, err := filepath.Glob(filepath.Join(copies, folder, "*.beacons"))
	if err != nil || len(lost) != 2 {
		t.Fatalf("copies %q, %v", lost, err)
	}
	if err := os.Remove(lost[1]); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("has 1 of the 2 files of node %q that were there after the last pull: run edged beacon pull, or build --without %s", url, folder)
	if code, _, errs := build("--without", "127.0.0.1:1"); code != 1 || !strings.Contains(errs, want) {
		t.Errorf("build of a copy without a file: %d %s, want %s", code, errs, want)
	}
	if code, _, errs := build("--without", "127.0.0.1:1", "--pull", "--token-file", token); code != 0 {
		t.Errorf("build after it came again: %d %s", code, errs)
	}
	if code, out, errs := command(t, "beacon", "retain", copies, "--days", "1"); code != 0 || !strings.Contains(out, ": 1 files removed") {
		t.Errorf("retain: %d %s%s", code, out, errs)
	}
	if code, out, errs := build("--without", "127.0.0.1:1"); code != 0 || !strings.Contains(out, "  of "+folder+": 1 files, pulled at ") {
		t.Errorf("build after retain: %d %s%s", code, out, errs)
	}

	// A pull that did not end does not count, whatever was there before.
	state := filepath.Join(copies, "pulled.json")
	if err := noteState(copies, folder, pulledFrom{Error: "the pull did not end"}); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := build("--without", "127.0.0.1:1"); code != 1 || !strings.Contains(errs, "the pull did not end") {
		t.Errorf("build after a pull was killed: %d %s", code, errs)
	}
	if err := os.WriteFile(state, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := build("--without", "127.0.0.1:1"); code != 1 || !strings.Contains(errs, "pulled.json: unexpected end of JSON input: remove it, and pull again") {
		t.Errorf("build with a broken state: %d %s", code, errs)
	}
	n.stop()
}

// TestKeepBeacons: hours that are over are merged, old ones go, and the newest stay
// when the folder is too large.
func TestKeepBeacons(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 6, 17, 12, 30, 0, 0, time.UTC)
	for hours, rows := range map[int]int{0: 2, 1: 3, 30: 5, 400: 7} {
		for batch := range 2 {
			var text strings.Builder
			text.WriteString("time,session,client,resolver,pop,rtt_ms,method\n")
			for i := range rows {
				fmt.Fprintf(&text, "%d,s%d,81.2.3.%d,,fra,5,tcp\n", now.Add(-time.Duration(hours)*time.Hour).Unix(), i, batch)
			}
			w, err := beacon.NewWriter(dir)
			if err != nil {
				t.Fatal(err)
			}
			o := beacon.Options{Into: w, Batch: fmt.Sprint(hours, "-", batch), Now: now}
			if _, err := beacon.Intake(t.Context(), strings.NewReader(text.String()), o); err != nil {
				t.Fatal(err)
			}
		}
	}
	log := slog.New(slog.DiscardHandler)
	for _, tt := range []struct {
		days, sizeMB int
		rows, files  int
	}{{14, 100, 20, 4}, {1, 100, 10, 3}, {1, 0, 10, 3}} {
		if err := keepBeacons(dir, config.Keep{Days: tt.days, SizeMB: tt.sizeMB}, now, log); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.beacons"))
		if got := rowsIn(t, dir); err != nil || got != tt.rows || len(files) != tt.files {
			t.Errorf("keeping %d days: %d rows in %q, want %d rows in %d files", tt.days, got, files, tt.rows, tt.files)
		}
	}
	if err := keepBeacons(filepath.Join(dir, "none"), config.Keep{Days: 1, SizeMB: 1}, now, log); err != nil {
		t.Errorf("a folder that is not there: %v", err)
	}
	code, out, errs := command(t, "beacon", "retain", dir, "--days", "1")
	if code != 0 || out != dir+": 3 files removed, 0 merged\n" {
		t.Errorf("retain: %d %s%s", code, out, errs)
	}
}
