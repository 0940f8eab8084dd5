package layout

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// program is a built edged, with what its help says by command.
type program struct {
	path string
	help map[string]string
}

// buildEdged builds edged as it is shipped.
func buildEdged(t *testing.T) *program {
	t.Helper()
	p := &program{path: filepath.Join(t.TempDir(), "edged"), help: map[string]string{}}
	cmd := exec.Command("make", "-s", "build", "EDGED="+p.path)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make build: %v\n%s", err, out)
	}
	return p
}

// TestShippedProgram: the program calls no method by a name that is only known
// when it runs, or the linker could leave no method out (docs/decisions/0039).
func TestShippedProgram(t *testing.T) {
	binary, err := os.ReadFile(buildEdged(t).path)
	if err != nil {
		t.Fatal(err)
	}
	const kept, gone = "edged/geo.(*View).Decide", "text/template.(*state).evalField"
	if !bytes.Contains(binary, []byte(kept)) {
		t.Errorf("the program does not name %s, so names show nothing", kept)
	}
	if bytes.Contains(binary, []byte(gone)) {
		t.Errorf("the program holds %s: something uses templates (go build -ldflags=-dumpdep shows what)", gone)
	}
}

// fault says what is wrong with a command line, by what --help says of it.
func (p *program) fault(t *testing.T, words []string) string {
	t.Helper()
	command := words[:1]
	if slices.Contains([]string{"map", "fleet", "vip", "beacon"}, words[0]) && len(words) > 1 {
		command = words[:2]
	}
	usage := strings.Join(command, " ")
	if p.help[usage] == "" {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, p.path, append(slices.Clone(command), "--help")...).CombinedOutput()
		if err != nil {
			return err.Error()
		}
		p.help[usage] = string(out)
	}
	help := p.help[usage]
	if !strings.Contains(help, "edged "+usage) {
		return "edged has no command " + usage
	}
	for _, w := range words {
		flag, _, _ := strings.Cut(w, "=")
		if strings.HasPrefix(flag, "--") && !strings.Contains(help, flag+" ") {
			return "edged " + usage + " has no flag " + flag
		}
	}
	return ""
}

// run runs edged in a folder and returns what it prints. Anything on standard
// error, such as a warning, is a failure.
func (p *program) run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.path, args...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("edged %q: %v\n%s", args, err, stderr.String())
	}
	if stderr.Len() > 0 {
		t.Errorf("edged %q complains:\n%s", args, stderr.String())
	}
	return stdout.String()
}
