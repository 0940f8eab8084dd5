package mapper

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"edged/edge"
	"edged/maps"
)

// Net is a measured network: the PoPs that are closest for its addresses.
type Net struct {
	Prefix netip.Prefix
	Hops   []maps.Hop // one or more, best first
	Tables Tables
	Line   int // where it stands in its list

	margin  uint16        // as in outlook
	origins []maps.Origin // of the hops; nil: not known
}

// Tables says which tables of a map a network goes into.
type Tables uint8

// The tables.
const (
	ECS Tables = 1 << iota
	Resolver
	Both = ECS | Resolver
)

func (t Tables) String() string {
	switch t {
	case ECS:
		return "ecs"
	case Resolver:
		return "resolver"
	}
	return "both"
}

// ReadNets reads a list of measured networks in CSV. A line has a prefix, a
// ranking, and maybe a table:
//
//	prefix,ranking,table
//	203.0.113.0/24,fra:12.5 ams:14 nyc
//	2001:db8::/48,ams fra,resolver
//
// The ranking is up to eight names of PoPs, best first, each with a round-trip
// time in milliseconds after a colon when it is known. The table is ecs,
// resolver or both, the default. The header may be left out; empty lines and
// lines that begin with # do not count. Prefixes may nest and come in any
// order. The result is sorted by address, shorter prefixes first, without
// repetitions.
//
// Every line is read, and the error lists what is wrong with each: "name:line:
// what", the first 50 of them.
func ReadNets(r io.Reader, name string, pops []edge.PoP) ([]Net, error) {
	reader := newNetReader(name, pops)
	records := csv.NewReader(r)
	records.Comment = '#'
	records.FieldsPerRecord = -1
	records.ReuseRecord = true
	records.TrimLeadingSpace = true
	for first := true; ; first = false {
		record, err := records.Read()
		var syntax *csv.ParseError
		switch {
		case err == io.EOF:
			return reader.finish()
		case errors.As(err, &syntax):
			reader.problem(syntax.StartLine, "%v", syntax.Err)
			continue
		case err != nil:
			return nil, fmt.Errorf("cannot read %q: %w", name, err)
		case first && strings.EqualFold(strings.TrimSpace(record[0]), netColumns[0]):
			if !slices.EqualFunc(record, netColumns[:min(len(record), len(netColumns))], sameColumn) || len(record) < 2 {
				return nil, fmt.Errorf("%s:1: bad header %q: want prefix,ranking or prefix,ranking,table, or no header", name, strings.Join(record, ","))
			}
			continue
		}
		line, _ := records.FieldPos(0)
		reader.record(line, record)
	}
}

// netColumns are what the header says.
var netColumns = [...]string{"prefix", "ranking", "table"}

func sameColumn(text, name string) bool { return strings.EqualFold(strings.TrimSpace(text), name) }

// netReader gathers networks and what is wrong with the others.
type netReader struct {
	name     string
	pops     map[string]uint16
	names    []string
	hops     map[string][]maps.Hop // by the text of a ranking: few differ
	nets     []Net
	problems Problems
}

func newNetReader(name string, pops []edge.PoP) *netReader {
	r := &netReader{name: name, pops: map[string]uint16{}, hops: map[string][]maps.Hop{}}
	for i, p := range pops {
		r.pops[p.Name] = uint16(i)
		r.names = append(r.names, p.Name)
	}
	return r
}

func (r *netReader) problem(line int, format string, args ...any) {
	r.problems.add(fmt.Errorf("%s:%d: %w", r.name, line, fmt.Errorf(format, args...)))
}

func (r *netReader) record(line int, record []string) {
	if len(record) < 2 || len(record) > 3 {
		r.problem(line, "%d columns, want prefix,ranking or prefix,ranking,table", len(record))
		return
	}
	net := Net{Tables: Both, Line: line}
	var err error
	if net.Prefix, err = parsePrefix(strings.TrimSpace(record[0])); err != nil {
		r.problem(line, "%w", err)
		return
	}
	if net.Hops, err = r.ranking(record[1]); err != nil {
		r.problem(line, "%w", err)
		return
	}
	if len(record) == 3 {
		switch table := strings.TrimSpace(record[2]); table {
		case "ecs":
			net.Tables = ECS
		case "resolver":
			net.Tables = Resolver
		case "both", "":
		default:
			r.problem(line, "unknown table %q: want ecs, resolver or both", table)
			return
		}
	}
	r.nets = append(r.nets, net)
}

func parsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		if addr, addrErr := netip.ParseAddr(text); addrErr == nil {
			return prefix, fmt.Errorf("prefix %q has no length: write %s/%d for the one address", text, addr, addr.BitLen())
		}
		return prefix, fmt.Errorf("bad prefix %q: want one like 203.0.113.0/24", text)
	}
	if prefix.Addr().Is4In6() {
		return prefix, fmt.Errorf("prefix %q is an ipv4-mapped one: write it as ipv4", text)
	}
	if masked := prefix.Masked(); masked != prefix {
		return prefix, fmt.Errorf("prefix %q has bits set after its length: did you mean %s?", text, masked)
	}
	return prefix, nil
}

// ranking parses "fra:12.5 ams nyc".
func (r *netReader) ranking(text string) ([]maps.Hop, error) {
	if hops, ok := r.hops[text]; ok {
		return hops, nil
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		return nil, errors.New("ranking is empty: want names of pops, best first")
	}
	if len(words) > maps.MaxHops {
		return nil, fmt.Errorf("ranking has %d pops, want at most %d: the others follow by distance", len(words), maps.MaxHops)
	}
	hops := make([]maps.Hop, 0, len(words))
	for _, word := range words {
		hop, err := r.hop(word)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(hops, func(h maps.Hop) bool { return h.PoP == hop.PoP }) {
			return nil, fmt.Errorf("pop %q is twice in the ranking", r.names[hop.PoP])
		}
		hops = append(hops, hop)
	}
	r.hops[strings.Clone(text)] = hops
	return hops, nil
}

// maxRTT is the largest round-trip time in milliseconds that a map can hold.
const maxRTT = math.MaxUint16 / 2.0

// hop parses "fra" or "fra:12.5".
func (r *netReader) hop(word string) (maps.Hop, error) {
	name, rtt, measured := strings.Cut(word, ":")
	index, ok := r.pops[name]
	if !ok {
		return maps.Hop{}, fmt.Errorf("unknown pop %q; %s", name, edge.Suggest(name, r.names))
	}
	if !measured {
		return maps.Hop{PoP: index}, nil
	}
	ms, err := strconv.ParseFloat(rtt, 64)
	if err != nil || !(ms > 0 && ms <= maxRTT) {
		return maps.Hop{}, fmt.Errorf("bad round-trip time %q of pop %q: want milliseconds above 0, at most %v", rtt, name, maxRTT)
	}
	// 0 would say that the time is not known.
	return maps.Hop{PoP: index, RTT: max(1, uint16(math.Round(ms*2)))}, nil
}

// finish sorts the networks and drops repetitions; a repetition that says
// something else is a problem.
func (r *netReader) finish() ([]Net, error) {
	slices.SortFunc(r.nets, compareNets)
	kept := r.nets[:0]
	for _, net := range r.nets {
		before := kept
		for i := len(kept) - 1; i >= 0 && kept[i].Prefix == net.Prefix; i-- {
			before = kept[:i]
		}
		if r.adds(kept[len(before):], &net) {
			kept = append(kept, net)
		}
	}
	if len(r.problems.list) > 0 {
		return nil, &r.problems
	}
	return kept, nil
}

// adds reports whether a network says anything that those of the same prefix do
// not say, and notes when it contradicts one. Tables that are said already are
// taken off.
func (r *netReader) adds(same []Net, net *Net) bool {
	for _, other := range same {
		if other.Tables&net.Tables == 0 {
			continue
		}
		if !slices.Equal(other.Hops, net.Hops) {
			r.problem(net.Line, "prefix %s has another ranking in line %d", net.Prefix, other.Line)
			return false
		}
		net.Tables &^= other.Tables
	}
	return net.Tables != 0
}

// compareNets orders by address (v4 first), then shorter prefixes first, then
// lines.
func compareNets(a, b Net) int {
	if c := a.Prefix.Addr().Compare(b.Prefix.Addr()); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()); c != 0 {
		return c
	}
	return cmp.Compare(a.Line, b.Line)
}

// Problems are the errors of a list, all of them.
type Problems struct{ list []error }

// maxProblems is the number of problems that are written out.
const maxProblems = 50

func (p *Problems) add(err error) { p.list = append(p.list, err) }

// Error returns one line for each of the first 50 problems, and how many more
// there are.
func (p *Problems) Error() string {
	var b strings.Builder
	for i, err := range p.list {
		if i == maxProblems {
			fmt.Fprintf(&b, "\nand %d more", len(p.list)-i)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(err.Error())
	}
	return b.String()
}

// Unwrap returns every problem.
func (p *Problems) Unwrap() []error { return p.list }
