package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Churn is a ring in which members come and go while all look keys up.
type Churn struct {
	Members  int
	Interval time.Duration // StabilizeInterval
	Every    time.Duration // one is killed and one begins to join each
	Time     time.Duration // for so long
	Rate     int           // lookups of each member in a second
	// Plain: lookups leave out what earlier ones have taught, as Chord's do, and ask
	// their way by pointers and fingers each time.
	Plain    bool
	Progress func(done, of time.Duration)
}

// Churned is what became of it.
type Churned struct {
	Name     string        `json:"name"` // churn, or churn-plain
	Members  int           `json:"members"`
	Interval time.Duration `json:"interval_ns"`
	Every    time.Duration `json:"every_ns"`
	Time     time.Duration `json:"time_ns"`

	Joins       int `json:"joins"`
	JoinsFailed int `json:"joins_failed"` // though whoever was joined through was alive
	Lookups     int `json:"lookups"`
	Failed      int `json:"lookups_failed"`
	// Wrong lookups named a member that was not the owner of the key at any
	// instant between the lookup's begin and its end.
	Wrong      int     `json:"wrong"`
	WrongShare float64 `json:"wrong_share"`
	// LateP50 and LateMax are how long before the end of a wrong lookup the member
	// named had ceased to be the owner. Strangers had never been.
	LateP50   time.Duration `json:"late_p50_ns"`
	LateMax   time.Duration `json:"late_max_ns"`
	Strangers int           `json:"strangers"`
	// Memory is the share of lookups that no request was made for.
	Memory float64       `json:"memory_share"`
	P50    time.Duration `json:"p50_ns"`
	Max    time.Duration `json:"max_ns"`
	Ideal  time.Duration `json:"ideal_ns"` // from the last change until the ring was ideal

	// FirstError is of the first lookup or join that failed.
	FirstError string `json:"first_error,omitempty"`
}

// churning is a Churn under way.
type churning struct {
	Churn
	c     *cluster.Cluster
	truth history

	mu     sync.Mutex
	out    Churned
	memory int // lookups that no request was made for
	late   []time.Duration
	took   []time.Duration
	ends   map[*concord.Concord]context.CancelFunc // of a member's lookups
	looks  sync.WaitGroup
}

// looked is one lookup, as far as it has come.
type looked struct {
	key   []byte
	began time.Time
	asked bool // somebody was asked
}

// lookedKey is the key of a *looked in the context of its lookup.
type lookedKey struct{}

// noteAsking notes whether a lookup asks somebody. Those of fingers are not of a *looked.
func noteAsking(ctx context.Context, _ concord.LookupBegin) (context.Context, func(concord.LookupEnd)) {
	l, ok := ctx.Value(lookedKey{}).(*looked)
	if !ok {
		return ctx, nil
	}
	return ctx, func(e concord.LookupEnd) { l.asked = e.Hops > 0 || e.Err != nil }
}

// Run makes a ring, lets it churn, and judges every lookup of members that were
// not killed meanwhile. Which members go, through whom others come, and the keys
// are the same in every run.
func (ch Churn) Run(ctx context.Context) (Churned, error) {
	c := cluster.New(func(int) concord.Config {
		return concord.Config{StabilizeInterval: ch.Interval, Observer: &concord.Observer{Lookup: noteAsking}}
	})
	defer c.Close()
	if _, err := build(ctx, c, ch.Members); err != nil {
		return Churned{}, err
	}
	if err := Pause(ctx, 6*ch.Interval); err != nil { // fingers are found
		return Churned{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &churning{Churn: ch, c: c, ends: map[*concord.Concord]context.CancelFunc{}}
	name := "churn"
	if ch.Plain {
		name = "churn-plain"
	}
	r.out = Churned{Name: name, Members: ch.Members, Interval: ch.Interval, Every: ch.Every, Time: ch.Time}
	members := c.Members()
	r.truth.begin(members)
	for i, m := range members {
		r.look(ctx, m, uint64(i))
	}
	err := r.change(ctx)
	last := time.Now()
	if err == nil {
		err = ideal(ctx, c)
		r.out.Ideal = time.Since(last)
	}
	cancel()
	r.looks.Wait()
	if err != nil {
		return Churned{}, err
	}
	if r.out.Lookups > 0 {
		r.out.Memory = rounded(float64(r.memory)/float64(r.out.Lookups), 0.0001)
		r.out.WrongShare = rounded(float64(r.out.Wrong)/float64(r.out.Lookups), 0.000001)
	}
	if len(r.late) > 0 {
		r.out.LateP50, r.out.LateMax = Median(r.late), slices.Max(r.late)
	}
	if len(r.took) > 0 {
		r.out.P50, r.out.Max = Median(r.took), slices.Max(r.took)
	}
	return r.out, nil
}

// change kills and adds members until the time is over and all joins have ended.
func (r *churning) change(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(1, 2))
	var joins sync.WaitGroup
	defer joins.Wait()
	next := time.NewTicker(r.Every)
	defer next.Stop()
	for i := range int(r.Time / r.Every) {
		if r.Progress != nil {
			r.Progress(time.Duration(i)*r.Every, r.Time)
		}
		select {
		case <-next.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		members := r.looking()
		if len(members) < 2 {
			return errors.New("churn: nobody is left to join through")
		}
		k := rng.IntN(len(members))
		gone, via := members[k], members[(k+1+rng.IntN(len(members)-1))%len(members)]
		r.end(gone)
		r.truth.kill(gone.Id())
		joins.Go(func() { r.c.Kill(gone) })
		fresh, err := r.c.Start(1)
		if err != nil {
			return err
		}
		joins.Go(func() { r.join(ctx, fresh, via, uint64(r.Members+i)) })
	}
	return nil
}

// join lets a member in.
func (r *churning) join(ctx context.Context, fresh []*concord.Concord, via *concord.Concord, seed uint64) {
	joining, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	id := fresh[0].Id()
	r.truth.join(id)
	err := r.c.Join(joining, fresh, via)
	r.truth.joined(id, err == nil)
	if err == nil {
		r.look(ctx, fresh[0], seed)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.Joins++
	if err != nil && r.c.Alive(via) {
		r.out.JoinsFailed++
		r.note(err)
	}
}

// note keeps the first error. Callers hold mu.
func (r *churning) note(err error) {
	if r.out.FirstError == "" {
		r.out.FirstError = err.Error()
	}
}

// look begins the lookups of m. From now on it may be killed.
func (r *churning) look(ctx context.Context, m *concord.Concord, seed uint64) {
	var opts []concord.LookupOption
	if r.Plain {
		opts = append(opts, concord.Cold())
	}
	ctx, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	r.ends[m] = cancel
	r.mu.Unlock()
	r.looks.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 3))
		// Not at even times: changes are at such, and lookups would all come as long after one.
		every := time.Second / time.Duration(r.Rate)
		pause := func() time.Duration { return every/2 + time.Duration(rng.Int64N(int64(every))) }
		at := time.Now().Add(pause())
		next := time.NewTimer(time.Until(at))
		defer next.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-next.C:
			}
			at = at.Add(pause())
			next.Reset(time.Until(at))
			// The next one does not wait for it: slow lookups would be few.
			key := fmt.Appendf(nil, "key %016x", rng.Uint64())
			r.looks.Go(func() {
				l := &looked{key: key, began: time.Now()}
				s, err := m.LookupContext(context.WithValue(context.Background(), lookedKey{}, l), key, opts...)
				r.judge(ctx, l, s, err, time.Now())
			})
		}
	})
}

// looking is the members that look up, clockwise.
func (r *churning) looking() []*concord.Concord {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(r.c.Members(), func(m *concord.Concord) bool { return r.ends[m] == nil })
}

// end ends the lookups of m; those under way do not count.
func (r *churning) end(m *concord.Concord) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends[m]()
	delete(r.ends, m)
}

func (r *churning) judge(ctx context.Context, l *looked, s concord.Server, err error, ended time.Time) {
	v := r.truth.judge(ring.SHA256(l.key), s.Id, l.began, ended)
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	r.out.Lookups++
	r.took = append(r.took, ended.Sub(l.began))
	if !l.asked {
		r.memory++
	}
	switch {
	case err != nil:
		r.out.Failed++
		r.note(err)
	case v.stranger:
		r.out.Wrong++
		r.out.Strangers++
	case !v.right:
		r.out.Wrong++
		r.late = append(r.late, v.late)
	}
}
