package beacon

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDamage: a segment with any octet changed, or cut anywhere, is not read, and
// the error names it.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	appendRows(t, writer(t, dir), "b", fleet, random(rand.New(rand.NewPCG(2, 2)), 4, 1))
	list := names(t, dir)
	if len(list) != 1 {
		t.Fatalf("segments %q, want one", list)
	}
	path := filepath.Join(dir, list[0])
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(what string, at int, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		set, err := OpenAll(dir)
		if err == nil {
			set.Close()
			t.Errorf("%s at %d of %d octets: it was read", what, at, len(whole))
		} else if !strings.HasPrefix(err.Error(), `bad segment "`+path+`": `) || !strings.HasSuffix(err.Error(), ": "+mendHint) {
			t.Errorf("%s at %d: %v", what, at, err)
		}
	}
	for i := range whole {
		b := append([]byte{}, whole...)
		b[i] ^= 1 << (i % 8)
		refuse("changed", i, b)
		refuse("cut", i, whole[:i])
	}
	refuse("longer", len(whole), append(append([]byte{}, whole...), 0))

	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "2026061713-b.beacons")
	refuse("under another hour", 0, whole)
}

func TestAppendRefuses(t *testing.T) {
	good := Row{Time: noon.Unix(), Client: netip.MustParseAddr("81.2.3.4")}
	for _, tt := range []struct {
		want string
		b    Batch
	}{
		{`bad batch id "": want 1 to 64 letters, digits, '-', '_' and '.'`, Batch{}},
		{`bad batch id "../x": want 1 to 64 letters, digits, '-', '_' and '.'`, Batch{ID: "../x"}},
		{`batch "b": it has no rows`, Batch{}},
		{`batch "b": bad name of a pop "": want 1 to 64 octets`, Batch{PoPs: []string{""}, Rows: []Row{good}}},
		{`batch "b": a row has client invalid IP and resolver invalid IP: want plain addresses`, Batch{Rows: []Row{{Time: good.Time}}}},
		{`batch "b": a row has client ::ffff:81.2.3.4 and resolver invalid IP: want plain addresses`, Batch{Rows: []Row{{Client: netip.MustParseAddr("::ffff:81.2.3.4")}}}},
		{`batch "b": a row has time -1`, Batch{Rows: []Row{{Time: -1, Client: good.Client}}}},
		{`batch "b": a row has time 9223372036854775807`, Batch{Rows: []Row{{Time: math.MaxInt64, Client: good.Client}}}},
		{`batch "b": a row has method 4`, Batch{Rows: []Row{{Time: good.Time, Client: good.Client, Method: methods}}}},
		{`batch "b": a row has pop 1, but there are 1`, Batch{Rows: []Row{{Time: good.Time, Client: good.Client, PoP: 1}}}},
	} {
		if tt.b.ID == "" && !strings.HasPrefix(tt.want, "bad batch") {
			tt.b.ID = "b"
		}
		if tt.b.PoPs == nil {
			tt.b.PoPs = []string{"fra"}
		}
		dir := t.TempDir()
		if added, err := writer(t, dir).Append(tt.b); added || err == nil || err.Error() != tt.want {
			t.Errorf("%v, %v, want %s", added, err, tt.want)
		}
		if left := names(t, dir); len(left) > 0 {
			t.Errorf("%s: left %q", tt.want, left)
		}
	}
}

// TestLongSession: a session reaches into later hours, but not for ever.
func TestLongSession(t *testing.T) {
	dir := t.TempDir()
	var rows []Row
	for _, after := range []time.Duration{30 * time.Minute, 2 * time.Hour, 18 * time.Hour, 19 * time.Hour} {
		rows = append(rows, Row{Session: 7, Time: noon.Add(after).Unix(), Client: netip.MustParseAddr("81.2.3.4")})
	}
	appendRows(t, writer(t, dir), "b", fleet, rows)
	var sizes []int
	from, to := all()
	for s, err := range Sessions(dir, from, to) {
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(s.Rows))
	}
	if len(sizes) != 2 || sizes[0] != 3 || sizes[1] != 1 {
		t.Errorf("sessions of %v rows, want 3 and 1", sizes)
	}
	// The span is that of beginnings.
	if got := len(text(t, dir, noon.Add(time.Hour), noon.Add(19*time.Hour))); got != 0 {
		t.Errorf("%d rows of sessions that began between", got)
	}
	if got := len(text(t, dir, noon, noon.Add(time.Hour))); got != 3 {
		t.Errorf("%d rows of the session that began in the first hour, want 3", got)
	}
}
