package loopback

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Addresses are those of VIPs on the loopback device.
type Addresses struct {
	log *slog.Logger

	mu      sync.Mutex
	marks   bool                  // the kernel has been seen to mark; guarded by mu
	foreign map[netip.Prefix]bool // told to be someone else's; guarded by mu
}

// New returns the addresses of this machine. A nil logger logs nothing.
func New(log *slog.Logger) *Addresses {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Addresses{log: log, foreign: map[netip.Prefix]bool{}}
}

// Ensure has all prefixes of a VIP, which are host routes, on the device. One
// that is there already is left as it is, be it ours or not. It errs when the
// right to add addresses is missing, or the mark that makes them ours.
func (a *Addresses) Ensure(vip string, prefixes []netip.Prefix) error {
	lo, err := index()
	for _, p := range prefixes {
		if err == nil {
			err = a.ensure(lo, vip, p)
		}
		if err != nil {
			return fmt.Errorf("address %s of vip %q: %w", p, vip, err)
		}
	}
	return nil
}

func (a *Addresses) ensure(lo uint32, vip string, p netip.Prefix) error {
	if !p.IsSingleIP() || p.Addr().Is4In6() {
		return errors.New("want a /32, or a /128 of IPv6")
	}
	err := add(lo, p, label(vip))
	added := err == nil
	if !added && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("cannot add it to %s: %w%s", device, err, hint(err, p))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	ours := added && a.marks
	if !ours {
		if ours, err = isOurs(lo, p); err != nil {
			return err
		}
	}
	if added && !ours {
		return errors.Join(errors.New("the kernel does not mark addresses as ours: that takes Linux 5.18; without, assign the address by other means"), remove(lo, p))
	}
	if !ours && !a.foreign[p] {
		a.log.Warn("the address of a vip is already there, and not ours: it stays when the vip goes", "vip", vip, "address", p, "device", device)
	}
	if added {
		a.log.Info("the address of a vip was added", "vip", vip, "address", p, "device", device)
	}
	a.marks = a.marks || added
	a.foreign[p] = !ours
	return nil
}

// isOurs says whether an address that is there has our mark.
func isOurs(lo uint32, p netip.Prefix) (bool, error) {
	all, err := list(lo)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(all, func(e entry) bool { return e.prefix == p })
	if i < 0 {
		return false, fmt.Errorf("it is on %s no more, though it was just now; does something else take it away?", device)
	}
	return all[i].ours, nil
}

// Remove takes prefixes of a VIP from the device, those that are ours; others
// are left, and what is not there is no error.
func (a *Addresses) Remove(vip string, prefixes []netip.Prefix) error {
	lo, err := index()
	if err != nil {
		return fmt.Errorf("addresses of vip %q: %w", vip, err)
	}
	ours, err := owned(lo)
	if err != nil {
		return fmt.Errorf("addresses of vip %q: %w", vip, err)
	}
	for _, p := range prefixes {
		if !slices.Contains(ours, p) {
			continue
		}
		if err := remove(lo, p); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("address %s of vip %q: cannot remove it from %s: %w%s", p, vip, device, err, hint(err, p))
		}
	}
	return nil
}

// Owned returns all addresses that are ours, those from before a restart too,
// in order.
func (a *Addresses) Owned() ([]netip.Prefix, error) {
	lo, err := index()
	if err != nil {
		return nil, err
	}
	return owned(lo)
}

func owned(lo uint32) ([]netip.Prefix, error) {
	all, err := list(lo)
	if err != nil {
		return nil, err
	}
	var ours []netip.Prefix
	for _, e := range all {
		if e.ours {
			ours = append(ours, e.prefix)
		}
	}
	slices.SortFunc(ours, netip.Prefix.Compare)
	return ours, nil
}

// hint says what may have kept an address from being changed.
func hint(err error, p netip.Prefix) string {
	switch {
	case errors.Is(err, unix.EPERM):
		return "; it needs root or CAP_NET_ADMIN"
	case errors.Is(err, unix.EACCES) && p.Addr().Is6():
		return "; is IPv6 off? see: sysctl net.ipv6.conf." + device + ".disable_ipv6"
	}
	return ""
}
