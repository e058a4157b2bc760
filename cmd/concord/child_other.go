//go:build !linux

package main

import "syscall"

// childAttr asks for nothing: a child whose input ends leaves by itself.
func childAttr() *syscall.SysProcAttr { return nil }
