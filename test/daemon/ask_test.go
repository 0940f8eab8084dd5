package daemon

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"
)

// answers asks what a file asks, and compares.
func answers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: answers FILE")
	}
	want := ts.ReadFile(args[0])
	var got strings.Builder
	asked := 0
	for line := range strings.Lines(want) {
		switch {
		case strings.HasPrefix(line, "? "):
			got.WriteString(line)
			answer, err := ask(ts.Getenv("DNS"), strings.Fields(line)[1:])
			if err != nil {
				ts.Fatalf("%s%v", line, err)
			}
			got.WriteString(answer)
			asked++
		case !strings.HasPrefix(line, "  "):
			got.WriteString(line) // a comment or an empty line
		}
	}
	if asked == 0 {
		ts.Fatalf("%s asks nothing", args[0])
	}
	if got.String() != want {
		ts.Fatalf("%s: got\n%s\nwant\n%s", args[0], got.String(), want)
	}
}

// ask asks one question and gives the answer as text.
func ask(server string, words []string) (string, error) {
	m := new(dns.Msg)
	qtype, ok := dns.StringToType[words[1]]
	if !ok {
		return "", fmt.Errorf("unknown type %q", words[1])
	}
	m.SetQuestion(words[0], qtype)
	client := dns.Client{Timeout: 5 * time.Second}
	for _, word := range words[2:] {
		key, value, _ := strings.Cut(word, "=")
		if err := apply(m, &client, key, value); err != nil {
			return "", err
		}
	}
	reply, _, err := client.Exchange(m, server)
	if err != nil {
		return "", err
	}
	return describe(reply), nil
}

func apply(m *dns.Msg, client *dns.Client, key, value string) error {
	option := func(o dns.EDNS0) {
		if m.IsEdns0() == nil {
			m.SetEdns0(1232, false)
		}
		m.IsEdns0().Option = append(m.IsEdns0().Option, o)
	}
	switch key {
	case "tcp":
		client.Net = "tcp"
	case "edns":
		m.SetEdns0(1232, false)
	case "ecs":
		p, err := netip.ParsePrefix(value)
		if err != nil {
			return err
		}
		family := uint16(1)
		if p.Addr().Is6() {
			family = 2
		}
		option(&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()})
	case "ecshex":
		data, err := hex.DecodeString(value)
		if err != nil {
			return err
		}
		option(&dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: data})
	default:
		return fmt.Errorf("unknown word %q", key)
	}
	return nil
}

func describe(m *dns.Msg) string {
	line := "  " + dns.RcodeToString[m.Rcode]
	for _, f := range []struct {
		on   bool
		word string
	}{{m.Authoritative, "aa"}, {m.Truncated, "tc"}} {
		if f.on {
			line += " " + f.word
		}
	}
	if opt := m.IsEdns0(); opt != nil {
		line += " opt"
		for _, o := range opt.Option {
			switch o := o.(type) {
			case *dns.EDNS0_SUBNET:
				line += fmt.Sprintf(" scope=%d", o.SourceScope)
			case *dns.EDNS0_EDE:
				line += fmt.Sprintf(" ede=%d", o.InfoCode)
			}
		}
	}
	lines := []string{line}
	for _, s := range []struct {
		name string
		rrs  []dns.RR
	}{{"answer", m.Answer}, {"authority", m.Ns}, {"additional", m.Extra}} {
		var section []string
		for _, rr := range s.rrs {
			if rr.Header().Rrtype != dns.TypeOPT {
				section = append(section, "  "+s.name+": "+strings.ReplaceAll(rr.String(), "\t", " "))
			}
		}
		slices.Sort(section)
		lines = append(lines, section...)
	}
	return strings.Join(lines, "\n") + "\n"
}
