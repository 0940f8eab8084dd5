package edge

import "math"

// PoP is a site of the fleet, for example {Name: "fra", Lat: 50.11, Lon: 8.68,
// Continent: "EU", Capacity: 100000}. Its position in the fleet's list (the PoP
// index) is how maps and views refer to it.
type PoP struct {
	Name      string  // lower case, unique in the fleet
	Lat, Lon  float64 // degrees, WGS 84: -90..90 and -180..180
	Continent string  // AF, AN, AS, EU, NA, OC or SA; empty when not said
	Capacity  int64   // requests/s; 0 when not said
}

// MaxPoPs is the largest fleet: PoP indexes are 16 bits wide, and the largest
// value means "none".
const MaxPoPs = 4096

// earthRadiusKm is the mean radius of the Earth (IUGG R1).
const earthRadiusKm = 6371.0088

// DistanceKm returns the great-circle distance between two points given in
// degrees, in kilometres, by the haversine formula.
func DistanceKm(lat1, lon1, lat2, lon2 float64) float64 {
	const rad = math.Pi / 180
	sinLat := math.Sin((lat2 - lat1) * rad / 2)
	sinLon := math.Sin((lon2 - lon1) * rad / 2)
	h := sinLat*sinLat + math.Cos(lat1*rad)*math.Cos(lat2*rad)*sinLon*sinLon
	return 2 * earthRadiusKm * math.Asin(math.Sqrt(math.Min(1, h)))
}
