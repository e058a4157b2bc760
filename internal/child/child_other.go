//go:build !linux

package child

import "syscall"

// attr asks for nothing: a child whose input ends leaves by itself.
func attr() *syscall.SysProcAttr { return nil }
