package place

import (
	"net/netip"
	"strings"
	"time"

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

// built returns when the database was made that the data come from. Its date is a
// word of what File says: type, date and hash.
func (c countries) built() time.Time {
	for word := range strings.FieldsSeq(c.data.File) {
		if at, err := time.Parse(time.DateOnly, word); err == nil {
			return at
		}
	}
	return time.Time{}
}

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
