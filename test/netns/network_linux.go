package netns

import (
	"fmt"
	"net/netip"
)

// Network is switches, and the hosts that are plugged into them.
type Network struct {
	switches *Namespace
	hosts    []*Host
	lossy    []*Lossy
}

// NewNetwork makes switches of these names, each of at most 15 bytes.
func NewNetwork(switches ...string) (*Network, error) {
	s, err := New()
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, name := range switches {
		// A snooping bridge holds neighbour discovery back until it has heard a querier.
		lines = append(lines, "link add name "+name+" type bridge mcast_snooping 0", "link set dev "+name+" up")
	}
	if err := s.IP(lines...); err != nil {
		s.Close()
		return nil, err
	}
	return &Network{switches: s}, nil
}

// Close closes all hosts, and the switches.
func (n *Network) Close() {
	for _, l := range n.lossy {
		l.close()
	}
	for _, h := range n.hosts {
		h.Close()
	}
	n.switches.Close()
}

// Link is a wire from a host to a switch.
type Link struct {
	Name      string         // of the host's end; at most 11 bytes
	Switch    string         // one of the network's
	Addresses []netip.Prefix // of the host's end
}

// Host is a namespace with links.
type Host struct {
	*Namespace
	network *Network
	number  int
	home    map[string]string // the switch of each link
}

// Plug makes a host with links, all up, as is its lo. IPv6 addresses are usable
// at once: nothing looks for duplicates.
func (n *Network) Plug(links ...Link) (*Host, error) {
	inside, err := New()
	if err != nil {
		return nil, err
	}
	h := &Host{Namespace: inside, network: n, number: len(n.hosts), home: map[string]string{}}
	n.hosts = append(n.hosts, h)
	ends := []string{"link set dev lo up"}
	var ports []string
	for _, l := range links {
		if len(h.port(l.Name)) > 15 {
			return nil, fmt.Errorf("link %q: its port %q would have a name of more than 15 bytes", l.Name, h.port(l.Name))
		}
		h.home[l.Name] = l.Switch
		ports = append(ports,
			fmt.Sprintf("link add name %s type veth peer name %s netns %s", h.port(l.Name), l.Name, h.Path()),
			fmt.Sprintf("link set dev %s master %s up", h.port(l.Name), l.Switch))
		for _, a := range l.Addresses {
			line := fmt.Sprintf("address add %s dev %s", a, l.Name)
			if a.Addr().Is6() {
				line += " nodad" // else it could not be bound at first
			}
			ends = append(ends, line)
		}
		ends = append(ends, "link set dev "+l.Name+" up")
	}
	if err := n.switches.IP(ports...); err != nil {
		return nil, err
	}
	return h, h.IP(ends...)
}

// port is the switch's end of a link.
func (h *Host) port(link string) string { return fmt.Sprintf("%s-%d", link, h.number) }

// Cut takes a link out of its switch: what is sent is lost.
func (h *Host) Cut(link string) error {
	return h.network.switches.IP("link set dev " + h.port(link) + " nomaster")
}

// Join puts a link back where it was plugged in first.
func (h *Host) Join(link string) error { return h.Move(link, h.home[link]) }

// Move puts a link into another switch, where it meets only what is there.
func (h *Host) Move(link, to string) error {
	return h.network.switches.IP("link set dev " + h.port(link) + " master " + to)
}
