package child

import "syscall"

// attr makes a child die with this process however that ends, and keeps
// the terminal's Ctrl-C from it, which is this process's to deal with.
func attr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
