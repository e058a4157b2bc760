// Package mapsim runs the maps of a whole ring (internal/ringmap) in virtual time, over a
// network that loses messages and is cut, while members come and go. The ring below them
// is an abstract one: who owns what is given, and neighbours notice changes after a while,
// as in the protocol. So what a map costs and how right it is can be measured with more
// members than the protocol can be simulated with at once.
package mapsim

import (
	"errors"
	"fmt"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/sim"
)

// Config is one run.
type Config struct {
	Members int `json:"members"`
	// Identifiers is at how many identifiers each member stands. 0: one.
	Identifiers int           `json:"identifiers"`
	Interval    time.Duration `json:"interval_ns"`
	Duration    time.Duration `json:"duration_ns"`
	// Session is how long a member stays on average: then it crashes, and another joins.
	// 0: none comes or goes.
	Session time.Duration `json:"session_ns"`
	// Loss is the share of messages that are lost.
	Loss    float64     `json:"loss"`
	Latency sim.Latency `json:"-"`
	// Silent is the share of crashes that break no connection.
	Silent float64 `json:"silent"`
	// Lookups are made in a second, by random members for random keys.
	Lookups float64 `json:"lookups"`
	// Cut, if not 0, cuts the ring into halves for that long, in the middle of the run.
	Cut time.Duration `json:"cut_ns"`
	// Clients subscribe at members, and move from one to another.
	Clients int `json:"clients"`
	// Drops is the share of messages to clients that are left out.
	Drops float64 `json:"drops"`
	// Hasty is how many members have a tenth of the interval.
	Hasty int `json:"hasty"`
	// Limit is how many claims a map keeps; 0: the default.
	Limit int `json:"limit"`
	// Progress, if set, is called from time to time with the share of the run that is done.
	Progress func(share float64) `json:"-"`
}

// Warmup is for how many intervals a run goes on before it counts.
const Warmup = 20

// Default is what is taken for what is zero.
func (c Config) withDefaults() (Config, error) {
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	if c.Latency == (sim.Latency{}) {
		c.Latency = sim.Latency{Kind: sim.Uniform, Low: 200 * time.Microsecond, High: time.Millisecond}
	}
	if c.Identifiers == 0 {
		c.Identifiers = 1
	}
	var errs []error
	if c.Members < 1 {
		errs = append(errs, fmt.Errorf("%d members: use at least 1", c.Members))
	}
	if c.Identifiers < 0 || c.Identifiers > ring.MaxIdentifiers {
		errs = append(errs, fmt.Errorf("%d identifiers: use 1 to %d", c.Identifiers, ring.MaxIdentifiers))
	}
	if c.Interval < 10*time.Millisecond {
		errs = append(errs, fmt.Errorf("interval %v: use at least 10ms", c.Interval))
	}
	if c.Duration <= 0 {
		errs = append(errs, fmt.Errorf("duration %v: use more than 0", c.Duration))
	}
	if c.Loss < 0 || c.Loss >= 1 || c.Silent < 0 || c.Silent > 1 {
		errs = append(errs, fmt.Errorf("loss %v, silent %v: use 0 to 1", c.Loss, c.Silent))
	}
	if c.Clients < 0 || c.Hasty < 0 || c.Hasty > c.Members || c.Drops < 0 || c.Drops >= 1 {
		errs = append(errs, fmt.Errorf("%d clients, %d hasty of %d members, drops %v: use 0 or more, and drops below 1", c.Clients, c.Hasty, c.Members, c.Drops))
	}
	if c.Cut < 0 || c.Cut > 0 && c.Cut >= c.Duration {
		errs = append(errs, fmt.Errorf("cut %v: use less than the duration", c.Cut))
	}
	return c, errors.Join(errs...)
}

// Result is what became of a run.
type Result struct {
	Config
	Seed   uint64 `json:"seed"`
	Joins  int    `json:"joins"`
	Deaths int    `json:"deaths"`
	// Lookups that the map answered, rightly and wrongly, and those for which the owner
	// has to be asked.
	Right int `json:"right"`
	Wrong int `json:"wrong"`
	Asked int `json:"asked"`
	// Why it had to be asked: nothing known or in doubt; too old.
	Unknown int `json:"unknown"`
	Old     int `json:"old"`
	// Lookups of clients that memory answered, and for which owners were asked; subscriptions
	// that were begun anew because a message was wrong.
	ClientMemory int `json:"client_memory"`
	ClientAsked  int `json:"client_asked"`
	Restarts     int `json:"restarts"`
	// Ages of what answered, and of the oldest certainty of a circle, in intervals.
	AgeMedian    float64 `json:"age_median"`
	Age99        float64 `json:"age_99"`
	CircleMedian float64 `json:"circle_median"`
	Circle99     float64 `json:"circle_99"`
	// Bytes and Messages are sent by a member in a second; the others are of these.
	Bytes    float64            `json:"bytes_s"`
	Messages float64            `json:"messages_s"`
	Of       map[string]float64 `json:"bytes_of_s"`
	// Known is how long after a change all members named the right owner, if that was
	// watched: in rings of at most 256.
	JoinMedian  time.Duration `json:"join_median_ns"`
	JoinMost    time.Duration `json:"join_most_ns"`
	DeathMedian time.Duration `json:"death_median_ns"`
	DeathMost   time.Duration `json:"death_most_ns"`
	// Settled is after how many intervals of quiet all maps were the same and right; -1:
	// not within 60.
	Settled    float64  `json:"settled"`
	Violations []string `json:"violations"`
	Events     int      `json:"events"`
	Trace      uint64   `json:"trace"`
	Seconds    float64  `json:"seconds"`
}
