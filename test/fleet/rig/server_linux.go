package rig

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"time"

	"edged/test/netns"
)

// serverArgument has this program be a web server: see Main.
const serverArgument = "rig-web-server"

// Main must be called first by a program that uses the package, since the web
// servers are processes of the same program. It returns unless this is one.
func Main() {
	if len(os.Args) != 3 || os.Args[1] != serverArgument {
		return
	}
	if err := serve(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, serverArgument+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve answers every request until standard input ends.
func serve(address string) error {
	s := &http.Server{
		Addr:              address,
		ReadHeaderTimeout: time.Second,
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "up") }),
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		s.Close()
	}()
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Server is the web server of a PoP.
type Server struct {
	PoP     string
	Address netip.Addr

	host *netns.Host
	cmd  *exec.Cmd // nil: it is dead
	hold io.Closer // its standard input
}

// Start starts the server. It does not wait until it answers.
func (s *Server) Start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, serverArgument, netip.AddrPortFrom(s.Address, 80).String())
	cmd.Stderr = os.Stderr
	if s.hold, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := s.host.Start(cmd); err != nil {
		return err
	}
	s.cmd = cmd
	return nil
}

// Kill ends it as kill -9 does, if it runs. Its port then refuses connections.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it was killed, and says so
	s.cmd = nil
}

// Pause keeps the server from running: its port takes connections, and nothing
// ever comes back.
func (s *Server) Pause() error { return s.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() error { return s.cmd.Process.Signal(syscall.SIGCONT) }
