package layout

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// documents returns the Markdown files with their text.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, name := range files(t) {
		if path.Ext(name) != ".md" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(data)
	}
	return texts
}

func TestDocuments(t *testing.T) {
	texts := documents(t)
	for _, name := range []string{
		"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md",
		"bench/README.md", "docs/config.md", "docs/format/edmap.md", "docs/format/place.md", "docs/format/health-records.md",
	} {
		if texts[name] == "" {
			t.Errorf("%s is missing or empty", name)
		}
	}
}

func TestLinks(t *testing.T) {
	links := 0
	for name, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			links++
			if _, err := os.Stat(filepath.Join(root, path.Dir(name), target)); err != nil {
				t.Errorf("%s: link to %s: %v", name, m[1], err)
			}
		}
	}
	if links == 0 {
		t.Error("no document links to any file")
	}
}

var goFile = regexp.MustCompile("`([a-z0-9_/]+\\.go)`")

// TestGoFiles holds that the Go files that documents name are there, by their
// path or, where the text has named the folder, by their last element.
func TestGoFiles(t *testing.T) {
	there := map[string]bool{}
	for _, name := range files(t) {
		there[name], there[path.Base(name)] = true, true
	}
	for name, text := range documents(t) {
		for _, m := range goFile.FindAllStringSubmatch(text, -1) {
			if !there[m[1]] {
				t.Errorf("%s names %s, which is not there", name, m[1])
			}
		}
	}
}

// shell returns the lines of the fenced blocks marked sh, joined where they end
// in a backslash, without comments.
func shell(text string) []string {
	var lines []string
	inside, open := false, false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```sh"
		case inside && open:
			lines[len(lines)-1] += " " + line
		case inside && line != "" && !strings.HasPrefix(line, "#"):
			lines = append(lines, line)
		}
		if open = inside && strings.HasSuffix(line, `\`); open {
			lines[len(lines)-1] = strings.TrimSuffix(lines[len(lines)-1], `\`)
		}
	}
	return lines
}

// TestTwoCommands holds README's promise: two commands, and they are there.
func TestTwoCommands(t *testing.T) {
	_, section, found := strings.Cut(documents(t)["README.md"], "\n## Two commands\n")
	if !found {
		t.Fatal(`README.md has no section "Two commands"`)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	if got, want := shell(section), []string{"go run ./cmd/edged demo", "make test"}; !slices.Equal(got, want) {
		t.Errorf("commands %q, want %q", got, want)
	}
}

// TestCommands holds that the commands in documents exist: targets of make, and
// commands and flags of edged.
func TestCommands(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	edged := buildEdged(t)
	checked := 0
	for name, text := range documents(t) {
		for _, line := range shell(text) {
			words := strings.Fields(line)
			if len(words) > 3 && words[0] == "go" && words[1] == "run" && words[2] == "./cmd/edged" {
				words = append([]string{"edged"}, words[3:]...)
			}
			switch {
			case len(words) < 2:
			case words[0] == "make":
				checked++
				if !strings.Contains(string(makefile), "\n"+words[1]+":") {
					t.Errorf("%s: %q: the Makefile has no target %s", name, line, words[1])
				}
			case words[0] == "edged":
				checked++
				if fault := edged.fault(t, words[1:]); fault != "" {
					t.Errorf("%s: %q: %s", name, line, fault)
				}
			case words[0] == "go" && words[1] == "run" && strings.HasPrefix(words[2], "./"):
				checked++
				if _, err := os.Stat(filepath.Join(root, words[2])); err != nil {
					t.Errorf("%s: %q: %v", name, line, err)
				}
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d commands in all documents", checked)
	}
}
