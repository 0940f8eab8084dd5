package gossip

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// pace is how fast a mesh lives. Tests on real clocks use a faster one.
type pace struct {
	probe, probeTimeout time.Duration // of one other node in turn
	gossip              time.Duration // between two rounds of broadcasts
	pushPull            time.Duration // between two exchanges of the whole state
	stream              time.Duration // until a stream is given up
	reclaim             time.Duration // after a death, until its name may come from elsewhere
	joinFirst, joinMost time.Duration // between attempts to join: while alone, doubling, and at most
	repairs             bucket        // exchanges asked for by Repair
	repairGap           time.Duration // least time between two of them
}

// suspicious is the score of memberlist's (0 to 7) from which a node suspects
// itself; 2 where there are fewer than three others. Simulated, a node that is
// cut off from two others gets to 2 in 8 s, and from four or more to 3 in 4 s;
// two that die of five or of eight bring nobody to 3, and 30 % loss brings nobody
// above 0.
const suspicious = 3

// production is for nodes that are continents apart. All see a crash after some
// 25 s, two at once within two minutes, and a broadcast within a second. Twice the probe's timeout and a round
// trip fit in its interval: else the word of others that they do not reach a node
// either comes too late, and all who probe a dead node suspect themselves.
var production = pace{
	probe:        2 * time.Second,
	probeTimeout: 700 * time.Millisecond,
	gossip:       250 * time.Millisecond,
	pushPull:     30 * time.Second,
	stream:       10 * time.Second,
	reclaim:      time.Minute,
	joinFirst:    time.Second,
	joinMost:     30 * time.Second,
	repairs:      bucket{size: 3, every: 10 * time.Second},
	repairGap:    time.Second,
}

// settings returns memberlist's, but for names, keys and hooks.
func (p *pace) settings() *memberlist.Config {
	c := memberlist.DefaultWANConfig()
	c.ProbeInterval, c.ProbeTimeout = p.probe, p.probeTimeout
	c.GossipInterval, c.GossipNodes = p.gossip, 4
	c.PushPullInterval = p.pushPull
	c.TCPTimeout = p.stream
	c.DeadNodeReclaimTime = p.reclaim
	c.GossipToTheDeadTime = 30 * p.probe
	c.SuspicionMult = 5
	c.IndirectChecks = 4
	c.UDPBufferSize = 1200 // fits tunnels
	c.RequireNodeNames = true
	// What is carried is signatures and hashes, and the compressor clears 64 KiB
	// for each packet.
	c.EnableCompression = false
	return c
}

// ipNet returns a prefix as memberlist takes it.
func ipNet(p netip.Prefix) net.IPNet {
	p = p.Masked()
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// dice jitters durations, so that nodes started together do not stay in step.
type dice struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func newDice() *dice {
	return &dice{rng: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
}

// around returns a duration between three quarters and five quarters of d.
func (r *dice) around(d time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return d*3/4 + time.Duration(r.rng.Int64N(int64(d)/2+1))
}
