package lab

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseBIRD(t *testing.T) {
	const out = `BIRD 2.0.12 ready.
Table master4:
198.51.100.53/32     unicast [e2_4 09:42:16.752] * (100) [AS64512i]
	via 192.0.2.12 on fabric
	Type: BGP univ
	BGP.origin: IGP
	BGP.as_path: 64512 64512 64512 64512
	BGP.next_hop: 192.0.2.12
	BGP.med: 20
	BGP.local_pref: 100
                     unicast [e1_4 09:42:18.001] (100) [AS64512i]
	via 192.0.2.11 on fabric
	Type: BGP univ
	BGP.as_path: 64512
	BGP.local_pref: 0
	BGP.community: (65535,0) (64512,100)
`
	want := []Path{
		{Edge: "e2", ASPath: 4, MED: 20, LocalPref: 100},
		{Edge: "e1", ASPath: 1, Communities: []string{"64512:100", GracefulShutdown}},
	}
	if got, err := parseBIRD(out); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v\nwant %v", got, err, want)
	}
	if got, err := parseBIRD("Network not found\n"); err != nil || got != nil {
		t.Errorf("no route: %v, %v", got, err)
	}
	if _, err := parseBIRD(strings.Replace(out, "BGP.med: 20", "BGP.med: many", 1)); err == nil {
		t.Error("a MED that is no number is taken")
	}
}

func TestParseFRR(t *testing.T) {
	const out = `{"prefix": "198.51.100.53/32", "paths": [
	{"aspath": {"string": "64512", "length": 1}, "metric": 5, "peer": {"peerId": "192.0.2.12"}},
	{"aspath": {"length": 4}, "locPrf": 0, "community": {"string": "64512:100 graceful-shutdown", "list": ["64512:100"]}, "peer": {"peerId": "2001:db8:0:1::11"}}]}`
	want := []Path{
		{Edge: "e2", ASPath: 1, MED: 5, LocalPref: 100},
		{Edge: "e1", ASPath: 4, Communities: []string{"64512:100", GracefulShutdown}},
	}
	if got, err := parseFRR([]byte(out)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v\nwant %v", got, err, want)
	}
	if got, err := parseFRR([]byte("{}\n")); err != nil || got != nil {
		t.Errorf("no route: %v, %v", got, err)
	}
}

func TestApply(t *testing.T) {
	for name, c := range map[string]struct {
		before, hops  string
		adds, appends bool
		want          string
	}{
		"a first route":       {"", "e1", true, false, "e1"},
		"another route":       {"e1 e2", "e3", true, false, "e3"},
		"one hop more":        {"e2", "e1", true, true, "e1 e2"},
		"a hop that it has":   {"e1 e2", "e1", true, true, "e1 e2"},
		"one hop less":        {"e1 e2", "e1", false, false, "e2"},
		"no route":            {"e1 e2", "e2 e1", false, false, ""},
		"what was not there":  {"e1", "e2", false, false, "e1"},
		"hops in other order": {"e1 e2", "e2 e1", true, false, "e1 e2"},
	} {
		if got := apply(strings.Fields(c.before), strings.Fields(c.hops), c.adds, c.appends); strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}
}
