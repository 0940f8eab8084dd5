package lab

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"edged/bgp"
	"edged/health/gossip"
)

// forger calls an edge's link from another edge's place.
type forger struct {
	from *Edge
	at   netip.AddrPort
}

// call makes one call over a connection of its own, with a certificate or none.
func (f forger) call(c *tls.Config, path string, body []byte) (status int, err error) {
	status, _, err = f.ask(c, path, body)
	return status, err
}

// ask makes such a call and returns the answer, too.
func (f forger) ask(c *tls.Config, path string, body []byte) (status int, answer []byte, err error) {
	c.InsecureSkipVerify = true // who is called is not the question
	c.NextProtos = []string{"h2"}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		ForceAttemptHTTP2: true, DisableKeepAlives: true,
		DialTLSContext: func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
			err = f.from.Enter(func() (err error) {
				conn, err = net.DialTimeout("tcp", f.at.String(), 5*time.Second)
				return err
			})
			if err != nil {
				return nil, err
			}
			secure := tls.Client(conn, c)
			return secure, secure.HandshakeContext(ctx)
		},
	}}
	reply, err := client.Post("https://member"+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	defer reply.Body.Close()
	answer, err = io.ReadAll(reply.Body)
	return reply.StatusCode, answer, err
}

// shows returns the setting with a certificate for a name and a key.
func shows(t *testing.T, name string, key ed25519.PrivateKey) *tls.Config {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// key is an edge's.
func (l *lab) key(e *Edge) ed25519.PrivateKey {
	k, err := gossip.ReadNodeKey(filepath.Join(e.Dir, "node.ed25519"))
	l.must(err)
	return k
}

// newAsk asks for promises about ns1.
func newAsk(asker string) bgp.Ask {
	a := bgp.Ask{Asker: asker, VIP: "ns1", Prefixes: ns1}
	_, _ = rand.Read(a.Nonce[:]) // never fails
	return a
}

// questions carry asks, answers what came of each.
type questions struct {
	Messages [][]byte `json:"messages"`
}

type answers struct {
	Answers []answer `json:"answers"`
}

type answer struct {
	Grant []byte `json:"grant,omitempty"`
	Error string `json:"error,omitempty"`
}

// promise sends an ask, and returns what came of it.
func (f forger) promise(c *tls.Config, ask []byte) (answer, error) {
	body, _ := json.Marshal(questions{[][]byte{ask}}) // octets always can be
	status, text, err := f.ask(c, "/vips/promises", body)
	if err != nil || status != http.StatusOK {
		return answer{}, fmt.Errorf("status %d, %s: %w", status, text, err)
	}
	var got answers
	if err := json.Unmarshal(text, &got); err != nil || len(got.Answers) != 1 {
		return answer{}, fmt.Errorf("%s: want one answer: %w", text, err)
	}
	return got.Answers[0], nil
}

// Who is not a member gets nowhere; a member gets nowhere with what others did
// not sign, and with what is not its own. All is counted, and no route changes.
// What a member says again is in TestReplayedPromises.
func TestForgers(t *testing.T) {
	l := startLab(t, Config{})
	victim, bad, other := l.Edges[0], l.Edges[1], l.Edges[2]
	begun := time.Now()
	_, strange, err := ed25519.GenerateKey(nil)
	l.must(err)
	f := forger{from: other, at: netip.AddrPortFrom(management(1).Addr(), 7947)}

	for reason, c := range map[string]*tls.Config{
		"no_certificate": {},
		"wrong_key":      shows(t, bad.Name, strange),
		"unknown_member": shows(t, "e9", strange),
		"old_tls":        {MaxVersion: tls.VersionTLS12},
	} {
		metric := fmt.Sprintf("edged_link_refused_total{reason=%q}", reason)
		before, _ := victim.Metric(metric) // none is 0
		if status, err := f.call(c, "/vips/promises", nil); err == nil {
			t.Errorf("%s: a stranger got status %d", reason, status)
		}
		if after, err := victim.Metric(metric); err != nil || after != before+1 {
			t.Errorf("%s went from %v to %v, %v; want one more", metric, before, after, err)
		}
	}

	if a, err := f.promise(shows(t, bad.Name, l.key(bad)), newAsk(bad.Name).Seal("lab", l.key(bad))); err != nil || a.Grant == nil {
		t.Errorf("a member that asks for a promise: %q, %v", a.Error, err)
	}
	for reason, ask := range map[string][]byte{
		"malformed": []byte("promise"),
		"forged":    newAsk(bad.Name).Seal("lab", strange),
		"foreign":   newAsk(other.Name).Seal("lab", l.key(other)),
	} {
		metric := fmt.Sprintf("edged_vip_promises_dropped_total{reason=%q}", reason)
		before, err := victim.Metric(metric)
		l.must(err)
		if a, err := f.promise(shows(t, bad.Name, l.key(bad)), ask); err != nil || a.Error == "" || a.Grant != nil {
			t.Errorf("%s: %+v, %v; want a refusal", reason, a, err)
		}
		if after, err := victim.Metric(metric); err != nil || after != before+1 {
			t.Errorf("%s went from %v to %v, %v; want one more", metric, before, after, err)
		}
	}
	l.unchanged(begun)
	l.must(Await(time.Second, "ns1", "announced", l.Edges...))
}
