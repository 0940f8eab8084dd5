package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"edged/edge"
	"edged/geo/place"
	"edged/mapper"
	"edged/mapper/beacon"
	"edged/maps"
)

// measureWindow is how far back measurements count.
const measureWindow = 7 * 24 * time.Hour

// measured is what a folder of segments says, and how far it is believed.
type measured struct {
	*mapper.Measurements
	pops   []edge.PoP // what PoPs in them index
	trust  *beacon.Trust
	again  beacon.Repeats // what came at more than one node
	source maps.Input     // names them by their hash

	sources func(io.Writer) // says from which nodes they are
}

// readSegments reads the measurements of a folder of segments: those of the week
// that ends with the newest hour, so that the clock does not matter. locate says
// where addresses are; nil: nobody knows.
func readSegments(ctx context.Context, dir string, pops []edge.PoP, locate func(netip.Addr) place.Place, part mapper.Part, engine beacon.Engine) (m measured, err error) {
	set, err := openWeek(dir)
	if err != nil {
		return m, err
	}
	defer set.Close()
	var sum []byte
	var hashed error
	var hashing sync.WaitGroup // one goroutine is enough for it, and has work for as long as FindTrust
	hashing.Go(func() { sum, hashed = hashSessions(set.Sessions()) })
	m.trust, err = beacon.FindTrust(ctx, set, pops, unitPoint(locate), runtime.GOMAXPROCS(0))
	hashing.Wait()
	if err = cmp.Or(err, hashed); err != nil {
		return m, err
	}
	m.pops, m.again = pops, set.Repeats()
	m.source = maps.Input{Name: "beacons", Version: fmt.Sprintf("sha256:%x", sum[:6])}
	m.Measurements, err = mapper.ReadBeacons(ctx, set, mapper.Reading{
		PoPs: pops, Locate: m.wellPlaced(locate), Weigh: m.trust.Weight, Part: part, Engine: engine, Workers: runtime.GOMAXPROCS(0),
	})
	return m, err
}

// unitPoint returns where units are, by their first addresses.
func unitPoint(locate func(netip.Addr) place.Place) func(beacon.Unit) (beacon.Point, bool) {
	if locate == nil {
		return nil
	}
	return func(u beacon.Unit) (beacon.Point, bool) {
		p := locate(u.Prefix().Addr())
		return beacon.Point{Lat: p.Lat, Lon: p.Lon}, p.HasCoord
	}
}

// wellPlaced is locate without the places that cannot be right; of their networks
// it still tells. Nil stays nil.
func (m measured) wellPlaced(locate func(netip.Addr) place.Place) func(netip.Addr) place.Place {
	if locate == nil {
		return nil
	}
	return func(a netip.Addr) place.Place {
		p := locate(a)
		if m.trust.Misplaced(beacon.UnitOf(a)) {
			return place.Place{ASN: p.ASN, Org: p.Org}
		}
		return p
	}
}

// writeChecks says what was limited or not believed, and what of it was
// decided by whom: nothing where all is well.
func (m measured) writeChecks(w io.Writer, e *mapper.Estimates) {
	fmt.Fprintf(w, "measured: %d sessions, %d rows of %d blocks\n", m.Sessions, m.Rows, len(m.Units))
	if n := len(m.Held); n > 0 {
		fmt.Fprintf(w, "  held back: %d more sessions, to judge maps by\n", n)
	}
	if m.Failures > 0 {
		fmt.Fprintf(w, "  failed: %d attempts to reach a pop, of clients who reached another\n", m.Failures)
	}
	if list := m.FailingAt(m.pops); len(list) > 0 {
		fmt.Fprintf(w, "  not among the choices: pops of which surely more than %.0f %% of a block's attempts fail: %s\n", 100*mapper.MostFailures, some(list))
	}
	if m.again.Rows > 0 {
		fmt.Fprintf(w, "  counted once: %d sessions that were reported to several nodes; %d rows of later reports do not count\n", m.again.Sessions, m.again.Rows)
	}
	if m.Unknown > 0 {
		fmt.Fprintf(w, "  %d rows are of pops that are not in the fleet\n", m.Unknown)
	}
	if list := m.trust.Limited(); len(list) > 0 {
		fmt.Fprintf(w, "  limited to their share: sources that bring more than %d samples in an hour and %.0f %% of a block's: %s; %d rows count less\n",
			beacon.SamplesAnHour, 100*beacon.SourceShare, some(list), m.Lowered)
	}
	if list := m.trust.Frauds(); len(list) > 0 {
		fmt.Fprintf(w, "  not believed: sources that alone in their block are faster than light from there: %s; %d rows do not count\n", some(list), m.Refused)
	}
	if list := m.trust.Places(); len(list) > 0 {
		fmt.Fprintf(w, "  misplaced: blocks of which several sources show that they are elsewhere than the place data say: %s\n", some(list))
	}
	if n := e.Limited(); n > 0 {
		fmt.Fprintf(w, "  limited to half of their country: %d networks\n", n)
	}
	if n := e.Hosting(); n > 0 {
		fmt.Fprintf(w, "  hosting: %d blocks, which teach nothing about other networks\n", n)
	}
	m.sources(w)
}

// some writes how many there are, and the first of them.
func some[T fmt.Stringer](list []T) string {
	const most = 5
	var b strings.Builder
	fmt.Fprintf(&b, "%d (", len(list))
	for i, x := range list[:min(len(list), most)] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(x.String())
	}
	if len(list) > most {
		b.WriteString(", …")
	}
	return b.String() + ")"
}

// hashSessions returns a hash of what sessions say, however they lie in files.
func hashSessions(sessions iter.Seq2[beacon.Session, error]) ([]byte, error) {
	sum := sha256.New()
	var b []byte
	for s, err := range sessions {
		if err != nil {
			return nil, err
		}
		b = b[:0]
		for _, r := range s.Rows {
			b = binary.LittleEndian.AppendUint64(b, r.Session)
			b = binary.LittleEndian.AppendUint64(b, uint64(r.Time))
			client, resolver := r.Client.As16(), [16]byte{}
			if r.Resolver.IsValid() {
				resolver = r.Resolver.As16()
			}
			b = append(append(b, client[:]...), resolver[:]...)
			b = append(append(b, s.PoPs[r.PoP]...), 0, byte(r.RTT), byte(r.RTT>>8), byte(r.Method))
		}
		sum.Write(b)
	}
	return sum.Sum(nil), nil
}

// locate returns a function that says where an address is.
func locate(db *place.DB) func(netip.Addr) place.Place {
	return func(a netip.Addr) place.Place {
		p, _, _ := db.Lookup(a)
		return p
	}
}

// segmentFlags say which measurements a map is built from.
type segmentFlags struct {
	sourceFlags // into is the folder of segments
	fetch       bool
	hosting     string
}

// check errs on flags that would say nothing.
func (f *segmentFlags) check(cmd *cobra.Command) error {
	if err := onlyWith(cmd, "segments", "pull", "without", "hosting"); err != nil {
		return err
	}
	return onlyWith(cmd, "pull", "token-file", "ca-file", "cert-file", "key-file")
}

func (f *segmentFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.into, "segments", "", "`DIR` of what beacons measured")
	cmd.Flags().BoolVar(&f.fetch, "pull", false, "pull what the nodes of beacon.sources measured into DIR first")
	f.addWho(cmd)
	f.addWithout(cmd)
	cmd.Flags().StringVar(&f.hosting, "hosting", "", "`FILE` with a number of a network of servers a line: what is measured there says nothing about people's networks")
}

// addTo adds what beacons measured to the input of a map.
func (f *segmentFlags) addTo(cmd *cobra.Command, places *place.DB, in *mapper.Input) (m measured, err error) {
	hosting, err := readHosting(f.hosting)
	if err != nil {
		return m, err
	}
	engine, err := aggregationEngine(f.config)
	if err != nil {
		return m, err
	}
	if f.fetch {
		in.Progress("pulling segments")
		if err := f.pull(cmd); err != nil {
			return m, err
		}
	}
	reportSources, err := f.checkWhole()
	if err != nil {
		return m, err
	}
	in.Progress("reading segments")
	m, err = readSegments(cmd.Context(), f.into, in.PoPs, locate(places), mapper.Seen, engine)
	if err != nil {
		return m, err
	}
	in.Sources = append(in.Sources, m.source)
	in.Created = later(in.Created, time.Unix(m.Newest, 0).UTC())
	in.Progress(fmt.Sprintf("estimating from %d sessions of %d blocks", m.Sessions, len(m.Units)))
	m.sources = reportSources
	in.Measured = mapper.Estimate(m.Measurements, in.PoPs, m.wellPlaced(locate(places)), hosting)
	return m, nil
}

// readHosting reads the list of networks of servers, if there is one.
func readHosting(path string) (map[uint32]bool, error) {
	if path == "" {
		return nil, nil
	}
	f, err := edge.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return beacon.ReadHosting(f, path)
}
