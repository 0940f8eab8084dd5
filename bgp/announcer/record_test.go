package announcer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edged/bgp"
	"edged/bgp/audit"
	"edged/bgp/speaker"
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

// TestAuditWaitsForDisk: what happens with a full disk is in the log once there is room,
// in its order and with its time.
func TestAuditWaitsForDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1")
		a := f.nodes["a1"]
		time.Sleep(30 * time.Second)
		f.fillDisks("a1")
		begun := time.Now()
		for _, q := range []Request{
			{Kind: bgp.Drain, Node: "a1", Local: true, Reason: "to be remembered", Actor: "ann"},
			{End: "undrain", Node: "a1", Local: true, Reason: "and so is this", Actor: "ann"},
		} {
			if _, err := a.Operate(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if want := "not written yet, and a restart forgets them"; !strings.Contains(a.alarmed(), want) {
			t.Errorf("the alarm is %q, want %q", a.alarmed(), want)
		}
		f.emptyDisks("a1")
		f.await("no alarm", 15*time.Second, func() bool { return a.alarmed() == "" })
		var log bytes.Buffer
		if err := a.WriteAudit(&log); err != nil {
			t.Fatal(err)
		}
		var causes []string
		for line := range strings.Lines(log.String()) {
			var e audit.Entry
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			if e.Actor == "ann" {
				causes = append(causes, e.Cause+" after "+e.Time.Sub(begun).Round(time.Second).String())
			}
		}
		if want := []string{"to be remembered after 0s", "and so is this after 1m0s"}; !slices.Equal(causes, want) {
			t.Errorf("the log has %q, want %q", causes, want)
		}
		if err := a.audit.Verify(); err != nil {
			t.Error(err)
		}
	})
}

// TestAuditLosesTheNewest: of more than the node keeps while nothing can be written the newest
// are lost, and the log says how many.
func TestAuditLosesTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1")
		a := f.nodes["a1"]
		f.fillDisks("a1")
		synctest.Wait()
		for range maxUnwritten + 5 {
			a.recordOperation("ann", "hold", "on and on")
		}
		f.emptyDisks("a1")
		f.await("no alarm", 15*time.Second, func() bool { return a.alarmed() == "" })
		var log bytes.Buffer
		if err := a.WriteAudit(&log); err != nil {
			t.Fatal(err)
		}
		if kept := strings.Count(log.String(), "on and on"); kept != maxUnwritten {
			t.Errorf("the log has %d of them, want %d", kept, maxUnwritten)
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		var last audit.Entry
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
			t.Fatal(err)
		}
		if want := "6 entries that could not be written before this one are lost"; last.Cause != want || last.Time.IsZero() {
			t.Errorf("the last entry is %+v, want %q", last, want)
		}
		if err := a.audit.Verify(); err != nil {
			t.Error(err)
		}
	})
}

// TestAuditConfirms: what a change rests on stands in the log, and then that peers were sent it.
func TestAuditConfirms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1")
		time.Sleep(40 * time.Second)
		a := f.nodes["a1"]
		if _, err := a.Operate(t.Context(), Request{Kind: bgp.Drain, Node: "a1", Reason: "work", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("drained", time.Minute, func() bool { return a.state() == bgp.Withdrawn && a.route() == "none" })
		time.Sleep(time.Second)
		var text strings.Builder
		if err := a.WriteAudit(&text); err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(text.String()) {
			var e audit.Entry
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(e.Cause, "peers were") || strings.HasPrefix(e.Cause, "no peer") {
				got = append(got, fmt.Sprintf("%s: %s %s %q", e.Cause, e.VIP, e.After, e.Evidence))
			}
		}
		want := []string{
			`peers were sent it: ns1 route 64512:100 graceful-shutdown prepend 3 "tor"`, // the canary
			`peers were sent it: ns1 route 64512:100 "tor"`,
			`peers were sent it: ns1 route 64512:100 graceful-shutdown "tor"`,
			`no peer has it any more: ns1 route none ""`,
		}
		if !slices.Equal(got, want) {
			t.Errorf("confirmed: %q\nwant %q", got, want)
		}
	})
}

// TestAuditConfirmsByWhom: only who was sent the new route confirms it; and nothing is looked at
// where nothing is to be confirmed.
func TestAuditConfirmsByWhom(t *testing.T) {
	old, now := bgp.Attributes{}, bgp.Attributes{Communities: []bgp.Community{bgp.GracefulShutdown}}
	spec := with(first)
	v := &vip{spec: spec, planned: true, unconfirmed: true, wish: bgp.Wish{Route: &now}}
	a := &Announcer{
		vips: map[string]*vip{"ns1": v}, plan: bgp.NodePlan{Node: "a1", PoP: "a", Generation: 1, VIPs: []bgp.VIP{spec}},
		peers: []speaker.Peer{{Name: "tor1"}, {Name: "tor2"}}, sent: map[netip.Prefix][]route{first: {{"tor1", now}, {"tor2", old}}},
	}
	if got := a.confirm(); len(got) != 1 || got[0].Evidence != "tor1" || got[0].Plan != a.plan.ID() {
		t.Errorf("confirmed: %+v", got)
	}
	if allocs := testing.AllocsPerRun(10, func() { a.confirm() }); allocs > 10 {
		t.Errorf("%v allocations where nothing is to be confirmed", allocs)
	}
}
