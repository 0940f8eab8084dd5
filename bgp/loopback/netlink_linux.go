package loopback

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ifaProto is IFA_PROTO, which the package unix does not name.
const ifaProto = 11

// entry is an address of the device.
type entry struct {
	prefix netip.Prefix
	ours   bool
}

// index returns the device's index.
func index() (uint32, error) {
	lo, err := net.InterfaceByName(device)
	if err != nil {
		return 0, fmt.Errorf("device %s: %w", device, err)
	}
	if lo.Flags&net.FlagUp == 0 {
		return 0, fmt.Errorf("device %s is down; try: ip link set %s up", device, device)
	}
	return uint32(lo.Index), nil
}

// message is the address as both requests have it.
func message(request *nl.NetlinkRequest, index uint32, p netip.Prefix) {
	family := unix.AF_INET
	if p.Addr().Is6() {
		family = unix.AF_INET6
	}
	head := nl.NewIfAddrmsg(family)
	head.Index, head.Prefixlen = index, uint8(p.Bits())
	request.AddData(head)
	request.AddData(nl.NewRtAttr(unix.IFA_LOCAL, p.Addr().AsSlice()))
	request.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, p.Addr().AsSlice()))
}

// add adds an address with our mark. It errs with EEXIST when it is there.
func add(index uint32, p netip.Prefix, label string) error {
	request := nl.NewNetlinkRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	message(request, index, p)
	flags := uint32(unix.IFA_F_NOPREFIXROUTE)
	if p.Addr().Is6() {
		flags |= unix.IFA_F_NODAD // others have it too: that is what it is for
	} else {
		request.AddData(nl.NewRtAttr(unix.IFA_LABEL, nl.ZeroTerminated(label)))
	}
	request.AddData(nl.NewRtAttr(unix.IFA_FLAGS, binary.NativeEndian.AppendUint32(nil, flags)))
	request.AddData(nl.NewRtAttr(ifaProto, []byte{Protocol}))
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// remove removes an address.
func remove(index uint32, p netip.Prefix) error {
	request := nl.NewNetlinkRequest(unix.RTM_DELADDR, unix.NLM_F_ACK)
	message(request, index, p)
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// list returns all addresses of the device.
func list(index uint32) ([]entry, error) {
	for tries := 0; ; tries++ {
		request := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
		request.AddData(nl.NewIfAddrmsg(unix.AF_UNSPEC))
		messages, err := request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
		if errors.Is(err, nl.ErrDumpInterrupted) && tries < 10 { // something changed meanwhile
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list the addresses of %s: %w", device, err)
		}
		var all []entry
		for _, m := range messages {
			if e, at, ok := parse(m); ok && at == index {
				all = append(all, e)
			}
		}
		return all, nil
	}
}

// parse reads an address from the kernel's message, and of which device it is.
// ok is false for families other than IPv4 and IPv6.
func parse(m []byte) (e entry, index uint32, ok bool) {
	if len(m) < unix.SizeofIfAddrmsg {
		return entry{}, 0, false
	}
	head := nl.DeserializeIfAddrmsg(m)
	attributes, err := nl.ParseRouteAttr(m[head.Len():])
	if err != nil {
		return entry{}, 0, false
	}
	var addr, local netip.Addr // IPv6 has no local one, unless it is a peer's
	for _, a := range attributes {
		switch a.Attr.Type {
		case unix.IFA_ADDRESS:
			addr, _ = netip.AddrFromSlice(a.Value)
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(a.Value)
		case ifaProto:
			e.ours = len(a.Value) == 1 && a.Value[0] == Protocol
		}
	}
	if local.IsValid() {
		addr = local
	}
	e.prefix = netip.PrefixFrom(addr, int(head.Prefixlen))
	return e, head.Index, e.prefix.IsValid()
}
