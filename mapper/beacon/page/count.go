package page

import (
	"errors"
	"sync/atomic"

	"edged/mapper/beacon/token"
)

// outcome is what became of a report, or of a question for a token's name.
type outcome uint8

const (
	kept    outcome = iota // its rows go to disk
	bad                    // not a report, or no token
	forged                 // signed with no key of ours
	expired                // or made for longer than tokens live
	moved                  // from another block than the session
	others                 // about other PoPs than the session's
	used                   // reported, or seen, already
	private                // from an address that is not public
	empty                  // no time in it can be true
	full                   // no room in memory
	outcomes
)

var outcomeNames = [outcomes]string{"kept", "malformed", "forged", "expired", "other_block", "other_pops", "used", "not_public", "implausible", "full"}

// outcomeOf says what an error of package token means.
func outcomeOf(err error) outcome {
	switch {
	case errors.Is(err, token.ErrForged):
		return forged
	case errors.Is(err, token.ErrExpired):
		return expired
	case errors.Is(err, token.ErrBlock):
		return moved
	case errors.Is(err, token.ErrPoPs):
		return others
	}
	return bad
}

// what is a request that was answered, or what else is counted.
type what uint8

const (
	forScript what = iota
	forSession
	forObject
	forReport
	forNothing    // another path or method
	limited       // a source asked too much
	otherOrigin   // a page that may not measure
	refusedConn   // too many connections
	rowsKept      // made durable
	rowsLost      // the disk did not take them
	sightingsLost // likewise
	whats
)

var whatNames = [whats]string{"script", "session", "object", "report", "other", "limited", "origin", "connection", "", "", ""}

// Totals are a server's counters since it started.
type Totals struct {
	Requests map[string]uint64 // by what was asked for, or why it was refused
	Reports  map[string]uint64 // by what became of them
	Asked    map[string]uint64 // questions for tokens' names, likewise

	Rows, LostRows, LostSightings uint64
}

type counters struct {
	whats   [whats]atomic.Uint64
	reports [outcomes]atomic.Uint64
	asked   [outcomes]atomic.Uint64
}

// Totals returns the counters.
func (s *Server) Totals() Totals {
	c := &s.counters
	t := Totals{
		Requests: map[string]uint64{}, Reports: map[string]uint64{}, Asked: map[string]uint64{},
		Rows: c.whats[rowsKept].Load(), LostRows: c.whats[rowsLost].Load(), LostSightings: c.whats[sightingsLost].Load(),
	}
	for i, name := range whatNames {
		if name != "" {
			t.Requests[name] = c.whats[i].Load()
		}
	}
	for i, name := range outcomeNames {
		t.Reports[name], t.Asked[name] = c.reports[i].Load(), c.asked[i].Load()
	}
	return t
}
