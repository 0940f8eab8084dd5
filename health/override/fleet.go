package override

import (
	"net/netip"

	"edged/edge"
)

// Endpoint is an address that serves a pool in a PoP.
type Endpoint struct {
	Pool    string     `json:"pool"`
	PoP     string     `json:"pop"`
	Node    string     `json:"node,omitempty"` // the member that serves at the address; empty: none does
	Address netip.Addr `json:"address"`
}

// Node is a machine of the fleet.
type Node struct{ Name, PoP string }

// Fleet is what targets and rules are judged against. All nodes must have the
// same, as they have one configuration. It is read-only once handed over.
type Fleet struct {
	PoPs      []edge.PoP
	Nodes     []Node
	Endpoints []Endpoint
}
