package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"edged/mapper/beacon"
)

// Beacons is what the API does with measurements.
type Beacons interface {
	// Take takes rows in; of the options it sets what is the node's to say.
	Take(context.Context, io.Reader, beacon.Options) (beacon.Report, error)

	// Resume tells how many rows of a batch are there (beacon.Writer.Resume).
	Resume(batch string) (rows int, err error)

	// Quota tells how much a caller may upload in a day, and how many at once.
	Quota() (Quota, int)

	// Files lists the files of measurements, with the node's name.
	Files(context.Context) (Files, error)

	// OpenFile opens one of them.
	OpenFile(name string) (*os.File, error)
}

// Resumption is the body of GET /v1/beacons.
type Resumption struct {
	Batch string `json:"batch"`
	Rows  int    `json:"rows"` // at the beginning of the batch that need not be sent again
}

// Files is the body of GET /v1/beacons/segments.
type Files struct {
	Node  string        `json:"node"`
	Files []beacon.File `json:"files"`
}

// The bounds on uploads.
const (
	stallTimeout = 30 * time.Second // without an octet from the client, or to it
	busyWait     = 10 * time.Second // after which to try again
)

// streamed is the call whose body may be of any size.
const streamed = "POST /v1/beacons"

// beaconRoutes lists the calls about measurements.
func (s *Server) beaconRoutes() []route {
	return []route{
		{"GET", "/v1/beacons", MapBuilder, s.resumption},
		{"POST", "/v1/beacons", MapBuilder, s.upload},
		{"GET", "/v1/beacons/segments", MapBuilder, s.beaconFiles},
		{"GET", "/v1/beacons/segments/{name}", MapBuilder, s.beaconFile},
	}
}

func (s *Server) resumption(w http.ResponseWriter, r *http.Request, _ caller) {
	batch := r.URL.Query().Get("batch")
	rows, err := s.node.Beacons().Resume(batch)
	if err != nil {
		(&problem{http.StatusBadRequest, err.Error()}).write(w)
		return
	}
	writeJSON(w, http.StatusOK, Resumption{batch, rows})
}

// upload takes measurements in as they come.
func (s *Server) upload(w http.ResponseWriter, r *http.Request, who caller) {
	o, p := uploadOptions(r)
	if p != nil {
		p.write(w)
		return
	}
	beacons := s.node.Beacons()
	quota, most := beacons.Quota()
	controls := http.NewResponseController(w)
	body := &stalling{Reader: r.Body, controls: controls}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	if !who.local {
		up := &running{batch: o.Batch, ended: make(chan struct{}), stop: func() { cancel(errTakenOver); body.stop() }}
		left, p := s.place(r.Context(), who.id, quota, up)
		if p != nil {
			p.write(w)
			return
		}
		o.MaxRows, o.MaxOctets = left.Rows, left.Octets
	}
	var report beacon.Report
	defer func() {
		if !who.local {
			s.quotas.end(who.id, quota, report.Accepted+report.RejectedRows(), report.Octets)
		}
	}()
	defer s.uploads.Add(-1)
	if running := s.uploads.Add(1); running > int64(most) {
		later(http.StatusServiceUnavailable, busyWait, "upload of batch %q: %d others run on this node, which takes no more at once: try again in %s s (beacon.quota.uploads says how many)",
			o.Batch, most, seconds(busyWait)).write(w)
		return
	}
	controls.SetWriteDeadline(time.Time{})
	report, err := beacons.Take(ctx, body, o)
	switch {
	case err == nil:
	case errors.Is(context.Cause(ctx), errTakenOver):
		err = errTakenOver
	case errors.Is(err, beacon.ErrQuota):
		err = fmt.Errorf("upload of batch %q: %w, all that %q had left of %s: what was accepted is kept; send the batch again in %s s and later, and it goes on",
			o.Batch, err, who.id, quota, seconds(day/100))
	}
	controls.SetWriteDeadline(time.Now().Add(stallTimeout))
	s.log.Info("admin call", "method", r.Method, "path", r.URL.Path, "who", who.name, "batch", o.Batch,
		"accepted", report.Accepted, "rejected", report.RejectedRows(), "octets", report.Octets, "error", err)
	if err == nil {
		writeJSON(w, http.StatusOK, report)
		return
	}
	status := uploadStatus(err)
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", seconds(day/100))
	}
	writeJSON(w, status, refused{Error: err.Error(), Result: report})
}

// errTakenOver ends an upload whose sender began it anew: it was killed, perhaps, and
// the connection tells nothing of that.
var errTakenOver = errors.New("the same caller sends this batch anew: this upload has ended, what it has accepted is kept")

// place returns what a caller has left for an upload. One upload of a caller runs at
// a time; another of the same batch takes its place.
func (s *Server) place(ctx context.Context, who string, quota Quota, up *running) (Quota, *postponed) {
	left, wait, busy := s.quotas.begin(who, quota, up)
	if busy != nil && busy.batch == up.batch {
		busy.stop()
		patience := time.NewTimer(busyWait)
		defer patience.Stop()
		select {
		case <-busy.ended:
			left, wait, busy = s.quotas.begin(who, quota, up)
		case <-patience.C:
		case <-ctx.Done():
		}
	}
	switch {
	case busy != nil:
		return left, later(http.StatusTooManyRequests, busyWait, "upload of batch %q: %q uploads the batch %q now, and may upload one at a time: wait for its end, or try again in %s s",
			up.batch, who, busy.batch, seconds(busyWait))
	case wait > 0:
		return left, later(http.StatusTooManyRequests, wait, "upload of batch %q: the quota of %q is used up, %s, which come back evenly: a hundredth of it is back in %s s",
			up.batch, who, quota, seconds(wait))
	}
	return left, nil
}

// uploadStatus says whose fault the end of an upload is.
func uploadStatus(err error) int {
	var stalled interface{ Timeout() bool }
	var other *beacon.OtherRows
	switch {
	case errors.As(err, &other), errors.Is(err, errTakenOver):
		return http.StatusConflict
	case errors.Is(err, beacon.ErrQuota):
		return http.StatusTooManyRequests
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return http.StatusInsufficientStorage
	case errors.Is(err, beacon.ErrNotKept):
		return http.StatusInternalServerError
	case errors.Is(err, context.Canceled), errors.As(err, &stalled) && stalled.Timeout():
		return http.StatusRequestTimeout
	}
	return http.StatusUnprocessableEntity
}

// later refuses a call for some time.
func later(status int, wait time.Duration, format string, args ...any) *postponed {
	return &postponed{problem{status, fmt.Sprintf(format, args...)}, wait}
}

// postponed is a refusal for some time.
type postponed struct {
	problem
	wait time.Duration
}

func (p *postponed) write(w http.ResponseWriter) {
	w.Header().Set("Retry-After", seconds(p.wait))
	p.problem.write(w)
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

// formats are the media types of uploads. The others among them tell nothing, and
// the content's first octets tell.
var formats = map[string]beacon.Format{
	"text/csv": beacon.CSV, "application/csv": beacon.CSV,
	"application/x-ndjson": beacon.NDJSON, "application/ndjson": beacon.NDJSON, "application/jsonl": beacon.NDJSON,
	"": beacon.AnyFormat, "application/octet-stream": beacon.AnyFormat, "application/x-www-form-urlencoded": beacon.AnyFormat,
	"application/gzip": beacon.AnyFormat, "application/zstd": beacon.AnyFormat,
}

// uploadOptions reads the header of an upload. How the content is compressed shows
// in itself.
func uploadOptions(r *http.Request) (o beacon.Options, p *problem) {
	kind := r.Header.Get("Content-Type")
	if kind != "" {
		kind, _, _ = mime.ParseMediaType(kind)
	}
	known := false
	if o.Format, known = formats[kind]; !known {
		return o, &problem{http.StatusUnsupportedMediaType, fmt.Sprintf("content type %q: want text/csv or application/x-ndjson", r.Header.Get("Content-Type"))}
	}
	switch e := r.Header.Get("Content-Encoding"); e {
	case "", "identity", "gzip", "zstd":
	default:
		return o, &problem{http.StatusUnsupportedMediaType, fmt.Sprintf("content encoding %q: want gzip or zstd", e)}
	}
	query := r.URL.Query()
	if o.Batch = query.Get("batch"); o.Batch == "" {
		o.Batch = r.Header.Get("Idempotency-Key")
	}
	if o.Batch == "" {
		return o, &problem{http.StatusBadRequest, "batch: required, but not given: a name for these rows for ever, such as a hash of the file"}
	}
	if text := query.Get("skip"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return o, &problem{http.StatusBadRequest, fmt.Sprintf("skip %q: want the number of rows that GET /v1/beacons tells", text)}
		}
		o.Skip = n
	}
	return o, nil
}

// stalling reads a body whose sender may take its time, as long as something comes.
type stalling struct {
	io.Reader
	controls *http.ResponseController

	mu      sync.Mutex
	stopped bool // guarded by mu
}

func (s *stalling) Read(b []byte) (int, error) {
	if !s.wait(stallTimeout) {
		return 0, errTakenOver
	}
	return s.Reader.Read(b)
}

// wait gives the sender some time, unless reading was stopped.
func (s *stalling) wait(d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.controls.SetReadDeadline(time.Now().Add(d))
	}
	return !s.stopped
}

// stop ends reading, also one that waits.
func (s *stalling) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	s.controls.SetReadDeadline(time.Unix(1, 0))
}

func (s *Server) beaconFiles(w http.ResponseWriter, r *http.Request, _ caller) {
	controls := http.NewResponseController(w)
	controls.SetWriteDeadline(time.Time{}) // new files are hashed first
	files, err := s.node.Beacons().Files(r.Context())
	controls.SetWriteDeadline(time.Now().Add(stallTimeout))
	if err != nil {
		(&problem{http.StatusInternalServerError, err.Error()}).write(w)
		return
	}
	writeJSON(w, http.StatusOK, files)
}

// beaconFile serves a file, whole or from an offset on (RFC 9110 section 14).
func (s *Server) beaconFile(w http.ResponseWriter, r *http.Request, _ caller) {
	f, err := s.node.Beacons().OpenFile(r.PathValue("name"))
	if err != nil {
		(&problem{http.StatusNotFound, err.Error()}).write(w)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		(&problem{http.StatusInternalServerError, err.Error()}).write(w)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(&lasting{w, http.NewResponseController(w)}, r, "", info.ModTime(), f)
}

// lasting is a response that may take its time, as long as somebody reads it.
type lasting struct {
	http.ResponseWriter
	controls *http.ResponseController
}

func (l *lasting) Write(b []byte) (int, error) {
	l.controls.SetWriteDeadline(time.Now().Add(stallTimeout))
	return l.ResponseWriter.Write(b)
}
