package lab

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"edged/test/netns"
)

// Kind is a program that routes.
type Kind string

// The kinds of routers.
const (
	BIRD   Kind = "bird"
	FRR    Kind = "frr"
	ExaBGP Kind = "exabgp" // knows routes, but not the kernel: this package does that for it
)

// programs are what each kind needs.
var programs = map[Kind][]string{
	BIRD:   {"bird", "birdc"},
	FRR:    {"/usr/lib/frr/zebra", "/usr/lib/frr/bgpd", "vtysh"},
	ExaBGP: {"exabgp"},
}

func (k Kind) installed() error {
	all, ok := programs[k]
	if !ok {
		return fmt.Errorf("unknown router %q: want bird, frr or exabgp", k)
	}
	for _, name := range all {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("router %s: %w; see .ci/peers", k, err)
		}
	}
	return nil
}

// gtsm says whether the kind can demand it of those that connect to it.
func (k Kind) gtsm() bool { return k != ExaBGP }

// Router is the router, running or not.
type Router struct {
	*netns.Host
	Dir string

	kind   Kind
	config *Config
	bird   process
	frr    []process // zebra and bgpd
	exabgp *exabgp
}

// GracefulShutdown is that community (RFC 8326).
const GracefulShutdown = "65535:0"

// Backup is a community by which BIRD here takes a path for a second choice.
const Backup = "64512:666"

// Path is a route as the router has it from one edge.
type Path struct {
	Edge        string
	Communities []string // such as 64512:100, sorted
	ASPath      int      // its length
	MED         uint32
	LocalPref   uint32
}

// String gives the path in words.
func (p Path) String() string {
	return fmt.Sprintf("%s: communities %v, path of %d, MED %d, local preference %d", p.Edge, p.Communities, p.ASPath, p.MED, p.LocalPref)
}

// Session is a BGP session as the router sees it.
type Session struct {
	Edge  string
	IPv6  bool
	Up    bool
	Since time.Time // when it last came up or went down: the time of day
}

// Start starts the router, and returns when it takes sessions.
func (r *Router) Start() error {
	switch r.kind {
	case FRR:
		return r.startFRR()
	case ExaBGP:
		return r.startExaBGP()
	default:
		return r.startBIRD()
	}
}

// Stop ends the router in order: it closes its sessions, and takes its routes
// out of the kernel.
func (r *Router) Stop() error {
	const limit = 10 * time.Second
	switch r.kind {
	case FRR:
		return r.stopFRR(limit)
	case ExaBGP:
		return r.exabgp.stop(limit)
	default:
		_, err := r.bird.Stop(limit)
		return err
	}
}

// Kill ends the router as kill -9 does.
func (r *Router) Kill() {
	r.bird.Kill()
	for i := range r.frr {
		r.frr[i].Kill()
	}
	if r.exabgp != nil {
		r.exabgp.kill()
	}
}

// Paths returns all paths that the router has of a prefix and does not refuse,
// in the order of the edges' names.
func (r *Router) Paths(prefix netip.Prefix) (paths []Path, err error) {
	switch r.kind {
	case FRR:
		paths, err = r.pathsFRR(prefix)
	case ExaBGP:
		paths = r.exabgp.paths(prefix)
	default:
		paths, err = r.pathsBIRD(prefix)
	}
	slices.SortFunc(paths, func(a, b Path) int { return strings.Compare(a.Edge, b.Edge) })
	return paths, err
}

// PathFrom returns the one from an edge, and false when there is none.
func (r *Router) PathFrom(prefix netip.Prefix, e *Edge) (Path, bool, error) {
	paths, err := r.Paths(prefix)
	i := slices.IndexFunc(paths, func(p Path) bool { return p.Edge == e.Name })
	if i < 0 {
		return Path{}, false, err
	}
	return paths[i], true, err
}

// edgeAt returns the name of the edge with an address on the fabric.
func edgeAt(a netip.Addr) string {
	base, first := router4, byte(10)
	if a.Is6() {
		base, first = router6, 0x10
	}
	octets := a.AsSlice()
	if len(octets) == 0 || !base.Contains(a) || octets[len(octets)-1] <= first {
		return ""
	}
	return fmt.Sprintf("e%d", octets[len(octets)-1]-first)
}

func (r *Router) file(name string) string { return filepath.Join(r.Dir, name) }

// Until tries until f returns nil, and returns the last error when it does not
// within a limit.
func Until(limit time.Duration, f func() error) error {
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		err := f()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("not within %s: %w", limit, err)
		}
	}
}
