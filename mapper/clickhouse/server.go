package clickhouse

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// server is one server's HTTP interface.
type server struct {
	url            string
	client         *http.Client
	user, password string
	timeout        time.Duration
}

// wholeAnswers are settings that forbid a server to answer with a part: to leave
// out shards that are away, to use replicas that lag, to stop at a limit and send
// what it has. An answer is sent when the query is done, so that an error in its
// middle still has a status.
var wholeAnswers = map[string]string{
	"skip_unavailable_shards":                            "0",
	"fallback_to_stale_replicas_for_distributed_queries": "0",
	"max_parallel_replicas":                              "1",
	"read_overflow_mode":                                 "throw",
	"group_by_overflow_mode":                             "throw",
	"sort_overflow_mode":                                 "throw",
	"result_overflow_mode":                               "throw",
	"timeout_overflow_mode":                              "throw",
	"wait_end_of_query":                                  "1",
	"send_progress_in_http_headers":                      "0",
}

// maxErrorText is how much of what a server says is repeated.
const maxErrorText = 1000

// post runs a statement; body, if any, is the rows that it inserts. The caller
// closes the answer.
func (s *server) post(ctx context.Context, statement string, body []byte) (*answer, error) {
	query := url.Values{"max_execution_time": {strconv.Itoa(int(s.timeout.Seconds()))}}
	for name, value := range wholeAnswers {
		query.Set(name, value)
	}
	if body != nil {
		query.Set("query", statement)
	} else {
		body = []byte(statement)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("no answer within %s", s.timeout))
	resp, err := s.ask(ctx, query, body)
	if err != nil {
		err = s.failed(ctx, statement, err)
		cancel()
		return nil, err
	}
	return &answer{resp, cancel}, nil
}

// ask makes the request. An answer that does not say that all is well is an error.
func (s *server) ask(ctx context.Context, query url.Values, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(s.url, "/")+"/?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if s.user != "" {
		req.Header.Set("X-ClickHouse-User", s.user)
	}
	if s.password != "" {
		req.Header.Set("X-ClickHouse-Key", s.password)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	if code := resp.Header.Get(exceptionCode); resp.StatusCode != http.StatusOK || code != "" && code != "0" {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorText))
		return nil, fmt.Errorf("%s: %s", resp.Status, oneLine(string(text)))
	}
	return resp, nil
}

// exceptionCode is the header, or the trailer, in which newer servers say that an
// answer is an error.
const exceptionCode = "X-ClickHouse-Exception-Code"

// answer is what a server says.
type answer struct {
	*http.Response
	cancel context.CancelFunc
}

func (a *answer) Close() {
	a.Body.Close()
	a.cancel()
}

// trailer returns the exception that came after a body that was read to its end.
func (a *answer) trailer() string { return a.Trailer.Get(exceptionCode) }

// failed names server and statement in an error. The query string is left out: it
// would only repeat settings.
func (s *server) failed(ctx context.Context, statement string, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	verb, _, _ := strings.Cut(statement, " ")
	return fmt.Errorf("clickhouse %q: cannot %s: %w", s.url, strings.ToLower(verb), err)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// exec runs a statement that answers nothing. An answer is an error: it is how
// some versions report one with a good status.
func (s *server) exec(ctx context.Context, statement string) error {
	return s.send(ctx, statement, nil)
}

// send is exec with rows to insert.
func (s *server) send(ctx context.Context, statement string, body []byte) error {
	a, err := s.post(ctx, statement, body)
	if err != nil {
		return err
	}
	defer a.Close()
	text, err := io.ReadAll(io.LimitReader(a.Body, maxErrorText))
	if err == nil && len(text) > 0 || a.trailer() != "" {
		err = errors.New(oneLine(string(text) + " " + a.trailer()))
	}
	if err != nil {
		return s.failed(ctx, statement, err)
	}
	return nil
}

// maxLine is the longest line of an answer, in octets.
const maxLine = 4096

// lines yields the lines of a query's answer, cut at tabs. A line that does not
// end, or that has another number of columns, is an error, which is the last. What
// is yielded is good until the next line.
func (s *server) lines(ctx context.Context, query string, columns int) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		a, err := s.post(ctx, query+" FORMAT TabSeparated", nil)
		if err != nil {
			yield(nil, err)
			return
		}
		defer a.Close()
		r := bufio.NewReaderSize(a.Body, maxLine)
		for {
			line, err := r.ReadSlice('\n')
			if err == io.EOF && len(line) == 0 {
				if code := a.trailer(); code != "" {
					yield(nil, s.failed(ctx, query, fmt.Errorf("its answer ends with exception %s", code)))
				}
				return
			}
			if err == io.EOF {
				err = fmt.Errorf("its answer ends with %q", shortened(line))
			}
			fields := strings.Split(strings.TrimSuffix(string(line), "\n"), "\t")
			if err == nil && len(fields) != columns {
				rest, _ := io.ReadAll(io.LimitReader(r, maxErrorText))
				err = fmt.Errorf("want %d columns, got %q", columns, shortened(append([]byte(strings.Join(fields, "\t")+"\n"), rest...)))
			}
			if err != nil {
				yield(nil, s.failed(ctx, query, err))
				return
			}
			if !yield(fields, nil) {
				return
			}
		}
	}
}

func shortened(text []byte) string {
	return oneLine(string(text[:min(len(text), maxErrorText)]))
}

// rows returns the few lines of an answer with one column.
func (s *server) rows(ctx context.Context, query string) (list [][]string, err error) {
	for fields, err := range s.lines(ctx, query, 1) {
		if err != nil {
			return nil, err
		}
		list = append(list, fields)
	}
	return list, nil
}

// number returns what a query with one number answers.
func (s *server) number(ctx context.Context, query string) (uint64, error) {
	rows, err := s.rows(ctx, query)
	if err != nil {
		return 0, err
	}
	if len(rows) != 1 {
		return 0, s.failed(ctx, query, fmt.Errorf("want one number, got %d lines", len(rows)))
	}
	n, err := strconv.ParseUint(rows[0][0], 10, 64)
	if err != nil {
		return 0, s.failed(ctx, query, fmt.Errorf("want a number, got %q", rows[0][0]))
	}
	return n, nil
}
