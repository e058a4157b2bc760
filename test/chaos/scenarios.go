//go:build unix

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ollelogdahl/concord"
)

// scenario is one thing that happens to a ring.
type scenario struct {
	name  string
	title string
	lab   bool // cannot be without a network of its own
	run   func(ctx context.Context, b *bench, prefix string) (*report, error)
}

// report is what came of one run of a scenario.
type report struct{ phases []*phase }

const r3 = concord.DefaultSuccessorCount

// healed is the time allowed for rings that can reach each other again to be one.
const healed = 15 * time.Second

// met is that time for rings of 8: the fewer members look for others, the longer it
// takes until one finds one.
const met = 30 * time.Second

// parted is the time allowed for each side of a cut to be a ring of its own. A
// member none of whose successors is on its side asks whom it knows, one after
// another, and waits for each up to 3 s.
const parted = 45 * time.Second

// scenarios lists them at the size of CI, or at full size.
func scenarios(ci bool) []scenario {
	pick := func(small, full int) int {
		if ci {
			return small
		}
		return full
	}
	cut := time.Duration(pick(30, 300)) * time.Second
	roll, away := pick(8, 16), time.Duration(pick(1, 3))*time.Second
	silent := time.Duration(pick(15, 30)) * time.Second
	all := []scenario{
		{"halves", fmt.Sprintf("Two halves of %d cut apart for %v", 32, cut), true, halves(32, cut, false)},
		{"kill2", "kill -9 of 2 adjacent members of 16, SuccessorCount 3", false, killed(16, 3, 2)},
		{"kill4", "kill -9 of 4 adjacent members of 16, SuccessorCount 5", false, killed(16, 5, 4)},
		{"stop1", fmt.Sprintf("SIGSTOP of 1 member of 16 for %v, SIGCONT", silent), false, stopped(16, 1, silent)},
		{"stop2", fmt.Sprintf("SIGSTOP of 2 adjacent members of 16 for %v, SIGCONT", silent), false, stopped(16, 2, silent)},
		{"single", fmt.Sprintf("One member of 16 cut off for %v", silent), true, single(16, silent)},
		{"oneway", fmt.Sprintf("Two halves of %d, one cannot send to the other for %v", pick(8, 32), 2*silent), true, halves(pick(8, 32), 2*silent, true)},
		{"pair", fmt.Sprintf("Two neighbours of 16 cannot reach each other for %v", 2*silent), true, pair(16, 2*silent)},
		{"restart", "kill -9 of all 16 members, all started with their old addresses", false, restartAll(16)},
		{"polite", fmt.Sprintf("Rolling restart of %d members, each leaves and is away for %v", roll, away), false, rolling(roll, away, true)},
		{"rude", fmt.Sprintf("Rolling restart of %d members, each kill -9 and away for %v", roll, away), false, rolling(roll, away, false)},
	}
	if !ci {
		return all
	}
	// The soak does the rest, again and again.
	all = slices.DeleteFunc(all, func(s scenario) bool { return slices.Contains([]string{"kill2", "stop1", "single", "polite"}, s.name) })
	return slices.Insert(all, 0, scenario{"soak", fmt.Sprintf("Faults by chance in a ring of %d for %v, hostile requests", soakMembers, soakOfCI), false, soaked(soakOfCI)})
}

// add runs a phase, which begins with what the function does.
type add = func(*phase, func() error) error

// scene forms a ring, lets play run its phases and gives the report.
func scene(n, successors int, play func(ctx context.Context, r *ring, add add) error) func(context.Context, *bench, string) (*report, error) {
	return func(ctx context.Context, b *bench, prefix string) (*report, error) {
		r, err := newRing(ctx, b, prefix, n, successors)
		if err != nil {
			return nil, err
		}
		defer r.close()
		rep := &report{}
		err = play(ctx, r, func(p *phase, do func() error) error {
			rep.phases = append(rep.phases, p)
			return r.run(ctx, p, do)
		})
		return rep, err
	}
}

// killed kills k adjacent members.
func killed(n, successors, k int) func(context.Context, *bench, string) (*report, error) {
	return scene(n, successors, func(_ context.Context, r *ring, add add) error {
		return add(&phase{name: fmt.Sprintf("killed, %d are left", n-k), allowed: 5 * time.Second},
			func() error { return r.kill(r.seats[2 : 2+k]...) })
	})
}

// stopped stops k adjacent members for longer than every time-out.
func stopped(n, k int, silent time.Duration) func(context.Context, *bench, string) (*report, error) {
	return scene(n, r3, func(_ context.Context, r *ring, add add) error {
		victims := r.seats[2 : 2+k]
		if err := add(&phase{name: "stopped", allowed: silent, hold: silent},
			func() error { return r.suspend(victims...) }); err != nil {
			return err
		}
		return add(&phase{name: "going on", allowed: healed}, func() error { return r.resume(victims...) })
	})
}

// halves cuts a ring of 2·half in two, whose members alternate by chance.
func halves(half int, cut time.Duration, oneWay bool) func(context.Context, *bench, string) (*report, error) {
	return scene(2*half, r3, func(ctx context.Context, r *ring, add add) error {
		var side []*seat
		for _, s := range r.seats {
			if s.host%2 == 1 {
				side = append(side, s)
			}
		}
		if err := add(&phase{name: fmt.Sprintf("cut, %d + %d", half, half), allowed: parted, hold: cut},
			func() error { return r.part(ctx, side, oneWay) }); err != nil {
			return err
		}
		allowed := healed
		if half <= 8 {
			allowed = met
		}
		return add(&phase{name: fmt.Sprintf("mended, %d", 2*half), allowed: allowed}, func() error { return r.mend(ctx) })
	})
}

// single cuts one member off.
func single(n int, cut time.Duration) func(context.Context, *bench, string) (*report, error) {
	return scene(n, r3, func(ctx context.Context, r *ring, add add) error {
		if err := add(&phase{name: fmt.Sprintf("cut, %d + 1", n-1), allowed: parted, hold: cut},
			func() error { return r.part(ctx, r.seats[2:3], false) }); err != nil {
			return err
		}
		return add(&phase{name: fmt.Sprintf("mended, %d", n), allowed: healed}, func() error { return r.mend(ctx) })
	})
}

// pair keeps two neighbours from each other.
func pair(n int, cut time.Duration) func(context.Context, *bench, string) (*report, error) {
	return scene(n, r3, func(ctx context.Context, r *ring, add add) error {
		a, b := r.seats[2], r.seats[3]
		hole := func(id uint64) bool { return a.id < id && id <= b.id }
		if err := add(&phase{name: "cut from each other", hold: cut, imperfect: true, right: 10 * time.Second},
			func() error { return r.separate(ctx, a, b, hole) }); err != nil {
			return err
		}
		return add(&phase{name: fmt.Sprintf("mended, %d", n), allowed: healed}, func() error { return r.mend(ctx) })
	})
}

// restartAll kills all members at once and starts them again, with nothing but the
// addresses that they had.
func restartAll(n int) func(context.Context, *bench, string) (*report, error) {
	return scene(n, r3, func(ctx context.Context, r *ring, add add) error {
		var addrs []string
		for _, s := range r.seats {
			addrs = append(addrs, s.addr)
		}
		return add(&phase{name: "killed and started again", allowed: healed}, func() error {
			if err := r.kill(r.seats...); err != nil {
				return err
			}
			return each(r.seats, n, func(s *seat) error { return r.start(ctx, addrs, s, "--found") })
		})
	})
}

// rolling restarts all members one after another, each when the one before is in
// the ring again.
func rolling(n int, away time.Duration, polite bool) func(context.Context, *bench, string) (*report, error) {
	return scene(n, r3, func(ctx context.Context, r *ring, add add) error {
		last := &phase{name: "the last is back", allowed: healed}
		if err := add(&phase{name: "restarting one by one", imperfect: true}, func() error {
			for i, s := range r.seats {
				var err error
				if polite {
					err = r.leave(ctx, s)
				} else {
					err = r.kill(s)
				}
				if err == nil {
					pause(ctx, away)
					err = r.start(ctx, []string{r.seats[(i+1)%n].addr, r.seats[(i+5)%n].addr, r.seats[(i+9)%n].addr}, s)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		return add(last, func() error { return nil })
	})
}

// spread is the median and the worst of times.
func spread(times []time.Duration) (median, worst time.Duration) {
	times = slices.Sorted(slices.Values(times))
	n := len(times)
	return (times[(n-1)/2] + times[n/2]) / 2, times[n-1]
}
