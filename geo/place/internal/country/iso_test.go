package country

import (
	"slices"
	"testing"
)

func TestCountries(t *testing.T) {
	// ISO 3166-1 has 249 officially assigned codes; XK and AN come on top.
	if len(countries) != 251 {
		t.Errorf("%d countries, want 251", len(countries))
	}
	for code, info := range countries {
		if !isCode(code) {
			t.Errorf("%q is not a code", code)
		}
		if !slices.Contains([]string{"AF", "AN", "AS", "EU", "NA", "OC", "SA"}, info.Continent) {
			t.Errorf("%s: continent %q", code, info.Continent)
		}
		if info.Lat < -90 || info.Lat > 90 || info.Lon < -180 || info.Lon > 180 || info.Lat == 0 && info.Lon == 0 {
			t.Errorf("%s: point %v,%v", code, info.Lat, info.Lon)
		}
	}
}

// A wrong sign or swapped numbers move a country out of its continent.
func TestCountriesLieInTheirContinent(t *testing.T) {
	type box struct{ south, north, west, east float64 }
	boxes := map[string][]box{
		"AF": {{-35, 38, -26, 60}},
		"AN": {{-90, -49, -180, 180}},
		"AS": {{-13, 56, 26, 150}},
		"EU": {{34, 82, -28, 66}},
		"NA": {{7, 84, -170, -12}},
		"OC": {{-50, 20, 110, 180}, {-50, 20, -180, -120}},
		"SA": {{-56, 13, -82, -34}},
	}
	for code, info := range countries {
		if !slices.ContainsFunc(boxes[info.Continent], func(b box) bool {
			return info.Lat >= b.south && info.Lat <= b.north && info.Lon >= b.west && info.Lon <= b.east
		}) {
			t.Errorf("%s: %v,%v is not in %s", code, info.Lat, info.Lon, info.Continent)
		}
	}
}

func TestOf(t *testing.T) {
	if info, ok := Of("DE"); !ok || info != (Info{"EU", 50.80, 9.30}) {
		t.Errorf("Of(DE) = %+v, %v", info, ok)
	}
	for _, code := range []string{"", "de", "ZZ", "EU"} {
		if info, ok := Of(code); ok {
			t.Errorf("Of(%q) = %+v", code, info)
		}
	}
}

func TestBuiltIn(t *testing.T) {
	if len(builtin) > 3<<20 {
		t.Errorf("builtin.dat has %d bytes, want at most 3 MiB", len(builtin))
	}
	d, err := BuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(d.Codes()); n < 200 {
		t.Errorf("%d countries", n)
	}
	for _, code := range d.Codes() {
		if _, ok := Of(code); !ok {
			t.Errorf("%s occurs in the data but not in the table", code)
		}
	}
	again, err := Parse(d.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(again.Encode(), builtin) {
		t.Error("encoding builtin.dat again gives other bytes")
	}
}
