package main

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
)

// attack is one kind of bad packet.
type attack struct {
	name string
	make func(rng *rand.Rand) []byte
}

// attacks are all kinds, each sent equally often. None returns more than 65,507
// octets, the most that fits a datagram.
var attacks = []attack{
	{"bits flipped", func(rng *rand.Rand) []byte {
		b := goodQuery(rng)
		for range 1 + rng.IntN(8) {
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		}
		return b
	}},
	{"octets replaced", func(rng *rand.Rand) []byte {
		b := goodQuery(rng)
		for range 1 + rng.IntN(6) {
			b[2+rng.IntN(len(b)-2)] = byte(rng.Uint32())
		}
		return b
	}},
	{"truncated", func(rng *rand.Rand) []byte {
		b := goodQuery(rng)
		return b[:rng.IntN(len(b))]
	}},
	{"extended", func(rng *rand.Rand) []byte {
		return append(goodQuery(rng), noise(rng, 1+rng.IntN(1200))...)
	}},
	{"spliced", func(rng *rand.Rand) []byte {
		a, b := goodQuery(rng), goodQuery(rng)
		return append(a[:rng.IntN(len(a))], b[rng.IntN(len(b)):]...)
	}},
	{"random octets", func(rng *rand.Rand) []byte { return noise(rng, rng.IntN(600)) }},
	{"random body", func(rng *rand.Rand) []byte { return append(header(rng, 0, 1, 0, 0, 1), noise(rng, rng.IntN(300))...) }},
	{"largest datagram", func(rng *rand.Rand) []byte { return append(goodQuery(rng), make([]byte, 9000)...) }},
	{"counts that lie", func(rng *rand.Rand) []byte {
		b := goodQuery(rng)
		for off := 4; off < 12; off += 2 {
			if rng.IntN(2) == 0 {
				binary.BigEndian.PutUint16(b[off:], uint16(rng.Uint32()))
			}
		}
		return b
	}},
	{"pointer loop", func(rng *rand.Rand) []byte {
		b := header(rng, 0, 1, 0, 0, 0)
		for range rng.IntN(5) {
			b = append(b, 1, 'a')
		}
		return append(b, 0xc0, byte(12+rng.IntN(len(b)-11)), 0, 1, 0, 1)
	}},
	{"pointers in records", func(rng *rand.Rand) []byte {
		b := append(header(rng, 0, 1, 0, 0, 200), question("www.example.com", 1, 1)...)
		for range 200 {
			b = append(b, 0xc0, byte(rng.IntN(256)), 0, 41, 4, 208, 0, 0, 0, 0, 0, 0)
		}
		return b
	}},
	{"reserved labels", func(rng *rand.Rand) []byte {
		b := append(header(rng, 0, 1, 0, 0, 0), byte(0x40+rng.IntN(0x80)))
		return append(b, noise(rng, 40)...)
	}},
	{"long names", func(rng *rand.Rand) []byte {
		label := strings.Repeat("x", 1+rng.IntN(63))
		return append(header(rng, 0, 1, 0, 0, 0), question(strings.Repeat(label+".", 1+rng.IntN(12))+"example.com", 1, 1)...)
	}},
	{"many labels", func(rng *rand.Rand) []byte {
		return append(header(rng, 0, 1, 0, 0, 0), question(strings.Repeat("a.", 100+rng.IntN(40))+"example.com", 1, 1)...)
	}},
	{"many questions", func(rng *rand.Rand) []byte {
		b := header(rng, 0, 60, 0, 0, 0)
		return append(b, bytes.Repeat(question("www.example.com", 1, 1), 60)...)
	}},
	{"huge OPT", func(rng *rand.Rand) []byte {
		return withOPT(rng, uint8(0), option(uint16(rng.Uint32()), noise(rng, rng.IntN(4000))))
	}},
	{"many options", func(rng *rand.Rand) []byte {
		var all []byte
		for range 1 + rng.IntN(300) {
			all = append(all, option(uint16(rng.IntN(20)), noise(rng, rng.IntN(6)))...)
		}
		return withOPT(rng, 0, all)
	}},
	{"options that lie", func(rng *rand.Rand) []byte {
		o := option(uint16(rng.IntN(16)), noise(rng, rng.IntN(20)))
		binary.BigEndian.PutUint16(o[2:], uint16(rng.Uint32()))
		return withOPT(rng, 0, o)
	}},
	{"client subnets", func(rng *rand.Rand) []byte { return withOPT(rng, 0, option(8, noise(rng, rng.IntN(24)))) }},
	{"cookies", func(rng *rand.Rand) []byte { return withOPT(rng, 0, option(10, noise(rng, rng.IntN(48)))) }},
	{"EDNS versions", func(rng *rand.Rand) []byte { return withOPT(rng, byte(rng.Uint32()), nil) }},
	{"opcodes and flags", func(rng *rand.Rand) []byte {
		b := goodQuery(rng)
		b[2], b[3] = byte(rng.Uint32())&0x7f, byte(rng.Uint32())
		return b
	}},
	{"types and classes", func(rng *rand.Rand) []byte {
		return append(header(rng, 0, 1, 0, 0, 0), question(pick(rng, names), uint16(rng.Uint32()), pick(rng, []uint16{1, 1, 3, 254, 255, 999}))...)
	}},
	{"transfers", func(rng *rand.Rand) []byte {
		return append(header(rng, 0, 1, 0, 0, 0), question("example.com", uint16(251+rng.IntN(5)), 1)...)
	}},
	{"TSIG", func(rng *rand.Rand) []byte {
		b := append(header(rng, 0, 1, 0, 0, 1), question(pick(rng, names), 252, 1)...)
		b = append(b, 3, 'k', 'e', 'y', 0, 0, 250, 0, 255, 0, 0, 0, 0)
		rdata := noise(rng, rng.IntN(80))
		return append(binary.BigEndian.AppendUint16(b, uint16(len(rdata))), rdata...)
	}},
	{"replies", func(rng *rand.Rand) []byte {
		b := goodQuery(rng)
		b[2] |= 0x80
		return b
	}},
	{"names that do not exist", func(rng *rand.Rand) []byte {
		return append(header(rng, 0, 1, 0, 0, 0), question(randomLabel(rng)+"."+pick(rng, names), 1, 1)...)
	}},
	{"empty", func(*rand.Rand) []byte { return nil }},
}

// names are what good questions, and most bad ones, are about.
var names = []string{"www.example.com", "example.com", "static.example.com", "a.wild.example.com", "x.sub.example.com", "alias.example.com", "old.example.com"}

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

func noise(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func randomLabel(rng *rand.Rand) string {
	b := make([]byte, 1+rng.IntN(30))
	for i := range b {
		b[i] = byte('a' + rng.IntN(26))
	}
	return string(b)
}

// header returns a query header with a random id and these counts.
func header(rng *rand.Rand, flags uint16, counts ...uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(rng.Uint32()))
	b = binary.BigEndian.AppendUint16(b, flags)
	for _, n := range counts {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}

// question lays one question out. The name is not checked: it may be too long.
func question(name string, qtype, class uint16) []byte {
	var b []byte
	for _, label := range strings.Split(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, qtype)
	return binary.BigEndian.AppendUint16(b, class)
}

func option(code uint16, data []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, code)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
}

// withOPT returns a query for the dynamic name with these options.
func withOPT(rng *rand.Rand, version byte, options []byte) []byte {
	b := append(header(rng, 0, 1, 0, 0, 1), question("www.example.com", 1, 1)...)
	b = append(b, 0, 0, 41, 4, 208, 0, version, 0, 0)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(options))), options...)
}

// goodQuery returns a query that nothing is wrong with, as the seed of bad ones.
func goodQuery(rng *rand.Rand) []byte {
	name, qtype := pick(rng, names), pick(rng, []uint16{1, 28, 65, 16, 15, 2, 6, 255, 33})
	if rng.IntN(3) == 0 {
		return append(header(rng, 0x100, 1, 0, 0, 0), question(name, qtype, 1)...)
	}
	options := []byte(nil)
	if rng.IntN(2) == 0 {
		options = append(options, option(8, append([]byte{0, 1, 24, 0}, noise(rng, 3)...))...)
	}
	if rng.IntN(3) == 0 {
		options = append(options, option(10, noise(rng, 8))...)
	}
	b := append(header(rng, 0x100, 1, 0, 0, 1), question(name, qtype, 1)...)
	b = append(b, 0, 0, 41, 4, 208, 0, 0, 0, 0)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(options))), options...)
}
