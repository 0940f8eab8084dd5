package place

import (
	"strings"

	"edged/geo/place/internal/country"
)

// Place is where an address is, as far as the databases know. The zero value
// means that nothing is known; each part may be unknown by itself. It is
// comparable.
type Place struct {
	Country   string  // ISO 3166-1 alpha-2, upper case, for example "DE"; empty when not known
	Continent string  // AF, AN, AS, EU, NA, OC or SA; empty when not known
	City      string  // English name; empty when not known
	Lat, Lon  float64 // degrees, WGS 84; meaningful only with HasCoord
	HasCoord  bool    // whether Lat and Lon are known
	ASN       uint32  // autonomous system number; 0 when not known
	Org       string  // name of the autonomous system; empty when not known
}

// point is a pair of coordinates as a record has it.
type point struct {
	lat, lon float64
	known    bool
}

// valid says whether a record's point can be one of a client. (0,0) is in the
// Atlantic Ocean: databases write it where they know nothing.
func (p point) valid() bool {
	return p.known && p.lat >= -90 && p.lat <= 90 && p.lon >= -180 && p.lon <= 180 && (p.lat != 0 || p.lon != 0)
}

// located makes a Place of what a record says. What the record leaves out, the
// table of countries gives: continent and coordinates.
func located(code, continent, city string, at point) Place {
	code = strings.ToUpper(code)
	if code == "ZZ" { // CLDR's "unknown region", used by DB-IP
		code = ""
	}
	p := Place{Country: code, Continent: continent, City: city}
	info, ok := country.Of(code)
	if ok && p.Continent == "" {
		p.Continent = info.Continent
	}
	switch {
	case at.valid():
		p.Lat, p.Lon, p.HasCoord = at.lat, at.lon, true
	case ok:
		p.Lat, p.Lon, p.HasCoord = info.Lat, info.Lon, true
	}
	return p
}

// under lays what a higher layer knows over p. A country replaces the whole
// location, coordinates alone keep the country, and an AS number brings its own
// name.
func (p Place) under(q Place) Place {
	asn, org := p.ASN, p.Org
	switch {
	case q.Country != "" || q.Continent != "":
		p = q
	case q.HasCoord:
		p.City, p.Lat, p.Lon, p.HasCoord = q.City, q.Lat, q.Lon, true
	}
	p.ASN, p.Org = asn, org
	if q.ASN != 0 {
		p.ASN, p.Org = q.ASN, q.Org
	}
	return p
}
