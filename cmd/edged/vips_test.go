package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"edged/bgp"
	"edged/bgp/announcer"
	"edged/bgp/speaker"
	"edged/config"
)

// TestVIPCommandLines are refused or explained before a node is asked. Unknown commands had
// a flag named, and not the command.
func TestVIPCommandLines(t *testing.T) {
	for _, c := range []struct {
		args, want string
		code       int
	}{
		{"vip bogus --config x", `edged: unknown command "bogus" for "edged vip"; `, 1},
		{"vip lost", `did you mean "list"?`, 1},
		{"map bogus --json", `edged: unknown command "bogus" for "edged map"; `, 1},
		{"vip --bogus", `edged: unknown flag "--bogus": edged vip takes a command: abort, `, 1},
		{"vip maintenance node/a --reason x --for 1h --max-out 0", "edged: --max-out 0: want 1 or more", 1},
		{"vip maintenance node/a --reason x", `edged: required flag(s) "for" not set`, 1},
		{"vip announce --local --reason x", `edged: required flag(s) "vip" not set`, 1},
		{"vip announce node/a --vip ns1 --reason x", `edged: required flag(s) "local" not set`, 1},
		{"vip drain node/a --reason x --for 0s", "edged: --for 0s: want more than nothing", 1},
		{`vip drain pop/fra --vip "" --reason x`, `edged: --vip "": want a value, or no --vip at all, which means all`, 1},
		{`vip undrain pop/fra --vip "" --reason x`, `edged: --vip "": want a value`, 1},
		{`vip maintenance pop/fra --vip "" --for 1h --reason x`, `edged: --vip "": want a value`, 1},
		{`vip hold pop/fra --vip "" --reason x`, `edged: --vip "": want a value`, 1},
		{`vip release --local --vip "" --reason x`, `edged: --vip "": want a value`, 1},
		{`vip announce --local --vip "" --reason x`, "edged: --vip \"\": want a value\n", 1},
		{`vip plan --nodes "" --vip ns1`, "edged: --nodes \"\": want a value\n", 1},
		{`vip plan --nodes all --vip ""`, `edged: --vip "": want a value, or no --vip at all, which means all`, 1},
		{`vip plan --nodes all --vip "" --vip ns1`, `edged: --vip ",ns1": want a value`, 1},
		{`vip plan --nodes all --vip ns1,`, `edged: --vip "ns1,": want a value`, 1},
		{`vip apply 3f2a9c01b7de --nodes all --vip "" --reason x`, `edged: --vip "": want a value`, 1},
		{`vip apply 3f2a9c01b7de --nodes all --vip ns1,,ns2 --reason x`, `edged: --vip "ns1,,ns2": want a value`, 1},
		{`vip maintenance node/a --begin "" --for 1h --reason x`, `edged: --begin "": want a value, or no --begin at all, which means now`, 1},
		{`vip drain --local --node "" --reason x`, `edged: --node "": want a value, or no --node at all, which means $EDGED_NODE, else control.sock in the data_dir`, 1},
		{`vip undrain "" --local --reason x`, `edged: an argument is empty: want edged vip undrain node/NAME|pop/NAME|ID --reason WHY`, 1},
		{`vip abort "" --reason x`, `edged: an argument is empty: want edged vip abort [PLAN] --reason WHY`, 1},
		{"vip", "", 0},
		{"vip --help", "", 0},
	} {
		var out, errs strings.Builder
		args := strings.Fields(c.args)
		for i := range args {
			args[i] = strings.Trim(args[i], `"`)
		}
		code := run(t.Context(), args, nil, &out, &errs)
		if code != c.code || !strings.Contains(errs.String(), c.want) {
			t.Errorf("edged %s: code %d, %q, want %d with %q", c.args, code, errs.String(), c.code, c.want)
		}
		if code == 0 && !strings.Contains(out.String(), "drain") {
			t.Errorf("edged %s says %q, want its help", c.args, out.String())
		}
	}
}

// TestRolloutCommands show and steer a rollout that another node than the one asked
// coordinates.
func TestRolloutCommands(t *testing.T) {
	rollout := func(phase bgp.Phase) string {
		node := bgp.NodePlan{Node: "fra1", PoP: "fra"}
		text, err := json.Marshal(announcer.Rollout{Coordinator: "ams1", Rollout: &bgp.Rollout{
			Plan:  bgp.FleetPlan{ID: "3f2a9c01b7de", Steps: []bgp.NodeStep{{Plan: node}}},
			Waves: [][]string{{"fra1"}}, Phase: phase, Nodes: map[string]*bgp.Progress{"fra1": {}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const line = "ams1's rollout of plan 3f2a9c01b7de: wave 1 of 1 (fra1): "
	const refusal = "several rollouts are under way"
	for _, c := range []struct {
		args    string
		answers []string // one for each call
		calls   string
		code    int
		out     string
		err     string
	}{
		{"rollout", []string{"null"}, "GET ?coordinator=", 0, "no rollout is under way, and no node has coordinated one\n", ""},
		{"rollout --json", []string{"null"}, "GET ?coordinator=", 0, "null\n", ""},
		{"rollout", []string{rollout(bgp.PhaseBaking)}, "GET ?coordinator=", 0, line + "baking\n", ""},
		{"rollout", []string{`{"error": "` + refusal + `"}`}, "GET ?coordinator=", 1, "", "edged: " + refusal + "\n"},
		{
			"rollout --watch",
			[]string{rollout(bgp.PhaseBaking), rollout(bgp.PhaseAborted)},
			"GET ?coordinator=; GET ?coordinator=ams1", 1, line + "baking\n" + line + "aborted\n", "",
		},
		{"pause --reason x", []string{rollout(bgp.PhasePaused)}, `POST ? pause ""`, 0, line + "paused while \n", ""},
		{"rollback 3f2a9c01b7de --reason x", []string{rollout(bgp.PhaseAborting)}, `POST ? rollback "3f2a9c01b7de"`, 0, line + "aborting\n", ""},
		{"abort --reason x", []string{`{"error": "` + refusal + `"}`}, `POST ? abort ""`, 1, "", "edged: " + refusal + "\n"},
		{"abort --reason x a b", nil, "", 1, "", "edged: accepts at most 1 arg(s), received 2\n"},
	} {
		var calls []string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			call := r.Method + " ?" + r.URL.RawQuery
			if r.Method == http.MethodPost {
				var q announcer.Steering
				if err := json.NewDecoder(r.Body).Decode(&q); err != nil || q.Reason != "x" {
					t.Errorf("%s: body %+v, %v", c.args, q, err)
				}
				call += fmt.Sprintf(" %s %q", q.Action, q.Plan)
			}
			answer := c.answers[len(calls)]
			calls = append(calls, call)
			if strings.HasPrefix(answer, `{"error"`) {
				w.WriteHeader(http.StatusUnprocessableEntity)
			}
			io.WriteString(w, answer)
		}))
		var out, errs strings.Builder
		code := run(t.Context(), append(strings.Fields("vip "+c.args), "--node", s.URL), nil, &out, &errs)
		s.Close()
		if code != c.code || out.String() != c.out || errs.String() != c.err || strings.Join(calls, "; ") != c.calls {
			t.Errorf("edged vip %s: code %d, %q, %q after %q, want %d, %q, %q after %q", c.args, code, &out, &errs, calls, c.code, c.out, c.err, c.calls)
		}
	}
}

// TestNobodyToPromise warns of a minimum that no other node can promise to keep.
func TestNobodyToPromise(t *testing.T) {
	for text, want := range map[string]string{
		"min_announcers: 2": "vips.ns1.min_announcers: 2 others must stay before this node withdraws, but there is no fleet",
		"min_announcers: 1": "",
	} {
		c, err := config.Parse([]byte(`
node: {name: fra1, pop: fra}
pops: [{name: fra, lat: 50, lon: 8}]
listen: {external: ["127.0.0.1:5354"]}
zones: [{name: example.com, file: example.com.zone}]
bgp: {asn: 64512, router_id: 192.0.2.11, peers: [{name: tor, address: 192.0.2.1, asn: 64500}]}
vips: {ns1: {prefixes: [198.51.100.53/32], `+text+`}}
`), "/etc/edged.yaml")
		if err != nil {
			t.Fatal(err)
		}
		b := newBuilder(c)
		b.readVIPs(func(key string, err error) { t.Errorf("%s: %v", key, err) })
		got := ""
		for _, w := range b.warnings {
			got += w.String() + "\n"
		}
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: warns %q, want %q", text, got, want)
		}
	}
}

// TestPeersWithoutBFD had a peer refused that has no BFD, for it had a multiplier.
func TestPeersWithoutBFD(t *testing.T) {
	c, err := config.Parse([]byte(`
node: {name: fra1, pop: fra}
pops: [{name: fra, lat: 50, lon: 8}]
listen: {external: ["127.0.0.1:5354"]}
zones: [{name: example.com, file: example.com.zone}]
bgp:
  asn: 64512
  router_id: 192.0.2.11
  peers:
    - {name: plain, address: 192.0.2.1, asn: 64500}
    - {name: watched, address: 192.0.2.2, asn: 64500, bfd: {interval: 300ms}}
vips:
  ns1: {prefixes: [198.51.100.53/32], communities: ["64512:200", "64512:100"], ladder: [gshut, prepend: 2, med: 7, community: "64512:666", withdraw]}
`), "/etc/edged.yaml")
	if err != nil {
		t.Fatal(err)
	}
	b := newBuilder(c)
	b.readVIPs(func(key string, err error) { t.Errorf("%s: %v", key, err) })
	if got := b.announce.Peers[0].BFD; got != (speaker.BFD{}) {
		t.Errorf("a peer without BFD has %+v", got)
	}
	if got, want := b.announce.Peers[1].BFD, (speaker.BFD{Interval: 300 * time.Millisecond, Multiplier: 3}); got != want {
		t.Errorf("a peer with BFD has %+v, want %+v", got, want)
	}
	s, err := speaker.New(speaker.Config{ASN: uint32(c.BGP.ASN), RouterID: c.BGP.RouterID, Peers: b.announce.Peers})
	if err != nil {
		t.Fatalf("the speaker refuses what the configuration allows: %v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	v := b.announce.VIPs[0]
	if want := []bgp.Rung{{Kind: bgp.Gshut}, {Kind: bgp.Prepend, Value: 2}, {Kind: bgp.SetMED, Value: 7}, {Kind: bgp.AddCommunity, Value: 64512<<16 | 666}, {}}; !reflect.DeepEqual(v.Ladder, want) {
		t.Errorf("the ladder is %+v, want %+v", v.Ladder, want)
	}
	if err := v.Check(); err != nil {
		t.Errorf("a VIP that the configuration allows: %v", err)
	}
}
