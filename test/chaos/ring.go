//go:build unix

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/child"
)

const (
	startTimeout = 30 * time.Second // a process to be in the ring
	formTimeout  = 60 * time.Second // a new ring to be ideal
	endTimeout   = 10 * time.Second // a process to leave
	askTimeout   = 2 * time.Second  // a member to say how it stands
	poll         = 100 * time.Millisecond
	port         = 7946 // of every host of a lab
	starters     = 8    // processes started at once
)

// seat is the place of one member: a name and an address, whichever process has
// them at the time.
type seat struct {
	name string
	id   uint64
	host int

	// Guarded by ring.mu.
	addr    string // known when it was first in the ring
	process *child.Child
	up      bool // its process runs and is in the ring, so the truth counts it
	changes int  // counts changes of the two above
	side    int  // which side of a cut it is on
}

// ring is the members of one scenario, and the truth about them.
type ring struct {
	binary, logs string
	lab          *lab // nil: all on the loopback interface
	successors   int
	seats        []*seat                    // clockwise
	args         func(name string) []string // further flags of a member; never nil

	mu      sync.Mutex
	epoch   uint64            // counts changes of the truth
	settled map[int]time.Time // when sides were seen ideal since the last change
	hole    func(id uint64) bool
	phase   *phase // which lookups count for

	stop    context.CancelFunc
	looking sync.WaitGroup
	files   []io.Closer // logs of members; guarded by mu
}

// newRing forms a ring of n members, waits until it is ideal, and begins to look
// keys up in it.
func newRing(ctx context.Context, b *bench, prefix string, n, successors int) (*ring, error) {
	r := &ring{binary: b.binary, logs: b.logs, successors: successors, settled: map[int]time.Time{}, phase: &phase{}, args: b.args}
	if r.args == nil {
		r.args = func(string) []string { return nil }
	}
	if b.lab {
		var err error
		if r.lab, err = newLab(ctx, n+b.strangers); err != nil {
			return nil, err
		}
	}
	for i := range n {
		name := fmt.Sprintf("%s-%02d", prefix, i)
		r.seats = append(r.seats, &seat{name: name, host: i, id: concord.New(concord.Config{Name: name}).Id()})
	}
	slices.SortFunc(r.seats, func(a, b *seat) int { return cmp.Compare(a.id, b.id) })
	err := r.start(ctx, nil, r.seats[0], r.args(r.seats[0].name)...)
	if err == nil {
		err = each(r.seats[1:], starters, func(s *seat) error { return r.start(ctx, []string{r.seats[0].addr}, s, r.args(s.name)...) })
	}
	if err == nil {
		err = r.form(ctx)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	looking, stop := context.WithCancel(ctx)
	r.stop = stop
	r.looking.Go(func() { r.look(looking) })
	return r, nil
}

// form waits until a new ring is ideal and its fingers are there.
func (r *ring) form(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, formTimeout)
	defer cancel()
	if _, wrong := r.waitIdeal(ctx, time.Now(), formTimeout); wrong != "" {
		return fmt.Errorf("the ring does not form: %s", wrong)
	}
	pause(ctx, 5*concord.DefaultStabilizeInterval)
	return ctx.Err()
}

// close ends the lookups and kills whatever runs.
func (r *ring) close() {
	if r.stop != nil {
		r.stop()
	}
	r.looking.Wait()
	var ending sync.WaitGroup
	for _, s := range r.seats {
		if s.process != nil {
			ending.Go(s.process.Kill)
		}
	}
	ending.Wait()
	if r.lab != nil {
		r.lab.close()
	}
	for _, f := range r.files {
		_ = f.Close() // a log is an extra
	}
}

// launch starts a process for a seat, which joins by the given addresses, or
// founds a ring if there are none.
func (r *ring) launch(join []string, s *seat, args ...string) (*child.Child, error) {
	o := child.Options{Binary: r.binary, Name: s.name, Bind: s.addr, Join: join, Successors: r.successors, Args: args}
	if r.lab != nil {
		o.Bind = netip.AddrPortFrom(r.lab.addr(s.host), port).String()
		o.On = r.lab.hosts[s.host].on
	}
	if r.logs != "" {
		f, err := os.OpenFile(filepath.Join(r.logs, s.name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return nil, err
		}
		r.mu.Lock()
		r.files = append(r.files, f)
		r.mu.Unlock()
		o.Log = f
	}
	return child.Launch(o)
}

// start starts a process for a seat and waits until it is in the ring.
func (r *ring) start(ctx context.Context, join []string, s *seat, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	p, err := r.launch(join, s, args...)
	if err != nil {
		return err
	}
	if err := p.Ready(ctx); err != nil {
		p.Kill()
		return err
	}
	r.change(func() { s.process, s.addr, s.up, s.changes = p, p.Self.Address, true, s.changes+1 })
	return nil
}

// each calls f for each seat, at most so many at a time.
func each(seats []*seat, most int, f func(*seat) error) error {
	room := make(chan struct{}, most)
	errs := make([]error, len(seats))
	var wg sync.WaitGroup
	for i, s := range seats {
		room <- struct{}{}
		wg.Go(func() {
			errs[i] = f(s)
			<-room
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// change changes the truth: no side is known to be ideal any longer.
func (r *ring) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	r.epoch++
	clear(r.settled)
}

// down takes seats out of the truth.
func (r *ring) down(seats ...*seat) {
	r.change(func() {
		for _, s := range seats {
			s.up = false
			s.changes++
		}
	})
}

// kill kills the processes of seats, all at once.
func (r *ring) kill(seats ...*seat) error {
	r.down(seats...)
	return each(seats, len(seats), func(s *seat) error {
		s.process.Kill()
		return nil
	})
}

// leave lets the member of a seat leave.
func (r *ring) leave(ctx context.Context, s *seat) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	r.down(s)
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.process.End(ctx)
}

// suspend stops the processes of seats as a debugger does.
func (r *ring) suspend(seats ...*seat) error {
	r.down(seats...)
	return each(seats, 1, func(s *seat) error { return s.process.Signal(syscall.SIGSTOP) })
}

// resume lets them go on.
func (r *ring) resume(seats ...*seat) error {
	err := each(seats, 1, func(s *seat) error { return s.process.Signal(syscall.SIGCONT) })
	r.change(func() {
		for _, s := range seats {
			s.up = true
			s.changes++
		}
	})
	return err
}

// part puts seats on a side of their own and drops what they send to the others
// and, unless the cut is one-way, what the others send to them.
func (r *ring) part(ctx context.Context, seats []*seat, oneWay bool) error {
	var here, there []int
	for _, s := range r.seats {
		if slices.Contains(seats, s) {
			here = append(here, s.host)
		} else {
			there = append(there, s.host)
		}
	}
	err := r.lab.cut(ctx, here, there)
	if !oneWay && err == nil {
		err = r.lab.cut(ctx, there, here)
	}
	r.change(func() {
		for _, s := range seats {
			s.side = 1
		}
	})
	return err
}

// separate cuts two members off from each other and from nobody else. Keys for
// which that matters are in the hole.
func (r *ring) separate(ctx context.Context, a, b *seat, hole func(id uint64) bool) error {
	err := r.lab.cut(ctx, []int{a.host}, []int{b.host})
	if err == nil {
		err = r.lab.cut(ctx, []int{b.host}, []int{a.host})
	}
	r.change(func() { r.hole = hole })
	return err
}

// mend undoes every cut.
func (r *ring) mend(ctx context.Context) error {
	err := r.lab.mend(ctx)
	r.change(func() {
		r.hole = nil
		for _, s := range r.seats {
			s.side = 0
		}
	})
	return err
}

// sides lists the members of each side, clockwise.
func (r *ring) sides() map[int][]*seat {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[int][]*seat{}
	for _, s := range r.seats {
		if s.up {
			out[s.side] = append(out[s.side], s)
		}
	}
	return out
}

// owner is the truth: the first member of a side at or after id. It is called
// under the lock.
func (r *ring) owner(id uint64, side int) *seat {
	var first *seat
	for _, s := range r.seats {
		if !s.up || s.side != side {
			continue
		}
		if s.id >= id {
			return s
		}
		if first == nil {
			first = s
		}
	}
	return first
}

// wrongOf says what keeps the members of one side from being an ideal ring.
func (r *ring) wrongOf(ctx context.Context, seats []*seat) string {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	all := make([]concord.Status, len(seats))
	err := each(seats, len(seats), func(s *seat) (err error) {
		i := slices.Index(seats, s)
		all[i], err = s.process.Status(ctx)
		return err
	})
	if err != nil {
		return err.Error()
	}
	return child.NotIdeal(all, r.successors)
}

// waitIdeal waits until each side is an ideal ring, and notes when it was seen to
// be. It returns when after began the last side was, or what is
// still wrong when the limit is over.
func (r *ring) waitIdeal(ctx context.Context, began time.Time, limit time.Duration) (took time.Duration, wrong string) {
	again := time.NewTicker(poll)
	defer again.Stop()
	for {
		wrong = ""
		sides := r.sides()
		for side, seats := range sides {
			r.mu.Lock()
			epoch, settled := r.epoch, !r.settled[side].IsZero()
			r.mu.Unlock()
			if settled {
				continue
			}
			if w := r.wrongOf(ctx, seats); w != "" {
				wrong = w
				continue
			}
			took = time.Since(began)
			r.mu.Lock()
			if r.epoch == epoch {
				r.settled[side] = time.Now()
			}
			r.mu.Unlock()
		}
		if wrong == "" {
			return took, ""
		}
		if time.Since(began) > limit {
			return time.Since(began), wrong
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return time.Since(began), wrong
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
