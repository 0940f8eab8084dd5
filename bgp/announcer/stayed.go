package announcer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"edged/bgp/speaker"
	"edged/edge"
)

// Sessions that a reload left as they were, for something hangs on them, are not for a restart
// to end either: a node begins with them, and goes on to what its file wants by the same rules.

// stayer is a session as it stayed against the file.
type stayer struct {
	speaker.Peer
	MD5 bool `json:"md5,omitempty"` // its password is in passwordFile
}

const (
	passwordFile = "vip-passwords.json" // of stayers, by address
	stayersFor   = 30 * time.Second     // after a start, until one that does not come up is as the file wants it
)

// startPeers begins with the peers of the file, but with sessions that stayed against it before,
// and groups likewise.
func (a *Announcer) startPeers(k kept) {
	stayed, err := a.store.readPasswords(k.Stayed)
	a.fault(sessionsOfBefore, err)
	a.kept, a.stayed, a.restayed = k.Peers, k.Stayed, map[netip.Addr]bool{}
	peers := keptGroups(restayed(a.file.Peers, stayed), k.Peers, a.plan.VIPs)
	if !slices.EqualFunc(peers, a.peers, samePeer) {
		a.begin(peers, 0)
	}
}

// begin tells the speaker the peers to begin with. While it refuses them, that is tried again, until
// it is late or the file is read again.
func (a *Announcer) begin(peers []speaker.Peer, now time.Duration) {
	_, err := a.cfg.Speaker.SetPeers(peers)
	given := false
	a.mu.Lock()
	switch {
	case err == nil:
		a.peers, a.beginWith, a.dirty = peers, nil, true
		for _, s := range a.stayers() {
			a.restayed[s.Address] = true
		}
	case now > stayersFor || a.reread:
		a.beginWith, given = nil, true
	default:
		a.beginWith, a.moving.next = peers, now+peersEvery
	}
	a.mu.Unlock()
	if given {
		a.fault(sessionsOfBefore, fmt.Errorf("they are as the file wants them, not as they stayed before: %w", err))
		err = nil
	}
	a.fault("peers", err)
}

// stayers returns the sessions that the file does not want as they are. The caller holds
// the lock.
func (a *Announcer) stayers() (all []stayer) {
	if a.beginWith != nil {
		return a.stayed
	}
	for _, p := range a.peers {
		if !slices.ContainsFunc(a.file.Peers, p.SameSession) {
			all = append(all, stayer{p, p.Password != ""})
		}
	}
	slices.SortFunc(all, func(s, t stayer) int { return s.Address.Compare(t.Address) })
	return all
}

// sameStayers says whether a restart would begin with the same sessions.
func sameStayers(a, b []stayer) bool {
	return slices.EqualFunc(a, b, func(s, t stayer) bool { return samePeer(s.Peer, t.Peer) })
}

// restayed returns the peers of a file with those that stayed before as they were.
func restayed(file []speaker.Peer, before []stayer) []speaker.Peer {
	all := slices.Clone(file)
	for _, s := range before {
		i := slices.IndexFunc(all, func(p speaker.Peer) bool { return p.Address == s.Address })
		if i < 0 {
			for slices.ContainsFunc(all, func(p speaker.Peer) bool { return p.Name == s.Name }) {
				s.Name += "-before"
			}
			all = append(all, s.Peer)
			continue
		}
		s.Name, s.Groups = all[i].Name, all[i].Groups // of these, see keptGroups
		all[i] = s.Peer
	}
	return all
}

// rising says what the node waits for after a start before it changes sessions that stayed
// before, for some time: they come up, and VIPs are announced, so that it is seen what hangs on
// which. Empty: it waits no more. The caller holds the lock.
func (a *Announcer) rising(up map[netip.Addr]bool, now time.Duration) string {
	for _, p := range a.peers {
		if a.restayed[p.Address] && !up[p.Address] && now < stayersFor {
			return fmt.Sprintf("the session with %s comes up as it was before the start, first", p.Name)
		}
	}
	for _, name := range sortedKeys(a.vips) {
		v := a.vips[name]
		if sent := v.wish.Route != nil && a.wasSent(v.spec, *v.wish.Route); len(a.restayed) > 0 && v.planned && !a.drained(v) && !sent && now < stayersFor {
			return fmt.Sprintf("%s is announced after the start, first", name)
		}
	}
	clear(a.restayed)
	return ""
}

func (s *store) passwords() string { return filepath.Join(filepath.Dir(s.path), passwordFile) }

// savePasswords puts those of stayers on disk, before what is kept says that they have some.
func (s *store) savePasswords(of []stayer) error {
	all := map[netip.Addr]string{}
	for _, p := range of {
		if p.MD5 {
			all[p.Address] = p.Password
		}
	}
	text, err := json.Marshal(all)
	if err != nil || len(all) == 0 || string(text) == s.secret {
		return err
	}
	if err := edge.ReplaceFile(s.passwords(), text, 0o600); err != nil {
		return fmt.Errorf("keep the passwords of sessions: %w", err)
	}
	s.secret = string(text)
	return nil
}

// dropPasswords removes them once nothing that is kept needs any.
func (s *store) dropPasswords(of []stayer) error {
	if s.secret == "" || slices.ContainsFunc(of, func(p stayer) bool { return p.MD5 }) {
		return nil
	}
	if err := os.Remove(s.passwords()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the passwords of sessions: %w", err)
	}
	s.secret = ""
	return nil
}

// readPasswords gives stayers theirs again. Those whose password is not there are left out,
// and told by the error.
func (s *store) readPasswords(of []stayer) (with []stayer, err error) {
	text, err := edge.ReadRegular(s.passwords())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	s.secret = string(text)
	all := map[netip.Addr]string{}
	if err == nil && len(text) > 0 {
		err = json.Unmarshal(text, &all)
	}
	for _, p := range of {
		if p.Password = all[p.Address]; p.MD5 && p.Password == "" {
			err = errors.Join(err, fmt.Errorf("the session with %s is as the file wants it, not as it stayed before: its password is not in %s", p.Name, passwordFile))
			continue
		}
		with = append(with, p)
	}
	return with, err
}
