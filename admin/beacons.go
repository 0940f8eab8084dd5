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
	if running := s.uploads.Add(1); running > int64(most) {
		s.uploads.Add(-1)
		later(w, http.StatusServiceUnavailable, busyWait, "%d uploads are running, which is all this node takes at once: try again later", most)
		return
	}
	defer s.uploads.Add(-1)
	if !who.local {
		left, wait, ok := s.quotas.begin(who.id, quota)
		switch {
		case !ok:
			later(w, http.StatusTooManyRequests, busyWait, "%q uploads already: one upload at a time", who.id)
			return
		case wait > 0:
			later(w, http.StatusTooManyRequests, wait, "the quota of %q is used up: it has %d rows and %d octets a day", who.id, quota.Rows, quota.Octets)
			return
		}
		o.MaxRows, o.MaxOctets = left.Rows, left.Octets
	}
	controls := http.NewResponseController(w)
	controls.SetWriteDeadline(time.Time{})
	report, err := beacons.Take(r.Context(), &stalling{r.Body, controls}, o)
	if !who.local {
		s.quotas.end(who.id, quota, report.Accepted+report.RejectedRows(), report.Octets)
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

// uploadStatus says whose fault the end of an upload is.
func uploadStatus(err error) int {
	var stalled interface{ Timeout() bool }
	var other *beacon.OtherRows
	switch {
	case errors.As(err, &other):
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
func later(w http.ResponseWriter, status int, wait time.Duration, format string, args ...any) {
	w.Header().Set("Retry-After", seconds(wait))
	(&problem{status, fmt.Sprintf(format, args...)}).write(w)
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
}

func (s *stalling) Read(b []byte) (int, error) {
	s.controls.SetReadDeadline(time.Now().Add(stallTimeout))
	return s.Reader.Read(b)
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
