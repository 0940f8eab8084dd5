package lab

import (
	"context"
	"fmt"
	"time"

	"edged/admin"
)

// Status is how an edge has its VIPs, as far as it is looked at.
type Status struct {
	Frozen     string
	Generation uint64
	Pending    []struct{ Kind, VIP string }
	VIPs       []VIPStatus
	Overdue    []string
	Rollout    string
	Operations []struct{ ID, Kind string }
	Peers      []PeerStatus
}

// PeerStatus is how a session of an edge does.
type PeerStatus struct {
	Name, State, BFD string
	Flaps            int // how often it was lost
	Sent             int // routes that the router has from the edge
}

// VIPStatus is how an edge has one VIP.
type VIPStatus struct {
	Name    string
	State   string
	Seconds float64
	Cause   string
	Waits   string
	Route   string
	Sent    []string
	Fault   string
	Penalty float64
	Breaker string
}

// Get asks the edge's API, over its control socket.
func (e *Edge) Get(path string, answer any) error {
	c, err := admin.NewClient(e.Socket(), "")
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return c.Get(ctx, path, nil, answer)
}

// Status asks the edge how it has its VIPs.
func (e *Edge) Status() (s Status, err error) {
	err = e.Get("/v1/vips", &s)
	return s, err
}

// VIP returns how the edge has one VIP.
func (e *Edge) VIP(name string) (VIPStatus, error) {
	s, err := e.Status()
	for _, v := range s.VIPs {
		if v.Name == name {
			return v, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("%s has no VIP %q", e.Name, name)
	}
	return VIPStatus{}, err
}

// Await waits until edges have a VIP in a state.
func Await(limit time.Duration, vip, state string, edges ...*Edge) error {
	return Until(limit, func() error {
		for _, e := range edges {
			v, err := e.VIP(vip)
			if err != nil {
				return err
			}
			if v.State != state {
				return fmt.Errorf("%s has %s %s (%s; waits for %q), want it %s", e.Name, vip, v.State, v.Cause, v.Waits, state)
			}
		}
		return nil
	})
}
