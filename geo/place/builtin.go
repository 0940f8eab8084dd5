package place

import (
	"net/netip"

	"edged/geo/place/internal/country"
)

//go:generate go run ./internal/gen -o internal/country/builtin.dat

// countries is the layer of the built-in country data.
type countries struct{ data *country.Data }

func builtIn() (countries, error) {
	data, err := country.BuiltIn()
	return countries{data}, err
}

func (c countries) version() string { return c.data.Package + " " + c.data.Version }

func (c countries) at(addr netip.Addr) (Place, int, error) {
	code, from, to := c.data.Find(addr)
	bits := bitsWithin(addr, from, to)
	if code == "" {
		return Place{}, bits, nil
	}
	return located(code, "", "", point{}), bits, nil
}

// size: a range of n-bit numbers is at most 2n blocks.
func (c countries) size() int { return 2 * 48 * c.data.Ranges() }

func (c countries) remembering() layer { return c }
