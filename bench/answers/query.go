//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"math/rand/v2"
	"os"
)

// The two names that are asked for. Their letters come in random case on the
// wire, as resolvers send them against forgery.
const (
	dynamicName = "www.example.com"
	staticName  = "static.example.com"
)

// query is one question, ready to be sent; its id is in the first two octets.
type query struct {
	wire  []byte
	block uint32 // the client's /24, as its upper 24 bits
	ecs   bool   // false: the static name, without a client subnet
}

// makeQueries returns n questions of which tenths in ten are for the dynamic
// name with a client subnet out of the data, in random order. The id of the i-th
// is i modulo 65536.
func makeQueries(d *data, n, tenths int, seed uint64) []query {
	rng := rand.New(rand.NewPCG(seed, 1))
	list := make([]query, n)
	arena := make([]byte, 0, n*96) // one allocation, walked in order by the loader
	for i := range list {
		q := query{ecs: rng.IntN(10) < tenths}
		if q.ecs {
			q.block = d.asked[i%len(d.asked)]
		}
		start := len(arena)
		arena = append(arena, buildQuery(uint16(i), q, rng)...)
		q.wire = arena[start:len(arena):len(arena)]
		list[i] = q
	}
	return list
}

// buildQuery lays the question out: type A, an OPT record of 1232 octets, and
// for the dynamic name a client subnet of /24.
func buildQuery(id uint16, q query, rng *rand.Rand) []byte {
	name := staticName
	if q.ecs {
		name = dynamicName
	}
	b := binary.BigEndian.AppendUint16(nil, id)
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1)
	start := len(b)
	b = append(b, 0)
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '.':
			start = len(b)
			b = append(b, 0)
		default:
			if rng.IntN(2) == 0 {
				c &^= 0x20
			}
			b = append(b, c)
			b[start]++
		}
	}
	b = append(b, 0, 0, 1, 0, 1)
	b = append(b, 0, 0, 41, 1232>>8, 1232&0xff, 0, 0, 0, 0)
	if !q.ecs {
		return append(b, 0, 0)
	}
	return append(b, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0, byte(q.block>>16), byte(q.block>>8), byte(q.block))
}

// writeQueryFile writes the questions as dnsperf -B reads them: each behind two
// octets of length, as on a TCP stream.
func writeQueryFile(path string, list []query) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for _, q := range list {
		w.Write(binary.BigEndian.AppendUint16(nil, uint16(len(q.wire))))
		w.Write(q.wire)
	}
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
