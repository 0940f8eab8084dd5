package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"edged/health"
)

// maxMessage bounds the one message of a gRPC answer, which needs two octets.
const maxMessage = 1 << 10

// service checks a server by the gRPC health checking protocol, version 1:
// grpc.health.v1.Health/Check, over HTTP/2. The messages are so small that they
// are made by hand: a request has the service's name as field 1, a response its
// status as field 1.
type service struct{ web }

func newService(t health.Target, o Options) (way, error) {
	c := t.Check
	s := &service{web{
		peer: peer{dial: o.Dial, address: endpoint(t)}, keep: o.Keep,
		prior: !c.TLS, only2: true, body: frame(healthRequest(c.Service)),
	}}
	scheme, kind := "http", health.HTTP
	if c.TLS {
		scheme, kind = "https", health.HTTPS
		s.peer.tls = tlsConfig(t, o, "h2")
	}
	host := c.Host
	if host == "" {
		host = authority(t.Address, c.Port, kind)
	}
	s.request = &http.Request{
		Method:        http.MethodPost,
		URL:           &url.URL{Scheme: scheme, Host: host, Path: "/grpc.health.v1.Health/Check"},
		Host:          host,
		ContentLength: int64(len(s.body)),
		Header: http.Header{
			"Content-Type": {"application/grpc"},
			"Te":           {"trailers"},
			"User-Agent":   {userAgent},
		},
	}
	return s, nil
}

// healthRequest returns a HealthCheckRequest.
func healthRequest(service string) []byte {
	if service == "" {
		return nil
	}
	return protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), service)
}

// frame puts the prefix of a gRPC message before it: not compressed, and its
// length.
func frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

func (s *service) attempt(ctx context.Context) error { return s.ask(ctx, judgeService) }

func judgeService(r *http.Response) error {
	if r.StatusCode != http.StatusOK {
		return wrong("http status %d, want 200 of gRPC", r.StatusCode)
	}
	if kind := r.Header.Get("Content-Type"); kind != "application/grpc" &&
		!strings.HasPrefix(kind, "application/grpc+") && !strings.HasPrefix(kind, "application/grpc;") {
		return wrong("content type %q, want application/grpc", kind)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxMessage+1))
	if err != nil {
		return err
	}
	if len(body) > maxMessage {
		return wrong("answer over %d octets", maxMessage)
	}
	status := r.Trailer.Get("Grpc-Status")
	if status == "" { // an answer without a body has it in its only headers
		status = r.Header.Get("Grpc-Status")
	}
	if status != "0" {
		return wrong("grpc %s", codeText(status))
	}
	serving, err := parseServing(body)
	if err != nil {
		return wrong("%v", err)
	}
	if serving != 1 {
		return wrong("%s, want SERVING", servingText(serving))
	}
	return nil
}

// parseServing reads the status out of a framed HealthCheckResponse.
func parseServing(body []byte) (uint64, error) {
	switch {
	case len(body) < 5:
		return 0, errors.New("no message in the answer")
	case body[0] != 0:
		return 0, errors.New("message is compressed")
	case uint64(binary.BigEndian.Uint32(body[1:])) != uint64(len(body)-5):
		return 0, errors.New("message is not of its length")
	}
	var serving uint64
	for rest := body[5:]; len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return 0, errMalformed
		}
		rest = rest[n:]
		if number == 1 && kind == protowire.VarintType {
			serving, n = protowire.ConsumeVarint(rest)
		} else {
			n = protowire.ConsumeFieldValue(number, kind, rest)
		}
		if n < 0 {
			return 0, errMalformed
		}
		rest = rest[n:]
	}
	return serving, nil
}

func servingText(status uint64) string {
	switch status {
	case 0:
		return "UNKNOWN"
	case 2:
		return "NOT_SERVING"
	case 3:
		return "SERVICE_UNKNOWN"
	}
	return fmt.Sprintf("serving status %d", status)
}

// codeText names the codes that a health service answers with.
func codeText(status string) string {
	switch status {
	case "":
		return "answer without a status"
	case "5":
		return "status 5: no such service"
	case "12":
		return "status 12: no health service"
	case "14":
		return "status 14: unavailable"
	}
	return fmt.Sprintf("status %q", status)
}
