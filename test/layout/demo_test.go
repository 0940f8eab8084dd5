package layout

import (
	"bufio"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var (
	demoPorts  = regexp.MustCompile(`127\.0\.0\.1(:| -p )(53|54|80|81)[0-9]{2}\b`)
	demoKill   = regexp.MustCompile(`(?m)^kill [0-9]+$`)
	demoFolder = regexp.MustCompile(`\S*/edged-demo-\d+/`)
)

// TestDemoShown holds that README shows what the demo prints, but for its
// ports, which are others where the first ones are taken.
func TestDemoShown(t *testing.T) {
	_, shown, _ := strings.Cut(documents(t)["README.md"], "```text\n")
	shown, _, found := strings.Cut(shown, "```\n")
	if !found {
		t.Fatal("README.md shows no output of the demo")
	}
	cmd := exec.CommandContext(t.Context(), buildEdged(t).path, "demo")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		printed.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "kill ") { // the last one
			break
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("demo: %v", err)
	}
	samePorts := func(s string) string {
		s = demoFolder.ReplaceAllString(s, "FOLDER/")
		return demoKill.ReplaceAllString(demoPorts.ReplaceAllString(s, "127.0.0.1:PORT"), "kill PID")
	}
	if got, want := samePorts(printed.String()), samePorts(shown); got != want {
		t.Errorf("the demo prints\n%s\nbut README.md shows\n%s", got, want)
	}
}
