package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// maxSocketPath is the longest path of a unix socket on all systems (BSD's
// sun_path holds 104 octets, one of them a zero).
const maxSocketPath = 103

// privateFolder is where a socket is made, beside its path. It stays: on a full disk a folder
// cannot be made, and a socket can.
const privateFolder = ".socket"

// listenSocket listens on a unix socket that only its owner can open. The
// socket appears under its path with its final mode, because it is made in a
// private folder and then moved. A socket that is there already is replaced only
// when nobody answers on it.
func listenSocket(path string) (net.Listener, error) {
	fail := func(format string, args ...any) (net.Listener, error) {
		return nil, fmt.Errorf("control socket %q: %w", path, fmt.Errorf(format, args...))
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fail("%w", unwrapPath(err))
	case info.Mode()&fs.ModeSocket == 0:
		return fail("there is a file that is not a socket; move it away")
	default:
		if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
			conn.Close()
			return fail("another node answers on it; give each node its own data_dir")
		}
	}
	private := filepath.Join(filepath.Dir(path), privateFolder)
	made := filepath.Join(private, "s")
	if len(made) > maxSocketPath || len(path) > maxSocketPath {
		return fail("the path is too long for a unix socket; choose a data_dir of at most %d characters", maxSocketPath-len("/control.sock"))
	}
	if err := os.Mkdir(private, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fail("%w", unwrapPath(err))
	}
	if info, err := os.Lstat(private); err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return fail("%q is no folder that only its owner can use; remove it", private)
	}
	if err := os.Remove(made); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a start that was cut short
		return fail("%w", unwrapPath(err))
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return fail("%w", err)
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(made, 0o600), os.Rename(made, path)); err != nil {
		l.Close()
		return fail("%w", err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return fail("%w", unwrapPath(err))
	}
	return &socket{UnixListener: l, path: path, info: info}, nil
}

// socket is a listener that removes its own file when it is closed, and whose
// connections have the user at the other end as their remote address.
type socket struct {
	*net.UnixListener
	path string
	info fs.FileInfo
}

func (s *socket) Accept() (net.Conn, error) {
	conn, err := s.AcceptUnix()
	if err != nil {
		return nil, err
	}
	return peerConn{conn, peerAddr(peerUser(conn))}, nil
}

func (s *socket) Close() error {
	if info, err := os.Lstat(s.path); err == nil && os.SameFile(info, s.info) {
		os.Remove(s.path)
	}
	return s.UnixListener.Close()
}

type peerConn struct {
	net.Conn
	peer peerAddr
}

func (c peerConn) RemoteAddr() net.Addr { return c.peer }

// peerAddr is the user at the other end of a connection, as an address.
type peerAddr string

func (peerAddr) Network() string  { return "unix" }
func (a peerAddr) String() string { return string(a) }
