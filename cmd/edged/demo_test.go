package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestDemo runs the demo as the README does, and pastes its lines.
func TestDemo(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	log := newLogBuffer()
	ended := make(chan int, 1)
	go func() {
		code := run(ctx, []string{"demo"}, strings.NewReader(""), in, log)
		in.Close()
		log.close()
		ended <- code
	}()
	var digs []string
	explain, mapExplain, kill := "", "", 0
	scanner := bufio.NewScanner(out)
	for kill == 0 && scanner.Scan() {
		line := scanner.Text()
		if strings.Contains(line, "\x1b") {
			t.Errorf("coloured: %q", line)
		}
		if strings.HasPrefix(line, "dig @") {
			digs = append(digs, line)
		}
		if strings.HasPrefix(line, "go run ./cmd/edged explain ") {
			explain = line
		}
		if strings.HasPrefix(line, "go run ./cmd/edged map explain ") {
			mapExplain = line
		}
		fmt.Sscanf(line, "kill %d", &kill)
	}
	go io.Copy(io.Discard, out)
	if len(digs) != 3 || explain == "" || mapExplain == "" {
		t.Fatalf("got %q, %q and %q; log:\n%s", digs, explain, mapExplain, log)
	}

	continents := map[string]bool{}
	for _, line := range digs {
		answer := askLikeDig(t, line)
		for i, p := range demoPoPs {
			if demoAddress(i).String() == answer {
				continents[p.Continent] = true
			}
		}
	}
	if len(continents) != 3 {
		t.Errorf("the lines reach PoPs on %v, want three continents", continents)
	}
	_, args, _ := strings.Cut(explain, "./cmd/edged ")
	if code, text, errs := command(t, strings.Fields(args)...); code != 0 || !strings.Contains(text, "gru") || !strings.Contains(text, "\nmap       made-up version ") || !strings.Contains(text, ", measured\n") {
		t.Errorf("%s: %d\n%s%s", explain, code, text, errs)
	}
	// The clients were measured, as they say, by nobody.
	_, args, _ = strings.Cut(mapExplain, "./cmd/edged ")
	file := strings.Fields(args)[2]
	for _, line := range []string{args, "map show " + file, "map lookup " + file + " " + demoClients[0].subnet} {
		code, text, errs := command(t, strings.Fields(line)...)
		if code != 0 || !strings.Contains(text, "made up") || !strings.Contains(text, "round trips are for demonstration: nobody measured them\n") {
			t.Errorf("%s: %d\n%s%s", line, code, text, errs)
		}
	}
	for _, c := range demoClients {
		var list []mapExplanation
		_, text, _ := command(t, "map", "explain", "--json", file, c.subnet)
		decode(t, text, &list)
		if len(list) != 1 || !list[0].MadeUp || list[0].Source != "measured" || list[0].Unit == nil || list[0].Unit.Sessions < 10 {
			t.Errorf("%s in %s: %+v, want one block with 10 sessions or more", c.subnet, c.country, list)
		}
	}
	t.Run("dig", func(t *testing.T) {
		dig, err := exec.LookPath("dig")
		if err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal("dig is not installed")
			}
			t.Skip("dig is not installed")
		}
		for _, line := range digs {
			text, err := exec.CommandContext(t.Context(), dig, strings.Fields(line)[1:]...).CombinedOutput()
			if want := "\tIN\tA\t" + askLikeDig(t, line) + "\n"; err != nil || strings.Count(string(text), "\n") != 1 || !strings.HasSuffix(string(text), want) {
				t.Errorf("%s: %v, got %q, want it to end in %q", line, err, text, want)
			}
		}
	})

	before := askLikeDig(t, digs[0])
	if p, err := os.FindProcess(kill); err != nil || p.Signal(syscall.SIGTERM) != nil {
		t.Fatalf("cannot kill process %d: %v", kill, err)
	}
	for deadline := time.After(30 * time.Second); askLikeDig(t, digs[0]) == before; {
		select {
		case <-deadline:
			t.Fatalf("the answer is still %s, whose server is dead", before)
		case <-time.After(50 * time.Millisecond):
		}
	}

	// Its terminal is closed.
	if self, err := os.FindProcess(os.Getpid()); err != nil || self.Signal(syscall.SIGHUP) != nil {
		t.Fatalf("no signal for the demo: %v", err)
	}
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d:\n%s", code, log)
	}
	if left, _ := filepath.Glob(filepath.Join(temp, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// askLikeDig asks what a line of dig asks, and returns the one address answered.
func askLikeDig(t *testing.T, line string) string {
	t.Helper()
	var server, name, subnet, options string
	var port int
	if _, err := fmt.Sscanf(line, "dig @%s -p %d %s A +subnet=%s +noall %s", &server, &port, &name, &subnet, &options); err != nil || options != "+answer" {
		t.Fatalf("%q is not the line expected: %v", line, err)
	}
	p := netip.MustParsePrefix(subnet)
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA).SetEdns0(1232, false)
	opt := m.IsEdns0()
	opt.Option = append(opt.Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()})
	in, _, err := new(dns.Client).ExchangeContext(t.Context(), m, fmt.Sprintf("%s:%d", server, port))
	if err != nil || len(in.Answer) != 1 {
		t.Fatalf("%s: %v, got %v", line, err, in)
	}
	return in.Answer[0].(*dns.A).A.String()
}

func TestFreePortGoesOn(t *testing.T) {
	first, err := freePort(20053)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.ListenPacket("udp", first.String())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	second, err := freePort(20053)
	if err != nil || second.Port() <= first.Port() {
		t.Errorf("%s is taken, got %s, %v", first, second, err)
	}
}
