package rig

import (
	"fmt"
	"net/netip"
)

// The two networks, as nodes name their links to them.
const (
	Gossip = "gossip"
	Uplink = "uplink"
)

// The switches. Gossip has two, for its two parts when it is split.
const (
	gossipSwitch = "gossip0"
	islandSwitch = "gossip1"
	uplinkSwitch = "uplink0"
)

// network is the switches and what is plugged into them.
type network struct {
	switches *namespace
	hosts    []*namespace
}

func newNetwork() (*network, error) {
	s, err := newNamespace()
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, name := range []string{gossipSwitch, islandSwitch, uplinkSwitch} {
		lines = append(lines, "link add name "+name+" type bridge", "link set dev "+name+" up")
	}
	if err := s.ip(lines...); err != nil {
		s.close()
		return nil, err
	}
	return &network{switches: s}, nil
}

func (n *network) close() {
	for _, h := range n.hosts {
		h.close()
	}
	n.switches.close()
}

// link is one end of a wire to a switch: the name of the host's end, and the
// addresses there.
type link struct {
	name      string
	addresses []netip.Prefix
}

// plug makes a host with links to the networks. Its ports in the switches are
// called like the link and the number.
func (n *network) plug(number int, links ...link) (*namespace, error) {
	h, err := newNamespace()
	if err != nil {
		return nil, err
	}
	n.hosts = append(n.hosts, h)
	inside := []string{"link set dev lo up"}
	var outside []string
	for _, l := range links {
		p := port(l.name, number)
		outside = append(outside,
			fmt.Sprintf("link add name %s type veth peer name %s netns %s", p, l.name, h.path),
			fmt.Sprintf("link set dev %s master %s up", p, switchOf(l.name)))
		for _, a := range l.addresses {
			inside = append(inside, fmt.Sprintf("address add %s dev %s", a, l.name))
		}
		inside = append(inside, "link set dev "+l.name+" up")
	}
	if err := n.switches.ip(outside...); err != nil {
		return nil, err
	}
	return h, h.ip(inside...)
}

func port(link string, number int) string { return fmt.Sprintf("%s-%d", link, number) }

func switchOf(link string) string {
	if link == Gossip {
		return gossipSwitch
	}
	return uplinkSwitch
}

// cut takes a host's port out of its switch: what is sent is lost.
func (n *network) cut(link string, number int) error {
	return n.switches.ip("link set dev " + port(link, number) + " nomaster")
}

// join puts it back, to where all others are.
func (n *network) join(link string, number int) error {
	return n.switches.ip("link set dev " + port(link, number) + " master " + switchOf(link))
}

// part puts a host's gossip port into the other switch.
func (n *network) part(number int) error {
	return n.switches.ip("link set dev " + port(Gossip, number) + " master " + islandSwitch)
}
