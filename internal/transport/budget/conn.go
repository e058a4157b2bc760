package budget

import (
	"sync"
	"sync/atomic"
	"time"
)

// Conn is one connection. Its methods may be called concurrently.
type Conn struct {
	budget *Budget
	host   *host
	end    func(why string)
	ending sync.Once
	made   time.Time

	member atomic.Bool   // it counts as the member id's; written under Budget.mu
	id     uint64        // guarded by Budget.mu
	used   atomic.Int64  // when a request last ended, in nanoseconds since 1970
	begun  atomic.Uint64 // requests
	open   atomic.Int32  // of those, not ended
	// mute counts those whose message has not come, by the turn in which they began.
	mute [2]atomic.Int32
	turn atomic.Uint32
	// debt is the time at which all refusals are forgotten, refused the Kind of the
	// last.
	debt    atomic.Int64
	refused atomic.Uint32
	has     *gate // whose turn it has; of whoever reads the connection
}

// Request is one request at work. Its methods may be called concurrently.
type Request struct {
	conn   *Conn
	kind   Kind
	member bool
	turn   uint32
	state  atomic.Uint32
}

// What has become of a request: bits of its state.
const (
	came = 1 << iota
	ended
)

// Over is the error of a request that is over a budget.
type Over struct {
	Kind Kind
	host bool
}

// Error says which budget that is.
func (o *Over) Error() string {
	if o.host {
		return "too many " + o.Kind.String() + " at work from one host"
	}
	return "too many " + o.Kind.String() + " at work"
}

// over are the errors, made once: a request is refused in little time.
var over = func() (out [kinds][2]Over) {
	for k := range out {
		out[k] = [2]Over{{Kind: Kind(k)}, {Kind: Kind(k), host: true}}
	}
	return out
}()

// Begin takes in a request of the kind. The error, if any, is an *Over. The caller calls
// End, and Came once the message is there. It does not block.
func (c *Conn) Begin(k Kind) (*Request, error) {
	r := new(Request)
	if err := c.Start(r, k); err != nil {
		return nil, err
	}
	return r, nil
}

// Start is Begin of a request that is part of something else.
func (c *Conn) Start(r *Request, k Kind) error {
	r.conn, r.kind, r.member, r.turn = c, k, c.member.Load(), c.turn.Load()%2
	if err := c.take(r); err != nil {
		c.budget.refused[k].Add(1)
		c.refuse(k, time.Now().UnixNano())
		return err
	}
	c.begun.Add(1)
	c.open.Add(1)
	c.mute[r.turn].Add(1)
	return nil
}

func (c *Conn) take(r *Request) error {
	k := r.kind
	who, most := 0, shares[k].strangers
	if r.member {
		who, most = 1, shares[k].members
	}
	all := &c.budget.work[who][k]
	if all.Add(1) > most {
		all.Add(-1)
		return &over[k][0]
	}
	if r.member || c.host.alike {
		return nil
	}
	if c.host.work[k].Add(1) > shares[k].host {
		c.host.work[k].Add(-1)
		all.Add(-1)
		return &over[k][1]
	}
	return nil
}

// Came says that the message of the request is there. Calls after the first do nothing.
func (r *Request) Came() { r.note(came) }

// End says that the request is over. Calls after the first do nothing.
func (r *Request) End() {
	if !r.note(ended) {
		return
	}
	r.note(came)
	c, k := r.conn, r.kind
	if r.member {
		c.budget.work[1][k].Add(-1)
	} else {
		c.budget.work[0][k].Add(-1)
		if !c.host.alike {
			c.host.work[k].Add(-1)
		}
	}
	c.used.Store(time.Now().UnixNano())
	c.open.Add(-1)
	if g := c.gate(k, r.member); g.waiting.Load() > 0 {
		g.next()
	}
}

// note sets a bit of the state, and reports whether it was not set.
func (r *Request) note(bit uint32) bool {
	if r.state.Or(bit)&bit != 0 {
		return false
	}
	if bit == came {
		r.conn.mute[r.turn].Add(-1)
	}
	return true
}

// stale begins a new turn, and reports whether the message of a request has not come
// that began in the turn before the one that is over.
func (c *Conn) stale() bool {
	next := c.turn.Load() + 1
	if c.mute[next%2].Load() > 0 {
		return true
	}
	c.turn.Store(next)
	return false
}

// Use says that something is at work on the connection that has no share, so that it is
// neither at rest nor silent. The caller calls over once that is done.
func (c *Conn) Use() (over func()) {
	c.begun.Add(1)
	c.open.Add(1)
	return func() {
		c.used.Store(time.Now().UnixNano())
		c.open.Add(-1)
	}
}

// Busy reports whether something is at work on the connection.
func (c *Conn) Busy() bool { return c.open.Load() > 0 }

// Claim says that the connection belongs to the member with that identifier, which this
// side has reached at the address that it advertises. It reports whether it counts as
// that member's: a member has four.
func (c *Conn) Claim(id uint64) bool {
	if c.member.Load() {
		return true
	}
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.conns[c]; !ok || b.members[id] >= perMember {
		return false
	}
	if !c.member.Load() {
		b.members[id]++
		c.id = id
		delete(c.host.conns, c)
		c.member.Store(true)
	}
	return true
}

// Member reports whether the connection counts as a member's.
func (c *Conn) Member() bool { return c.member.Load() }

// refuse notes that a request of the connection was refused.
func (c *Conn) refuse(k Kind, now int64) {
	c.refused.Store(uint32(k))
	for {
		debt := c.debt.Load()
		if c.debt.CompareAndSwap(debt, max(debt, now)+int64(refusalPace)) {
			return
		}
	}
}

// Await is for whoever reads the connection, with what was read and before it is used. It
// returns at once, unless many requests of the connection have been refused of late: then
// it waits for the connection's turn, until gone is closed at the latest. The next call is
// that of Read.
func (c *Conn) Await(gone <-chan struct{}) {
	debt := c.debt.Load()
	if debt == 0 || time.Duration(debt-time.Now().UnixNano()) <= refusalBurst*refusalPace {
		return
	}
	g := c.gate(Kind(c.refused.Load()), c.member.Load())
	if g.wait(gone, longestPause*time.Duration(c.budget.slower.Load())) {
		c.has = g
	}
}

// Read is for whoever reads the connection, before it is read: what was read before has
// been used.
func (c *Conn) Read() {
	if c.has != nil {
		c.has.release()
		c.has = nil
	}
}

func (c *Conn) gate(k Kind, member bool) *gate {
	if member {
		return &c.budget.gates[1][k]
	}
	return &c.budget.gates[0][k]
}

// shut has the connection closed.
func (c *Conn) shut(why string) {
	c.ending.Do(func() {
		c.budget.closed.Add(1)
		c.end(why)
	})
}

// Close says that the connection has ended. Requests on it are over when their End is
// called. Calls after the first do nothing.
func (c *Conn) Close() {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(c)
}
