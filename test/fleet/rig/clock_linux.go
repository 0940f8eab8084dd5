package rig

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockVariable tells a program made by BuildWrongClock by how many seconds its
// clock is wrong.
const clockVariable = "CLOCKSHIFT"

// BuildWrongClock builds edged in dir once more, against a standard library
// whose time.Now is wrong by what clockVariable says. The clock of one process
// cannot be set, and a Go program asks no library for the time that could be
// exchanged when it starts. So it is exchanged when it is built (go build
// -overlay): all of edged and of its modules is as in production, and production
// has no switch to set its clock. Only wall time is wrong; the monotonic clock,
// by which Go measures durations, is not, as on a machine whose clock is.
func BuildWrongClock(dir string) (binary string, err error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	wrong, err := wrongClock(string(text))
	if err != nil {
		return "", fmt.Errorf("%s: %w", original, err)
	}
	changed, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(changed, []byte(wrong), 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, replace, 0o600); err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "edged-wrong-clock")
	build := exec.Command("go", "build", "-overlay", overlay, "-o", binary, "edged/cmd/edged")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build with a wrong clock: %w\n%s", err, out)
	}
	return binary, nil
}

// wrongClock returns the source of package time with a clock that can be wrong.
// It errs when that is not as this was written for.
func wrongClock(source string) (string, error) {
	for _, change := range []struct{ from, to string }{
		{"import (\n", "import (\n\t\"syscall\"\n"},
		{"func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n", "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n\tsec += wrongBy\n"},
	} {
		if strings.Count(source, change.from) != 1 {
			return "", fmt.Errorf("%q is not there once: is this another Go?", change.from)
		}
		source = strings.Replace(source, change.from, change.to, 1)
	}
	return source + `
var wrongBy = readWrong()

func readWrong() (seconds int64) {
	text, _ := syscall.Getenv("` + clockVariable + `")
	sign := int64(1)
	for _, c := range []byte(text) {
		if c == '-' {
			sign = -1
		} else {
			seconds = 10*seconds + int64(c-'0')
		}
	}
	return sign * seconds
}
`, nil
}

// SetClock has the node's clock be wrong by so much, in whole seconds, whenever
// it is started from now on. The program is one of BuildWrongClock's.
func (n *Node) SetClock(program string, by time.Duration) {
	n.program, n.clock = program, strconv.FormatInt(int64(by/time.Second), 10)
}
