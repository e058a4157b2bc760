//go:build unix

package herd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// Fault is what happens to a herd.
type Fault struct {
	// Name says what it is.
	Name string
	// Do lets it happen. Its result says to whom. It returns when the fault is over but for what
	// Undo does.
	Do func(ctx context.Context, h *Herd, r *rand.Rand) (string, error)
	// Undo brings those back that Do has taken away. It is nil if there is nothing to undo.
	Undo func(ctx context.Context, h *Herd, r *rand.Rand) error
}

// neighbours are n members that follow each other in the ring, from a random one on.
func neighbours(h *Herd, r *rand.Rand, n int) []string {
	seats := h.Running()
	first := r.IntN(len(seats))
	var names []string
	for i := range n {
		names = append(names, seats[(first+i)%len(seats)].Name)
	}
	return names
}

// pause is how long a process is stopped.
func pause(r *rand.Rand) time.Duration {
	return 2*time.Second + time.Duration(r.Int64N(int64(6*time.Second)))
}

// Faults are those of the chaos tests of the examples. Of the members that there are at the
// beginning, at most two are away or without their data at the same time.
func Faults() []*Fault {
	return []*Fault{killed(1), killed(2), left(), joined(), stopped(1), stopped(2), stoppedAndKilled()}
}

// killed kills n neighbours at once, and wipes their disks.
func killed(n int) *Fault {
	var names []string
	return &Fault{
		Name: fmt.Sprintf("kill %d", n),
		Do: func(_ context.Context, h *Herd, r *rand.Rand) (string, error) {
			names = neighbours(h, r, n)
			return fmt.Sprint(names), h.Kill(true, names...)
		},
		Undo: func(ctx context.Context, h *Herd, _ *rand.Rand) error { return startAll(ctx, h, names) },
	}
}

func startAll(ctx context.Context, h *Herd, names []string) error {
	for _, name := range names {
		if err := h.Start(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// left lets a member leave.
func left() *Fault {
	var names []string
	return &Fault{
		Name: "leave",
		Do: func(ctx context.Context, h *Herd, r *rand.Rand) (string, error) {
			names = neighbours(h, r, 1)
			return fmt.Sprint(names), h.Leave(ctx, names...)
		},
		Undo: func(ctx context.Context, h *Herd, _ *rand.Rand) error { return startAll(ctx, h, names) },
	}
}

// joined lets a new member join, and leave again.
func joined() *Fault {
	name := ""
	return &Fault{
		Name: "join",
		Do: func(ctx context.Context, h *Herd, r *rand.Rand) (string, error) {
			var err error
			name, err = h.Add(ctx, Zone(r.IntN(3)))
			return name, err
		},
		Undo: func(ctx context.Context, h *Herd, _ *rand.Rand) error { return h.Remove(ctx, name) },
	}
}

// stopped stops n neighbours for a while.
func stopped(n int) *Fault {
	return &Fault{
		Name: fmt.Sprintf("stop %d", n),
		Do: func(ctx context.Context, h *Herd, r *rand.Rand) (string, error) {
			names, d := neighbours(h, r, n), pause(r)
			return fmt.Sprintf("%v for %v", names, d.Round(time.Millisecond)), h.Pause(ctx, d, names...)
		},
	}
}

// stoppedAndKilled stops a member, and kills the next one while it is stopped.
func stoppedAndKilled() *Fault {
	var names []string
	return &Fault{
		Name: "stop and kill",
		Do: func(ctx context.Context, h *Herd, r *rand.Rand) (string, error) {
			names = neighbours(h, r, 2)
			d := pause(r)
			killed := make(chan error, 1)
			go func() {
				if err := Sleep(ctx, d/3); err != nil {
					killed <- err
					return
				}
				killed <- h.Kill(true, names[1])
			}()
			err := h.Pause(ctx, d, names[0])
			if failed := <-killed; err == nil {
				err = failed
			}
			return fmt.Sprintf("%s for %v, kill %s", names[0], d.Round(time.Millisecond), names[1]), err
		},
		Undo: func(ctx context.Context, h *Herd, _ *rand.Rand) error { return startAll(ctx, h, names[1:]) },
	}
}

// Zone is the name of one of the zones.
func Zone(i int) string { return fmt.Sprintf("zone%d", i%3) }
