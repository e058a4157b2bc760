package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ollelogdahl/concord"
)

// job runs once in each period. Its run with number n is due at n periods since 1970. Runs that
// could not be made when they were due are made later, in their order, each once.
type job struct {
	name  string
	every time.Duration
	// most is the longest that a run takes. It is less than the lease.
	most time.Duration
	// do makes the run. It calls may before each thing that it does, and returns its error.
	do func(r runInfo, may func() error) error
	// done, if not nil, is called when the ledger has recorded the run.
	done func(r runInfo)
}

// runInfo says which run it is.
type runInfo struct {
	job   string
	tick  int64
	epoch uint64
}

func (j job) due(tick int64) time.Time { return time.Unix(0, tick*int64(j.every)) }
func (j job) tick(t time.Time) int64   { return t.UnixNano() / int64(j.every) }

// poll is how often a job is looked at that is not owned here.
const poll = 20 * time.Millisecond

// member is what cron needs of its member. *concord.Concord is one.
type member interface {
	Name() string
	Ranges() []concord.Range
	KeyID(key []byte) uint64
	OwnedUntil(key []byte) (time.Time, bool)
	Serve(ctx context.Context, h concord.Handler) *concord.Service
}

// cron runs those jobs whose names its member owns.
//
// A job's owner claims it at the ledger before it runs it, with its epoch. By the lease, nobody
// else owns the job before that claim. A run may begin only while the lease has time for it, and
// does nothing after the lease has ended. So when another member owns the job because this one
// hangs or is dead, the run has ended. A member that joins owns the job at once: it waits at the
// ledger until the run is over that goes on here.
type cron struct {
	member  member
	ask     asker
	jobs    []job
	service *concord.Service

	mu      sync.Mutex
	running map[string]bool // jobs of which a run goes on
	ended   *sync.Cond      // that a run has

	refused atomic.Int64 // requests that the ledger has refused as stale
}

// start begins to run jobs. They end with ctx. The channel is closed when no run goes on any more.
func start(ctx context.Context, m member, ask asker, jobs []job) (*cron, <-chan struct{}) {
	c := &cron{member: m, ask: ask, jobs: jobs, running: make(map[string]bool)}
	c.ended = sync.NewCond(&c.mu)
	c.service = m.Serve(ctx, concord.Handler{Take: c.take, Release: c.release})
	var all sync.WaitGroup
	for _, j := range jobs {
		all.Go(func() { c.keep(ctx, j) })
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		all.Wait()
		<-c.service.Done()
	}()
	return c, done
}

// take claims the jobs of a range at the ledger: from then on, it refuses the former owner's runs.
// So it has nothing to do before the member has the range, while the former owner still runs them.
func (c *cron) take(ctx context.Context, gained concord.Range, _ []concord.Server, epoch uint64) error {
	if !slices.ContainsFunc(c.member.Ranges(), func(r concord.Range) bool { return r.Contains(gained.End) }) {
		return concord.ErrNotJoined
	}
	for _, j := range c.jobs {
		if !gained.Contains(c.member.KeyID([]byte(j.name))) {
			continue
		}
		if _, err := c.claim(ctx, j, epoch); err != nil {
			return err
		}
	}
	return nil
}

var errStale = errors.New("another member has claimed the job later")

// claim claims a job, and returns the number of the last run that was done.
func (c *cron) claim(ctx context.Context, j job, epoch uint64) (last int64, err error) {
	a, err := c.ask(ctx, request{Do: "claim", Job: j.name, Owner: c.member.Name(), Epoch: epoch, Tick: j.tick(time.Now())})
	if err == nil && a.Verdict != ok {
		c.refused.Add(1)
		err = errStale
	}
	return a.Last, err
}

// release waits for the runs of a range that go on. The member leaves after that.
func (c *cron) release(_ context.Context, lost concord.Range, _ []concord.Server, _ uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, j := range c.jobs {
		for lost.Contains(c.member.KeyID([]byte(j.name))) && c.running[j.name] {
			c.ended.Wait()
		}
	}
}

// goesOn notes whether a run of a job goes on.
func (c *cron) goesOn(j job, does bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[j.name] = does
	c.ended.Broadcast()
}

// keep runs a job whenever it is due and owned here.
func (c *cron) keep(ctx context.Context, j job) {
	var claimed uint64 // by which epoch, 0 if it is not claimed
	var last int64
	for pause(ctx, j, claimed, last) {
		epoch, serves := c.service.Serves([]byte(j.name))
		if !serves {
			claimed = 0
			continue
		}
		if epoch != claimed {
			done, err := c.claim(ctx, j, epoch)
			if err != nil {
				continue
			}
			claimed, last = epoch, done
		}
		for time.Until(j.due(last+1)) <= 0 && ctx.Err() == nil {
			done, again := c.once(ctx, runInfo{j.name, last + 1, epoch}, j)
			last = max(last, done)
			if !again {
				break
			}
		}
	}
}

// pause waits until a job is to be looked at again. It returns false when ctx has ended.
func pause(ctx context.Context, j job, claimed uint64, last int64) bool {
	d := poll
	if left := time.Until(j.due(last + 1)); claimed != 0 && left > 0 && left < poll {
		d = left
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

var errLeaseEnded = errors.New("the lease has ended")

// once makes a run. It returns the number of the last run that is done then, and whether the next
// may be tried at once.
func (c *cron) once(ctx context.Context, r runInfo, j job) (last int64, again bool) {
	c.goesOn(j, true)
	defer c.goesOn(j, false)
	epoch, serves := c.service.Serves([]byte(j.name))
	until, leased := c.member.OwnedUntil([]byte(j.name))
	left := time.Until(until)
	if !serves || epoch != r.epoch || !leased || left < j.most {
		return 0, false
	}
	tell := func(do string) answer {
		a, err := c.ask(ctx, request{Do: do, Job: r.job, Owner: c.member.Name(), Epoch: r.epoch, Tick: r.tick, For: left})
		if err != nil {
			return answer{}
		}
		if a.Verdict == stale {
			c.refused.Add(1)
		}
		return a
	}
	switch a := tell("begin"); a.Verdict {
	case ok:
	case past:
		return a.Last, true
	default:
		return 0, false
	}
	err := j.do(r, func() error {
		if !time.Now().Before(until) {
			return errLeaseEnded
		}
		return nil
	})
	if err != nil {
		tell("aborted")
		return 0, false
	}
	if tell("done").Verdict != ok {
		return 0, false
	}
	if j.done != nil {
		j.done(r)
	}
	return r.tick, true
}
