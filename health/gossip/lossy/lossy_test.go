package lossy

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var (
	a = netip.MustParseAddrPort("192.0.2.1:7946")
	b = netip.MustParseAddrPort("192.0.2.2:7946")
)

func TestLoss(t *testing.T) {
	for _, share := range []float64{0, 0.3, 1} {
		n := New(1)
		from, to := n.Transport(a), n.Transport(b)
		n.Lose(share)
		got := 0
		for range 10000 {
			if _, err := from.WriteTo([]byte("x"), b.String()); err != nil {
				t.Fatal(err)
			}
			select {
			case p := <-to.PacketCh():
				if string(p.Buf) != "x" || p.From.String() != a.String() {
					t.Fatalf("got %q from %s", p.Buf, p.From)
				}
				got++
			default:
			}
		}
		if want := int(10000 * (1 - share)); got < want-200 || got > want+200 { // four standard deviations
			t.Errorf("with a loss of %v %d of 10000 arrived", share, got)
		}
		if s := n.Stats(); s.Packets != 10000 || s.Octets != 10000 || s.Lost != uint64(10000-got) {
			t.Errorf("counted %+v", s)
		}
	}
}

func TestSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		from, to := n.Transport(a), n.Transport(b)
		_, err := from.DialTimeout(b.String(), time.Second)
		if err == nil {
			t.Fatal("dialled nobody who takes streams")
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("dial of one who does not accept: %v", err)
		}
		go func() {
			c := <-to.StreamCh()
			_, _ = io.Copy(c, c) // until the split
		}()
		ours, err := from.DialTimeout(b.String(), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		echo := make([]byte, 2)
		go ours.Write([]byte("hi"))
		if _, err := io.ReadFull(ours, echo); err != nil || string(echo) != "hi" {
			t.Fatalf("echo %q, error %v", echo, err)
		}

		n.Split(b)
		if _, err := ours.Read(echo); err == nil {
			t.Error("the stream outlived the split")
		}
		begin := time.Now()
		if _, err := from.DialTimeout(b.String(), 3*time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("dial across the split: %v", err)
		}
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("gave up after %v", took)
		}
		if _, err := from.WriteTo([]byte("x"), b.String()); err != nil || n.Stats().Lost != 1 {
			t.Errorf("packet across the split: error %v, %+v", err, n.Stats())
		}

		n.Heal()
		if _, err := from.WriteTo([]byte("x"), b.String()); err != nil || len(to.PacketCh()) != 1 {
			t.Errorf("packet after the split: error %v, %d arrived", err, len(to.PacketCh()))
		}
	})
}

func TestShutdownFreesTheAddress(t *testing.T) {
	n := New(1)
	from, to := n.Transport(a), n.Transport(b)
	for range 2 {
		if err := to.Shutdown(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := from.DialTimeout(b.String(), time.Minute); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial of nobody: %v", err)
	}
	n.Transport(b) // panics if it is in use
}
