package probe

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"edged/health"
)

// Prober checks one target. It is for one goroutine at a time.
type Prober interface {
	// Probe checks once and returns within the check's timeout. When ctx ends
	// first, the result is Skipped.
	Probe(ctx context.Context) health.Result
	// Close drops what is kept between probes. No probe may run.
	Close()
}

// Options are what the probers of a node have in common. The zero value is ready
// for use.
type Options struct {
	// Dial connects to an address; nil: net.Dialer does. A node that must check
	// from one of its addresses sets it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Roots are the authorities that certificates are verified by; nil: the
	// system's.
	Roots *x509.CertPool
	// Keep is for how long a connection is kept, at most, and half of that at
	// least; 0: a minute.
	Keep time.Duration
}

// New returns the prober of a target. It errs on a check that no prober can
// make, whatever the peer does: an unknown kind, type or rcode, no address, a
// path that is not absolute.
func New(t health.Target, o Options) (Prober, error) {
	if o.Dial == nil {
		o.Dial = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	if o.Keep == 0 {
		o.Keep = time.Minute
	}
	w, err := newWay(t, o)
	if err != nil {
		return nil, fmt.Errorf("check of kind %q: %w", t.Check.Kind, err)
	}
	return &prober{way: w, timeout: t.Check.Timeout}, nil
}

func newWay(t health.Target, o Options) (way, error) {
	kind := t.Check.Kind
	if !t.Address.IsValid() && kind != health.Exec && kind != health.External {
		return nil, errors.New("no address to check")
	}
	switch kind {
	case health.HTTP, health.HTTPS:
		return newPage(t, o)
	case health.TCP:
		return newStream(t, o), nil
	case health.DNS:
		return newQuery(t, o)
	case health.GRPC:
		return newService(t, o)
	case health.ICMP:
		return newEcho(t), nil
	case health.Exec:
		return newCommand(t)
	case health.External:
		return newSource(t, o)
	}
	return nil, errors.New("unknown kind")
}

// way is how one kind of check is made. attempt returns nil when the target
// passed; explain turns its other errors into outcomes.
type way interface {
	attempt(ctx context.Context) error
	close()
}

// prober puts a time limit around a way and words to its errors.
type prober struct {
	way
	timeout time.Duration
}

func (p *prober) Probe(ctx context.Context) health.Result {
	start := time.Now()
	limited, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	err := p.attempt(limited)
	took := time.Since(start)
	outcome, reason := judge(ctx, err, p.timeout)
	return health.Result{Outcome: outcome, Reason: reason, Took: took}
}

func (p *prober) Close() { p.close() }
