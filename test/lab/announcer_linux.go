package lab

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"edged/bgp"
	"edged/bgp/speaker"
)

// announcerArgument has this program be an announcer: see Main.
const announcerArgument = "lab-announcer"

// Main must be called first by a program that uses the package. It returns unless
// the program is to be one of the lab's own processes.
func Main() {
	if len(os.Args) != 3 || os.Args[1] != announcerArgument {
		return
	}
	if err := announce(os.Args[2], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, announcerArgument+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Announcer is a process with nothing but edged's BGP speaker, and a server that
// answers every query with its name. It stands in an edge's place, so that the
// speaker can be measured without the states, limits and guards of a whole edge.
type Announcer struct {
	process
	to   *json.Encoder
	from *json.Decoder
	hold io.Closer // its standard input
}

// announcerConfig is what the process is told at first.
type announcerConfig struct {
	Name     string
	RouterID netip.Addr
	Hold     time.Duration
	BFD      time.Duration
	GTSM     bool
	Password string
	Allowed  []netip.Prefix
}

// Applied is what came of Announcer.Apply.
type Applied struct {
	Begun, Ended time.Time // of the speaker's Apply
	RSS          int       // of the process then, in octets
	Error        string
}

// Announce starts an announcer in an edge's place, with the VIPs that it may
// announce and their addresses on lo, and waits for its sessions.
func (l *Lab) Announce(e *Edge, allowed ...netip.Prefix) (*Announcer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, p := range allowed {
		lines = append(lines, fmt.Sprintf("address replace %s dev lo nodad", p)) // to be bound at once
	}
	if err := e.IP(lines...); err != nil {
		return nil, err
	}
	c := l.Config
	text, err := json.Marshal(announcerConfig{
		Name: e.Name, RouterID: e.Address(), Hold: c.Hold, BFD: max(0, c.BFD),
		GTSM: c.Router.gtsm(), Password: c.Password, Allowed: allowed,
	})
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, announcerArgument, string(text))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := e.Host.Start(cmd); err != nil {
		return nil, err
	}
	a := &Announcer{to: json.NewEncoder(stdin), from: json.NewDecoder(stdout), hold: stdin}
	a.cmd, a.ended = cmd, make(chan error, 1)
	go func() { a.ended <- cmd.Wait() }()
	l.announcers = append(l.announcers, a)
	_, err = a.Apply() // returns when the sessions are up
	return a, err
}

// Apply makes routes the whole of what is announced.
func (a *Announcer) Apply(routes ...bgp.Route) (Applied, error) {
	if routes == nil {
		routes = []bgp.Route{}
	}
	var done Applied
	if err := a.to.Encode(routes); err != nil {
		return done, err
	}
	if err := a.from.Decode(&done); err != nil {
		return done, err
	}
	if done.Error != "" {
		return done, errors.New(done.Error)
	}
	return done, nil
}

// announce is the announcer's process. It ends with its standard input.
func announce(config string, in io.Reader, out io.Writer) error {
	var c announcerConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	s, err := speaker.New(speaker.Config{ASN: EdgeASN, RouterID: c.RouterID, Peers: c.peers()})
	if err != nil {
		return err
	}
	if err := s.Allow(c.Allowed); err != nil {
		return err
	}
	for _, p := range c.Allowed[:min(2, len(c.Allowed))] {
		for _, network := range []string{"udp", "tcp"} {
			go func() {
				fmt.Fprintln(os.Stderr, dns.ListenAndServe(netip.AddrPortFrom(p.Addr(), 53).String(), network, c))
			}()
		}
	}
	ctx := context.Background()
	if err := sessionsUp(s); err != nil {
		return err
	}
	reader, writer := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	for {
		var routes []bgp.Route
		if err := reader.Decode(&routes); errors.Is(err, io.EOF) {
			return s.Close(ctx)
		} else if err != nil {
			return err
		}
		done := Applied{Begun: time.Now()}
		if _, err := s.Apply(ctx, routes); err != nil {
			done.Error = err.Error()
		}
		done.Ended = time.Now()
		done.RSS = rss()
		if err := writer.Encode(done); err != nil {
			return err
		}
	}
}

func (c *announcerConfig) peers() []speaker.Peer {
	p := speaker.Peer{
		Name: "router4", Address: router4.Addr(), ASN: RouterASN,
		Password: c.Password, GTSM: c.GTSM, Hold: c.Hold,
	}
	if c.BFD > 0 {
		p.BFD = speaker.BFD{Interval: c.BFD, Multiplier: 3}
	}
	q := p
	q.Name, q.Address = "router6", router6.Addr()
	return []speaker.Peer{p, q}
}

func sessionsUp(s *speaker.Speaker) error {
	return Until(15*time.Second, func() error {
		for _, p := range s.Peers() {
			if p.State != speaker.Established {
				return fmt.Errorf("the session with %s is %s: %s", p.Name, p.State, p.LastError)
			}
		}
		return nil
	})
}

// ServeDNS answers with the name, as NSID.
func (c announcerConfig) ServeDNS(w dns.ResponseWriter, m *dns.Msg) {
	reply := new(dns.Msg)
	reply.SetReply(m)
	reply.SetEdns0(1232, false)
	reply.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: hex.EncodeToString([]byte(c.Name))}}
	_ = w.WriteMsg(reply) // who asked has gone
}

// rss is this process's resident memory in octets.
func rss() int {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, _ := strconv.Atoi(strings.Fields(string(text) + " 0 0")[1])
	return pages * os.Getpagesize()
}
