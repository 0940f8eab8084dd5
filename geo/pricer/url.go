package pricer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// maxBody bounds what a URL may answer, in octets.
const maxBody = 64 << 10

// URL returns the question to a URL, http or https, that answers JSON
// with a number requests_per_second. Redirects are not followed.
func URL(u *url.URL) Ask {
	client := &http.Client{
		Transport:     &http.Transport{Proxy: nil, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) (float64, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return 0, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, redacted(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("load.url answers status %d, want 200", resp.StatusCode)
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
		if err != nil {
			return 0, fmt.Errorf("load.url: %w", err)
		}
		return Parse(body)
	}
}

// redacted drops the URL from an error: it may hold a password.
func redacted(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return fmt.Errorf("load.url: %w", err)
}

// Parse reads a load as JSON, for example {"requests_per_second": 1120.5}. Other
// fields are not looked at.
func Parse(body []byte) (float64, error) {
	if len(body) > maxBody {
		return 0, fmt.Errorf("load of more than %d KiB", maxBody>>10)
	}
	var answer struct {
		Requests *float64 `json:"requests_per_second"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return 0, fmt.Errorf(`load is not JSON as wanted: %w; want for example {"requests_per_second": 1120.5}`, err)
	}
	if answer.Requests == nil {
		return 0, errors.New(`load has no requests_per_second; want for example {"requests_per_second": 1120.5}`)
	}
	return *answer.Requests, check(*answer.Requests)
}
