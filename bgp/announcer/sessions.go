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

// A restart is no way around the rules by which sessions are changed, one at a time and while others
// hear the VIPs: a node begins with the sessions that it had, and goes on to what its file wants by
// the same rules as after a reload.

// keptSession is a session as it was.
type keptSession struct {
	speaker.Peer
	MD5 bool `json:"md5,omitempty"` // its password is in passwordFile
}

const (
	passwordFile = "vip-passwords.json" // of kept sessions, by address
	restayFor    = 30 * time.Second     // after a start, until one that does not come up is as the file wants it
)

// startPeers begins with the peers of the file, but with the sessions that the node had, and in the
// groups likewise.
func (a *Announcer) startPeers(k kept) {
	had, err := a.store.readPasswords(k.Sessions)
	a.fault(sessionsOfBefore, err)
	a.kept, a.had, a.restayed = k.Peers, k.Sessions, map[netip.Addr]bool{}
	peers := keptGroups(restayed(a.file.Peers, had), k.Peers, a.plan.VIPs)
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
		for _, p := range peers {
			if !a.wanted(p) {
				a.restayed[p.Address] = true
			}
		}
	case now > restayFor || a.reread:
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

// wanted says whether the file wants a session as it is. The caller holds the lock.
func (a *Announcer) wanted(p speaker.Peer) bool {
	return slices.ContainsFunc(a.file.Peers, p.SameSession)
}

// sessions returns those that a restart is to begin with: that were up, or that the file does not
// want as they are. The caller holds the lock.
func (a *Announcer) sessions() (all []keptSession) {
	if a.beginWith != nil {
		return a.had
	}
	known := a.known()
	for _, p := range a.peers {
		if _, was := known[p.Address]; was || !a.wanted(p) {
			all = append(all, keptSession{p, p.Password != ""})
		}
	}
	slices.SortFunc(all, func(s, t keptSession) int { return s.Address.Compare(t.Address) })
	return all
}

// sameSessions says whether a restart would begin with the same.
func sameSessions(a, b []keptSession) bool {
	return slices.EqualFunc(a, b, func(s, t keptSession) bool { return samePeer(s.Peer, t.Peer) })
}

// restayed returns the peers of a file with the sessions of before as they were.
func restayed(file []speaker.Peer, before []keptSession) []speaker.Peer {
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

// rising says what the node waits for after a start before it changes sessions of
// before, for some time: they come up, and VIPs are announced, so that it is seen what hangs on
// which. Empty: it waits no more. The caller holds the lock.
func (a *Announcer) rising(up map[netip.Addr]bool, now time.Duration) string {
	for _, p := range a.peers {
		if a.restayed[p.Address] && !up[p.Address] && now < restayFor {
			return fmt.Sprintf("the session with %s comes up as it was before the start, first", p.Name)
		}
	}
	for _, name := range sortedKeys(a.vips) {
		v := a.vips[name]
		if sent := v.wish.Route != nil && a.wasSent(v.spec, *v.wish.Route); len(a.restayed) > 0 && v.planned && !a.drained(v) && !sent && now < restayFor {
			return fmt.Sprintf("%s is announced after the start, first", name)
		}
	}
	clear(a.restayed)
	return ""
}

func (s *store) passwords() string { return filepath.Join(filepath.Dir(s.path), passwordFile) }

// savePasswords puts those of sessions on disk, before what is kept says that they have some.
func (s *store) savePasswords(of []keptSession) error {
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
func (s *store) dropPasswords(of []keptSession) error {
	if s.secret == "" || slices.ContainsFunc(of, func(p keptSession) bool { return p.MD5 }) {
		return nil
	}
	if err := os.Remove(s.passwords()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the passwords of sessions: %w", err)
	}
	s.secret = ""
	return nil
}

// readPasswords gives sessions theirs again. Those whose password is not there are left out,
// and told by the error.
func (s *store) readPasswords(of []keptSession) (with []keptSession, err error) {
	var all map[netip.Addr]string
	s.secret, all, err = readPasswords(s.passwords())
	for _, p := range of {
		if p.Password = all[p.Address]; p.MD5 && p.Password == "" {
			err = errors.Join(err, fmt.Errorf("the session with %s is as the file wants it, not as it was before: its password is not in %s", p.Name, passwordFile))
			continue
		}
		with = append(with, p)
	}
	return with, err
}

func readPasswords(path string) (text string, of map[netip.Addr]string, err error) {
	b, err := edge.ReadRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil && len(b) > 0 {
		err = json.Unmarshal(b, &of)
	}
	return string(b), of, err
}

// PasswordOf returns the TCP MD5 password that the node with a folder had in its session with a
// peer, for when the file with it is gone. Empty: none is known.
func PasswordOf(dir string, peer netip.Addr) string {
	_, all, _ := readPasswords(filepath.Join(dir, passwordFile)) // what cannot be read is not known
	return all[peer]
}
