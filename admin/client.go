package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"edged/health/override"
)

// maxReply bounds what a client reads, in octets.
const maxReply = 64 << 20

// Client calls a node's API.
type Client struct {
	node  string // as the user named it
	base  string
	token string
	http  http.Client
}

// NewClient returns a client for a node, named by the path of its control socket
// or by the URL of its TCP address. The token may be empty; it is sent over TCP
// only.
func NewClient(node, token string) (*Client, error) {
	c := &Client{node: node, base: "http://localhost", http: http.Client{Timeout: writeTimeout}}
	if !strings.Contains(node, "://") {
		dialer := net.Dialer{Timeout: headerTimeout}
		c.http.Transport = &http.Transport{ExpectContinueTimeout: headerTimeout, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", node)
		}}
		return c, nil
	}
	u, err := url.Parse(node)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("node %q: want a socket's path or a URL such as http://127.0.0.1:8053", node)
	}
	c.base, c.token = u.Scheme+"://"+u.Host, token
	// Neither a redirect nor a proxy has a business in a call to a node.
	c.http.Transport = &http.Transport{ResponseHeaderTimeout: writeTimeout, ExpectContinueTimeout: headerTimeout}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// UseTLS says which certificates the client trusts and shows.
func (c *Client) UseTLS(config *tls.Config) {
	if t, ok := c.http.Transport.(*http.Transport); ok {
		t.TLSClientConfig = config
	}
}

// Get fetches path into v, which is a *[]byte for text or a pointer for JSON.
func (c *Client) Get(ctx context.Context, path string, query url.Values, v any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	_, err := c.do(ctx, http.MethodGet, path, nil, v)
	return err
}

// Reload asks the node to read its configuration again. A refusal of the files
// is no error; it stands in the result.
func (c *Client) Reload(ctx context.Context) (Reload, error) {
	var r Reload
	_, err := c.do(ctx, http.MethodPost, "/v1/reload", nil, &r)
	return r, err
}

// Override asks the node for an override. A refusal by the fleet or its rules is
// no error; it stands in the result.
func (c *Client) Override(ctx context.Context, q override.Request) (Overriding, error) {
	var r Overriding
	body, err := json.Marshal(q)
	if err != nil {
		return r, err
	}
	_, err = c.do(ctx, http.MethodPost, "/v1/overrides", body, &r)
	return r, err
}

// TellLoad tells the node which load its PoP has, in requests/s.
func (c *Client) TellLoad(ctx context.Context, requests float64) error {
	body, err := json.Marshal(map[string]float64{"requests_per_second": requests})
	if err != nil {
		return err
	}
	var after any
	_, err = c.do(ctx, http.MethodPost, "/v1/load", body, &after)
	return err
}

// do makes one call. Replies of status 200 and 422 are decoded into v; others
// are errors.
func (c *Client) do(ctx context.Context, method, path string, content []byte, v any) (status int, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("node %q: %w", c.node, err)
		}
	}()
	req, err := c.request(ctx, method, path, bytes.NewReader(content))
	if err != nil {
		return 0, err
	}
	if content != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := answered(c.http.Do(req))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return resp.StatusCode, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnprocessableEntity {
		return resp.StatusCode, refusal(method, path, resp.StatusCode, body)
	}
	if text, ok := v.(*[]byte); ok {
		*text = body
		return resp.StatusCode, nil
	}
	if err := json.Unmarshal(body, v); err != nil {
		return resp.StatusCode, fmt.Errorf("%s %s: not the JSON wanted: %w", method, path, err)
	}
	return resp.StatusCode, nil
}

// answered says what it means that there was no answer.
func answered(resp *http.Response, err error) (*http.Response, error) {
	if err == nil {
		return resp, nil
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return nil, fmt.Errorf("no answer: %w; does it run, and may you open its socket?", err)
}

// refusal is an answer that is no success, as an error.
func refusal(method, path string, status int, body []byte) error {
	var said struct{ Error string }
	if json.Unmarshal(body, &said) != nil || said.Error == "" {
		said.Error = http.StatusText(status)
	}
	return &Refusal{method, strings.SplitN(path, "?", 2)[0], status, said.Error}
}

// Refusal is an answer that is no success.
type Refusal struct {
	Method, Path string
	Status       int    // RFC 9110 section 15
	Why          string // as the node said it
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%s %s: status %d: %s", r.Method, r.Path, r.Status, r.Why)
}

// Passing says whether the same call may succeed later.
func (r *Refusal) Passing() bool {
	return r.Status == http.StatusRequestTimeout || r.Status == http.StatusTooManyRequests || r.Status >= http.StatusInternalServerError
}

// Close gives up the connections that wait for another call.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Change makes a call that changes something, with in as its body. What came of
// it is read into v, unless v is nil; also when the error says that it was
// refused, or only done in part.
func (c *Client) Change(ctx context.Context, path string, in, v any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	var answer json.RawMessage
	status, err := c.do(ctx, http.MethodPost, path, body, &answer)
	if err != nil {
		return err
	}
	if status == http.StatusOK {
		if v == nil {
			return nil
		}
		return json.Unmarshal(answer, v)
	}
	var r struct {
		Error  string          `json:"error"`
		Result json.RawMessage `json:"result"`
	}
	if err := json.Unmarshal(answer, &r); err != nil {
		return fmt.Errorf("node %q: %s: not the JSON wanted: %w", c.node, path, err)
	}
	if v != nil && len(r.Result) > 0 {
		if err := json.Unmarshal(r.Result, v); err != nil {
			return fmt.Errorf("node %q: %s: not the JSON wanted: %w", c.node, path, err)
		}
	}
	return errors.New(r.Error)
}
