package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// beaconRun runs one beacon command and returns what it wrote.
func beaconRun(args ...string) (string, error) {
	var out bytes.Buffer
	cmd := beaconCommand()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.Execute()
	return out.String(), err
}

func TestBeaconImportAndList(t *testing.T) {
	dir := t.TempDir()
	at := time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	var text strings.Builder
	text.WriteString("time,session,client,resolver,pop,rtt_ms,method\n")
	for i := range 10 {
		fmt.Fprintf(&text, "%s,s%d,81.2.3.%d,8.8.8.8,fra,%d.5,resource\n", at.Add(time.Duration(i/5)*time.Hour).Format(time.RFC3339), i, i, 10+i)
	}
	text.WriteString("1,s,10.0.0.1,,fra,5,resource\n1,s,10.0.0.1,,fra,5,resource\nx,s,81.2.3.4,,fra,5,resource\n")
	file, into := filepath.Join(dir, "june.csv"), filepath.Join(dir, "beacons")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	rejected := `  2 client not public, such as 10.0.0.1: lines 12, 13
  1 bad time, such as "x": want RFC 3339 or Unix seconds: lines 14
`
	for _, want := range []string{
		file + ": 10 rows accepted, 3 rejected\n" + rejected,
		file + ": 10 rows accepted (10 of them were here), 3 rejected\n" + rejected,
	} {
		out, err := beaconRun("import", file, "--into", into)
		if err != nil || out != want {
			t.Errorf("import wrote\n%s%v, want\n%s", out, err, want)
		}
	}
	want := fmt.Sprintf(`hour                  rows  segments
%s  5     1
%s  5     1
all                   10    

pops  fra
`, at.Format(time.RFC3339), at.Add(time.Hour).Format(time.RFC3339))
	if out, err := beaconRun("list", into); err != nil || out != want {
		t.Errorf("list wrote\n%q, %v, want\n%q", out, err, want)
	}
	var list struct {
		Rows  int
		PoPs  []string
		Hours []struct {
			Hour time.Time
			Rows int
		}
	}
	out, err := beaconRun("list", "--json", into)
	if err != nil {
		t.Fatal(err)
	}
	decode(t, out, &list)
	if list.Rows != 10 || len(list.Hours) != 2 || !list.Hours[1].Hour.Equal(at.Add(time.Hour)) || list.Hours[1].Rows != 5 {
		t.Errorf("list --json: %+v", list)
	}

	segments, err := filepath.Glob(filepath.Join(into, "*.beacons"))
	if err != nil || len(segments) != 2 {
		t.Fatalf("segments %v, %v", segments, err)
	}
	if err := os.Truncate(segments[0], 100); err != nil {
		t.Fatal(err)
	}
	if _, err := beaconRun("list", into); err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("bad segment %q: its checksum is ", segments[0])) {
		t.Errorf("list of a damaged segment: %v", err)
	}
	if _, err := beaconRun("list", filepath.Join(dir, "nowhere")); err == nil {
		t.Error("list of a folder that is not there succeeded")
	}
	wrong := filepath.Join(dir, "wrong.csv")
	if err := os.WriteFile(wrong, []byte("a,b\n1,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := beaconRun("import", wrong, "--into", into); err == nil || !strings.HasPrefix(err.Error(), wrong+`: bad header: column "a" is unknown`) {
		t.Errorf("import of a wrong header: %v", err)
	}
	if _, err := beaconRun("import", file, "--into", into, "--days", "-3"); fmt.Sprint(err) != "bad days -3: want 0 or more" {
		t.Errorf("negative days: error %v", err)
	}
	if _, err := beaconRun("import", file, wrong, "--into", into, "--batch", "x"); err == nil {
		t.Error("one batch for two files was taken")
	}
}

// TestImportOfOtherRows: an import reports no row as accepted that is not there: neither
// of a file whose pops were configured meanwhile, nor of another one under its name.
func TestImportOfOtherRows(t *testing.T) {
	dir := mapFiles(t)
	into, config := filepath.Join(dir, "beacons"), filepath.Join(dir, "edged.yaml")
	write := func(name, pops string) string {
		text := "time,session,client,resolver,pop,rtt_ms,method\n"
		for i, pop := range strings.Fields(pops) {
			text += fmt.Sprintf("1700000000,s%d,81.2.3.%d,,%s,12,tcp\n", i, i, pop)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	g, other := write("g.csv", "fra ams nyc ams fra"), write("other.csv", "nyc nyc nyc")
	for _, tt := range []struct {
		args []string
		want string // output, or the error's
		rows int    // there afterwards
	}{
		{[]string{g, "--config", config}, ": 3 rows accepted, 2 rejected\n", 3},
		{[]string{g, "--config", config}, ": 3 rows accepted (3 of them were here), 2 rejected\n", 3},
		{[]string{g}, ".1\" is here with other rows: 2 of the 5 that came are not on disk: its name \"sha256-", 3},
		{[]string{write("rest.csv", "ams ams")}, ": 2 rows accepted, 0 rejected\n", 5},
		{[]string{g, "--batch", "day1"}, ": 5 rows accepted, 0 rejected\n", 10},
		{[]string{other, "--batch", "day1"}, "batch \"day1.1\" is here with other rows: 2 of the 3 that came are not on disk: ", 10},
		{[]string{other, "--batch", "day2"}, ": 3 rows accepted, 0 rejected\n", 13},
	} {
		out, err := beaconRun(append([]string{"import", "--into", into}, tt.args...)...)
		if err != nil {
			out = err.Error()
		}
		if !strings.Contains(out, tt.want) || (err != nil) != strings.Contains(tt.want, "other rows") {
			t.Errorf("%q: %s, want %s", tt.args, out, tt.want)
		}
		if got := rowsIn(t, into); got != tt.rows {
			t.Errorf("%q: %d rows are there, want %d", tt.args, got, tt.rows)
		}
	}
}

func TestProgressBar(t *testing.T) {
	var out bytes.Buffer
	bar := &progressBar{w: &out, name: "june.csv", total: 200, last: -1}
	for _, done := range []int64{0, 1, 100, 300} {
		bar.show(done)
	}
	bar.clear()
	want := "\r\x1b[Kjune.csv [..............................] 0 %" +
		"\r\x1b[Kjune.csv [###############...............] 50 %" +
		"\r\x1b[Kjune.csv [##############################] 100 %\r\x1b[K"
	if out.String() != want {
		t.Errorf("the bar wrote\n%q, want\n%q", out.String(), want)
	}
	out.Reset()
	quiet := newProgressBar(&out, "june.csv", 200) // a buffer is no terminal
	quiet.show(5)
	quiet.clear()
	if out.Len() > 0 {
		t.Errorf("to a file it wrote %q", out.String())
	}
}
