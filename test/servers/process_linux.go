package servers

import "syscall"

// attributes make a child die with its parent, and keep the terminal's Ctrl-C from it: who started it ends it in order.
func attributes(user *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: user, Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
