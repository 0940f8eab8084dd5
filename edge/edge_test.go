package edge

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestDistanceKm(t *testing.T) {
	for _, tc := range []struct {
		what                   string
		lat1, lon1, lat2, lon2 float64
		want                   float64
	}{
		{"nowhere", 10, 20, 10, 20, 0},
		{"a quarter of a meridian", 0, 0, 90, 0, math.Pi / 2 * earthRadiusKm},
		{"a degree of the equator, over the date line", 0, 179.5, 0, -179.5, math.Pi / 180 * earthRadiusKm},
		{"antipodes", 30, 40, -30, -140, math.Pi * earthRadiusKm},
		{"pole to pole", 90, 12, -90, 99, math.Pi * earthRadiusKm},
	} {
		if got := DistanceKm(tc.lat1, tc.lon1, tc.lat2, tc.lon2); math.Abs(got-tc.want) > 1e-6*earthRadiusKm {
			t.Errorf("%s: %v km, want %v", tc.what, got, tc.want)
		}
	}
}

func TestVerdictText(t *testing.T) {
	for v := OK; v <= Disabled; v++ {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var again Verdict
		if err := json.Unmarshal(text, &again); err != nil || again != v {
			t.Errorf("%v: through JSON %s comes %v (%v)", v, text, again, err)
		}
	}
	if _, err := ParseVerdict("well"); err == nil || err.Error() != `unknown verdict "well": want one of [ok degraded unknown failing dead drained disabled]` {
		t.Errorf("error %v", err)
	}
	if got := Verdict(9).String(); got != "verdict(9)" {
		t.Errorf("a verdict that does not exist is %q", got)
	}
}

func TestFamilyOf(t *testing.T) {
	for s, want := range map[string]Family{"192.0.2.1": IPv4, "::ffff:192.0.2.1": IPv4, "2001:db8::1": IPv6} {
		if got := FamilyOf(netip.MustParseAddr(s)); got != want {
			t.Errorf("family of %s is %v, want %v", s, got, want)
		}
	}
}

// TestOpenRegular has a named pipe in a file's place, which os.Open would wait
// on for ever.
func TestOpenRegular(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, dir} {
		if f, err := OpenRegular(path); err == nil || err.Error() != "open "+path+": not a regular file" {
			t.Errorf("%s: %v, %v", path, f, err)
		}
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadRegular(file); err != nil || string(b) != "text" {
		t.Errorf("a file: %q, %v", b, err)
	}
	if _, err := ReadRegular(file + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
