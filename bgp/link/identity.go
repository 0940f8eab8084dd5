package link

import (
	"bytes"
	"crypto/ed25519"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// maxName bounds a name in a certificate, in octets (RFC 5280 appendix A.1:
// ub-common-name).
const maxName = 64

// certificate makes the certificate that a member shows: its name, its key, and
// a validity that nobody looks at.
func certificate(name string, key ed25519.PrivateKey) (tls.Certificate, error) {
	if name == "" || len(name) > maxName {
		return tls.Certificate{}, fmt.Errorf("member name %q: want 1 to %d octets", name, maxName)
	}
	if len(key) != ed25519.PrivateKeySize {
		return tls.Certificate{}, fmt.Errorf("key of member %q has %d octets, want %d", name, len(key), ed25519.PrivateKeySize)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280 section 4.1.2.5: no expiration
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate of member %q: %w", name, err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// refusal is why a member is not believed to be one.
type refusal struct {
	reason Reason
	text   string
}

func (r refusal) Error() string { return r.text }

// member returns the name of the member at the other end of a connection, whose
// certificate the handshake has read. TLS itself makes sure that the other end
// has the private key.
func (l *Link) member(state tls.ConnectionState) (string, error) {
	if len(state.PeerCertificates) == 0 {
		return "", refusal{NoCertificate, "shows no certificate"}
	}
	cert := state.PeerCertificates[0]
	name := cert.Subject.CommonName
	shown, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok {
		return "", refusal{WrongKey, fmt.Sprintf("shows a key of kind %v as %q, not ed25519", cert.PublicKeyAlgorithm, name)}
	}
	want, known := l.cfg.KeyOf(name)
	switch {
	case name == "" || len(name) > maxName || !known:
		return "", refusal{UnknownMember, fmt.Sprintf("shows the name %.64q, which no member has", name)}
	case len(want) != ed25519.PublicKeySize || subtle.ConstantTimeCompare(want, shown) != 1:
		return "", refusal{WrongKey, fmt.Sprintf("shows another key than that of %q", name)}
	}
	return name, nil
}

// serverTLS is how the callee shakes hands. Sessions are never resumed: each
// connection asks for the key again.
func (l *Link) serverTLS() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{l.self}, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		ClientAuth: tls.RequestClientCert, SessionTicketsDisabled: true,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			for _, v := range hello.SupportedVersions {
				if v == tls.VersionTLS13 {
					return nil, nil
				}
			}
			return nil, refusal{OldTLS, "speaks no TLS 1.3"}
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			_, err := l.member(state)
			return err
		},
	}
}

// clientTLS is how a caller of one member shakes hands. The name that the address
// might have says nothing, so the standard check is off and VerifyConnection does
// all of it.
func (l *Link) clientTLS(name string, key ed25519.PublicKey) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{l.self}, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			got, err := l.member(state)
			switch {
			case err != nil:
				return err
			case got != name:
				return refusal{WrongKey, fmt.Sprintf("is %q", got)}
			case !bytes.Equal(key, state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)):
				return refusal{WrongKey, fmt.Sprintf("shows another key than that of %q", name)}
			}
			return nil
		},
	}
}

// reasonOf returns the reason of a refused handshake.
func reasonOf(err error) Reason {
	var r refusal
	if errors.As(err, &r) {
		return r.reason
	}
	return BrokenHandshake
}
