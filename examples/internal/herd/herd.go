//go:build unix

package herd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ollelogdahl/concord"
)

const (
	startTimeout = 30 * time.Second // until a process is in the ring
	leaveTimeout = 30 * time.Second
)

// Seat is the place of one member, whichever process has it at the time.
type Seat struct {
	// Name is the name of the member.
	Name string
	// Zone is its zone.
	Zone string
	// Dir is the directory for its data.
	Dir string
	// Addr is its address. It is 127.0.0.1:0 until it has been started once.
	Addr string

	id      uint64
	process *Process // nil while it does not run
	stopped bool
}

// Herd are processes of one program that form a ring. Its methods may be called concurrently.
type Herd struct {
	bin  string
	args func(Seat) []string
	log  *os.File

	mu    sync.Mutex
	seats []*Seat // clockwise
	made  int
}

// New makes a herd whose processes are started from the binary with args of their seats. A process
// says "serves at ADDRESS" on its standard output when it is in the ring. Data and the log of all
// processes are in dir.
func New(bin, dir string, args func(Seat) []string) (*Herd, error) {
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	return &Herd{bin: bin, args: args, log: log}, nil
}

// Add starts a member in a new seat, and waits until it is in the ring.
func (h *Herd) Add(ctx context.Context, zone string) (string, error) {
	h.mu.Lock()
	h.made++
	name := fmt.Sprintf("node%d", h.made)
	s := &Seat{Name: name, Zone: zone, Dir: filepath.Join(filepath.Dir(h.log.Name()), name), Addr: "127.0.0.1:0"}
	s.id = concord.New(concord.Config{Name: name}).Id()
	h.seats = append(h.seats, s)
	slices.SortFunc(h.seats, func(a, b *Seat) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	h.mu.Unlock()
	return name, h.Start(ctx, name)
}

// Start starts the process of a seat, and waits until it is in the ring.
func (h *Herd) Start(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s := h.seat(name)
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	p, err := Start(h.log, h.bin, h.args(*s)...)
	if err != nil {
		return err
	}
	m, err := p.Await(ctx, `serves at (\S+)`)
	if err != nil {
		p.Kill()
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Addr, s.process, s.stopped = m[1], p, false
	return nil
}

func (h *Herd) seat(name string) *Seat {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.seats, func(s *Seat) bool { return s.Name == name })
	return h.seats[i]
}

// Others are the addresses of the members that run, but for the one named, separated by commas.
func (h *Herd) Others(name string) string {
	var addrs []string
	for _, s := range h.Running() {
		if s.Name != name {
			addrs = append(addrs, s.Addr)
		}
	}
	return strings.Join(addrs, ",")
}

// Running are the seats whose processes run and are not stopped, clockwise.
func (h *Herd) Running() []Seat {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Seat
	for _, s := range h.seats {
		if s.process != nil && !s.stopped {
			out = append(out, *s)
		}
	}
	return out
}

// take is the process of a seat, which has none from now on.
func (h *Herd) take(name string) *Process {
	s := h.seat(name)
	h.mu.Lock()
	defer h.mu.Unlock()
	p := s.process
	s.process = nil
	return p
}

// Kill kills the processes of the seats at once. With wipe, their data is lost.
func (h *Herd) Kill(wipe bool, names ...string) error {
	var wg sync.WaitGroup
	for _, name := range names {
		p := h.take(name)
		wg.Go(p.Kill)
	}
	wg.Wait()
	for _, name := range names {
		if wipe {
			if err := os.RemoveAll(h.seat(name).Dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// Leave lets the processes of the seats end by themselves, at once.
func (h *Herd) Leave(ctx context.Context, names ...string) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		p := h.take(name)
		wg.Go(func() { errs[i] = p.Terminate(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Remove lets a process end by itself, and removes its seat.
func (h *Herd) Remove(ctx context.Context, name string) error {
	err := h.Leave(ctx, name)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seats = slices.DeleteFunc(h.seats, func(s *Seat) bool { return s.Name == name })
	return err
}

// Pause stops processes with SIGSTOP for a time.
func (h *Herd) Pause(ctx context.Context, d time.Duration, names ...string) error {
	var errs []error
	for _, stop := range []bool{true, false} {
		for _, name := range names {
			s := h.seat(name)
			h.mu.Lock()
			signal := s.process.Continue
			if stop {
				signal = s.process.Stop
			}
			s.stopped = stop
			h.mu.Unlock()
			errs = append(errs, signal())
		}
		if stop {
			errs = append(errs, Sleep(ctx, d))
		}
	}
	return errors.Join(errs...)
}

// Close kills all processes.
func (h *Herd) Close() {
	for _, s := range h.seats {
		if p := h.take(s.Name); p != nil {
			p.Kill()
		}
	}
	h.log.Close()
}
