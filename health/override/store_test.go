package override

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func storedSet(t testing.TB) *Set {
	t.Helper()
	drain := wish(t, "fra1", 1, "drain", "pop/fra")
	drain.Expires = start.Add(2 * time.Hour)
	pin := wish(t, "ams1", 2, "pin-prefix", "203.0.113.0/24", "pop/ams")
	local := wish(t, "fra1", 3, "weight", "endpoint/*/198.51.100.*", "0")
	local.Local = true
	s := NewSet()
	sig := bytes.Repeat([]byte{7}, 64)
	for _, r := range []record{
		{change: change{put: &drain}, signer: "fra1", sig: sig},
		{change: change{put: &pin}, signer: "ams1", sig: sig},
		{change: change{put: &local}},
		{change: change{clear: &Clearing{
			ID: ID{"fra1", 1, 4}, Version: 4, Cleared: []ID{{"ams1", 1, 1}}, Owner: "bob", Reason: "done", At: start, Keep: start.Add(time.Hour),
		}}, signer: "fra1", sig: sig},
	} {
		if err := s.add(r, start); err != nil {
			t.Fatal(err)
		}
	}
	s.ahead["ams1"] = -time.Hour
	return s
}

func TestStoreRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "overrides.json")
	s := storedSet(t)
	if err := s.Save(path); err != nil {
		t.Fatal(err)
	}
	again, err := Load(path)
	if err != nil || !reflect.DeepEqual(again, s) {
		t.Errorf("%+v, %v\nwant %+v", again, err, s)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if files, _ := filepath.Glob(path + "*"); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
	if s, err := Load(path + "x"); err != nil || len(s.live) != 0 {
		t.Errorf("no file: %+v, %v", s, err)
	}
	if err := s.Save(filepath.Join(path, "below-a-file")); err == nil || !strings.HasPrefix(err.Error(), "keep the overrides: open ") {
		t.Errorf("error %v", err)
	}
}

// TestStoreInAnotherZone has times written in a zone of their own.
func TestStoreInAnotherZone(t *testing.T) {
	text := strings.ReplaceAll(string(storedSet(t).encode()), "2026-03-01T12:00:00Z", "2026-03-01T17:30:00+05:30")
	if !strings.Contains(text, "+05:30") {
		t.Fatal("nothing was replaced")
	}
	if s, err := parseStore([]byte(text)); err != nil || !reflect.DeepEqual(s, storedSet(t)) {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestStoreMalformedIsRefusedWhole(t *testing.T) {
	good := string(storedSet(t).encode())
	path := filepath.Join(t.TempDir(), "overrides.json")
	for _, tc := range []struct{ from, to, want string }{
		{good, "", "EOF"},
		{good, good[:len(good)/2], "unexpected EOF"},
		{good, good + "{}", "something is after the end"},
		{`"format": 1`, `"format": 2`, "format 2, want 1: was it written by a newer edged?"},
		{`"format": 1`, `"form": 1`, `json: unknown field "form"`},
		{`"drain"`, `"stop"`, `override fra1-1-1: unknown action "stop": want one of [drain force-up force-down weight pin-prefix]`},
		{`pop/fra`, `pop/`, `target "pop/": name "" has 0 octets, want 1 to 63`},
		{`203.0.113.0/24`, `203.0.113.0/25`, `override ams1-1-2: prefix 203.0.113.0/25 is too long: want at most /24`},
		{`"fibre work"`, `""`, `override ams1-1-2: no reason is given: say --reason`},
		{`"ams1-1-2"`, `"fra1-1-1"`, `override fra1-1-1 is there twice`},
		{`"ams1-1-2"`, `"ams1-1-1"`, `clear fra1-1-4: override ams1-1-1 is there all the same`},
		{`"local": true`, `"local": false`, `override fra1-1-3: signer "" and a signature of 0 octets: want both, or neither when it is local`},
		{`"2026-03-01T14:00:00Z"`, `"2026-03-01T11:00:00Z"`, `override fra1-1-1: it expires before it was created`},
		{`"2026-03-01T14:00:00Z"`, `"2026-03-01T14:00:00.5Z"`, `override fra1-1-1: time 2026-03-01T14:00:00.5Z is out of range: want whole seconds, from 1970 to 9999`},
		{`"ams1": -3600`, `"ams1": -8589934593`, `the clock of "ams1" is -8589934593 s off: want a node, and at most 8589934592 s`},
		{`"version": 4`, `"version": 0`, `clear fra1-1-4: version 0 is out of range: want 1 to 4611686018427387904`},
	} {
		text := strings.Replace(good, tc.from, tc.to, 1)
		if text == good {
			t.Fatalf("%s does not occur", tc.from)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Load(path)
		want := "overrides in " + path + " are malformed: " + tc.want + "; none of them is used"
		if s != nil || !errors.Is(err, ErrMalformed) || err.Error() != want {
			t.Errorf("%s to %s: %v, error %v\nwant %s", tc.from, tc.to, s, err, want)
		}
	}
}

func FuzzStore(f *testing.F) {
	f.Add(storedSet(f).encode())
	f.Add([]byte(`{"format": 1, "overrides": [], "clears": []}`))
	f.Add([]byte(`{"format":1,"overrides":[{"id":"a-1-1","version":1,"action":"drain","target":"pop/fra","owner":"o","reason":"r","created":"2026-03-01T12:00:00Z","local":true}]}`))
	f.Add([]byte(`{"format":1,"overrides":[{"id":"a-1-1","version":1,"action":"pin-prefix","prefix":"203.0.113.0/24","pop":"fra","owner":"o","reason":"r","created":"2026-03-01T12:00:00+01:00","expires":"2026-03-01T13:00:00Z","local":true}],"clears":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseStore(b)
		if err != nil {
			return
		}
		again, err := parseStore(s.encode())
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Errorf("%s\ncomes back as %+v, %v", b, again, err)
		}
		s.View(nil, testFleet(), start)
	})
}
