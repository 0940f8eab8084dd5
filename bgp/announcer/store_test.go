package announcer

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"edged/bgp"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ns(name, prefix string) bgp.VIP {
	return bgp.VIP{
		Name: name, Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)}, Port: 53, MinAnnouncers: 1, MinPoPs: 1,
		Communities: []bgp.Community{64512<<16 | 100}, Ladder: []bgp.Rung{{Kind: bgp.Gshut}, {Kind: bgp.Prepend, Value: 3}, {}},
	}
}

// supersede stores the next plan, as take does.
func supersede(k *kept, next bgp.NodePlan) {
	k.Earlier, k.Plan = superseded(k.Plan, k.Earlier), next
}

func text(t testing.TB, k kept) []byte {
	t.Helper()
	b, err := k.encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func save(t testing.TB, s *store, k kept) error {
	t.Helper()
	return s.save(text(t, k), k.decided())
}

// full is a state with something in each of its parts.
func full(t testing.TB) kept {
	t.Helper()
	var k kept
	k.Saved = noon
	supersede(&k, bgp.NodePlan{Node: "fra1", PoP: "fra", Generation: 1, VIPs: []bgp.VIP{ns("ns1", "198.51.100.53/32")}})
	supersede(&k, bgp.Pending(k.Plan, []bgp.VIP{ns("ns2", "2001:db8::53/128")}, nil))
	k.VIPs = map[string]bgp.Kept{
		"ns1": {State: bgp.Draining, Damping: bgp.Damping{Penalty: 3250.5, Suppressed: true}},
		"ns2": {State: bgp.Announced, Clean: true},
	}
	o, err := bgp.NewOperation(bgp.Operation{
		Kind: bgp.Maintenance, Node: "fra1", Reason: "new disk", Actor: "ada", Since: noon.Add(time.Nanosecond), Until: noon.Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	k.Operations = []bgp.Operation{o}
	p := bgp.FleetPlan{ID: "p1", Selector: "all", Steps: []bgp.NodeStep{{Prior: k.Earlier[0], Plan: k.Plan}}}
	if k.Rollout, err = bgp.NewRollout(p, 0, "ada", "more"); err != nil {
		t.Fatal(err)
	}
	return k
}

func TestStoreKeeps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s, k, alarm, err := openStore(dir, noon)
	if err != nil || alarm != "" || !reflect.DeepEqual(k, kept{}) {
		t.Fatalf("a new folder: %+v, %q, %v", k, alarm, err)
	}
	want := full(t)
	for range 2 { // the second replaces the first
		if err := save(t, s, want); err != nil {
			t.Fatal(err)
		}
	}
	_, got, alarm, err := openStore(dir, noon.Add(90*time.Second))
	if err != nil || alarm != "" {
		t.Fatalf("%q, %v", alarm, err)
	}
	for name, v := range want.VIPs {
		v.Age = 90 * time.Second
		want.VIPs[name] = v
	}
	want.Rollout.Loaded()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("kept\n%+v\nwant\n%+v", got, want)
	}
	if got.Rollout.Phase != bgp.PhasePaused {
		t.Errorf("the rollout is %s after a restart, want it paused", got.Rollout.Phase)
	}
	if info, err := os.Stat(s.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file %v, %v", info, err)
	}
}

// TestClockWentBack: what was kept in the future is as old as now.
func TestClockWentBack(t *testing.T) {
	dir := t.TempDir()
	if err := save(t, &store{path: filepath.Join(dir, stateFile)}, full(t)); err != nil {
		t.Fatal(err)
	}
	if _, k, _, err := openStore(dir, noon.Add(-time.Hour)); err != nil || k.VIPs["ns1"].Age != 0 {
		t.Errorf("age %s, %v", k.VIPs["ns1"].Age, err)
	}
}

// TestDamagedStore: a file with one bad part is not used at all, told of and put
// aside. Without a copy nobody knows what was decided.
func TestDamagedStore(t *testing.T) {
	encode := func(change func(*kept)) []byte {
		k := full(t)
		change(&k)
		b, err := k.encode()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	whole := encode(func(*kept) {})
	resum := func(body string) []byte { return []byte(stateHeader + checksum([]byte(body)) + "\n" + body) }
	_, body, _ := strings.Cut(string(whole), "\n")
	for _, tc := range []struct {
		what string
		file []byte
		want string
	}{
		{"empty", nil, `it begins with "", want "edged vip-state 1 sha256:" and a checksum`},
		{"cut off", whole[:len(whole)/2], "its checksum is "},
		{"a bit", bytes.Replace(whole, []byte("198.51.100.53"), []byte("198.51.100.52"), 1), "its checksum is "},
		{"of a later edged", bytes.Replace(whole, []byte("vip-state 1"), []byte("vip-state 2"), 1), `it begins with "edged vip-state 2 `},
		{"no JSON", resum("hello"), "invalid character 'h'"},
		{"two texts", resum(body + "{}"), "something is after the end"},
		{"an unknown key", resum(strings.Replace(body, `"saved"`, `"sowed"`, 1)), `unknown field "sowed"`},
		{"an unknown state", resum(strings.Replace(body, `"draining"`, `"sleeping"`, 1)), `unknown VIP state "sleeping"`},
		{"a plan that cannot be", encode(func(k *kept) { k.Plan.VIPs[0].Port = 0 }), `plan of "fra1": VIP "ns2": port 0`},
		{"an earlier plan that cannot be", encode(func(k *kept) { k.Earlier[0].VIPs[0].Prefixes = nil }), `VIP "ns1": 0 prefixes`},
		{"a plan without a generation", encode(func(k *kept) { k.Plan.Generation = 0 }), "the plan has VIPs and no generation"},
		{"a penalty", encode(func(k *kept) { k.VIPs["ns1"] = bgp.Kept{Damping: bgp.Damping{Penalty: -1}} }), `VIP "ns1" has the penalty -1`},
		{"an operation", encode(func(k *kept) { k.Operations[0].Reason = "" }), `maintenance all VIPs on node/fra1: reason ""`},
		{"a rollout", encode(func(k *kept) { k.Rollout.Wave = 7 }), `rollout of plan "p1": wave 7 of 1`},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, stateFile)
		if err := os.WriteFile(path, tc.file, 0o600); err != nil {
			t.Fatal(err)
		}
		s, k, alarm, err := openStore(dir, noon)
		if err != nil || !strings.HasPrefix(alarm, `"`+path+`" is not used, and put aside as vip-state.json.damaged: `) || !strings.Contains(alarm, tc.want) {
			t.Errorf("%s: alarm %q, %v, want %q", tc.what, alarm, err, tc.want)
		}
		if !reflect.DeepEqual(k, kept{Lost: true}) || !strings.Contains(alarm, "there is no copy of it: nothing is announced until a plan is applied") {
			t.Errorf("%s: kept all the same: %+v, %s", tc.what, k, alarm)
		}
		if aside, err := os.ReadFile(path + ".damaged"); err != nil || !bytes.Equal(aside, tc.file) {
			t.Errorf("%s: put aside %d octets, %v, want %d", tc.what, len(aside), err, len(tc.file))
		}
		if err := save(t, s, full(t)); err != nil {
			t.Errorf("%s: %v", tc.what, err)
		}
		if _, k, alarm, _ := openStore(dir, noon); alarm != "" || k.Plan.Generation != 2 {
			t.Errorf("%s: saved anew, %q", tc.what, alarm)
		}
	}
}

// TestCopy: the copy has what people decided last, and stands in for a file that is
// damaged or gone.
func TestCopy(t *testing.T) {
	for what, spoil := range map[string]func(path string) error{
		`" is not used, and put aside as vip-state.json.damaged: it begins with "half", `: func(path string) error {
			return os.WriteFile(path, []byte("half"), 0o600)
		},
		`" is gone; `: os.Remove,
		`" is not used, and put aside as vip-state.json.damaged: open PATH: not a regular file; `: func(path string) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
		},
		`" is not used: open PATH: not a regular file (it could not be put aside: rename `: func(path string) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700), os.WriteFile(path+".damaged", nil, 0o600))
		},
	} {
		dir := t.TempDir()
		s := &store{path: filepath.Join(dir, stateFile)}
		k := full(t)
		for i := range 3 {
			if i == 1 {
				k.Operations = nil // somebody ended it
			}
			k.Saved = noon.Add(time.Duration(i) * time.Minute)
			k.VIPs["ns2"] = bgp.Kept{State: bgp.Announced, Damping: bgp.Damping{Penalty: float64(1000 * i)}}
			if err := save(t, s, k); err != nil {
				t.Fatal(err)
			}
		}
		if err := spoil(s.path); err != nil {
			t.Fatal(err)
		}
		_, got, alarm, err := openStore(dir, noon)
		if want := "; its copy of 2026-03-01T12:01:00Z is in force"; err != nil || !strings.HasPrefix(alarm, `"`+s.path+strings.Replace(what, "PATH", s.path, 1)) || !strings.Contains(alarm, want) {
			t.Errorf("%s: alarm %q, %v, want %q", what, alarm, err, want)
		}
		if got.Lost || got.Plan.ID() != k.Plan.ID() || got.Operations != nil || got.VIPs["ns2"].Damping.Penalty != 1000 {
			t.Errorf("%s: got %+v", what, got)
		}
		if err := os.WriteFile(s.copy(), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.RemoveAll(s.path), os.WriteFile(s.path, []byte("half"), 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, got, alarm, err := openStore(dir, noon); err != nil || !got.Lost || !strings.Contains(alarm, "its copy is no better: it begins with") {
			t.Errorf("%s, and the copy too: %+v, %q, %v", what, got, alarm, err)
		}
	}
}

// TestCrashBesideTheFile: what a crash leaves beside the file is passed over.
func TestCrashBesideTheFile(t *testing.T) {
	dir := t.TempDir()
	s := &store{path: filepath.Join(dir, stateFile)}
	if err := save(t, s, full(t)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, k, alarm, err := openStore(dir, noon); err != nil || alarm != "" || k.Plan.Generation != 2 {
		t.Errorf("%+v, %q, %v", k.Plan, alarm, err)
	}
	if err := save(t, s, full(t)); err != nil {
		t.Error(err)
	}
}

func TestSupersede(t *testing.T) {
	var k kept
	for g := range uint64(keepPlans + 3) {
		supersede(&k, bgp.NodePlan{Node: "fra1", PoP: "fra", Generation: g + 1})
	}
	if k.Plan.Generation != 11 || len(k.Earlier) != keepPlans || k.Earlier[0].Generation != 10 || k.Earlier[7].Generation != 3 {
		t.Errorf("plan %d, earlier %+v", k.Plan.Generation, k.Earlier)
	}
}

// FuzzStore: what is read can be written, and read again as the same. So that
// the fuzzer gets past the checksum, each text is given the right one.
func FuzzStore(f *testing.F) {
	k := full(f)
	b, err := k.encode()
	if err != nil {
		f.Fatal(err)
	}
	_, body, _ := bytes.Cut(b, []byte("\n"))
	f.Add(body)
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"saved":"2026-03-01T12:00:00Z","plan":{"node":"","pop":"","generation":0,"vips":null}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		k, err := parseKept([]byte(stateHeader + checksum(body) + "\n" + string(body)))
		if err != nil {
			return
		}
		b, err := k.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseKept(b)
		if err != nil {
			t.Fatalf("%v in\n%s", err, b)
		}
		if c, err := again.encode(); err != nil || !bytes.Equal(b, c) {
			t.Fatalf("%v: read again\n%s\nwant\n%s", err, c, b)
		}
		if k.Rollout != nil {
			k.Rollout.Loaded()
			_ = k.Rollout.String()
			k.Rollout.Step(0, nil)
		}
	})
}
