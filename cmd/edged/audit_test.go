package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edged/bgp/audit"
)

// TestAuditVerify: entries that were removed at the beginning, or all of them, are no
// log as it was written; a node that never had VIPs keeps none.
func TestAuditVerify(t *testing.T) {
	data := t.TempDir()
	config := filepath.Join(data, "edged.yaml")
	if err := os.WriteFile(config, []byte("data_dir: "+data+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(data, "vips")
	own := []string{"audit", "verify", "--config", config}
	verify := func(what string, args []string, wantCode int, wantOut, wantErr string) {
		t.Helper()
		code, out, errs := command(t, args...)
		if code != wantCode || out != wantOut || errs != wantErr {
			t.Errorf("%s: code %d, %q, %q, want %d, %q, %q", what, code, out, errs, wantCode, wantOut, wantErr)
		}
	}
	none := "edged: audit log: \"" + dir + "\" holds no audit log: want files such as audit-000001.jsonl, which every node that ever had VIPs has\n"
	verify("never had VIPs", own, 0, "no entries: \""+dir+"\" is not there, as on a node that never had VIPs\n", "")
	t.Setenv("EDGED_DATA_DIR", filepath.Join(data, "none")) // and not that of a node on this machine
	verify("a configuration that is not there", []string{"audit", "verify", "--config", config + "x"}, 1, "",
		"edged: audit log: \""+filepath.Join(data, "none", "vips")+"\" is not there, nor can the configuration be read that may name another data_dir: stat "+config+"x: no such file or directory\n")
	os.Unsetenv("EDGED_DATA_DIR")
	verify("a folder that is not there", []string{"audit", "verify", dir}, 1, "", none)

	log, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	verify("all files removed", own, 1, "", none)
	for range 3 {
		if err := log.Append(audit.Entry{Actor: "ann", Cause: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	hash := log.Head().Hash
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	verify("as it was written", own, 0, "entries 1 to 3 are as they were written; the last has the hash "+hash+"\n", "")
	first := filepath.Join(dir, "audit-000001.jsonl")
	text, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n")
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("audit-000001.jsonl", rest)
	verify("the first removed", own, 1, "", "edged: audit log: audit-000001.jsonl: line 1: it is entry 2, want 1: entries were removed at the beginning\n")
	put("audit-000001.jsonl", "")
	verify("emptied", own, 1, "", "edged: audit log: audit-000001.jsonl: line 1: it is missing: the file is empty, and none begins without an entry\n")

	// As when the log itself has removed the first of nine files.
	lines := strings.SplitAfter(rest, "\n")
	put("audit-000002.jsonl", lines[0])
	put("audit-000009.jsonl", lines[1])
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	verify("rotated", own, 0, "entries 2 to 3 are as they were written; the last has the hash "+hash+"\n"+
		"what was before entry 2 is not there any more: the log keeps its newest eight files\n", "")
}
