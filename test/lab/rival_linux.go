package lab

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Rival is BIRD in an edge's place, with nothing to answer queries. What a router takes
// to act on BIRD's routes is the router's own; edged's speaker is compared with it.
type Rival struct {
	process
	prefixes []netip.Prefix
	control  string // the path of its control socket
}

const rivalText = `log "%[1]s/log" all;
router id %[2]s;
protocol device {}
protocol bgp router4 {
	local %[2]s as %[4]d; neighbor %[5]s as %[6]d;
	direct;%[10]s hold time %[8]d; keepalive time %[9]d; connect delay time 1;
	ipv4 { import none; export where source = RTS_STATIC; next hop self; };
}
protocol bgp router6 {
	local %[3]s as %[4]d; neighbor %[7]s as %[6]d;
	direct;%[10]s hold time %[8]d; keepalive time %[9]d; connect delay time 1;
	ipv6 { import none; export where source = RTS_STATIC; next hop self; };
}
`

// Rival starts one in an edge's place, with the prefixes that it may announce. It does
// not wait for its sessions.
func (l *Lab) Rival(e *Edge, prefixes ...netip.Prefix) (*Rival, error) {
	hold, security := int(l.Config.Hold.Seconds()), ""
	if l.Config.Router.gtsm() {
		security = " ttl security;"
	}
	var b strings.Builder
	fmt.Fprintf(&b, rivalText, e.Dir, fabric4(e.number).Addr(), fabric6(e.number).Addr(), EdgeASN,
		router4.Addr(), RouterASN, router6.Addr(), hold, hold/3, security)
	for i, p := range prefixes {
		family := "ipv4"
		if p.Addr().Is6() {
			family = "ipv6"
		}
		fmt.Fprintf(&b, "protocol static vip%d { disabled; %s; route %s blackhole; }\n", i, family, p)
	}
	file := filepath.Join(e.Dir, "rival.conf")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		return nil, err
	}
	r := &Rival{prefixes: prefixes, control: filepath.Join(e.Dir, "rival.ctl")}
	if err := r.start(e.Host, filepath.Join(e.Dir, "out"), "bird", "-f", "-c", file, "-s", r.control, "-P", filepath.Join(e.Dir, "rival.pid")); err != nil {
		return nil, err
	}
	l.rivals = append(l.rivals, r)
	return r, Until(5*time.Second, func() error {
		_, err := r.tell("show status")
		return err
	})
}

// Announce has it announce a prefix, or none of it, and returns when it was told so.
func (r *Rival) Announce(prefix netip.Prefix, announced bool) (time.Time, error) {
	what := "disable"
	if announced {
		what = "enable"
	}
	i := slices.Index(r.prefixes, prefix)
	if i < 0 {
		return time.Time{}, fmt.Errorf("the rival was not started with %s", prefix)
	}
	return r.tell(fmt.Sprintf("%s vip%d", what, i))
}

// tell gives BIRD a command over its control socket, as birdc does without the time
// that birdc takes to start, waits for the end of its answer, and returns when the
// command was sent.
func (r *Rival) tell(command string) (time.Time, error) {
	conn, err := net.Dial("unix", r.control)
	if err != nil {
		return time.Time{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return time.Time{}, err
	}
	lines := bufio.NewScanner(conn)
	if err := readAnswer(lines); err != nil { // its greeting
		return time.Time{}, err
	}
	begun := time.Now()
	if _, err := fmt.Fprintln(conn, command); err != nil {
		return begun, err
	}
	if err := readAnswer(lines); err != nil {
		return begun, fmt.Errorf("bird: %s: %w", command, err)
	}
	return begun, nil
}

// readAnswer reads one answer of BIRD: lines of a code and a text, of which the last has a
// space after the code. Codes from 8000 on are errors.
func readAnswer(lines *bufio.Scanner) error {
	for lines.Scan() {
		line := lines.Text()
		if len(line) < 5 || line[4] != ' ' || line[0] == ' ' {
			continue
		}
		if line[0] >= '8' {
			return errors.New(line[5:])
		}
		return nil
	}
	return errors.Join(errors.New("the answer does not end"), lines.Err())
}
