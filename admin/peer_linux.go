package admin

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// peerUser names the user at the other end of a unix socket, for the log.
func peerUser(conn *net.UnixConn) string {
	raw, err := conn.SyscallConn()
	if err != nil {
		return "unknown user"
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil || credErr != nil {
		return "unknown user"
	}
	return fmt.Sprintf("uid %d, pid %d", cred.Uid, cred.Pid)
}
