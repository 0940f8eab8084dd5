package beacon

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ReadHosting reads a list of autonomous systems in which servers are, not
// people: clouds, hosting, VPN exits. What is measured from there says little
// about the eyeballs beside it, so it is kept out of the numbers of places and
// countries; its own units keep theirs. The list is the operator's, for no
// registry says it reliably; PeeringDB's network type "Content" and the names that
// place databases give are where to begin.
//
// A line has one number, 64500 or AS64500; what follows a # does not count. name
// is for errors.
func ReadHosting(r io.Reader, name string) (map[uint32]bool, error) {
	hosting := map[uint32]bool{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		digits := strings.TrimPrefix(strings.ToUpper(text), "AS")
		asn, err := strconv.ParseUint(digits, 10, 32)
		if err != nil || asn == 0 {
			return nil, fmt.Errorf("%s:%d: bad number of an autonomous system %q: want one like AS64500", name, n, text)
		}
		hosting[uint32(asn)] = true
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cannot read %q: %w", name, err)
	}
	return hosting, nil
}
