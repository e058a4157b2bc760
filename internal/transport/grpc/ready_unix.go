//go:build unix

package grpctransport

import "syscall"

const canReadRaw = true

func readRaw(fd uintptr, b []byte) (int, error) { return syscall.Read(int(fd), b) }
