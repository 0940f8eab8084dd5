package netns

import (
	"io"
	"net"
	"testing"
	"time"
)

// A lossy switch loses the share of the UDP packets that it is told to, and
// nothing of a stream.
func TestLose(t *testing.T) {
	n := network(t, "one")
	a, b := plug(t, n, "192.0.2.1/24"), plug(t, n, "192.0.2.2/24")
	echo(t, b, "192.0.2.2:7", "four")
	if got := ask(t, a, "192.0.2.2:7", long); got != "four" { // and each knows the other's hardware address
		t.Fatalf("%q over the kernel's switch", got)
	}
	l, err := n.Lose("wire", 0.3, a, b)
	must(t, err)

	var conn net.Conn
	must(t, a.Do(func() (err error) {
		conn, err = net.Dial("udp", "192.0.2.2:9")
		return err
	}))
	defer conn.Close()
	const enough = 500
	total := func() uint64 { passed, lost := l.Stats(); return passed + lost }
	for end := time.Now().Add(long); total() < enough && time.Now().Before(end); {
		for range 20 { // many at once would overflow the port where the machine is busy
			_, _ = conn.Write([]byte("?")) // nobody is there, which comes back as an error
		}
		time.Sleep(short / 20)
	}
	passed, lost := l.Stats()
	if share := float64(lost) / float64(passed+lost); passed+lost < enough || share < 0.22 || share > 0.38 {
		t.Errorf("%d of %d packets were lost, want 30 %%", lost, passed+lost)
	}

	const size = 1 << 20
	var listener net.Listener
	must(t, b.Do(func() (err error) {
		listener, err = net.Listen("tcp", "192.0.2.2:8")
		return err
	}))
	defer listener.Close()
	go func() {
		c, err := listener.Accept()
		if err == nil {
			_, _ = c.Write(make([]byte, size))
			c.Close()
		}
	}()
	var stream net.Conn
	must(t, a.Do(func() (err error) {
		stream, err = net.Dial("tcp", "192.0.2.2:8")
		return err
	}))
	defer stream.Close()
	must(t, stream.SetReadDeadline(time.Now().Add(long)))
	if n, err := io.ReadFull(stream, make([]byte, size)); err != nil {
		t.Errorf("%d octets of %d came through: %v", n, size, err)
	}
}
