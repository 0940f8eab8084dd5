package config

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what Parse says into testdata/*.bad.yml")

// want begins each line of a *.bad.yml file that holds a line of the error.
const want = "# want: "

// TestBad reads each file that must be refused. Its last lines say with what.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yml")
	if err != nil || len(files) < 50 {
		t.Fatalf("found %d files, want all of testdata (error %v)", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".bad.yml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text, wanted := splitWant(data)
			c, err := Parse(text, "edged.yaml")
			if err == nil {
				t.Fatalf("accepted: %+v", c)
			}
			if *update {
				lines := want + strings.ReplaceAll(err.Error(), "\n", "\n"+want) + "\n"
				if err := os.WriteFile(file, append(text, lines...), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got := err.Error(); got != wanted {
				t.Errorf("got:\n%s\nwant:\n%s", got, wanted)
			}
		})
	}
}

// splitWant parts a *.bad.yml file into the configuration and the error wanted.
func splitWant(data []byte) (text []byte, wanted string) {
	var lines []string
	for line := range bytes.Lines(data) {
		if rest, ok := strings.CutPrefix(string(line), want); ok {
			lines = append(lines, strings.TrimSuffix(rest, "\n"))
		} else {
			text = append(text, line...)
		}
	}
	return text, strings.Join(lines, "\n")
}
