package place

import (
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
)

// schema is how the records of a database are laid out. The zero value means
// that it is not known.
type schema uint8

const (
	nested schema = iota + 1 // MaxMind's City and Country: maps inside maps
	flat                     // DB-IP's and ip-location-db's: one map of strings and numbers
	asn                      // AS numbers, the same at all of them
)

// schemaOf tells the schema from one record; 0 if the record does not show it.
func schemaOf(record map[string]any) schema {
	for _, key := range []string{"country", "registered_country", "continent", "location", "city"} {
		if _, ok := record[key].(map[string]any); ok {
			return nested
		}
	}
	for _, key := range []string{"country_code", "latitude", "longitude"} {
		if _, ok := record[key]; ok {
			return flat
		}
	}
	if _, ok := record["autonomous_system_number"]; ok {
		return asn
	}
	return 0
}

// decode reads what a record says, in the terms of its schema.
func (s schema) decode(r maxminddb.Result) (Place, error) {
	switch s {
	case nested:
		return decodeNested(r)
	case flat:
		return decodeFlat(r)
	default:
		return decodeASN(r)
	}
}

func decodeNested(r maxminddb.Result) (Place, error) {
	type country struct {
		Code string `maxminddb:"iso_code"`
	}
	var record struct {
		Continent struct {
			Code string `maxminddb:"code"`
		} `maxminddb:"continent"`
		Country    country `maxminddb:"country"`
		Registered country `maxminddb:"registered_country"`
		City       struct {
			Names struct {
				English string `maxminddb:"en"`
			} `maxminddb:"names"`
		} `maxminddb:"city"`
		Location struct {
			Lat *float64 `maxminddb:"latitude"`
			Lon *float64 `maxminddb:"longitude"`
		} `maxminddb:"location"`
	}
	if err := r.Decode(&record); err != nil {
		return Place{}, err
	}
	code, continent := record.Country.Code, record.Continent.Code
	if code == "" {
		code = record.Registered.Code
	}
	var at point
	if l := record.Location; l.Lat != nil && l.Lon != nil {
		at = point{*l.Lat, *l.Lon, true}
	}
	return located(code, continent, record.City.Names.English, at), nil
}

func decodeFlat(r maxminddb.Result) (Place, error) {
	var record struct {
		Country string `maxminddb:"country_code"`
		City    string `maxminddb:"city"`
		Lat     any    `maxminddb:"latitude"`
		Lon     any    `maxminddb:"longitude"`
	}
	if err := r.Decode(&record); err != nil {
		return Place{}, err
	}
	lat, okLat := number(record.Lat)
	lon, okLon := number(record.Lon)
	return located(record.Country, "", record.City, point{lat, lon, okLat && okLon}), nil
}

// number reads a number that may be written as a string; false if it is absent
// or is none.
func number(v any) (float64, bool) {
	switch rv := reflect.ValueOf(v); {
	case !rv.IsValid():
		return 0, false
	case rv.CanFloat():
		return rv.Float(), true
	case rv.CanInt():
		return float64(rv.Int()), true
	case rv.CanUint():
		return float64(rv.Uint()), true
	case rv.Kind() == reflect.String:
		f, err := strconv.ParseFloat(strings.TrimSpace(rv.String()), 64)
		return f, err == nil
	}
	return 0, false
}

func decodeASN(r maxminddb.Result) (Place, error) {
	var record struct {
		Number       any    `maxminddb:"autonomous_system_number"`
		Organization string `maxminddb:"autonomous_system_organization"`
	}
	if err := r.Decode(&record); err != nil {
		return Place{}, err
	}
	n, ok := number(record.Number)
	if !ok || n < 1 || n > math.MaxUint32 {
		return Place{}, nil
	}
	return Place{ASN: uint32(n), Org: record.Organization}, nil
}
