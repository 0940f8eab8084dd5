package probe

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"edged/health"
)

// inOwnNetwork runs f in a network namespace of its own, whose only interface
// is an up loopback. It stays on one thread, which ends with it.
func inOwnNetwork(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is spoilt
		if err := ownNetwork(); err != nil {
			done <- err
			return
		}
		f()
		done <- nil
	}()
	err := <-done
	if err != nil && os.Getenv("CI") != "" {
		t.Fatalf("no network namespace: %v", err)
	}
	if err != nil {
		t.Skipf("no network namespace: %v: want root", err)
	}
}

func ownNetwork() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	loopback, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	loopback.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, loopback)
}

func groups(t *testing.T, span string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte(span), 0o644); err != nil {
		t.Error(err)
	}
}

func TestICMP(t *testing.T) {
	inOwnNetwork(t, func() {
		check := func(address string, outcome health.Outcome, reason string) {
			p, err := New(health.NewTarget(health.Check{Kind: health.ICMP, Timeout: ample}, netip.MustParseAddr(address)), Options{})
			if err != nil {
				t.Error(err)
				return
			}
			defer p.Close()
			for range 3 {
				expect(t, p, outcome, reason)
			}
		}
		groups(t, "1 0") // as Linux starts: nobody
		check("127.0.0.1", health.Skipped, "no permission for icmp: widen net.ipv4.ping_group_range")
		groups(t, "0 2147483647")
		check("127.0.0.1", health.Passed, "")
		check("127.8.8.8", health.Passed, "")
		check("192.0.2.1", health.Silent, "network unreachable")
		if fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0); !errors.Is(err, unix.EAFNOSUPPORT) {
			unix.Close(fd)
			check("::1", health.Passed, "")
			check("2001:db8::1", health.Silent, "network unreachable")
		}
	})
}

// TestICMPReplies tells the answer from what else may come.
func TestICMPReplies(t *testing.T) {
	for _, address := range []string{"192.0.2.1", "2001:db8::1"} {
		e := &echo{address: netip.MustParseAddr(address), sequence: 0x1234}
		request, want := e.request()
		edit := func(at int, by byte) []byte {
			b := append([]byte(nil), want...)
			b[at] ^= by
			return b
		}
		for _, row := range []struct {
			name  string
			got   []byte
			reply bool
		}{
			{"the reply", want, true},
			{"checksum", edit(2, 0xff), true},
			{"identifier", edit(5, 0xff), true},
			{"the request", request, false},
			{"another type", edit(0, 1), false},
			{"another code", edit(1, 1), false},
			{"another sequence", edit(7, 1), false},
			{"another payload", edit(15, 1), false},
			{"short", want[:15], false},
			{"long", append(append([]byte(nil), want...), 0), false},
			{"empty", nil, false},
		} {
			if got := isReply(row.got, want); got != row.reply {
				t.Errorf("%s, %s: reply %v, want %v", address, row.name, got, row.reply)
			}
		}
	}
}
