package place

// Place is where an address is, as far as the databases know. The zero value
// means "unknown"; each field may be unknown by itself. It is comparable.
type Place struct {
	Country   string  // ISO 3166-1 alpha-2, upper case, for example "DE"; empty when not known
	Continent string  // AF, AN, AS, EU, NA, OC or SA; empty when not known
	City      string  // English name; empty when not known
	Lat, Lon  float64 // degrees, WGS 84; meaningful only with HasCoord
	HasCoord  bool    // whether Lat and Lon are known
	ASN       uint32  // autonomous system number; 0 when not known
	Org       string  // name of the autonomous system; empty when not known
}

// Source names one input of a DB.
type Source struct {
	Name    string // "country", "city", "asn" or "overrides"
	Version string // what is in it and which issue of it, short and stable
}
