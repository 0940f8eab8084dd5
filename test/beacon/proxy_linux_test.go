package beacon

import (
	"net"
	"testing"
	"time"

	"edged/test/netns"
)

// proxy carries connections from one address of a host to another and holds all
// octets back for a time on their way to the server, so that what the client
// waits for comes so much later.
func proxy(t *testing.T, h *netns.Host, from, to string, delay time.Duration) {
	t.Helper()
	l := listen(t, h, from)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			var server net.Conn
			err = h.Do(func() (err error) {
				server, err = net.Dial("tcp", to)
				return err
			})
			if err != nil {
				client.Close()
				continue
			}
			go carry(server, client, delay)
			go carry(client, server, 0)
		}
	}()
}

func listen(t *testing.T, h *netns.Host, addr string) (l net.Listener) {
	t.Helper()
	must(t, h.Do(func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	}))
	t.Cleanup(func() { l.Close() })
	return l
}

// late is octets and when they are due.
type late struct {
	data []byte
	due  time.Time
}

// carry copies one direction, in order and each part after a delay.
func carry(to, from net.Conn, delay time.Duration) {
	queue := make(chan late, 1000)
	go func() {
		defer to.Close()
		for part := range queue {
			time.Sleep(time.Until(part.due))
			if _, err := to.Write(part.data); err != nil {
				from.Close()
			}
		}
	}()
	defer close(queue)
	for {
		b := make([]byte, 16<<10)
		n, err := from.Read(b)
		if err != nil {
			return
		}
		queue <- late{b[:n], time.Now().Add(delay)}
	}
}
