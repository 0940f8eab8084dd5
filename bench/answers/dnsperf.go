//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// perfOptions say how dnsperf loads a server.
type perfOptions struct {
	file    string        // questions, in its -B format
	length  time.Duration // whole seconds
	rate    int           // questions per second; 0: as many as it can
	tcp     bool
	clients int // sockets, or connections
	flying  int // questions in flight over all of them
}

// dnsperf runs the program and reads what it says.
func dnsperf(ctx context.Context, addr netip.AddrPort, o perfOptions) (loadResult, error) {
	path, err := find("dnsperf")
	if err != nil {
		return loadResult{}, err
	}
	args := []string{
		"-s", addr.Addr().String(), "-p", fmt.Sprint(addr.Port()), "-d", o.file, "-B", "-T", "1", "-t", "2",
		"-c", fmt.Sprint(o.clients), "-q", fmt.Sprint(o.flying), "-l", fmt.Sprint(int(o.length / time.Second)),
	}
	if o.rate > 0 {
		args = append(args, "-Q", fmt.Sprint(o.rate))
	}
	if o.tcp {
		args = append(args, "-m", "tcp")
	}
	ctx, cancel := context.WithTimeout(ctx, o.length+15*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if err != nil {
		return loadResult{}, fmt.Errorf("dnsperf: %w: %s", err, out)
	}
	return parseDnsperf(string(out))
}

var (
	perfCompleted = regexp.MustCompile(`Queries completed:\s+(\d+)`)
	perfLost      = regexp.MustCompile(`Queries lost:\s+(\d+)`)
	perfRunTime   = regexp.MustCompile(`Run time \(s\):\s+([\d.]+)`)
	perfNoerror   = regexp.MustCompile(`Response codes:.*NOERROR (\d+)`)
)

// parseDnsperf reads the sums that dnsperf prints at its end.
func parseDnsperf(out string) (loadResult, error) {
	var fields [4]float64
	for i, re := range []*regexp.Regexp{perfCompleted, perfLost, perfRunTime, perfNoerror} {
		m := re.FindStringSubmatch(out)
		if m == nil {
			if re == perfNoerror {
				continue
			}
			return loadResult{}, fmt.Errorf("dnsperf printed no %q: %s", re, out)
		}
		fields[i], _ = strconv.ParseFloat(m[1], 64)
	}
	completed := int(fields[0])
	return loadResult{
		Answered: completed, Lost: int(fields[1]), Failed: completed - int(fields[3]),
		Took: time.Duration(fields[2] * float64(time.Second)),
	}, nil
}
