package layout

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// root is the repository, as seen from this package.
const root = "../.."

// files lists the repository's files by their slash-separated path, without
// what .gitignore leaves out. It does not ask git, so that it works in an
// unpacked archive too.
func files(t *testing.T) []string {
	t.Helper()
	ignore, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	patterns := strings.Fields(string(ignore))
	var found []string
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case d.IsDir() && (rel == ".git" || ignored(patterns, rel+"/")):
			return filepath.SkipDir
		case d.Type().IsRegular() && !ignored(patterns, rel):
			found = append(found, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 100 {
		t.Fatalf("only %d files under %s", len(found), root)
	}
	return found
}

// ignored knows the two forms that our .gitignore has: a pattern from the root,
// which begins with a slash, and one for the last element.
func ignored(patterns []string, rel string) bool {
	for _, p := range patterns {
		name := path.Base(rel)
		if anchored, ok := strings.CutPrefix(p, "/"); ok {
			p, name = anchored, rel
		}
		if match, err := path.Match(p, name); err == nil && match {
			return true
		}
	}
	return false
}

const maxFile = 3.5 * (1 << 20) // bytes

func TestFileSizes(t *testing.T) {
	for _, name := range files(t) {
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > maxFile {
			t.Errorf("%s has %d bytes, want at most %.0f", name, info.Size(), maxFile)
		}
	}
}

// homes are beginnings of paths that exist on one person's machine only. They
// are put together here so that this file does not hold them itself.
func homes(t *testing.T) []string {
	t.Helper()
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	places := []string{"/ro" + "ot/", "/ho" + "me/", "/Us" + "ers/", "/wo" + "rk/"}
	if strings.Count(here, "/") > 1 {
		places = append(places, here+"/")
	}
	return places
}

// TestMachinePaths holds that no text file names a place on the machine that it
// was written on.
func TestMachinePaths(t *testing.T) {
	places := homes(t)
	for _, name := range files(t) {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(data, 0) >= 0 {
			continue // not text
		}
		for n, line := range strings.Split(string(data), "\n") {
			for _, p := range places {
				if strings.Contains(line, p) && !strings.HasPrefix(line, "#!") {
					t.Errorf("%s:%d: names a path of one machine (%s): %s", name, n+1, p, line)
				}
			}
		}
	}
}

func TestIgnored(t *testing.T) {
	patterns := []string{"/edged", "/bench/out/", "*.test", "/docs/example/*.edmap"}
	for rel, want := range map[string]bool{
		"edged": true, "cmd/edged": false, "cmd/edged/": false, "bench/out/": true, "bench/out": false,
		"zone/zone.test": true, "zone/zone_test.go": false, "docs/example/default.edmap": true, "docs/default.edmap": false,
	} {
		if got := ignored(patterns, rel); got != want {
			t.Errorf("ignored(%q) = %v, want %v", rel, got, want)
		}
	}
}
