package bgp

import "time"

// The figures of the machine. They are the same for all VIPs: what differs by
// VIP (its ladder, hold and linger, how many must remain) is in [VIP].
const (
	checkFall   = 3                // failed checks until a VIP is less preferred
	checkRise   = 5                // passed checks in a row until it may go up
	recoverFor  = 10 * time.Second // in which those must lie once it has failed: fall fast, rise slowly
	changeEvery = 10 * time.Second // between two changes that a node makes by itself
	steadyFor   = 30 * time.Second // of passed checks in a row until a VIP that flaps is announced again, less preferred
	canaryFor   = 2 * time.Second  // announced with the worst attributes before it is announced as planned

	shortFor     = 4 * time.Second  // with too few other announcers until a node comes back
	shortAtStart = 15 * time.Second // the same for a node that has just started: it hears of the others by and by
	enoughFor    = 30 * time.Second // with enough of them until it goes again

	stopShutdown = 2 * time.Second // with graceful shutdown when the process stops
	stopLinger   = 1 * time.Second // with the socket still open after the route is gone; nobody unbinds faster

	idle = time.Minute // until the next step when nothing is due
)

// trial counts the results of a VIP's checks. Failures add up across passes
// until checkRise passes in a row clear them: what fails every other time fails.
// The zero value is a trial that has not begun.
type trial struct {
	good, bad int           // passes in a row; failures that are not cleared
	since     time.Duration // of the first of the good ones
	passed    bool          // it is fit
	failed    bool          // it was fit before and fell: it recovers slowly
	cause     string        // of the last failure
}

// note takes a result.
func (t *trial) note(now time.Duration, ok bool, cause string) {
	if !ok {
		t.good, t.cause = 0, cause
		if t.bad++; t.bad >= checkFall && t.passed {
			t.passed, t.failed = false, true
		}
		return
	}
	if t.good == 0 {
		t.since = now
	}
	if t.good++; t.good < checkRise {
		return
	}
	t.bad = 0
	if !t.failed || now-t.since >= recoverFor {
		t.passed = true
	}
}
