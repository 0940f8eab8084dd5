package speaker

import (
	"encoding/binary"
	"slices"
	"testing"

	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// message is a BGP message of a type, as on the wire (RFC 4271, section 4.1).
func message(kind byte, body []byte) []byte {
	m := slices.Repeat([]byte{0xff}, 16)
	m = binary.BigEndian.AppendUint16(m, uint16(19+len(body)))
	return append(append(m, kind), body...)
}

// update is the body of an UPDATE (section 4.3).
func update(withdrawn, attributes, routes []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(withdrawn)))
	b = append(b, withdrawn...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(attributes)))
	return append(append(b, attributes...), routes...)
}

// The attributes that a route needs, and one route: 203.0.113.0/24.
var (
	origin    = []byte{0x40, 1, 1, 0}
	asPath    = []byte{0x40, 2, 6, 2, 1, 0, 0, 0xfb, 0xf4} // 64500
	nextHop   = []byte{0x40, 3, 4, 192, 0, 2, 2}
	someRoute = []byte{24, 203, 0, 113}
)

// malformed are UPDATEs that brought routers down in the past.
var malformed = map[string][]byte{
	"ORIGIN without the transitive flag": update(nil, slices.Concat([]byte{0, 1, 1, 0}, asPath, nextHop), someRoute),
	"an unknown well-known attribute":    update(nil, slices.Concat(origin, asPath, nextHop, []byte{0x40, 99, 1, 0}), someRoute),
	"NEXT_HOP of length 0":               update(nil, slices.Concat(origin, asPath, []byte{0x40, 3, 0}), someRoute),
	"NEXT_HOP of length 3":               update(nil, slices.Concat(origin, asPath, []byte{0x40, 3, 3, 192, 0, 2}), someRoute),
	"AS4_PATH before AS_PATH":            update(nil, slices.Concat(origin, []byte{0xc0, 17, 6, 2, 1, 0, 0, 0xfb, 0xf4}, asPath, nextHop), someRoute),
}

// FuzzUpdate holds that no UPDATE makes GoBGP panic while it is read and judged,
// which would take the whole process with it.
func FuzzUpdate(f *testing.F) {
	for _, body := range malformed {
		f.Add(body)
	}
	f.Add(update(nil, slices.Concat(origin, asPath, nextHop), someRoute))
	f.Add(update(someRoute, nil, nil))
	f.Add(update(nil, slices.Concat(origin, asPath, []byte{0x80, 14, 13, 0, 1, 1, 4, 192, 0, 2, 2, 0}, someRoute), nil))
	f.Add(update(nil, []byte{0x80, 15, 3, 0, 2, 1}, nil))
	both := map[gobgp.Family]gobgp.BGPAddPathMode{gobgp.RF_IPv4_UC: 0, gobgp.RF_IPv6_UC: 0}
	f.Fuzz(func(_ *testing.T, body []byte) {
		if len(body) > gobgp.BGP_MAX_EXTENDED_MESSAGE_LENGTH-gobgp.BGP_HEADER_LENGTH {
			return
		}
		header := &gobgp.BGPHeader{Type: gobgp.BGP_MSG_UPDATE, Len: uint16(len(body)) + gobgp.BGP_HEADER_LENGTH}
		m, err := gobgp.ParseBGPBody(header, slices.Clone(body), &gobgp.MarshallingOption{AddPath: both})
		if m == nil || err != nil {
			return
		}
		_, _ = gobgp.ValidateUpdateMsg(m.Body.(*gobgp.BGPUpdate), both, true, false, false)
		for _, a := range m.Body.(*gobgp.BGPUpdate).PathAttributes {
			_ = a.String()
		}
	})
}
