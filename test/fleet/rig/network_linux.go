package rig

import (
	"net/netip"

	"edged/test/netns"
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

func gossip(at ...netip.Prefix) netns.Link {
	return netns.Link{Name: Gossip, Switch: gossipSwitch, Addresses: at}
}

func uplink(at ...netip.Prefix) netns.Link {
	return netns.Link{Name: Uplink, Switch: uplinkSwitch, Addresses: at}
}
