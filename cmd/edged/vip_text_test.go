package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"edged/bgp"
	"edged/bgp/announcer"
)

// TestVIPText: who announces a VIP as planned is told apart from who does otherwise.
func TestVIPText(t *testing.T) {
	v := announcer.VIPStatus{
		Name: "ns1", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.53/32")}, State: bgp.Announced, Seconds: 61.5,
		Cause: "checks pass", Route: "64512:100", Sent: []string{"tor"}, Bound: true, Promises: "0 promises in 0 PoPs, want 1 in 1",
		MinAnnouncers: 1, MinPoPs: 1, Announcers: 3, Otherwise: 1,
		Nodes: []announcer.NodeOfVIP{
			{Node: "fra1", PoP: "fra", State: bgp.Announced},
			{Node: "fra2", PoP: "fra", State: bgp.Announced, Mute: true},
			{Node: "ams1", PoP: "ams", State: bgp.LastResort, Silent: true, Mute: true},
		},
	}
	var list, show strings.Builder
	writeVIPs(&list, &announcer.Status{Node: "fra1", PoP: "fra", Plan: "3f2a9c01b7de", Generation: 4, VIPs: []announcer.VIPStatus{v}})
	expectText(t, "list", list.String(), `
fra1 in fra, plan 3f2a9c01b7de, generation 4

VIP  state      for   route      sent to  announcers               cause
ns1  announced  1m1s  64512:100  tor      3, and 1 not as planned  checks pass
`)
	writeVIP(&show, &v)
	expectText(t, "show", show.String(), `
VIP                 ns1
prefixes            198.51.100.53/32
state               announced for 1m1s: checks pass
route               64512:100
sent to             tor
address and socket  here
announcers          3, and 1 not as planned
minimum             1 other in 1 PoP
promises            0 promises in 0 PoPs, want 1 in 1 (asked 0 times, 0 given to others, 0 refused)
penalty             0 (suppressed from 3000 to 1500)

node  PoP  state
fra1  fra  announced
fra2  fra  announced, but no peer has it
ams1  ams  not heard any more; it was last-resort
`)
}

// TestFailingText: that checks fail now is shown beside a cause that is older.
func TestFailingText(t *testing.T) {
	v := announcer.VIPStatus{
		Name: "ns1", State: bgp.Announced, Cause: "checks pass", Waits: "an operator to end the hold", Failing: "zones are gone",
		Route: "64512:100", Bound: true, MinAnnouncers: 2, MinPoPs: 2, Guard: bgp.GuardCounts{Asked: 1},
	}
	degraded := announcer.VIPStatus{Name: "ns2", State: bgp.Degraded, Cause: "checks fail: zones are gone", Failing: "zones are gone"}
	var list, show strings.Builder
	writeVIPs(&list, &announcer.Status{
		Node: "fra1", PoP: "fra", Plan: "3f2a9c01b7de", Generation: 4, VIPs: []announcer.VIPStatus{v, degraded}, Pending: make([]bgp.Change, 1),
	})
	expectText(t, "list", list.String(), `
fra1 in fra, plan 3f2a9c01b7de, generation 4

VIP  state      for  route      sent to  announcers  cause
ns1  announced  0s   64512:100  nobody   0           checks pass; waits for an operator to end the hold; checks fail now: zones are gone
ns2  degraded   0s              nobody   0           checks fail: zones are gone


1 change pending: edged vip plan --nodes node/fra1 shows what
`)
	writeVIP(&show, &v)
	expectText(t, "show", show.String(), `
VIP                 ns1
prefixes
state               announced for 0s: checks pass
waits for           an operator to end the hold
checks              fail now: zones are gone
route               64512:100
sent to             nobody
address and socket  here
announcers          0
minimum             2 others in 2 PoPs
promises             (asked 1 time, 0 given to others, 0 refused)
penalty             0 (suppressed from 3000 to 1500)
`)
}

// TestOwnOperationsText: what a node does by its own word is shown alike on that node and
// on others.
func TestOwnOperationsText(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	local := bgp.Operation{ID: "0123456789ab", Kind: bgp.Hold, VIP: "ns1", Node: "fra1", Reason: "its checks are wrong", Actor: "ann", Since: at, Local: true}
	drain := bgp.Operation{ID: "ba9876543210", Kind: bgp.Drain, Node: "ams1", Reason: "fire", Actor: "bob", Since: at, Until: at.Add(time.Hour), Local: true, Force: true}
	var list strings.Builder
	writeVIPs(&list, &announcer.Status{
		Node: "fra1", PoP: "fra", Plan: "3f2a9c01b7de", Generation: 4,
		Operations: []bgp.Operation{local, {ID: "55", Kind: bgp.Drain, PoP: "fra", Reason: "kernel", Actor: "eve", Since: at}},
		Elsewhere:  []announcer.Own{{Node: "ams1", Operations: []bgp.Operation{drain}, More: 2, Silent: true}},
	})
	expectText(t, "list", list.String(), `
fra1 in fra, plan 3f2a9c01b7de, generation 4

no VIPs


operation: drain all VIPs on pop/fra by eve: "kernel", since 2026-03-01T12:00:00Z (55)

on fra1 only: hold ns1, by ann: "its checks are wrong", since 2026-03-01T12:00:00Z without an end (0123456789ab)

on ams1 only: drain all VIPs, by bob: "fire", since 2026-03-01T12:00:00Z until 2026-03-01T13:00:00Z, forced (ba9876543210), as it said last: it is not heard any more

on ams1 only: 2 more, as it said last: it is not heard any more
`)
}

func expectText(t *testing.T, what, got, want string) {
	t.Helper()
	trim := func(s string) string {
		var lines []string
		for line := range strings.Lines(strings.TrimSpace(s)) {
			lines = append(lines, strings.TrimRight(line, " \n"))
		}
		return strings.Join(lines, "\n")
	}
	if got, want := trim(got), trim(want); got != want {
		t.Errorf("%s:\n%s\nwant\n%s", what, got, want)
	}
}

// TestWatchGoesOn: a call that fails ends no watch of a rollout.
func TestWatchGoesOn(t *testing.T) {
	answers := []string{`{"phase": "baking"}`, "", "", `{"phase": "baking"}`, `{"phase": "done"}`}
	var asked []string
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.FormValue("coordinator"))
		said := answers[0]
		answers = answers[1:]
		if said == "" {
			w.WriteHeader(http.StatusUnprocessableEntity)
			said = `{"error": "fra1 did not answer"}`
		} else {
			said = `{"coordinator": "fra1", "plan": {"id": "3f2a9c01b7de"}, "waves": [["fra2"]], ` + said[1:]
		}
		io.WriteString(w, said)
	}))
	defer node.Close()
	code, out, errs := command(t, "vip", "rollout", "--watch", "--node", node.URL)
	const line = "fra1's rollout of plan 3f2a9c01b7de: wave 1 of 1 (fra2): "
	if code != 0 || out != line+"baking\n"+line+"done\n" {
		t.Errorf("exit code %d, prints\n%s", code, out)
	}
	if want := "edged: fra1 did not answer; it is asked again for 1m0s\n"; errs != want {
		t.Errorf("says %q, want %q", errs, want)
	}
	if want := []string{"", "fra1", "fra1", "fra1", "fra1"}; !slices.Equal(asked, want) {
		t.Errorf("asked about the rollouts of %q, want %q", asked, want)
	}
}
