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

	"edged/bgp"
	"edged/bgp/speaker"
	"edged/edge"
)

// A restart is no way around the rules by which routers are taken out: a node begins with those that it
// had sessions with beside those of its file, and goes on from there by the same rules as after a
// reload. Nor does a file with wrong settings take the sessions of all nodes, one restart after the
// other: one that does not come up as the file wants it is made as it was.

// keptSession is a session as it was.
type keptSession struct {
	speaker.Peer
	MD5 bool `json:"md5,omitempty"` // its password is in passwordFile
}

const (
	passwordFile = "vip-passwords.json" // of kept sessions, by address
	tryFor       = 12 * time.Second     // that a session is down as the file wants it, or as it was and has been up, until it is made the other way
	backFor      = 75 * time.Second     // likewise as it was, when it has not been up: a router may not listen for a minute after a wrong try
	restayFor    = 30 * time.Second     // after a start, until what is to come up first is waited for no more
)

// doubt is a session that the file wants otherwise than it was before the start, while it has not been
// up as the file wants it.
type doubt struct {
	was   speaker.Peer
	back  bool          // it is to be as it was
	since time.Duration // it has been so, or was up last
	up    bool          // it was since
}

// startPeers begins with the peers of the file, with others that the node had sessions with, and in the
// groups likewise.
func (a *Announcer) startPeers(k kept) {
	had, err := a.store.readPasswords(k.Sessions)
	a.fault(sessionsOfBefore, err)
	if len(a.file.Peers) == 0 { // the last peers go with a restart
		had = nil
	}
	a.kept, a.had, a.restayed = k.Peers, had, map[netip.Addr]bool{}
	for _, s := range had {
		a.proven[s.Address] = s.Peer
		if named(a.file.Peers, s.Address) && !a.wanted(s.Peer) {
			a.doubts[s.Address] = &doubt{was: s.Peer}
		}
	}
	if !slices.EqualFunc(a.first(), a.peers, samePeer) {
		a.begin(0)
	}
}

// first returns the peers to begin with. The caller holds the lock, or is the only one.
func (a *Announcer) first() []speaker.Peer {
	var vips []bgp.VIP
	for _, name := range sortedKeys(a.vips) {
		vips = append(vips, a.vips[name].spec)
	}
	return keptGroups(restayed(a.file.Peers, a.had), a.kept, vips)
}

// begin tells the speaker the peers to begin with. While it refuses them, that is tried again, until
// it is late.
func (a *Announcer) begin(now time.Duration) {
	a.mu.Lock()
	peers := a.first()
	a.mu.Unlock()
	_, err := a.cfg.Speaker.SetPeers(peers)
	given := false
	a.mu.Lock()
	switch {
	case err == nil:
		a.peers, a.beginning, a.dirty = peers, false, true
		for _, p := range peers {
			if !named(a.file.Peers, p.Address) {
				a.restayed[p.Address] = true
			}
		}
	case now > restayFor:
		a.beginning, given = false, true
	default:
		a.beginning, a.moving.next = true, now+peersEvery
	}
	a.mu.Unlock()
	if given {
		a.fault(sessionsOfBefore, fmt.Errorf("they are as the file wants them, not as they were before: %w", err))
		err = nil
	}
	a.fault("peers", err)
}

// wanted says whether the file wants a session as it is. The caller holds the lock.
func (a *Announcer) wanted(p speaker.Peer) bool {
	return slices.ContainsFunc(a.file.Peers, p.SameSession)
}

// wants returns the peers that the node is to have: those of the file, but for sessions that are as
// they were before the start. The caller holds the lock.
func (a *Announcer) wants() []speaker.Peer {
	all := slices.Clone(a.file.Peers)
	for i, p := range all {
		if d := a.doubts[p.Address]; d != nil && d.back {
			all[i] = d.was
			all[i].Name, all[i].Groups = p.Name, p.Groups
		}
	}
	return all
}

// fallBack has sessions that do not come up as the file wants them made as they were before the
// start, and the other way round, in turn while they are down. It says which are up as they were. The
// caller holds the lock.
func (a *Announcer) fallBack(up map[netip.Addr]bool, now time.Duration) (told error) {
	for _, p := range a.peers {
		d := a.doubts[p.Address]
		if d == nil {
			continue
		}
		is := p.SameSession(d.was)
		switch {
		case up[p.Address] && !is:
			delete(a.doubts, p.Address)
		case up[p.Address] && !d.back: // until it is changed, by the rules
			d.since = now
		case up[p.Address]:
			d.up, d.since = true, now
			told = errors.Join(told, fmt.Errorf("the session with %s does not come up as the file wants it, and is as it was before the start until the file is read again", p.Name))
		case is && !d.up && now-d.since < backFor, now-d.since < tryFor:
		default:
			d.back, d.up, d.since = !is, false, now
		}
	}
	return told
}

// refused gives sessions that the speaker does not make as they were another turn as the file wants
// them. The caller holds the lock.
func (a *Announcer) refused(now time.Duration) {
	for _, p := range a.peers {
		if d := a.doubts[p.Address]; d != nil && d.back && !p.SameSession(d.was) {
			d.back, d.since = false, now
		}
	}
}

// reconsider has sessions tried as the file wants them now that it is read again, and drops doubts about
// those that it wants as they were, or not at all. The caller holds the lock.
func (a *Announcer) reconsider(file []speaker.Peer) {
	for address, d := range a.doubts {
		if !named(file, address) || slices.ContainsFunc(file, d.was.SameSession) {
			delete(a.doubts, address)
			continue
		}
		d.back, d.up, d.since = false, false, a.now()
	}
}

// sessions returns those that a restart is to begin with: as they were when they were up last, and
// those that the file does not want. The caller holds the lock.
func (a *Announcer) sessions() (all []keptSession) {
	if a.beginning {
		return a.had
	}
	for _, p := range a.peers {
		was, had := a.proven[p.Address]
		if !had && a.wanted(p) {
			continue
		}
		if had {
			was.Name, was.Groups = p.Name, p.Groups
			p = was
		}
		all = append(all, keptSession{p, p.Password != ""})
	}
	slices.SortFunc(all, func(s, t keptSession) int { return s.Address.Compare(t.Address) })
	return all
}

// sameSessions says whether a restart would begin with the same.
func sameSessions(a, b []keptSession) bool {
	return slices.EqualFunc(a, b, func(s, t keptSession) bool { return samePeer(s.Peer, t.Peer) })
}

// restayed returns the peers of a file, and others that there were sessions with.
func restayed(file []speaker.Peer, before []keptSession) []speaker.Peer {
	all := slices.Clone(file)
	for _, s := range before {
		if named(file, s.Address) {
			continue
		}
		for slices.ContainsFunc(all, func(p speaker.Peer) bool { return p.Name == s.Name }) {
			s.Name += "-before"
		}
		all = append(all, s.Peer)
	}
	return all
}

// rising says what the node waits for after a start before it changes sessions of
// before, for some time: they come up, and VIPs are announced, so that it is seen what hangs on
// which. Empty: it waits no more. The caller holds the lock.
func (a *Announcer) rising(up map[netip.Addr]bool, now time.Duration) string {
	if len(a.restayed) == 0 {
		return ""
	}
	for _, p := range a.peers {
		if a.restayed[p.Address] && !up[p.Address] && now < restayFor {
			return fmt.Sprintf("the session with %s comes up as it was before the start, first", p.Name)
		}
	}
	for _, name := range sortedKeys(a.vips) {
		v := a.vips[name]
		if sent := v.wish.Route != nil && a.wasSent(v.spec, *v.wish.Route); a.meant(v) && !a.drained(v) && !sent && now < restayFor {
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
