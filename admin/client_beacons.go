package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"edged/mapper/beacon"
)

// Resume asks how many rows of a batch the node has already.
func (c *Client) Resume(ctx context.Context, batch string) (rows int, err error) {
	var r Resumption
	err = c.Get(ctx, "/v1/beacons", url.Values{"batch": {batch}}, &r)
	return r.Rows, err
}

// Upload sends rows as they are read, compressed with zstd: those of a batch after
// the first so many. The report is right with an error, too, when there is one.
func (c *Client) Upload(ctx context.Context, batch string, skip int, body io.Reader) (report beacon.Report, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("node %q: %w", c.node, err)
		}
	}()
	const path = "/v1/beacons"
	query := url.Values{"batch": {batch}, "skip": {strconv.Itoa(skip)}}
	req, err := c.request(ctx, http.MethodPost, path+"?"+query.Encode(), body)
	if err != nil {
		return report, err
	}
	req.Header.Set("Content-Encoding", "zstd")
	req.Header.Set("Expect", "100-continue") // a refusal comes before the rows go
	resp, err := answered(c.patient().Do(req))
	if err != nil {
		return report, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return report, err
	}
	if resp.StatusCode == http.StatusOK {
		return report, json.Unmarshal(answer, &report)
	}
	var said struct{ Result *beacon.Report }
	if json.Unmarshal(answer, &said) == nil && said.Result != nil {
		report = *said.Result
	}
	return report, refusal(req.Method, path, resp.StatusCode, answer)
}

// Files lists the node's files of measurements. It implements beacon.Remote, as
// does Fetch.
func (c *Client) Files(ctx context.Context) ([]beacon.File, error) {
	var f Files
	err := c.Get(ctx, "/v1/beacons/segments", nil, &f)
	return f.Files, err
}

// Fetch opens a file of the node's measurements from an offset on.
func (c *Client) Fetch(ctx context.Context, name string, from int64) (io.ReadCloser, error) {
	path := "/v1/beacons/segments/" + url.PathEscape(name)
	req, err := c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, fmt.Errorf("node %q: %w", c.node, err)
	}
	want := http.StatusOK
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		want = http.StatusPartialContent
	}
	resp, err := answered(c.patient().Do(req))
	if err != nil {
		return nil, fmt.Errorf("node %q: %w", c.node, err)
	}
	if resp.StatusCode == want {
		return resp.Body, nil
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	err = errors.Join(refusal(req.Method, path, resp.StatusCode, answer), err, resp.Body.Close())
	if resp.StatusCode == http.StatusNotFound {
		err = errors.Join(err, beacon.ErrGone)
	}
	return nil, fmt.Errorf("node %q: %w", c.node, err)
}

// request makes a request with the client's token.
func (c *Client) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err == nil && c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, err
}

// patient is the client for what takes longer than a call.
func (c *Client) patient() *http.Client {
	return &http.Client{Transport: c.http.Transport, CheckRedirect: c.http.CheckRedirect}
}
