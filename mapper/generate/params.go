package generate

// The parameters. WN: WonderProxy's day of pings among cities, 2020. RIPE: RIPE
// Atlas, February 2023. "Choice" means that nothing was measured; the value is
// plausible and no more.
const (
	// A path's round trip where no pair of cities was measured:
	// baseMs + msPer100Km for each 100 km + a residual.
	baseMs     = 35.4 // WN, least squares
	msPer100Km = 1.66 // WN, least squares
	// ... and never less than light in fibre needs, there and back, and a host.
	fibreMsPer100Km = 1.0
	hostMs          = 0.5 // choice

	nearKm = 300 // a city's measurements hold for places so near: choice

	detourMedianMs = 2.5 // by network and PoP, log-normal: RIPE, three providers in Frankfurt
	detourSigma    = 1.1 // the same
	tromboneShare  = 0.03
	tromboneMinMs  = 40.0 // choice: paths by way of another continent
	tromboneMaxMs  = 120.0

	lastMileMedianMs = 10.0 // by client, log-normal: choice
	lastMileSigma    = 0.8

	jitterMedianMs = 4.0  // a client's median above its minimum, log-normal: RIPE
	jitterSigma    = 1.08 // so that the 90th percentile is 16 ms: RIPE
	spikeShare     = 0.03 // choice
	spikeMeanMs    = 80.0

	dayShare  = 0.2 // networks that are slower in the evening: choice
	dayMaxMs  = 8.0
	dayPeak   = 21    // local hour
	moveShare = 0.005 // units whose path changes on a day: choice

	misplacedShare = 0.02 // units that place data has far away: RIPE, at least 2.1 %
	misplacedKm    = 500

	ownResolver  = 0.70 // the network's own resolver: choice
	ecsResolver  = 0.25 // a public one that sends client subnets; the rest: one that does not
	v6Share      = 0.2  // units that are a /48: choice
	networkZipf  = 1.2  // of networks' demand within a country: choice
	networks     = 20   // in a country: choice
	demandSigma  = 1.0  // of a unit's demand within its network, log-normal: choice
	cityZipf     = 0.8  // of cities' demand: choice
	samplePoPs   = 4    // that a session measures, of the candidates nearest
	sampleAmong  = 8
	sampleRandom = 0.1 // sessions that measure one PoP from anywhere
)

// residuals are the deciles of WN's minima less the line, in ms, with the
// 5th and the 95th percentile at the ends: draws lie between two of them.
var residuals = [...]float64{-56, -49, -38, -31, -25, -18, -7, 9, 40, 82, 112}
