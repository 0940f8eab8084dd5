package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edged/test/netns"
)

// Change is a prefix getting other next hops in the router's kernel.
type Change struct {
	At     time.Time
	Prefix netip.Prefix
	Edges  []string // the next hops, sorted; none: no route
}

// String gives the change in words.
func (c Change) String() string {
	return fmt.Sprintf("%s %s -> %s", c.At.Format("15:04:05.000000"), c.Prefix, strings.Join(c.Edges, " "))
}

// FIB follows the forwarding table of the router: every change of a route to a
// VIP, with the time at which the kernel told of it.
type FIB struct {
	done chan struct{}

	mu      sync.Mutex                // guards the rest
	changes []Change                  // all that there ever were, in order
	edges   map[netip.Prefix][]string // now
	changed chan struct{}             // closed at the next change
	broken  error
}

// fibBuffer holds what the kernel tells while this process does not listen, in
// octets; a thousand routes at once are more than the kernel's default holds.
const fibBuffer = 8 << 20

func watchFIB(h *netns.Host) (*FIB, error) {
	f := &FIB{done: make(chan struct{}), edges: map[netip.Prefix][]string{}, changed: make(chan struct{})}
	updates := make(chan netlink.RouteUpdate, 4096)
	err := h.Do(func() error {
		return netlink.RouteSubscribeWithOptions(updates, f.done, netlink.RouteSubscribeOptions{
			ReceiveBufferSize: fibBuffer, ReceiveBufferForceSize: true,
			ErrorCallback: f.fail,
		})
	})
	if err != nil {
		return nil, fmt.Errorf("cannot watch routes: %w", err)
	}
	go func() {
		for u := range updates {
			f.note(time.Now(), u)
		}
	}()
	return f, nil
}

// close ends the watch.
func (f *FIB) close() { close(f.done) }

func (f *FIB) fail(err error) {
	select {
	case <-f.done: // it was closed
		return
	default:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = fmt.Errorf("routes are no longer watched: %w", err)
	f.wake()
}

// wake is called with mu held.
func (f *FIB) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *FIB) note(now time.Time, u netlink.RouteUpdate) {
	if u.Dst == nil || u.Table != unix.RT_TABLE_MAIN {
		return
	}
	addr, _ := netip.AddrFromSlice(u.Dst.IP)
	ones, _ := u.Dst.Mask.Size()
	prefix := netip.PrefixFrom(addr.Unmap(), ones)
	if !prefix.IsSingleIP() || !slices.ContainsFunc(VIPs, func(p netip.Prefix) bool { return p.Overlaps(prefix) }) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.edges[prefix]
	after := apply(before, hops(u.Route), u.Type == unix.RTM_NEWROUTE, u.NlFlags&unix.NLM_F_APPEND != 0)
	if slices.Equal(before, after) {
		return
	}
	f.edges[prefix] = after
	f.changes = append(f.changes, Change{now, prefix, after})
	f.wake()
}

// apply returns the next hops after a message that adds or removes some: adding
// replaces the route, unless the message appends; removing takes these hops out.
func apply(before, hops []string, adds, appends bool) []string {
	after := slices.Clone(hops)
	switch {
	case adds && appends:
		after = append(after, before...)
	case !adds:
		after = slices.DeleteFunc(slices.Clone(before), func(e string) bool { return slices.Contains(hops, e) })
	}
	slices.Sort(after)
	return slices.Compact(after)
}

// hops are the edges of a route.
func hops(r netlink.Route) (edges []string) {
	add := func(gateway []byte) {
		if a, ok := netip.AddrFromSlice(gateway); ok {
			edges = append(edges, edgeAt(a.Unmap()))
		}
	}
	add(r.Gw)
	for _, h := range r.MultiPath {
		add(h.Gw)
	}
	return edges
}

// Now returns the edges that a prefix's packets go to, sorted.
func (f *FIB) Now(prefix netip.Prefix) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.edges[prefix]
}

// Since returns the changes of a prefix since a time; of the zero Prefix, those
// of all.
func (f *FIB) Since(t time.Time, prefix netip.Prefix) (all []Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.changes {
		if !c.At.Before(t) && (c.Prefix == prefix || !prefix.IsValid()) {
			all = append(all, c)
		}
	}
	return all
}

// Wait waits until a prefix's packets go to just these edges, and returns when
// they began to. It errs after a limit.
func (f *FIB) Wait(limit time.Duration, prefix netip.Prefix, edges ...string) (time.Time, error) {
	slices.Sort(edges)
	end := time.NewTimer(limit)
	defer end.Stop()
	for {
		f.mu.Lock()
		changed, broken := f.changed, f.broken
		f.mu.Unlock()
		now, since := f.Now(prefix), time.Time{}
		if broken != nil || slices.Equal(now, edges) {
			for _, c := range f.Since(since, prefix) {
				since = c.At
			}
			return since, broken
		}
		select {
		case <-changed:
		case <-end.C:
			return since, fmt.Errorf("packets for %s go to %q, not within %s to %q", prefix, now, limit, edges)
		}
	}
}

// WaitAll does the same for many prefixes, and returns when the last of them
// began to.
func (f *FIB) WaitAll(limit time.Duration, prefixes []netip.Prefix, edges ...string) (last time.Time, err error) {
	slices.Sort(edges)
	err = Until(limit, func() error {
		missing := 0
		f.mu.Lock()
		for _, p := range prefixes {
			if !slices.Equal(f.edges[p], edges) {
				missing++
			}
		}
		broken := f.broken
		f.mu.Unlock()
		if broken == nil && missing > 0 {
			return fmt.Errorf("packets for %d of %d prefixes go elsewhere than to %q", missing, len(prefixes), edges)
		}
		return broken
	})
	all := f.Since(last, netip.Prefix{})
	for _, c := range all {
		if slices.Contains(prefixes, c.Prefix) {
			last = c.At
		}
	}
	return last, err
}
