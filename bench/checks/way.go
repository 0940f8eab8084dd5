//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"edged/health"
	"edged/health/probe"
)

// way is one way to probe.
type way struct {
	name string
	asks bool // the server sees its probes
	open func(health.Target) (probe.Prober, error)
}

// ways are in the order of what they cost.
var ways = []way{
	{"nothing: the scheduler alone", false, func(health.Target) (probe.Prober, error) { return nothing{}, nil }},
	{"bare socket, reply not parsed", true, func(t health.Target) (probe.Prober, error) { return newBare(t), nil }},
	{"http check", true, func(t health.Target) (probe.Prober, error) { return probe.New(t, probe.Options{}) }},
}

type nothing struct{}

func (nothing) Probe(context.Context) health.Result { return health.Result{} }
func (nothing) Close()                              {}

// bare writes the same request again and again, and reads until the body has
// come.
type bare struct {
	address string
	timeout time.Duration
	request []byte
	reply   [512]byte
	conn    net.Conn
}

func newBare(t health.Target) *bare {
	address := netip.AddrPortFrom(t.Address, t.Check.Port).String()
	return &bare{
		address: address, timeout: t.Check.Timeout,
		request: fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", t.Check.Path, address),
	}
}

func (b *bare) Probe(context.Context) health.Result {
	if err := b.probe(); err != nil {
		b.Close()
		b.conn = nil
		return health.Result{Outcome: health.Silent, Reason: err.Error()}
	}
	return health.Result{}
}

func (b *bare) probe() (err error) {
	if b.conn == nil {
		if b.conn, err = net.DialTimeout("tcp", b.address, b.timeout); err != nil {
			return err
		}
	}
	b.conn.SetDeadline(time.Now().Add(b.timeout))
	if _, err := b.conn.Write(b.request); err != nil {
		return err
	}
	for n := 0; ; {
		more, err := b.conn.Read(b.reply[n:])
		if err != nil {
			return err
		}
		if n += more; bytes.HasSuffix(b.reply[:n], []byte(body)) {
			return nil
		}
	}
}

func (b *bare) Close() {
	if b.conn != nil {
		b.conn.Close()
	}
}
