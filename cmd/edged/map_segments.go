package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"iter"
	"net/netip"
	"time"

	"edged/edge"
	"edged/geo/place"
	"edged/mapper"
	"edged/mapper/beacon"
	"edged/maps"
)

// measureWindow is how far back measurements count.
const measureWindow = 7 * 24 * time.Hour

// readSegments reads the measurements of a folder of segments: those of the week
// that ends with the newest hour, so that the clock does not matter. The source
// names them by their hash.
func readSegments(dir string, pops []edge.PoP) (*mapper.Measurements, maps.Input, error) {
	all, err := beacon.OpenAll(dir)
	if err != nil {
		return nil, maps.Input{}, err
	}
	defer all.Close()
	if len(all.Hours) == 0 {
		return nil, maps.Input{}, fmt.Errorf("folder %q has no segments: bring measurements in with edged beacon import", dir)
	}
	end := all.Hours[len(all.Hours)-1].Start.Add(time.Hour)
	set, err := beacon.Open(dir, end.Add(-measureWindow), end)
	if err != nil {
		return nil, maps.Input{}, err
	}
	defer set.Close()
	sum := sha256.New()
	m, err := mapper.ReadBeacons(hashed(set.Sessions(), sum), pops)
	if err != nil {
		return nil, maps.Input{}, err
	}
	return m, maps.Input{Name: "beacons", Version: fmt.Sprintf("sha256:%x", sum.Sum(nil)[:6])}, nil
}

// hashed yields sessions and adds them to a hash.
func hashed(sessions iter.Seq2[beacon.Session, error], sum hash.Hash) iter.Seq2[beacon.Session, error] {
	return func(yield func(beacon.Session, error) bool) {
		var b []byte
		for s, err := range sessions {
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
			if !yield(s, err) {
				return
			}
		}
	}
}

// locate returns a function that says where an address is.
func locate(db *place.DB) func(netip.Addr) place.Place {
	return func(a netip.Addr) place.Place {
		p, _, _ := db.Lookup(a)
		return p
	}
}

// addSegments adds what beacons measured to the input of a map.
func addSegments(dir, inForcePath string, places *place.DB, in *mapper.Input) error {
	in.Progress("reading segments")
	measured, source, err := readSegments(dir, in.PoPs)
	if err != nil {
		return err
	}
	in.Sources = append(in.Sources, source)
	in.Progress(fmt.Sprintf("estimating from %d sessions of %d blocks", measured.Sessions, len(measured.Units)))
	in.Measured = mapper.Estimate(measured, in.PoPs, locate(places))
	if inForcePath == "" {
		return nil
	}
	inForce, err := maps.Open(inForcePath)
	if err != nil {
		return err
	}
	in.Measured.Keep(inForce)
	return nil
}
