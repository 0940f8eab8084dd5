package edge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	for _, content := range []string{"one", "another, longer", ""} {
		if err := ReplaceFile(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Errorf("got %q, %v, want %q", got, err, content)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("got %v, %v, want mode 0640", info.Mode(), err)
	}
	// What cannot be put into place leaves nothing behind.
	taken := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(taken, "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceFile(taken, []byte("x"), 0o600); err == nil {
		t.Error("a folder was replaced")
	}
	if err := ReplaceFile(filepath.Join(dir, "nowhere", "state"), nil, 0o600); err == nil {
		t.Error("a file was written into a folder that is not there")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// What goes on failing says the same each time: it is an alarm.
func TestReplaceFileSaysTheSame(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "nowhere", "state"): "no such file or directory",
		dir:                                    "file exists",
	} {
		for range 2 {
			err := ReplaceFile(path, []byte("x"), 0o600)
			if err == nil || !strings.HasSuffix(err.Error(), " "+path+": "+want) {
				t.Errorf("got %v, want %s: %s", err, path, want)
			}
		}
	}
}
