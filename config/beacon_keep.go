package config

// Keep says how long a node keeps measurements in data_dir/beacons.
type Keep struct {
	Days   int `yaml:"days"`    // hours that ended longer ago are removed, 1 to 3650
	SizeMB int `yaml:"size_mb"` // the oldest hours are removed above this, 1 to 10000000, 1 MB = 10^6 octets
}

// Quota says how much may be uploaded. The first two are for each token or
// certificate and day, and come back evenly over the day.
type Quota struct {
	Rows    int `yaml:"rows"`    // 1 to 10^12
	SizeMB  int `yaml:"size_mb"` // of text before compression, 1 to 10000000
	Uploads int `yaml:"uploads"` // that run at once, 1 to 64; each takes some 150 MB of memory
}

// By default a map is built from 7 days; twice that lets maps be compared. A row is
// some 100 octets of text and 12 on disk.
var (
	defaultKeep  = Keep{Days: 14, SizeMB: 10_000}
	defaultQuota = Quota{Rows: 100_000_000, SizeMB: 20_000, Uploads: 2}
)

func (ck *checker) beaconKeep() {
	b := &ck.Beacon
	ck.inRange("beacon.keep.days", b.Keep.Days, 1, 3650)
	ck.inRange("beacon.keep.size_mb", b.Keep.SizeMB, 1, 10_000_000)
	ck.inRange("beacon.quota.rows", b.Quota.Rows, 1, 1_000_000_000_000)
	ck.inRange("beacon.quota.size_mb", b.Quota.SizeMB, 1, 10_000_000)
	ck.inRange("beacon.quota.uploads", b.Quota.Uploads, 1, 64)
	if (ck.Admin.CertFile == "") != (ck.Admin.KeyFile == "") {
		ck.errorf("admin", "has one of cert_file and key_file: want both, or none for no TLS")
	}
}
