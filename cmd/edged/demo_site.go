package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// site is the sample endpoint of one PoP in the demo: a web server, in a process
// of its own so that it can be killed.
type site struct {
	pop  string
	port int
	cmd  *exec.Cmd
	hold io.Closer // its standard input: it ends with it
}

// startSites starts a server for each PoP of the demo.
func startSites(ctx context.Context) (sites []*site, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	for _, p := range demoPoPs {
		s, err := startSite(ctx, self, p.Name)
		if err != nil {
			stopSites(sites)
			return nil, fmt.Errorf("the server of %s: %w", p.Name, err)
		}
		sites = append(sites, s)
	}
	return sites, nil
}

func startSite(ctx context.Context, self, pop string) (*site, error) {
	s := &site{pop: pop, cmd: exec.CommandContext(ctx, self, "demo-site", pop)}
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.hold = stdin
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err == nil {
		s.port, err = strconv.Atoi(strings.TrimSpace(line))
	}
	if err != nil {
		stopSites([]*site{s})
		return nil, err
	}
	return s, nil
}

// stopSites ends the servers and waits for them.
func stopSites(sites []*site) {
	for _, s := range sites {
		s.hold.Close()
	}
	for _, s := range sites {
		_ = s.cmd.Wait() // somebody may have killed it: that is what it is for
	}
}

// demoSiteCommand is what a demo starts for each PoP.
func demoSiteCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "demo-site POP",
		Short:  "be a sample endpoint of the demo until standard input ends",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			server := &http.Server{
				ReadHeaderTimeout: time.Second,
				Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					fmt.Fprintln(w, args[0], "is up")
				}),
			}
			fmt.Fprintln(cmd.OutOrStdout(), l.Addr().(*net.TCPAddr).Port)
			go func() {
				_, _ = io.Copy(io.Discard, cmd.InOrStdin())
				server.Close()
			}()
			defer context.AfterFunc(cmd.Context(), func() { server.Close() })()
			if err := server.Serve(l); err != http.ErrServerClosed {
				return err
			}
			return nil
		},
	}
}
