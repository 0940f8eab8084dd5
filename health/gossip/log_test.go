package gossip

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLogLevels(t *testing.T) {
	tests := []struct {
		line  string
		level slog.Level
		text  string
	}{
		{"[DEBUG] memberlist: Stream connection from=x\n", slog.LevelDebug, "Stream connection from=x"},
		{"[INFO] memberlist: Suspect n2 has failed\n", slog.LevelInfo, "Suspect n2 has failed"},
		{"[WARN] memberlist: odd", slog.LevelWarn, "odd"},
		{"[ERR] memberlist: Decrypt packet failed", slog.LevelWarn, "Decrypt packet failed"},
		{"[ERROR] memberlist: Failed to encrypt local state", slog.LevelError, "Failed to encrypt local state"},
		{"Err: Could not set the deadline", slog.LevelWarn, "Err: Could not set the deadline"},
		{"", slog.LevelWarn, ""},
		{"[ERR] " + strings.Repeat("x", 1000), slog.LevelWarn, strings.Repeat("x", maxLine)},
	}
	for _, test := range tests {
		if level, text := split([]byte(test.line)); level != test.level || text != test.text {
			t.Errorf("%q gives %v %q", test.line, level, text)
		}
	}
}

func TestLogIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		logger := newLogger(slog.New(slog.NewJSONHandler(&out, nil)))
		for range 100 {
			logger.Print("[DEBUG] memberlist: not wanted, and not counted")
			logger.Print("[ERR] memberlist: Decrypt packet failed")
		}
		if got := bytes.Count(out.Bytes(), []byte("\n")); got != 30 {
			t.Errorf("%d lines, want 30", got)
		}
		out.Reset()
		time.Sleep(2 * time.Second)
		logger.Print("[WARN] memberlist: the next")
		var line struct {
			Level, Msg string
			Skipped    int
		}
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line.Level != "WARN" || line.Msg != "gossip: the next" || line.Skipped != 70 {
			t.Errorf("got %+v", line)
		}
	})
}

// What is logged while nodes meet, rotate and refuse each other holds no key.
func TestLogHoldsNoKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		var out bytes.Buffer
		h := slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})
		f.startAll(2, func(c *Config) { c.Log = slog.New(h) })
		f.start(3, func(c *Config) { c.Keys = [][]byte{key("wrong")}; c.Log = slog.New(h) })
		newKeys(t, f.nodes[:2], "new")
		time.Sleep(time.Minute)
		f.stop()
		text := out.String()
		if !strings.Contains(text, "no installed keys could decrypt the message") {
			t.Error("nothing was refused: the test shows nothing")
		}
		for _, word := range []string{"old", "new", "wrong"} {
			for name, form := range keyForms(key(word)) {
				if strings.Contains(text, form) {
					t.Errorf("the log holds key %q as %s", word, name)
				}
			}
		}
	})
}
