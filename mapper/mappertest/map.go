package mappertest

import (
	"strings"
	"testing"
	"time"

	"edged/edge"
	"edged/mapper"
	"edged/maps"
	"edged/maps/mapstest"
)

// Map builds a map of 1970 from measured networks, CSV as mapper.ReadNets has it,
// over places that are not known.
func Map(t testing.TB, pops []edge.PoP, nets string) *maps.Map {
	t.Helper()
	list, err := mapper.ReadNets(strings.NewReader(nets), "nets", pops)
	if err != nil {
		t.Fatal(err)
	}
	contents, _, err := mapper.Build(mapper.Input{PoPs: pops, Nets: list, Created: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return mapstest.Map(t, contents)
}
