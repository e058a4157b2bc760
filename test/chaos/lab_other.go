//go:build unix && !linux

package main

import (
	"context"
	"errors"
	"net/netip"
)

// lab is a network of hosts, which only Linux has.
type lab struct{ hosts []*thread }

type thread struct{}

var errNotLinux = errors.New("there are no network namespaces here")

func newLab(context.Context, int) (*lab, error)      { return nil, errNotLinux }
func (*lab) addr(int) netip.Addr                     { return netip.Addr{} }
func (*lab) cut(context.Context, []int, []int) error { return errNotLinux }
func (*lab) mend(context.Context) error              { return errNotLinux }
func (*lab) close()                                  {}
func (*thread) on(f func() error) error              { return f() }
func unavailable(error) string                       { return "run it on Linux" }
