package maps

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"edged/edge"
)

// Contents is everything a map holds, ready to be written.
type Contents struct {
	PoPs     []edge.PoP
	Inputs   []Input
	Prices   []Pricing  // by PoP; nil: the map says nothing of load
	Created  time.Time  // kept to the second
	Orders   [][]uint16 // each one all PoP indexes in some order
	Rankings []Ranking
	ECS      Table
	Resolver Table // ranges that are the very ones of ECS are written once

	Gate    *Gate    // nil: the map was held against nothing
	Origins *Origins // nil: the map does not say where its numbers come from
}

// Encode returns the bytes of a map file. The same contents give the same
// bytes. It errs when the contents are not a valid map.
func Encode(c *Contents) ([]byte, error) {
	// The directory refers to the bodies by position, so that the resolver
	// table can be that of ECS.
	bodies := [][]byte{
		encodePoPs(c.PoPs), encodeInputs(c.Inputs), encodeOrders(c), encodeRankings(c.Rankings),
		encodeRanges4(c.ECS.V4), encodeRanges6(c.ECS.V6),
	}
	directory := []directoryEntry{
		{sectionPoPs, 0},
		{sectionInputs, 1},
		{sectionOrders, 2},
		{sectionRankings, 3},
		{sectionECS4, 4},
		{sectionECS6, 5},
		{sectionRes4, 4},
		{sectionRes6, 5},
	}
	if c.Resolver.V4 != c.ECS.V4 {
		directory[6].body = len(bodies)
		bodies = append(bodies, encodeRanges4(c.Resolver.V4))
	}
	if c.Resolver.V6 != c.ECS.V6 {
		directory[7].body = len(bodies)
		bodies = append(bodies, encodeRanges6(c.Resolver.V6))
	}
	for _, extra := range []struct {
		name  string
		there bool
		body  func() []byte
	}{
		{sectionPrices, c.Prices != nil, func() []byte { return encodePrices(c.Prices) }},
		{sectionGate, c.Gate != nil, func() []byte { return encodeGate(c.Gate) }},
		{sectionOrigins, c.Origins != nil, func() []byte { return encodeOrigins(c.Origins) }},
	} {
		if extra.there {
			directory = append(directory, directoryEntry{extra.name, len(bodies)})
			bodies = append(bodies, extra.body())
		}
	}

	offsets := make([]int, len(bodies))
	total := headerSize + entrySize*len(directory)
	for i, body := range bodies {
		offsets[i] = total
		total += (len(body) + 7) &^ 7
	}
	b := make([]byte, headerSize, total)
	for _, entry := range directory {
		b = append(b, make([]byte, nameSize)...)
		copy(b[len(b)-nameSize:], entry.name)
		flags := uint64(flagRequired)
		if optional[entry.name] {
			flags = 0
		}
		b = binary.LittleEndian.AppendUint64(b, flags)
		b = binary.LittleEndian.AppendUint64(b, uint64(offsets[entry.body]))
		b = binary.LittleEndian.AppendUint64(b, uint64(len(bodies[entry.body])))
	}
	for _, body := range bodies {
		b = append(b, body...)
		b = append(b, make([]byte, -len(b)&7)...)
	}
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	binary.LittleEndian.PutUint32(b[12:], uint32(len(directory)))
	binary.LittleEndian.PutUint64(b[16:], uint64(len(b)))
	binary.LittleEndian.PutUint64(b[24:], uint64(c.Created.Unix()))
	seal(b)
	if _, err := Parse(b); err != nil {
		return nil, err
	}
	return b, nil
}

// directoryEntry names a section and its body by position.
type directoryEntry struct {
	name string
	body int
}

// seal writes both hashes and the checksum.
func seal(b []byte) {
	content := sha256.Sum256(b[headerSize:])
	copy(b[contentHash:], content[:])
	binary.LittleEndian.PutUint64(b[contentSum:], uint64(checksum(b[headerSize:])))
	header := sha256.Sum256(b[:headerHash])
	copy(b[headerHash:], header[:])
}

func encodePoPs(pops []edge.PoP) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(pops)))
	for _, p := range pops {
		b = appendText(b, p.Name)
		b = appendText(b, p.Continent)
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(p.Lat))
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(p.Lon))
		b = binary.LittleEndian.AppendUint64(b, uint64(p.Capacity))
	}
	return b
}

func encodeInputs(inputs []Input) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(inputs)))
	for _, in := range inputs {
		b = appendText(b, in.Name)
		b = appendText(b, in.Version)
	}
	return b
}

// appendText appends a length in two bytes and the text, which is cut there
// when it is longer than the length can say.
func appendText(b []byte, s string) []byte {
	s = s[:min(len(s), math.MaxUint16)]
	return append(binary.LittleEndian.AppendUint16(b, uint16(len(s))), s...)
}

func encodeOrders(c *Contents) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(c.Orders)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(c.PoPs)))
	for _, order := range c.Orders {
		b = appendArray(b, order)
	}
	return b
}

func encodeRankings(rankings []Ranking) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(rankings)))
	end := uint32(0)
	for _, r := range rankings {
		end += uint32(len(r.Hops))
	}
	b = binary.LittleEndian.AppendUint32(b, end)
	end = 0
	for _, r := range rankings {
		end += uint32(len(r.Hops))
		b = binary.LittleEndian.AppendUint32(b, r.Order)
		b = binary.LittleEndian.AppendUint32(b, end)
	}
	for _, r := range rankings {
		for _, hop := range r.Hops {
			b = binary.LittleEndian.AppendUint16(b, hop.PoP)
			b = binary.LittleEndian.AppendUint16(b, hop.RTT)
		}
	}
	return b
}

func encodeRanges4(r *Ranges4) []byte {
	b := make([]byte, 0, 4+4*len(r.Index)+6*len(r.Rows))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Rows)))
	b = appendArray(b, r.Index)
	b = appendArray(b, r.Rows)
	return appendArray(b, r.Starts)
}

func encodeRanges6(r *Ranges6) []byte {
	b := make([]byte, 0, 8+12*len(r.Rows)+20*len(r.Exceptions))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Rows)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Exceptions)))
	b = appendArray(b, r.Starts)
	for _, e := range r.Exceptions {
		b = binary.LittleEndian.AppendUint64(b, e.Hi)
		b = binary.LittleEndian.AppendUint64(b, e.Lo)
	}
	b = appendArray(b, r.Rows)
	for _, e := range r.Exceptions {
		b = binary.LittleEndian.AppendUint32(b, uint32(e.Row))
	}
	return b
}

// WriteFile writes a map so that whoever opens the path sees the old file or
// the whole new one, also after a power cut: it writes beside, syncs, renames,
// and syncs the folder.
func WriteFile(path string, data []byte) error {
	if err := edge.ReplaceFile(path, data, 0o644); err != nil {
		return fmt.Errorf("cannot write %q: %w", path, err)
	}
	return nil
}
