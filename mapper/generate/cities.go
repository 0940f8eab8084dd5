package generate

import "edged/edge"

// city is where PoPs and clients may be.
type city struct {
	pop, country, continent string
	lat, lon                float64 // degrees
}

// cities are where PoPs and clients are: the sites come first that a fleet would
// have first. Positions are to a tenth of a degree.
var cities = []city{
	{"fra", "DE", "EU", 50.1, 8.7},
	{"iad", "US", "NA", 39.0, -77.5},
	{"sin", "SG", "AS", 1.3, 103.8},
	{"nrt", "JP", "AS", 35.7, 139.7},
	{"lhr", "GB", "EU", 51.5, -0.1},
	{"gru", "BR", "SA", -23.5, -46.6},
	{"bom", "IN", "AS", 19.1, 72.9},
	{"syd", "AU", "OC", -33.9, 151.2},
	{"lax", "US", "NA", 34.1, -118.2},
	{"jnb", "ZA", "AF", -26.2, 28.0},
	{"cdg", "FR", "EU", 48.9, 2.3},
	{"ord", "US", "NA", 41.9, -87.6},
	{"ams", "NL", "EU", 52.4, 4.9},
	{"hkg", "HK", "AS", 22.3, 114.2},
	{"dfw", "US", "NA", 32.8, -96.8},
	{"mad", "ES", "EU", 40.4, -3.7},
	{"del", "IN", "AS", 28.6, 77.2},
	{"mex", "MX", "NA", 19.4, -99.1},
	{"icn", "KR", "AS", 37.6, 127.0},
	{"waw", "PL", "EU", 52.2, 21.0},
	{"ist", "TR", "EU", 41.0, 29.0},
	{"cgk", "ID", "AS", -6.2, 106.8},
	{"sea", "US", "NA", 47.6, -122.3},
	{"mia", "US", "NA", 25.8, -80.2},
	{"arn", "SE", "EU", 59.3, 18.1},
	{"mxp", "IT", "EU", 45.5, 9.2},
	{"dxb", "AE", "AS", 25.2, 55.3},
	{"los", "NG", "AF", 6.5, 3.4},
	{"yyz", "CA", "NA", 43.7, -79.4},
	{"eze", "AR", "SA", -34.6, -58.4},
	{"scl", "CL", "SA", -33.4, -70.7},
	{"bog", "CO", "SA", 4.7, -74.1},
	{"jfk", "US", "NA", 40.7, -74.0},
	{"mnl", "PH", "AS", 14.6, 121.0},
	{"bkk", "TH", "AS", 13.8, 100.5},
	{"kul", "MY", "AS", 3.1, 101.7},
	{"tpe", "TW", "AS", 25.0, 121.6},
	{"kix", "JP", "AS", 34.7, 135.5},
	{"mel", "AU", "OC", -37.8, 145.0},
	{"akl", "NZ", "OC", -36.9, 174.8},
	{"vie", "AT", "EU", 48.2, 16.4},
	{"prg", "CZ", "EU", 50.1, 14.4},
	{"cph", "DK", "EU", 55.7, 12.6},
	{"osl", "NO", "EU", 59.9, 10.8},
	{"hel", "FI", "EU", 60.2, 24.9},
	{"dub", "IE", "EU", 53.3, -6.3},
	{"zrh", "CH", "EU", 47.4, 8.5},
	{"bru", "BE", "EU", 50.9, 4.4},
	{"lis", "PT", "EU", 38.7, -9.1},
	{"ath", "GR", "EU", 38.0, 23.7},
	{"bud", "HU", "EU", 47.5, 19.0},
	{"otp", "RO", "EU", 44.4, 26.1},
	{"sof", "BG", "EU", 42.7, 23.3},
	{"kbp", "UA", "EU", 50.5, 30.5},
	{"rix", "LV", "EU", 56.9, 24.1},
	{"beg", "RS", "EU", 44.8, 20.5},
	{"zag", "HR", "EU", 45.8, 16.0},
	{"mrs", "FR", "EU", 43.3, 5.4},
	{"muc", "DE", "EU", 48.1, 11.6},
	{"ham", "DE", "EU", 53.6, 10.0},
	{"man", "GB", "EU", 53.5, -2.2},
	{"bcn", "ES", "EU", 41.4, 2.2},
	{"fco", "IT", "EU", 41.9, 12.5},
	{"tlv", "IL", "AS", 32.1, 34.8},
	{"cai", "EG", "AF", 30.0, 31.2},
	{"nbo", "KE", "AF", -1.3, 36.8},
	{"acc", "GH", "AF", 5.6, -0.2},
	{"cmn", "MA", "AF", 33.6, -7.6},
	{"cpt", "ZA", "AF", -33.9, 18.4},
	{"dar", "TZ", "AF", -6.8, 39.3},
	{"tun", "TN", "AF", 36.8, 10.2},
	{"ruh", "SA", "AS", 24.7, 46.7},
	{"doh", "QA", "AS", 25.3, 51.5},
	{"khi", "PK", "AS", 24.9, 67.0},
	{"dac", "BD", "AS", 23.8, 90.4},
	{"cmb", "LK", "AS", 6.9, 79.9},
	{"maa", "IN", "AS", 13.1, 80.3},
	{"blr", "IN", "AS", 13.0, 77.6},
	{"ccu", "IN", "AS", 22.6, 88.4},
	{"han", "VN", "AS", 21.0, 105.8},
	{"sgn", "VN", "AS", 10.8, 106.7},
	{"ala", "KZ", "AS", 43.2, 76.9},
	{"per", "AU", "OC", -32.0, 115.9},
	{"bne", "AU", "OC", -27.5, 153.0},
	{"gig", "BR", "SA", -22.9, -43.2},
	{"for", "BR", "SA", -3.7, -38.5},
	{"lim", "PE", "SA", -12.0, -77.0},
	{"uio", "EC", "SA", -0.2, -78.5},
	{"pty", "PA", "NA", 9.0, -79.5},
	{"gua", "GT", "NA", 14.6, -90.5},
	{"qro", "MX", "NA", 20.6, -100.4},
	{"atl", "US", "NA", 33.7, -84.4},
	{"den", "US", "NA", 39.7, -105.0},
	{"phx", "US", "NA", 33.4, -112.1},
	{"sjc", "US", "NA", 37.3, -121.9},
	{"bos", "US", "NA", 42.4, -71.1},
	{"msp", "US", "NA", 45.0, -93.3},
	{"yul", "CA", "NA", 45.5, -73.6},
	{"yvr", "CA", "NA", 49.3, -123.1},
	{"slc", "US", "NA", 40.8, -111.9},
}

// MaxPoPs is how many PoPs a World can have.
const MaxPoPs = 100

// PoPs returns the first n sites, with no capacity. It panics when n is not 1 to
// MaxPoPs.
func PoPs(n int) []edge.PoP {
	pops := make([]edge.PoP, n)
	for i, c := range cities[:n] {
		pops[i] = edge.PoP{Name: c.pop, Lat: c.lat, Lon: c.lon, Continent: c.continent}
	}
	return pops
}
