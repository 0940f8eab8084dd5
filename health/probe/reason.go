package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"edged/health"
)

// finding is an outcome that a way came to by itself, with its reason.
type finding struct {
	outcome health.Outcome
	reason  string
}

func (f *finding) Error() string { return f.reason }

func wrong(format string, args ...any) error {
	return &finding{health.Wrong, fmt.Sprintf(format, args...)}
}

func skipped(format string, args ...any) error {
	return &finding{health.Skipped, fmt.Sprintf(format, args...)}
}

// connectError is an error from before there was a connection.
type connectError struct{ error }

func (e connectError) Unwrap() error { return e.error }

// judge turns what a way returned into an outcome and its reason. ctx is the
// caller's, without the check's time limit.
func judge(ctx context.Context, err error, timeout time.Duration) (health.Outcome, string) {
	var f *finding
	switch {
	case err == nil:
		return health.Passed, ""
	case ctx.Err() != nil:
		return health.Skipped, "stopped"
	case errors.As(err, &f):
		return f.outcome, clean(f.reason)
	}
	outcome, reason := explain(err, timeout)
	if errors.As(err, new(sourceError)) {
		outcome, reason = health.Skipped, "source: "+reason
	}
	return outcome, clean(reason)
}

// local are the errors that are this node's own.
var local = []struct {
	is     error
	reason string
}{
	{syscall.EMFILE, "this node: too many open files"},
	{syscall.ENFILE, "this node: too many open files in the system"},
	{syscall.ENOBUFS, "this node: no buffer space"},
	{syscall.ENOMEM, "this node: no memory"},
	{syscall.EADDRNOTAVAIL, "this node: no local address or port to use"},
	{syscall.EAFNOSUPPORT, "this node: address family not supported"},
	{syscall.EACCES, "this node: not permitted"},
	{syscall.EPERM, "this node: not permitted"},
}

// silent are the errors that mean that nobody answered.
var silent = []struct {
	is     error
	reason string
}{
	{syscall.ECONNREFUSED, "connection refused"},
	{syscall.EHOSTUNREACH, "host unreachable"},
	{syscall.ENETUNREACH, "network unreachable"},
	{syscall.EHOSTDOWN, "host down"},
}

// explain gives the outcome and reason of an error of the system or of a
// library.
func explain(err error, timeout time.Duration) (health.Outcome, string) {
	if isTimeout(err) {
		switch {
		case errors.As(err, new(connectError)):
			return health.Silent, fmt.Sprintf("no connection within %v", timeout)
		case errors.As(err, new(partialError)):
			return health.Silent, fmt.Sprintf("no whole answer within %v", timeout)
		}
		return health.Silent, fmt.Sprintf("no answer within %v", timeout)
	}
	for _, e := range local {
		if errors.Is(err, e.is) {
			return health.Skipped, e.reason
		}
	}
	for _, e := range silent {
		if errors.Is(err, e.is) {
			return health.Silent, e.reason
		}
	}
	switch {
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return health.Wrong, "connection reset"
	case errors.As(err, new(connectError)):
		return health.Silent, err.Error()
	case errors.Is(err, errTooLong):
		return health.Wrong, fmt.Sprintf("headers over %d KiB", maxHeader>>10)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.HasPrefix(err.Error(), "http2: client conn"):
		return health.Wrong, "closed before the answer was whole"
	}
	if reason, ok := explainTLS(err); ok {
		return health.Wrong, reason
	}
	return health.Wrong, err.Error()
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, syscall.ETIMEDOUT) || errors.As(err, &n) && n.Timeout()
}

// explainTLS says what is wrong with a certificate, or with the peer's TLS.
func explainTLS(err error) (string, bool) {
	var (
		invalid x509.CertificateInvalidError
		host    x509.HostnameError
		record  tls.RecordHeaderError
		alert   *net.OpError
		verify  *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		if now := time.Now(); now.Before(invalid.Cert.NotBefore) {
			return "certificate: not valid before " + day(invalid.Cert.NotBefore), true
		}
		return "certificate: expired " + day(invalid.Cert.NotAfter), true
	case errors.As(err, &host):
		return "certificate: not for " + host.Host + certificateNames(host.Certificate), true
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "certificate: unknown authority", true
	case errors.As(err, &verify):
		return "certificate: " + strings.TrimPrefix(verify.Err.Error(), "x509: "), true
	case errors.As(err, &record):
		return "tls: the peer does not speak it", true
	case errors.As(err, &alert) && alert.Op == "remote error":
		return "tls: the peer says: " + strings.TrimPrefix(alert.Err.Error(), "tls: "), true
	case errors.As(err, &alert) && alert.Op == "local error":
		return alert.Err.Error(), true
	}
	return "", false
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// certificateNames says whom a certificate is for, as far as a reason has room.
func certificateNames(c *x509.Certificate) string {
	switch {
	case len(c.DNSNames) > 0:
		return ", but for " + c.DNSNames[0]
	case len(c.IPAddresses) > 0:
		return ", but for " + c.IPAddresses[0].String()
	}
	return ""
}

// clean makes foreign octets fit for people: one line of printable UTF-8 of at
// most health.MaxReason octets.
func clean(s string) string {
	const more = "…"
	if len(s) > 4*health.MaxReason {
		s = s[:4*health.MaxReason] + more
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= health.MaxReason {
		return s
	}
	cut := health.MaxReason - len(more)
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + more
}
