// Package beacon has a real browser measure two PoPs. Headless Chromium, two
// nodes that run the real binary and a site with a page are hosts of a network of
// their own (package test/netns). The browser resolves the beacon's names through
// the nodes' DNS; each PoP's measured address is a proxy that holds octets back
// for as long as the PoP is meant to be away. What the page reports becomes
// segments, these become a map, and the map changes the answer for the browser's
// network.
//
// It needs root, iproute2, util-linux and Chromium (.ci/peers), and takes half a
// minute.
package beacon
