//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"

	"edged/bench/pin"
)

// serveArgument, as the only one, makes this program the server.
const serveArgument = "serve-until-stdin-closes"

// body is what the server answers a check with.
const body = "ok\n"

// served is what the server counts, so that the checker need not be believed.
type served struct {
	Connections, Checks int64
}

// serve answers checks on a port that it writes to out, until in ends.
func serve(in io.Reader, out io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, listener.Addr())
	var connections, checks atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/check/", func(w http.ResponseWriter, _ *http.Request) {
		checks.Add(1)
		io.WriteString(w, body)
	})
	mux.HandleFunc("/served", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(served{connections.Load(), checks.Load()})
	})
	server := &http.Server{Handler: mux, ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}}
	go func() {
		io.Copy(io.Discard, in)
		server.Close()
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// server is the server's process.
type server struct {
	addr netip.AddrPort
	cmd  *exec.Cmd
	in   io.Closer
	ask  *http.Client
}

// startServer starts this program as the server, on the other CPU.
func startServer() (*server, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{cmd: exec.Command(exe, serveArgument), ask: &http.Client{Transport: &http.Transport{}}}
	s.cmd.Stderr = os.Stderr
	in, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	s.in = in
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := pin.Start(s.cmd); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		s.addr, err = netip.ParseAddrPort(strings.TrimSpace(line))
	}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("server's first line %q: %w", line, err)
	}
	return s, nil
}

// served asks for the counts.
func (s *server) served() (n served, err error) {
	reply, err := s.ask.Get("http://" + s.addr.String() + "/served")
	if err != nil {
		return n, err
	}
	defer reply.Body.Close()
	return n, json.NewDecoder(reply.Body).Decode(&n)
}

func (s *server) stop() error {
	s.ask.CloseIdleConnections()
	s.in.Close()
	return s.cmd.Wait()
}
