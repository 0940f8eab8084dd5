// Gen compiles a country database in the MaxMind DB format into the country
// data that edged embeds. `go generate ./geo/place` runs it:
//
//	npm pack @ip-location-db/geo-whois-asn-country-mmdb
//	tar xzf ip-location-db-geo-whois-asn-country-mmdb-*.tgz
//	COUNTRY_DATA=package go generate ./geo/place
//
// The variable (or -from) names the unpacked package: its package.json tells the
// version. The same package always gives the same bytes.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"edged/geo/place"
	"edged/geo/place/internal/country"
)

// maxSize is what the embedded file may have, in bytes.
const maxSize = 3 << 20

const obtain = `give the unpacked npm package by -from or COUNTRY_DATA:
  npm pack @ip-location-db/geo-whois-asn-country-mmdb
  tar xzf ip-location-db-geo-whois-asn-country-mmdb-*.tgz
  COUNTRY_DATA=$PWD/package go generate ./geo/place`

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("gen", flag.ContinueOnError)
	from := flags.String("from", os.Getenv("COUNTRY_DATA"), "unpacked npm package")
	out := flags.String("o", "builtin.dat", "file to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *from == "" {
		return fmt.Errorf("no input; %s", obtain)
	}
	data, err := compile(*from)
	if err != nil {
		return err
	}
	file := data.Encode()
	if len(file) > maxSize {
		return fmt.Errorf("%d bytes, want at most %d; merge small ranges first", len(file), maxSize)
	}
	if err := os.WriteFile(*out, file, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s %s: %d ranges, %d countries, %d bytes\n",
		data.Package, data.Version, data.Ranges(), len(data.Codes()), len(file))
	return nil
}

// compile reads the one database of both families in a package directory.
func compile(dir string) (*country.Data, error) {
	manifest, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		return nil, err
	}
	var pkg struct{ Name, Version string }
	if err := json.Unmarshal(manifest, &pkg); err != nil {
		return nil, fmt.Errorf("package.json: %w", err)
	}
	db, err := place.Open(filepath.Join(dir, "geo-whois-asn-country.mmdb"), "")
	if err != nil {
		return nil, err
	}
	if err := db.Verify(); err != nil {
		return nil, err
	}
	var b country.Builder
	for network, p := range db.Networks() {
		if err := b.Add(network, p.Country); err != nil {
			return nil, err
		}
	}
	return b.Finish(country.Origin{
		Package: "npm:" + pkg.Name,
		Version: pkg.Version,
		File:    db.Sources()[0].Version,
	})
}
