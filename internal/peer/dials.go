package peer

import "time"

// Bounds on questions to addresses at which no member has answered yet. Whoever can
// send a message can name any address. A question that is answered counts only while it
// is under way, so these bound the questions that fail.
//
// A burst is how many may fail at once. A pace is the time after which one more may. An
// address that has failed may use half of a burst only: the other half is for those that
// have not been asked, which may answer.
const (
	// NamedBurst and NamedPace are of all that answers and lists have named.
	NamedBurst = 256
	NamedPace  = time.Second / 64
	// CausedBurst and CausedPace are of all that requests of others have caused.
	CausedBurst = 256
	CausedPace  = time.Second / 16
	// SourceBurst and SourcePace are of those that requests from one host have caused.
	SourceBurst = 64
	SourcePace  = time.Second / 4
	// ForeignBurst and ForeignPace are of the ones among those to an address of another host.
	ForeignBurst = 16
	ForeignPace  = time.Second
	// MaxSources is how many hosts are told apart.
	MaxSources = 1024
	// MaxBlamed is of how many addresses it is remembered whose request has named them,
	// and of how many that they have failed.
	MaxBlamed = 1024
)

// Dials holds the budgets of questions to addresses at which no member has answered.
// The zero Dials is full budgets.
type Dials struct {
	named   budget
	caused  budget
	sources map[string]*source
	blamed  Recent[string, string]   // whose request has named an address last
	failed  Recent[string, struct{}] // addresses whose questions have failed
}

// source is what requests from one host have caused.
type source struct{ all, foreign budget }

// budget is the time at which it is full again. The zero budget is full.
type budget time.Duration

// take takes one from the budget, and reports whether there was one.
func (b *budget) take(now time.Duration, burst int, pace time.Duration) bool {
	full := max(time.Duration(*b), now)
	if full-now > time.Duration(burst-1)*pace {
		return false
	}
	*b = budget(full + pace)
	return true
}

// give gives back what was taken.
func (b *budget) give(pace time.Duration) { *b -= budget(pace) }

// Dialled is what one question has taken from the budgets. The zero Dialled is nothing.
type Dialled struct {
	named   bool
	source  *source // nil: nobody has caused it
	foreign bool
}

// Take takes a question to an address from the budgets and reports whether it may be
// asked: from that of what was named if cause is empty, otherwise from those of what that
// host has caused.
func (d *Dials) Take(cause, addr string, now time.Duration) (Dialled, bool) {
	if cause == "" {
		return Dialled{named: true}, d.named.take(now, d.burst(NamedBurst, addr), NamedPace)
	}
	s := d.source(cause, now)
	if !s.all.take(now, d.burst(SourceBurst, addr), SourcePace) {
		return Dialled{}, false
	}
	if !d.caused.take(now, d.burst(CausedBurst, addr), CausedPace) {
		s.all.give(SourcePace)
		return Dialled{}, false
	}
	return Dialled{source: s}, true
}

// TakeForeign takes for a question to addr, which Take has allowed, that it goes to
// another host than its cause, and reports whether it may be asked.
func (d *Dials) TakeForeign(x *Dialled, addr string, now time.Duration) bool {
	x.foreign = x.source == nil || x.source.foreign.take(now, d.burst(ForeignBurst, addr), ForeignPace)
	return x.foreign
}

// burst is what addr may use of a burst.
func (d *Dials) burst(all int, addr string) int {
	if _, failed := d.failed.Get(addr); failed {
		return all / 2
	}
	return all
}

// Failed notes that a question to addr was not answered.
func (d *Dials) Failed(addr string) { d.failed.Put(addr, struct{}{}, MaxBlamed) }

// Answered gives back what a question took that was answered.
func (d *Dials) Answered(x Dialled) {
	switch {
	case x.named:
		d.named.give(NamedPace)
	case x.source != nil:
		d.caused.give(CausedPace)
		x.source.all.give(SourcePace)
		if x.foreign {
			x.source.foreign.give(ForeignPace)
		}
	}
}

// Blame notes that a request of cause has named an address. It may be asked later, when
// nothing else shows who has caused that.
func (d *Dials) Blame(addr string, cause string) { d.blamed.Put(addr, cause, MaxBlamed) }

// Blamed is whose request has named an address, empty if that is not known.
func (d *Dials) Blamed(addr string) string {
	cause, _ := d.blamed.Get(addr)
	return cause
}

// source is the record of a host. When all are in use, those that have none count as
// one.
func (d *Dials) source(cause string, now time.Duration) *source {
	if s := d.sources[cause]; s != nil {
		return s
	}
	if d.sources == nil {
		d.sources = map[string]*source{}
	}
	if len(d.sources) >= MaxSources {
		for a, s := range d.sources {
			if max(s.all, s.foreign) <= budget(now) {
				delete(d.sources, a)
			}
		}
	}
	if len(d.sources) >= MaxSources {
		cause = ""
		if s := d.sources[cause]; s != nil {
			return s
		}
	}
	s := &source{}
	d.sources[cause] = s
	return s
}
