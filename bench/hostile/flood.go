package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// Packets are drawn from a stock, and each is made anew after some uses: making
// one costs more than sending it.
const (
	stockSize = 8192
	usesEach  = 16
)

// floodUDP sends bad packets as fast as one goroutine can until ctx ends, and
// counts them by kind. Replies are left in the socket for the kernel to drop. It
// changes its socket now and then, for another source port.
func floodUDP(ctx context.Context, server netip.AddrPort, from string, rng *rand.Rand, sent []atomic.Int64) error {
	var conn net.Conn
	stock := make([][]byte, stockSize)
	for i := range stock {
		stock[i] = attacks[i%len(attacks)].make(rng)
	}
	for i := 0; ctx.Err() == nil; i++ {
		if i%50000 == 0 {
			if conn != nil {
				conn.Close()
			}
			var err error
			d := &net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}
			if conn, err = d.DialContext(ctx, "udp", server.String()); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
		}
		at := rng.IntN(len(stock))
		kind := at % len(attacks)
		conn.Write(stock[at])
		sent[kind].Add(1)
		if i%usesEach == 0 {
			stock[at] = attacks[kind].make(rng)
		}
	}
	if conn != nil {
		conn.Close()
	}
	return nil
}

// slow is one way for a connection to be a burden: what it writes next, and how
// long it then waits. A nil slice writes nothing.
type slow struct {
	name string
	next func(rng *rand.Rand, i int) ([]byte, time.Duration)
}

var slows = []slow{
	{"silent", func(*rand.Rand, int) ([]byte, time.Duration) { return nil, time.Second }},
	{"one octet at a time", func(rng *rand.Rand, i int) ([]byte, time.Duration) {
		q := frame(goodQuery(rng))
		return q[i%len(q) : i%len(q)+1], 200 * time.Millisecond
	}},
	{"half a frame", func(rng *rand.Rand, i int) ([]byte, time.Duration) {
		if i > 0 {
			return nil, time.Second
		}
		q := frame(goodQuery(rng))
		return q[:len(q)/2], time.Second
	}},
	{"largest frame announced", func(_ *rand.Rand, i int) ([]byte, time.Duration) {
		if i == 0 {
			return []byte{0xff, 0xff}, 100 * time.Millisecond
		}
		return make([]byte, 64), 500 * time.Millisecond
	}},
	{"empty frames", func(*rand.Rand, int) ([]byte, time.Duration) { return make([]byte, 512), 100 * time.Millisecond }},
	{"bad frames", func(rng *rand.Rand, _ int) ([]byte, time.Duration) {
		return frame(pick(rng, attacks).make(rng)), 20 * time.Millisecond
	}},
	{"asks and never reads", func(rng *rand.Rand, _ int) ([]byte, time.Duration) {
		var b []byte
		for range 100 {
			b = append(b, frame(goodQuery(rng))...)
		}
		return b, 10 * time.Millisecond
	}},
	{"random octets", func(rng *rand.Rand, _ int) ([]byte, time.Duration) { return noise(rng, 300), 50 * time.Millisecond }},
}

// floodTCP keeps one slow connection open until ctx ends, and opens another when
// edged closes it. It counts the connections by kind.
func floodTCP(ctx context.Context, server netip.AddrPort, id int, rng *rand.Rand, opened []atomic.Int64) {
	kind := id % len(slows)
	// Many sources, so that the limit per client is not what holds them back.
	from := net.ParseIP(fmt.Sprintf("127.0.%d.%d", 3+id/200/50, 1+id/50%200))
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: time.Second}
	for pause(ctx, 50*time.Millisecond) {
		conn, err := d.DialContext(ctx, "tcp", server.String())
		if err != nil {
			continue
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetReadBuffer(2048)
		}
		opened[kind].Add(1)
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		for i := 0; ; i++ {
			b, wait := slows[kind].next(rng, i)
			conn.SetWriteDeadline(time.Now().Add(time.Second))
			if len(b) > 0 {
				if _, err := conn.Write(b); err != nil {
					break
				}
			}
			if !pause(ctx, wait) || b == nil && closedByPeer(conn) {
				break
			}
		}
		stop()
		conn.Close()
	}
}

// closedByPeer looks whether a connection that sends nothing is still there.
func closedByPeer(conn net.Conn) bool {
	conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := conn.Read(make([]byte, 512))
	t, ok := err.(net.Error)
	return err != nil && !(ok && t.Timeout())
}
