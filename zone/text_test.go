package zone

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write the answers of this run into testdata; read the diff before committing")

// scripts returns the text tests of a folder; a folder without any is a mistake.
func scripts(t *testing.T, folder string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", folder, "*.txtar"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no text tests in testdata/%s: %v", folder, err)
	}
	return paths
}

// unpack writes the files of a text test into a fresh folder.
func unpack(t *testing.T, path string) (*txtar.Archive, string) {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range archive.Files {
		name := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
		modified := time.Unix(1700000000, 0) // becomes a tinydns serial
		if err := os.Chtimes(name, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	return archive, dir
}

// compare checks one file of a text test against what came out, or keeps it.
func compare(t *testing.T, f *txtar.File, got string) (changed bool) {
	t.Helper()
	if string(f.Data) == got {
		return false
	}
	if !*update {
		t.Errorf("%s differs: got\n%s\nwant\n%s", f.Name, got, f.Data)
	}
	f.Data = []byte(got)
	return true
}

// save writes a changed text test back.
func save(t *testing.T, path string, archive *txtar.Archive) {
	t.Helper()
	if err := os.WriteFile(path, txtar.Format(archive), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLookup runs testdata/lookup: each text test has a zone, named as its
// origin with .zone or .data behind, perhaps dynamic names, and what is asked:
// "? name type" lines, each with its answer below. It may also list the zone's
// nodes, warnings, files and types.
func TestLookup(t *testing.T) {
	for _, path := range scripts(t, "lookup") {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, dir := unpack(t, path)
			first := archive.Files[0].Name
			var o Options
			for _, f := range archive.Files {
				if f.Name == "dynamic" {
					o.Dynamic = strings.Fields(string(f.Data))
				}
			}
			z, err := ParseFile(strings.TrimSuffix(first, filepath.Ext(first)), filepath.Join(dir, first), o)
			if err != nil {
				t.Fatal(err)
			}
			changed := false
			for i := range archive.Files {
				f := &archive.Files[i]
				switch f.Name {
				case "ask":
					changed = compare(t, f, ask(t, z, f.Data)) || changed
				case "nodes":
					changed = compare(t, f, listNodes(z)) || changed
				case "warnings":
					changed = compare(t, f, strings.ReplaceAll(lines(z.Warnings()), dir+"/", "")) || changed
				case "files":
					changed = compare(t, f, strings.ReplaceAll(lines(z.Files()), dir+"/", "")) || changed
				}
			}
			if changed && *update {
				save(t, path, archive)
			}
		})
	}
}

// ask answers the "?" lines of a script and drops its other lines.
func ask(t *testing.T, z *Zone, script []byte) string {
	t.Helper()
	var out strings.Builder
	for row := range bytes.Lines(script) {
		row := strings.TrimSpace(string(row))
		if comment := strings.HasPrefix(row, "#"); comment {
			fmt.Fprintln(&out, row)
		}
		if !strings.HasPrefix(row, "?") {
			continue
		}
		fields := strings.Fields(row)
		if len(fields) != 3 {
			t.Fatalf("question %q: want ? name type", row)
		}
		qtype, ok := dns.StringToType[fields[2]]
		if !ok {
			if _, err := fmt.Sscanf(fields[2], "TYPE%d", &qtype); err != nil {
				t.Fatalf("question %q: unknown type", row)
			}
		}
		fmt.Fprintf(&out, "%s\n%s", row, render(z.Lookup(fields[1], qtype)))
	}
	return out.String()
}

// render prints a result: status, then records by section.
func render(r Result) string {
	var out strings.Builder
	out.WriteString("  " + dns.RcodeToString[r.Rcode])
	if r.Authoritative {
		out.WriteString(" aa")
	}
	if r.Source != "" {
		out.WriteString(" from " + r.Source)
	}
	if r.Dynamic != "" {
		out.WriteString(" dynamic " + r.Dynamic)
	}
	out.WriteString("\n")
	for _, section := range []struct {
		name string
		rrs  []dns.RR
	}{{"answer", r.Answer}, {"authority", r.Ns}, {"additional", r.Extra}} {
		for _, rr := range section.rrs {
			fmt.Fprintf(&out, "  %s: %s\n", section.name, strings.ReplaceAll(rr.String(), "\t", " "))
		}
	}
	return out.String()
}

func listNodes(z *Zone) string {
	var out strings.Builder
	for n := range z.Nodes() {
		out.WriteString(n.Name + " " + n.Kind.String())
		if n.Dynamic {
			out.WriteString(" dynamic")
		}
		for _, rrtype := range n.Types {
			out.WriteString(" " + dns.Type(rrtype).String())
		}
		out.WriteString("\n")
	}
	return out.String()
}

func lines(list []string) string {
	var out strings.Builder
	for _, s := range list {
		out.WriteString(s + "\n")
	}
	return out.String()
}

// TestRefused runs testdata/refused: each NAME.zone or NAME.data of a text test
// is parsed as example.com and must fail with the text of NAME.errors; a file
// NAME.dynamic gives dynamic names.
func TestRefused(t *testing.T) {
	for _, path := range scripts(t, "refused") {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, dir := unpack(t, path)
			files := map[string]*txtar.File{}
			for i := range archive.Files {
				files[archive.Files[i].Name] = &archive.Files[i]
			}
			changed := false
			for _, f := range archive.Files {
				name, ok := strings.CutSuffix(f.Name, filepath.Ext(f.Name))
				want := files[name+".errors"]
				if !ok || want == nil || want.Name == f.Name || strings.HasSuffix(f.Name, ".dynamic") {
					continue
				}
				var o Options
				if d := files[name+".dynamic"]; d != nil {
					o.Dynamic = strings.Fields(string(d.Data))
				}
				z, err := ParseFile("example.com", filepath.Join(dir, f.Name), o)
				if err == nil {
					t.Errorf("%s: parsed, want an error; warnings %q", f.Name, z.Warnings())
					continue
				}
				changed = compare(t, want, strings.ReplaceAll(err.Error(), dir+"/", "")+"\n") || changed
			}
			if changed && *update {
				save(t, path, archive)
			}
		})
	}
}
