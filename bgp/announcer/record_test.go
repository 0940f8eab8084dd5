package announcer

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestTamperingAlarmLasts: a line that somebody changed is an alarm after every start,
// and so is that the whole log was removed, when the node starts next.
func TestTamperingAlarmLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1")
		a := f.nodes["a1"]
		f.start("a1")
		f.await("the log to be verified", time.Second, func() bool { return a.audit.Head().Seq > 0 })
		if got := a.alarmed(); got != "" {
			t.Errorf("a new log: the alarm is %q", got)
		}
		f.stop("a1")
		path := filepath.Join(a.dir, "audit-000001.jsonl")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(text, []byte(`"cause":"the log begins"`)) {
			t.Fatalf("the log begins otherwise: %s", text)
		}
		if err := os.WriteFile(path, bytes.Replace(text, []byte("begins"), []byte("begun!"), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			f.start("a1")
			f.await("an alarm", time.Second, func() bool {
				return strings.Contains(a.alarmed(), "audit log of before: audit-000001.jsonl: line 1: it was altered: ")
			})
			f.stop("a1")
		}

		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		f.start("a1")
		f.await("an alarm", time.Second, func() bool {
			return strings.Contains(a.alarmed(), "audit log of before: audit-000001.jsonl is missing: ")
		})
		f.stop("a1")

		all, err := filepath.Glob(filepath.Join(a.dir, "audit-*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range all {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		f.start("a1")
		defer f.stopAll()
		const gone = "the log begins anew: that of before was removed"
		f.await("an alarm", time.Second, func() bool { return strings.Contains(a.alarmed(), gone) })
		var log bytes.Buffer
		if err := a.WriteAudit(&log); err != nil || !strings.Contains(log.String(), `"cause":"`+gone) {
			t.Errorf("the log: %v, %s", err, &log)
		}
	})
}
