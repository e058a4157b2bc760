package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/routing"
)

// Result is what became of one run.
type Result struct {
	Seed       uint64      `json:"seed"`
	Violations []Violation `json:"violations"`
	// Rounds is how long after the faults the ring was ideal, in rounds; -1 if
	// it was not within the bound.
	Rounds float64 `json:"rounds"`
	// Members is how many were in the ring at the end, and Rings in how many
	// rings, which is more than one only if nobody knew a way between them.
	Members int `json:"members"`
	Rings   int `json:"rings"`
	// Faults is how many faults were made.
	Faults int `json:"faults"`
	// Lookups are those begun while there were faults, After those in the ideal
	// ring.
	Lookups LookupCount `json:"lookups"`
	After   LookupCount `json:"lookups_after"`
	// Maps are the same lookups, all of the run, in the maps of the members.
	Maps MapCount `json:"maps"`
	// Leases is what became of leases; nil without any.
	Leases *LeaseResult `json:"leases,omitempty"`
	// Siege is what came of the time when the faults were over and hostile members
	// went on; nil without any.
	Siege *SiegeResult `json:"siege,omitempty"`
	// Maintenance and Steps are the requests sent in the ideal ring, per member
	// and round: those of the ring's maintenance, and those of lookups for
	// fingers. Answers are not counted. 0 if that was not measured.
	Maintenance float64 `json:"idle_messages"`
	Steps       float64 `json:"idle_finger_messages"`
	// Requests are all requests of a run.
	Requests int `json:"requests"`
	// Virtual is how long the run was in its own time.
	Virtual time.Duration `json:"virtual_ns"`
	// Events is how many events the run had.
	Events int `json:"events"`
	// Trace is a hash over all that happened.
	Trace uint64 `json:"trace"`
	// Story tells of the faults and the last moments.
	Story []string `json:"-"`
}

// Violation is something that must not happen and has.
type Violation struct {
	At   time.Duration `json:"at_ns"` // since the start of the run
	Rule string        `json:"rule"`
	What string        `json:"what"`
}

func (v Violation) String() string {
	return fmt.Sprintf("at %v: %s: %s", v.At.Round(time.Millisecond), v.Rule, v.What)
}

// LookupCount counts lookups.
type LookupCount struct {
	Count    int           `json:"count"`
	Errors   int           `json:"errors"` // gave no owner
	Wrong    int           `json:"wrong"`  // named another than the owner
	Hops     int           `json:"hops"`   // members asked, all lookups together
	Silent   int           `json:"silent"` // of those, who did not answer
	MostHops int           `json:"most_hops"`
	Slowest  time.Duration `json:"slowest_ns"`
}

// maxViolations is how many a run remembers; it ends at that number.
const maxViolations = 5

func (w *world) violate(rule, what string) {
	w.story.add(w, "VIOLATION of %s: %s", rule, what)
	if len(w.result.Violations) < maxViolations {
		w.result.Violations = append(w.result.Violations, Violation{w.now, rule, what})
	}
}

// story is what is told of a run: the last things that happened, all of it if
// wanted.
type story struct {
	on    bool // pointers are told, too
	all   bool
	lines []string
}

const storyLines = 60

func (s *story) add(w *world, format string, args ...any) {
	if !s.on && !s.all {
		return
	}
	s.lines = append(s.lines, fmt.Sprintf("%10.3fs  ", w.now.Seconds())+fmt.Sprintf(format, args...))
	if !s.all && len(s.lines) > 2*storyLines {
		s.lines = append(s.lines[:0], s.lines[len(s.lines)-storyLines:]...)
	}
}

// Run runs one seed. The same Config and seed give the same Result. Runs are
// independent: they may go on at once.
func Run(cfg Config, seed uint64) (Result, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Result{}, err
	}
	w := newWorld(cfg, seed)
	w.story.on, w.story.all = cfg.Tell, cfg.Tell
	w.settle()
	w.recruit()
	w.addClients()
	w.run(w.cfg.Warmup, nil)
	w.watchLeases()
	w.disturb()
	w.besiege()
	w.heal()
	return w.finish(), nil
}

// disturb makes the faults.
func (w *world) disturb() {
	from := w.now
	end := from + w.cfg.Duration
	for i, a := range plan(&w.cfg, w.seed) {
		if w.cfg.Actions != nil && !slices.Contains(w.cfg.Actions, i) {
			continue
		}
		f := &fault{action: a, number: i}
		k := int32(len(w.faults))
		w.faults = append(w.faults, f)
		w.queue.Push(from+a.at, event{kind: evAction, host: -1, slot: k})
		w.queue.Push(from+a.at+a.last, event{kind: evActionEnd, host: -1, slot: k})
	}
	w.result.Faults = len(w.faults)
	w.disturbed = len(w.faults) > 0 || w.cfg.Split > 0 || w.cfg.Sessions.Mean > 0
	if w.cfg.Split > 0 {
		end = max(end, from+w.cfg.Split)
		// shape 0 is any split, level 1 one of halves.
		f := &fault{action: action{fault: Cut, level: 1, pick: mix(w.seed), last: w.cfg.Split}}
		w.faults = append(w.faults, f)
		w.begin(f)
	}
	if w.cfg.Sessions.Mean > 0 {
		w.churning = true
		for _, h := range w.hosts {
			if h.client != nil {
				continue
			}
			w.queue.Push(w.now+w.rest(), event{kind: evSession, host: h.index, gen: h.starts})
		}
	}
	if end > from && w.cfg.Lookups > 0 {
		w.loading = true
		w.nextLookup()
	}
	w.run(end, func() bool { return len(w.result.Violations) >= maxViolations })
	w.loading, w.churning = false, false
	for _, f := range w.faults {
		if !f.lasts {
			w.end(f)
		}
	}
	if w.cfg.Latency == (Latency{}) {
		// A long tail is a fault, too: members are taken for dead by it.
		w.net.latency = Latency{}.orDefault()
	}
	// Nothing hangs, and whoever was to start again does.
	for _, h := range w.hosts {
		h.wake = min(h.wake, w.now)
	}
}

// lateFaults is for how long after the faults their time-outs come: a question
// is put twice, and may wait twice for the longest time allowed.
const lateFaults = 3 * peer.PatientTimeout

// heal waits until the ring is ideal, and looks whether it stays so.
func (w *world) heal() {
	w.quiet, w.quietAt, w.regroup = true, w.now, true
	// Time-outs are no shorter where rounds are.
	bound := w.quietAt + time.Duration(w.cfg.Bound)*max(w.cfg.Interval, time.Second)
	r := w.result
	r.Rounds = -1
	stop := func() bool { return len(r.Violations) > 0 }
	w.run(w.now, stop) // what was to happen at this moment
	for {
		w.run(bound, func() bool { return stop() || w.isIdeal() })
		if stop() {
			return
		}
		if !w.isIdeal() {
			w.violate("ideal", fmt.Sprintf("not ideal %d rounds after the faults: %s", w.cfg.Bound, w.wrong()))
			return
		}
		ideal := w.now
		r.Rounds = float64(ideal-w.quietAt) / float64(w.cfg.Interval)
		// What was lost in the faults is noticed only now, by its time-outs: until
		// then the ring may be ideal and not stay so.
		if w.disturbed {
			w.run(max(w.now, w.quietAt+lateFaults), func() bool { return stop() || !w.isIdeal() })
		}
		if w.isIdeal() {
			break
		}
	}
	w.story.add(w, "ideal, %.2f rounds after the faults", r.Rounds)
	if w.cfg.Idle < 0 {
		return
	}
	// What was under way comes to its end first.
	w.watch(5 * w.cfg.Interval)
	w.judgeReplaced()
	w.judgeIsolated()
	before := w.count
	w.watch(time.Duration(w.cfg.Idle) * w.cfg.Interval)
	idle := w.count
	w.awaitClaims()
	w.judgeMaps()
	w.judgeOwned()
	if stop() || len(w.ring) == 0 { // hostile members have had all honest ones out
		return
	}
	rounds := float64(w.cfg.Idle) * float64(len(w.ring))
	r.Maintenance = float64(idle.maintenance()-before.maintenance()) / rounds
	r.Steps = float64(idle.routes-before.routes) / rounds
	w.afterIdeal = true
	n := min(2*w.cfg.Members, 2000)
	for i := range n + 2*len(w.clients) {
		h := w.hosts[w.ring[w.load.IntN(len(w.ring))]]
		if i >= n {
			h = w.hosts[w.clients[(i-n)/2]]
		}
		id := w.load.Uint64()
		if w.load.IntN(4) == 0 {
			id = w.hosts[w.ring[w.load.IntN(len(w.ring))]].id
		}
		w.lookUp(h, id, w.wanted())
	}
	w.watch(routing.LookupTimeout + w.cfg.Interval)
	w.overdue()
	w.afterIdeal = false
}

// watch lets an ideal ring alone for a while.
func (w *world) watch(d time.Duration) {
	r := w.result
	w.run(w.now+d, func() bool { return len(r.Violations) > 0 || !w.isIdeal() })
	if len(r.Violations) == 0 && !w.isIdeal() {
		w.violate("stays-ideal", "the ideal ring did not stay so: "+w.wrong())
	}
}

// overdue looks for lookups that have not ended though their time is over: only
// those that end are judged otherwise.
func (w *world) overdue() {
	for _, l := range w.lookups {
		if h := w.hosts[l.host]; l.open && l.what == forProgram && w.now > max(l.end, h.wake) {
			w.violate("lookups-end", fmt.Sprintf("a lookup at %s has not ended after %v", h.name, w.now-l.began))
		}
	}
}

func (w *world) finish() Result {
	r := w.result
	r.Members = len(w.ring)
	if w.quiet && len(w.ring) > 0 {
		r.Rings = len(w.groups)
	}
	r.Requests = w.count.maintenance() + w.count.routes
	r.Virtual, r.Events, r.Trace = w.now, w.count.events, w.trace
	if w.cfg.Lease > 0 {
		r.Leases = &w.owners.found
	}
	r.Story = w.story.lines
	return *r
}
