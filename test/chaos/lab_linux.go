package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// lab is a network of hosts around one router. Each host, and the router, is a
// thread of this process that has entered a network namespace of its own: its
// processes are started from that thread. So nothing has a name, the network of
// the machine is not touched, and when this process ends, however it does,
// everything is gone.
type lab struct {
	router *thread
	hosts  []*thread
}

// thread runs functions on one thread in one network namespace.
type thread struct {
	work chan func()
	done chan struct{}
	path string // of its network namespace
}

// newThread starts a thread in a new network namespace.
func newThread() (*thread, error) {
	t := &thread{work: make(chan func()), done: make(chan struct{})}
	entered := make(chan error)
	go func() {
		defer close(t.done)
		// Never unlocked: the thread ends with the goroutine, and the namespace
		// with the thread.
		runtime.LockOSThread()
		err := syscall.Unshare(syscall.CLONE_NEWNET)
		t.path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), syscall.Gettid())
		entered <- err
		if err != nil {
			return
		}
		for f := range t.work {
			f()
		}
	}()
	if err := <-entered; err != nil {
		return nil, fmt.Errorf("a network namespace: %w", err)
	}
	return t, nil
}

// on runs f on the thread.
func (t *thread) on(f func() error) error {
	result := make(chan error)
	t.work <- func() { result <- f() }
	return <-result
}

// end ends the thread. Processes started from it are killed then, if they still
// run.
func (t *thread) end() {
	close(t.work)
	<-t.done
}

// command runs a program in the thread's network with the given input.
func (t *thread) command(ctx context.Context, input, name string, args ...string) error {
	return t.on(func() error {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Stdin = strings.NewReader(input)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
		}
		return nil
	})
}

// gateway is the address of the router at every host.
const gateway = "169.254.1.1"

// newLab makes a network of n hosts.
func newLab(ctx context.Context, n int) (*lab, error) {
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, err
		}
	}
	l := &lab{}
	if err := l.build(ctx, n); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) build(ctx context.Context, n int) (err error) {
	if l.router, err = newThread(); err != nil {
		return err
	}
	// What /proc/sys/net shows is the network of the thread that opens it.
	if err := l.router.on(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
	}); err != nil {
		return fmt.Errorf("a router: %w", err)
	}
	if err := l.mend(ctx); err != nil {
		return err
	}
	for i := range n {
		h, err := newThread()
		if err != nil {
			return err
		}
		l.hosts = append(l.hosts, h)
		addr := l.addr(i)
		// The link is all that a host has, so no host needs to know another's
		// hardware address: the kernel's table of those is small.
		if err := h.command(ctx, fmt.Sprintf(`link set lo up
link add eth0 type veth peer name h%d netns %s
addr add %s peer %s dev eth0
link set eth0 up
route add default via %s
`, i, l.router.path, addr, gateway, gateway), "ip", "-batch", "-"); err != nil {
			return err
		}
		if err := l.router.command(ctx, fmt.Sprintf("addr add %s peer %s dev h%d\nlink set h%d up\n", gateway, addr, i, i),
			"ip", "-batch", "-"); err != nil {
			return err
		}
	}
	return nil
}

// addr is the address of host i.
func (l *lab) addr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 77, byte(i / 200), byte(i%200 + 1)})
}

// cut lets the router drop, without a word, whatever the first hosts send to the
// others.
func (l *lab) cut(ctx context.Context, from, to []int) error {
	return l.router.command(ctx, fmt.Sprintf("add rule ip cuts forward ip saddr { %s } ip daddr { %s } drop\n", l.addrs(from), l.addrs(to)),
		"nft", "-f", "-")
}

func (l *lab) addrs(hosts []int) string {
	out := make([]string, len(hosts))
	for k, i := range hosts {
		out[k] = l.addr(i).String()
	}
	return strings.Join(out, ", ")
}

// mend undoes all cuts.
func (l *lab) mend(ctx context.Context) error {
	return l.router.command(ctx, `table ip cuts
delete table ip cuts
table ip cuts {
	chain forward {
		type filter hook forward priority 0; policy accept;
	}
}
`, "nft", "-f", "-")
}

func (l *lab) close() {
	var ending sync.WaitGroup
	for _, t := range append(l.hosts, l.router) {
		if t != nil {
			ending.Go(t.end)
		}
	}
	ending.Wait()
}

// unavailable says what to do if err of newLab means that this machine lets
// nobody, or not us, have such a network. "": it means something else.
func unavailable(err error) string {
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "install what Debian calls iproute2 and nftables (make setup)"
	case errors.Is(err, fs.ErrPermission), strings.Contains(err.Error(), "not permitted"), strings.Contains(err.Error(), "Read-only"):
		return "run it as root, or as: unshare --user --map-root-user make chaos"
	}
	return ""
}
