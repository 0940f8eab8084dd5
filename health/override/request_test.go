package override

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseRequest(t *testing.T) {
	f := Flags{Reason: "fibre work", Owner: "alice"}
	for line, want := range map[string]Request{
		"drain pop/fra":                           {Action: Drain, Target: Target{Kind: PoPs, Name: "fra"}},
		"force-up pool/www":                       {Action: ForceUp, Target: Target{Kind: Pools, Name: "www"}},
		"force-down endpoint/*/198.51.100.*":      {Action: ForceDown, Target: Target{Kind: Endpoints, Name: "*", Address: "198.51.100.*"}},
		"weight endpoint/www/198.51.100.1 50":     {Action: Weight, Target: Target{Kind: Endpoints, Name: "www", Address: "198.51.100.1"}, Weight: 50},
		"pin-prefix 203.0.113.0/24 pop/fra":       {Action: PinPrefix, Prefix: netip.MustParsePrefix("203.0.113.0/24"), PoP: "fra"},
		"pin-prefix 2001:db8::/48 pop/fra":        {Action: PinPrefix, Prefix: netip.MustParsePrefix("2001:db8::/48"), PoP: "fra"},
		"clear pop/fra":                           {Action: Clear, Clear: "pop/fra"},
		"clear 203.0.113.9/24":                    {Action: Clear, Clear: "203.0.113.0/24"},
		"clear fra1-3-12":                         {Action: Clear, Clear: "fra1-3-12"},
		"clear endpoint/www/::ffff:198.51.100.1":  {Action: Clear, Clear: "endpoint/www/198.51.100.1"},
		"weight endpoint/www/2001:db8:0:0::1 0":   {Action: Weight, Target: Target{Kind: Endpoints, Name: "www", Address: "2001:db8::1"}},
		"force-down node/fra1":                    {Action: ForceDown, Target: Target{Kind: Nodes, Name: "fra1"}},
		"force-up endpoint/www/2001:DB8::*":       {Action: ForceUp, Target: Target{Kind: Endpoints, Name: "www", Address: "2001:db8::*"}},
		"drain pop/*":                             {Action: Drain, Target: Target{Kind: PoPs, Name: "*"}},
		"pin-prefix 203.0.112.0/20 pop/eu-fra-01": {Action: PinPrefix, Prefix: netip.MustParsePrefix("203.0.112.0/20"), PoP: "eu-fra-01"},
	} {
		want.Reason, want.Owner = f.Reason, f.Owner
		words := strings.Fields(line)
		got, err := ParseRequest(words[0], words[1:], f)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v\nwant %+v", line, got, err, want)
		}
	}
	got, err := ParseRequest("drain", []string{"pop/fra"}, Flags{Reason: "r", Owner: "o", For: "1h30m", Local: true, DryRun: true})
	if err != nil || got.For != 90*time.Minute || !got.Local || !got.DryRun {
		t.Errorf("with all flags: %+v, %v", got, err)
	}
}

func TestParseRequestErrors(t *testing.T) {
	good := Flags{Reason: "r", Owner: "o"}
	for _, tc := range []struct {
		line string
		f    Flags
		want string
	}{
		{"stop pop/fra", good, `unknown action "stop": want one of [drain force-up force-down weight pin-prefix] or clear`},
		{"drain", good, `drain takes 1 arguments, not 0: write drain TARGET`},
		{"drain fra", good, `target "fra" is of no known kind: write pop/NAME, node/NAME, pool/NAME or endpoint/POOL/ADDRESS`},
		{"weight pop/fra", good, `weight takes 2 arguments, not 1: write weight TARGET WEIGHT`},
		{"weight pop/fra -1", good, `weight "-1" is not a number from 0 to 65535`},
		{"weight pop/fra 65536", good, `weight "65536" is not a number from 0 to 65535`},
		{"pin-prefix 203.0.113.0/25 pop/fra", good, `prefix 203.0.113.0/25 is too long: want at most /24`},
		{"pin-prefix 2001:db8::/49 pop/fra", good, `prefix 2001:db8::/49 is too long: want at most /48`},
		{"pin-prefix 203.0.113.7/24 pop/fra", good, `prefix 203.0.113.7/24 has bits beyond its length: is 203.0.113.0/24 meant`},
		{"pin-prefix 203.0.113.0 pop/fra", good, `prefix "203.0.113.0" is not ADDRESS/LENGTH: write one such as 203.0.113.0/24`},
		{"pin-prefix 203.0.113.0/24 fra", good, `target "fra" is of no known kind: write pop/NAME, node/NAME, pool/NAME or endpoint/POOL/ADDRESS`},
		{"pin-prefix 203.0.113.0/24 node/fra1", good, `target "node/fra1" is no pop: a prefix is pinned to pop/NAME`},
		{"pin-prefix 203.0.113.0/24 pop/eu-*", good, `pop "eu-*" stands for several: a prefix is pinned to one`},
		{"clear fra", good, `override id "fra" is not NODE-INCARNATION-COUNTER, nor a target such as pop/NAME: see edged overrides`},
		{"clear pop/fra", Flags{Reason: "r", Owner: "o", For: "2h"}, `clear takes no --for: what was cleared stays cleared`},
		{"drain pop/fra", Flags{Owner: "o"}, `no reason is given: say --reason`},
		{"drain pop/fra", Flags{Reason: "r"}, `no owner is given: say --owner`},
		{"clear pop/fra", Flags{Owner: "o"}, `no reason is given: say --reason`},
		{"drain pop/fra", Flags{Reason: "a\nb", Owner: "o"}, `reason "a\nb" is not one line of printable text`},
		{"drain pop/fra", Flags{Reason: strings.Repeat("x", 201), Owner: "o"}, `reason has 201 octets, want at most 200`},
		{"drain pop/fra", Flags{Reason: "r", Owner: "o", For: "2 hours"}, `--for "2 hours" is not a time: write one such as 2h or 30m, or leave it out to last until cleared`},
		{"drain pop/fra", Flags{Reason: "r", Owner: "o", For: "0s"}, `--for "0s" is not a time: write one such as 2h or 30m, or leave it out to last until cleared`},
		{"drain pop/fra", Flags{Reason: "r", Owner: "o", For: "-2h"}, `drain lasts -2h0m0s: want whole seconds from 1s to 8784h0m0s`},
		{"drain pop/fra", Flags{Reason: "r", Owner: "o", For: "1500ms"}, `drain lasts 1.5s: want whole seconds from 1s to 8784h0m0s`},
		{"drain pop/fra", Flags{Reason: "r", Owner: "o", For: "9000h"}, `drain lasts 9000h0m0s: want whole seconds from 1s to 8784h0m0s`},
	} {
		words := strings.Fields(tc.line)
		if got, err := ParseRequest(words[0], words[1:], tc.f); err == nil || err.Error() != tc.want {
			t.Errorf("%s: %+v, error %v\nwant %s", tc.line, got, err, tc.want)
		}
	}
}
