package admin

import (
	"fmt"
	"sync"
	"time"
)

// Quota is how much each caller may upload in a day.
type Quota struct {
	Rows   int
	Octets int64
}

func (q Quota) String() string {
	return fmt.Sprintf("%d rows and %d octets of plain text in 24 h", q.Rows, q.Octets)
}

// quotas count what callers used. What was used comes back evenly over a day, so
// that no hour of the day is better than another. They are kept in memory: a restart
// gives everybody all.
type quotas struct {
	now func() time.Time

	mu   sync.Mutex
	used map[string]usage // by caller; guarded by mu. Callers are as many as tokens
}

// usage is what a caller has used and not got back at a time.
type usage struct {
	at     time.Time
	rows   float64
	octets float64
	busy   *running // what it uploads now; nil: nothing
}

// running is an upload that has not ended.
type running struct {
	batch string
	stop  func()        // has it end soon
	ended chan struct{} // closed by end
}

const day = 24 * time.Hour

// back is the usage at a later time.
func (u usage) back(q Quota, now time.Time) usage {
	share := min(1, max(0, now.Sub(u.at).Seconds()/day.Seconds()))
	u.rows = max(0, u.rows-share*float64(q.Rows))
	u.octets = max(0, u.octets-share*float64(q.Octets))
	u.at = now
	return u
}

// begin returns what a caller has left for an upload. When there is nothing, wait
// is how long until a hundredth is back. While the caller uploads already, busy is
// that upload.
func (l *quotas) begin(who string, q Quota, r *running) (left Quota, wait time.Duration, busy *running) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.used[who].back(q, l.now())
	if u.busy != nil {
		return Quota{}, 0, u.busy
	}
	left = Quota{int(float64(q.Rows) - u.rows), int64(float64(q.Octets) - u.octets)}
	if left.Rows <= 0 || left.Octets <= 0 {
		return Quota{}, day / 100, nil
	}
	u.busy = r
	l.used[who] = u
	return left, 0, nil
}

// end ends an upload that begin has let in.
func (l *quotas) end(who string, q Quota, rows int, octets int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.used[who].back(q, l.now())
	u.rows += float64(rows)
	u.octets += float64(octets)
	close(u.busy.ended)
	u.busy = nil
	l.used[who] = u
}
