package override

import (
	"testing"
	"testing/synctest"
)

// Rules count what checks find at the accepting node, when an override is tried
// and when it is made; a check that finds more later suspends nothing.
func TestRulesCountWhatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "ams1", "fra1", "iad1")
		f.rules = []Rule{mustRule(t, 2, "", "pops", "continent"), mustRule(t, 0, "60%", "capacity", "")}
		dead := map[string]bool{"lon": true} // the PoPs that ams1 finds down; the others see nothing of it
		f.engines["ams1"].cfg.Down = func(e Endpoint) bool { return dead[e.PoP] }

		const refused = `drain pop/fra breaks rule "at least 2 pops per continent": 1 of 3 pops in EU would stay in service, want 2 ` +
			`(out: fra, lon; overrides would leave 2, of which checks find 1 down)`
		for _, flags := range []Flags{{DryRun: true}, {}, {Local: true}} {
			if _, err := f.submit("ams1", "drain pop/fra", flags); errText(err) != refused {
				t.Errorf("%+v: error %v\nwant %s", flags, err, refused)
			}
		}
		f.mustSubmit("ams1", "drain pop/lon", Flags{}) // it is down anyway
		f.mustSubmit("ams1", "clear pop/lon", Flags{})
		f.mustSubmit("ams1", "force-up pop/lon", Flags{}) // the operator knows better than the check
		r := f.mustSubmit("ams1", "drain pop/fra", Flags{})
		if got := r.Effect.Rules[0]; got.Before != 3 || got.After != 2 || got.Down != 0 {
			t.Errorf("with the PoP forced up: %+v", got)
		}
		f.mustSubmit("ams1", "clear pop/fra", Flags{})
		f.mustSubmit("ams1", "clear pop/lon", Flags{})

		dead = map[string]bool{"iad": true, "sjc": true, "ams": true}
		const share = `drain pop/lon breaks rule "at least 2 pops per continent": 1 of 3 pops in EU would stay in service, want 2 ` +
			`(out: ams, lon; overrides would leave 2, of which checks find 1 down); ` +
			`rule "drained at most 60% of capacity": 70.0% would be out of service (700 of 1000), want at most 60% ` +
			`(out: ams, lon, iad, sjc; overrides would take out 100, and checks find 600 more down)`
		if _, err := f.submit("ams1", "drain pop/lon", Flags{}); errText(err) != share {
			t.Errorf("error %v\nwant %s", err, share)
		}

		synctest.Wait()                                // fra1 may be the one that what was made last still travels to
		f.mustSubmit("fra1", "drain pop/lon", Flags{}) // fra1's checks find nothing
		synctest.Wait()
		dead = map[string]bool{"ams": true, "fra": true}
		for name, e := range f.engines {
			if v := e.View(); len(v.Active) != 1 || len(v.Suspended) != 0 {
				t.Errorf("%s: %s", name, viewText(t, v))
			}
		}
	})
}
