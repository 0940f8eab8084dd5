package beacon

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binary is edged, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if testing.Short() {
		return m.Run()
	}
	sources, _ := filepath.Glob("../../cmd/edged/*.go") // no error: the pattern is good
	for _, name := range sources {
		_, _ = os.ReadFile(name) // so that results are not cached over a change
	}
	dir, err := os.MkdirTemp("", "edged")
	if err == nil {
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "edged")
		var out []byte
		if out, err = exec.Command("go", "build", "-o", binary, "edged/cmd/edged").CombinedOutput(); err != nil {
			err = fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
