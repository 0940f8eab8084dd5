package dnsserver

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	dnstap "github.com/dnstap/golang-dnstap"
	"github.com/miekg/dns"
	"google.golang.org/protobuf/proto"
)

// TestTap reads back what a server wrote: the sampled queries and replies, whole
// and with their addresses.
func TestTap(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tap.fstrm")
	tap, err := NewTap("", file, "node1", 2)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{
		Listen: anyLoopback, Threads: 1, MaxUDP: 1232, TCPIdle: 10 * time.Second, TCPMax: 10, TCPMaxPerClient: 10, Tap: tap,
	}, mustView(t, mustZone(t, "example.com.", smallZone)))
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	for _, network := range []string{"udp", "udp", "tcp", "tcp"} {
		exchange(t, network, s.Addrs()[0], question("www.example.com.", dns.TypeA))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	tap.Close()
	messages := readTap(t, file)
	if len(messages) != 4 || tap.Dropped() != 0 {
		t.Fatalf("%d messages, %d dropped: want 2 queries and 2 replies of 4 exchanges", len(messages), tap.Dropped())
	}
	for i, m := range messages {
		wire, kind := m.QueryMessage, dnstap.Message_AUTH_QUERY
		if i%2 == 1 {
			wire, kind = m.ResponseMessage, dnstap.Message_AUTH_RESPONSE
		}
		var msg dns.Msg
		if err := msg.Unpack(wire); err != nil || m.GetType() != kind || msg.Response != (i%2 == 1) {
			t.Errorf("message %d: type %v, %v (%v)", i, m.GetType(), &msg, err)
		}
		if int(m.GetResponsePort()) != int(s.Addrs()[0].Port()) || len(m.QueryAddress) != 4 {
			t.Errorf("message %d: addresses %v", i, m)
		}
		if want := [...]dnstap.SocketProtocol{dnstap.SocketProtocol_UDP, dnstap.SocketProtocol_TCP}[i/2]; m.GetSocketProtocol() != want {
			t.Errorf("message %d: %v, want %v", i, m.GetSocketProtocol(), want)
		}
	}
}

func readTap(t *testing.T, file string) []*dnstap.Message {
	t.Helper()
	in, err := dnstap.NewFrameStreamInputFromFilename(file)
	if err != nil {
		t.Fatal(err)
	}
	frames := make(chan []byte, 100)
	in.ReadInto(frames)
	close(frames)
	var messages []*dnstap.Message
	for f := range frames {
		var d dnstap.Dnstap
		if err := proto.Unmarshal(f, &d); err != nil {
			t.Fatal(err)
		}
		if string(d.Identity) != "node1" {
			t.Errorf("identity %q", d.Identity)
		}
		messages = append(messages, d.Message)
	}
	return messages
}
