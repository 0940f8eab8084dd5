package audit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReplaced has somebody change the file of an open log, as sed -i and
// logrotate do: no entry is lost, and what was done shows.
func TestReplaced(t *testing.T) {
	for _, tc := range []struct {
		what string
		do   func(path string) error
	}{
		{"another file in its place", func(path string) error {
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.Remove(path)
			}
			if err == nil {
				err = os.WriteFile(path, b, 0o600)
			}
			return err
		}},
		{"removed", os.Remove},
		{"moved", func(path string) error { return os.Rename(path, path+".1") }},
		{"cut", func(path string) error { return os.Truncate(path, 10) }},
		{"longer", func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err == nil {
				_, err = f.WriteString("{}\n")
				f.Close()
			}
			return err
		}},
	} {
		dir := t.TempDir()
		l, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := l.Append(Entry{Actor: "ann", Cause: "before"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := tc.do(filepath.Join(dir, fileName(1))); err != nil {
			t.Fatal(err)
		}
		if err := l.Append(Entry{Actor: "ann", Cause: "after"}); err != nil {
			t.Errorf("%s: %v", tc.what, err)
		}
		if faults := l.Faults(); len(faults) != 1 || !strings.Contains(faults[0], "was replaced, cut or written to") {
			t.Errorf("%s: faults %q", tc.what, faults)
		}
		if got := l.Head().Seq; got != 5 {
			t.Errorf("%s: the last entry is number %d, want 5", tc.what, got)
		}
		b, err := os.ReadFile(filepath.Join(dir, fileName(2)))
		if err != nil || !strings.Contains(string(b), `"cause":"after"`) {
			t.Errorf("%s: the next file holds %s, %v", tc.what, b, err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}
