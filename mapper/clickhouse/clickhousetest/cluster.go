package clickhousetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Name is what the servers call their cluster.
const Name = "edged"

// User is who may ask the servers, beside nobody.
const User = "edged"

// ErrMissing says that no clickhouse-server is installed.
var ErrMissing = errors.New("clickhouse-server is not installed: .ci/peers installs it")

// Config says which servers to start.
type Config struct {
	Dir      string // an empty folder
	Servers  int
	Password string // User's
	Threads  int    // of one query; 0: as many as there are processors
}

// Server is a running server.
type Server struct {
	URL string // of its HTTP interface

	program string
	dir     string
	cmd     *exec.Cmd
	ended   chan struct{}
}

// startTime is how long a server may take to start, or to stop.
const startTime = 60 * time.Second

// Start starts servers and returns when they answer. The caller stops them.
func Start(ctx context.Context, c Config) (servers []*Server, err error) {
	program, err := exec.LookPath("clickhouse-server")
	if err != nil {
		return nil, ErrMissing
	}
	defer func() {
		if err != nil {
			for _, s := range servers {
				s.Kill()
			}
		}
	}()
	ports, err := freePorts(3 * c.Servers)
	if err != nil {
		return nil, err
	}
	var shards strings.Builder
	for i := range c.Servers {
		fmt.Fprintf(&shards, "<shard><replica><host>127.0.0.1</host><port>%d</port><user>%s</user><password>%s</password></replica></shard>",
			ports[3*i], User, c.Password)
	}
	for i := range c.Servers {
		s := &Server{
			URL: fmt.Sprintf("http://127.0.0.1:%d/", ports[3*i+1]), program: program,
			dir: filepath.Join(c.Dir, fmt.Sprint(i)),
		}
		if err := s.configure(c, ports[3*i:3*i+3], shards.String()); err != nil {
			return servers, err
		}
		if err := s.Start(); err != nil {
			return servers, err
		}
		servers = append(servers, s)
	}
	for _, s := range servers {
		if err := s.Wait(ctx); err != nil {
			return servers, err
		}
	}
	return servers, nil
}

func (s *Server) configure(c Config, ports []int, shards string) error {
	limit := ""
	if c.Threads > 0 {
		limit = fmt.Sprintf("<max_threads>%d</max_threads>", c.Threads)
	}
	config := fmt.Sprintf(`<yandex>
<logger><level>warning</level><log>%[1]s/log</log><errorlog>%[1]s/err</errorlog></logger>
<listen_host>127.0.0.1</listen_host><tcp_port>%[2]d</tcp_port><http_port>%[3]d</http_port><interserver_http_port>%[4]d</interserver_http_port>
<path>%[1]s/data/</path><tmp_path>%[1]s/tmp/</tmp_path><mark_cache_size>67108864</mark_cache_size>
<users_config>%[1]s/users.xml</users_config><default_profile>default</default_profile><default_database>default</default_database>
<remote_servers><%[5]s>%[6]s</%[5]s></remote_servers>
</yandex>`, s.dir, ports[0], ports[1], ports[2], Name, shards)
	users := fmt.Sprintf(`<yandex>
<profiles><default>%[1]s</default></profiles>
<quotas><default></default></quotas>
<users><%[2]s><password>%[3]s</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></%[2]s></users>
</yandex>`, limit, User, c.Password)
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return err
	}
	for name, text := range map[string]string{"config.xml": config, "users.xml": users} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Start starts a server that was stopped.
func (s *Server) Start() error {
	s.cmd = exec.Command(s.program, "--config-file="+filepath.Join(s.dir, "config.xml"))
	s.cmd.Dir = s.dir
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		cmd.Wait()
		close(ended)
	}(s.cmd, s.ended)
	return nil
}

// Wait waits until a server answers.
func (s *Server) Wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		if s.ping(ctx) {
			return nil
		}
		select {
		case <-again.C:
			continue
		case <-s.ended:
		case <-ctx.Done():
		}
		log, _ := os.ReadFile(filepath.Join(s.dir, "err"))
		return fmt.Errorf("clickhouse-server does not answer at %s: %s", s.URL, log)
	}
}

func (s *Server) ping(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"ping", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 100))
	return err == nil && strings.HasPrefix(string(text), "Ok.")
}

// Stop ends a server in order.
func (s *Server) Stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(startTime):
		s.Kill()
	}
}

// Kill ends a server at once.
func (s *Server) Kill() {
	s.cmd.Process.Kill()
	<-s.ended
}

// Pause stops a server's processor time: it takes connections, and does not answer.
func (s *Server) Pause() error { return s.cmd.Process.Signal(syscall.SIGSTOP) }

// freePorts returns ports that nobody listens on.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
