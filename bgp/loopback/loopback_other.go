//go:build !linux

package loopback

import (
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
)

// Addresses are those of VIPs on the loopback device: on this system, none.
type Addresses struct{}

// New returns the addresses of this machine.
func New(*slog.Logger) *Addresses { return &Addresses{} }

// Ensure errs: only Linux marks addresses as ours.
func (*Addresses) Ensure(vip string, prefixes []netip.Prefix) error {
	return fmt.Errorf("addresses %v of vip %q: edged cannot add them on %s, only on Linux", prefixes, vip, runtime.GOOS)
}

// Remove has nothing to remove.
func (*Addresses) Remove(string, []netip.Prefix) error { return nil }

// Owned returns none.
func (*Addresses) Owned() ([]netip.Prefix, error) { return nil, nil }
