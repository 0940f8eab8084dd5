package main

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edged/geo/place/internal/country"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/oschwald/maxminddb-golang/v2"
	"go4.org/netipx"
)

// pack writes a directory that looks like the unpacked npm package, with random
// networks no finer than the format keeps.
func pack(t *testing.T, rng *rand.Rand) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "country", BuildEpoch: 1_700_000_000, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		p := netip.PrefixFrom(randomAddr(rng), 8+rng.IntN(17)).Masked()
		if p.Addr().Is6() {
			p = netip.PrefixFrom(randomAddr6(rng), 20+rng.IntN(29)).Masked()
		}
		code := []string{"DE", "FR", "US", "JP"}[rng.IntN(4)]
		if err := tree.Insert(netipx.PrefixIPNet(p), mmdbtype.Map{"country_code": mmdbtype.String(code)}); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"geo-whois-asn-country.mmdb": b.Bytes(),
		"package.json":               []byte(`{"name": "@x/y", "version": "1.2.3", "license": "CC0-1.0"}`),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func randomAddr(rng *rand.Rand) netip.Addr {
	if rng.IntN(2) == 0 {
		return randomAddr6(rng)
	}
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], rng.Uint32())
	return netip.AddrFrom4(a)
}

// randomAddr6 stays in 2400::/12, away from what carries IPv4 addresses.
func randomAddr6(rng *rand.Rand) netip.Addr {
	var a [16]byte
	binary.BigEndian.PutUint64(a[:], 0x24<<56|rng.Uint64()>>12)
	return netip.AddrFrom16(a)
}

func TestCompiledDataAgainstReader(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	dir := pack(t, rng)
	out := filepath.Join(t.TempDir(), "out.dat")
	var first []byte
	for range 3 {
		var stdout bytes.Buffer
		if err := run([]string{"-from", dir, "-o", out}, &stdout); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(stdout.String(), "npm:@x/y 1.2.3: ") {
			t.Errorf("printed %q", &stdout)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = b
		}
		if !bytes.Equal(b, first) {
			t.Fatal("the same input gave other bytes")
		}
	}
	data, err := country.Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	if data.Package != "npm:@x/y" || data.Version != "1.2.3" || !strings.HasPrefix(data.File, "country 2023-11-14 sha256:") {
		t.Errorf("origin %+v", data.Origin)
	}
	reader, err := maxminddb.Open(filepath.Join(dir, "geo-whois-asn-country.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	hits := 0
	for range 20000 {
		addr := randomAddr(rng)
		var record struct {
			Code string `maxminddb:"country_code"`
		}
		if err := reader.Lookup(addr).Decode(&record); err != nil {
			t.Fatal(err)
		}
		if got, _, _ := data.Find(addr); got != record.Code {
			t.Fatalf("%s is in %q, the database says %q", addr, got, record.Code)
		}
		if record.Code != "" {
			hits++
		}
	}
	if hits < 1000 {
		t.Errorf("only %d addresses were in any country", hits)
	}
}

func TestRunErrors(t *testing.T) {
	t.Setenv("COUNTRY_DATA", "")
	dir := t.TempDir()
	for _, tt := range []struct{ name, from, want string }{
		{"no input", "", "no input; give the unpacked npm package by -from or COUNTRY_DATA"},
		{"empty directory", dir, "open " + dir + "/package.json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := run([]string{"-from", tt.from, "-o", filepath.Join(dir, "out")}, &bytes.Buffer{})
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}
