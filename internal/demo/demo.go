// Package demo runs a ring of real processes on this machine and tells what they do:
// they join, answer lookups, lose one to kill -9, heal, and let one leave.
package demo

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/child"
)

// What the demo waits for, and what it calls wrong.
const (
	joinTime   = 20 * time.Second // a process to be in the ring
	healTime   = 10 * time.Second // the ring to be right after a change
	answerTime = 10 * time.Second // a member to answer a command
	endTime    = 2 * time.Second  // the members to end by themselves
	slowLookup = 2 * time.Second  // no lookup may take longer, whatever happens
)

// MaxMembers is how many processes a demo may start.
const MaxMembers = 32

// sampleKeys are looked up at every member.
var sampleKeys = []string{"apple", "banana", "cherry", "lemon", "mango", "peach"}

// Summary is what the demo measured.
type Summary struct {
	Members     int             `json:"members"`
	Joins       []time.Duration `json:"joins_ns"` // from the process's start until it is in the ring
	Lookups     int             `json:"lookups"`
	Killed      string          `json:"killed"`
	Early       int             `json:"lookups_naming_the_dead"` // before the ring had noticed
	LookupsHeal time.Duration   `json:"lookups_right_after_kill_ns"`
	RingHeal    time.Duration   `json:"ring_ideal_after_kill_ns"`
	Left        string          `json:"left"`
	Leave       time.Duration   `json:"leave_ns"`
	Took        time.Duration   `json:"took_ns"`
	Wrong       []string        `json:"wrong"`
}

// Options say what is told, and where.
type Options struct {
	Members  int           // 3 to MaxMembers: one is killed, and one leaves
	Interval time.Duration // the members' StabilizeInterval
	Binary   string        // the command, which runs the members
	Out      io.Writer     // where the story goes
}

// Demo is the teller of the story.
type Demo struct {
	opts    Options
	members []*child.Child // alive, by their names
	gone    []*child.Child
	ends    []end  // of the ranges, clockwise, when the ring was right last
	page    string // of the first
	sum     Summary
}

// end is the end of a range, and whose it is.
type end struct {
	at uint64
	of concord.Server
}

// virtualNodes is at how many identifiers each member stands.
const virtualNodes = 16

// New makes a demo, which starts nothing yet. Whoever calls Tell calls End.
func New(o Options) *Demo { return &Demo{opts: o, sum: Summary{Members: o.Members, Wrong: []string{}}} }

// Page is the URL of the ring's page, once the first member runs.
func (d *Demo) Page() string { return d.page }

// Summary is what has been measured, and what was wrong.
func (d *Demo) Summary() Summary { return d.sum }

// Say adds a line to the story.
func (d *Demo) Say(format string, args ...any) { fmt.Fprintf(d.opts.Out, format+"\n", args...) }

// Wrong notes what makes the demo fail.
func (d *Demo) Wrong(format string, args ...any) {
	msg := strings.TrimRight(fmt.Sprintf(format, args...), "\n")
	d.sum.Wrong = append(d.sum.Wrong, msg)
	d.Say("   WRONG: %s", msg)
}

// Tell tells the story. The error is why it could not be told to its end.
func (d *Demo) Tell(ctx context.Context) error {
	began := time.Now()
	defer func() { d.sum.Took = time.Since(began) }()
	d.Say("Concord: %d members, each a process of its own on this machine.", d.opts.Members)
	for _, chapter := range []func(context.Context) error{d.form, d.lookUp, d.lose, d.part} {
		if err := chapter(ctx); err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			return err
		}
	}
	d.Say("\nIn the end")
	if err := d.show(ctx); err != nil {
		return err
	}
	if n := len(d.sum.Wrong); n > 0 {
		d.Say("   %d things were WRONG.", n)
		return nil
	}
	d.Say("   All was right: %d lookups, none failed, none wrong once the ring had healed.", d.sum.Lookups)
	return nil
}

// form lets the members form a ring.
func (d *Demo) form(ctx context.Context) error {
	d.Say("\n1. A ring forms")
	var join []string
	for i := range d.opts.Members {
		name := fmt.Sprintf("node%d", i+1)
		began := time.Now()
		starting, cancel := context.WithTimeout(ctx, joinTime)
		c, err := child.Start(starting, child.Options{Binary: d.opts.Binary, Name: name, Join: join, Interval: d.opts.Interval, VirtualNodes: virtualNodes, Args: []string{"--http", "127.0.0.1:0"}})
		cancel()
		if err != nil {
			return err
		}
		took := time.Since(began)
		d.sum.Joins = append(d.sum.Joins, took)
		how := "founds it"
		if join != nil {
			how = "joins through " + d.members[0].Name
		}
		d.Say("   %-7s %-21s process %-7d at %-15s %6s", name, how, c.Pid(), c.Self.Address, ms(took))
		if i == 0 {
			d.page = c.Page
			d.Say("           the ring as a page, live: %s", d.page)
		}
		join = []string{c.Self.Address}
		d.members = append([]*child.Child{c}, d.members...) // the newest first, to be joined through
	}
	slices.Reverse(d.members)
	took, err := d.heal(ctx)
	if err != nil {
		return err
	}
	d.Say("   %s later every member knows its ranges and those of the others.", ms(took))
	d.Say("   Each has %d, chosen so that all shares are even:", virtualNodes)
	return d.show(ctx)
}

// lookUp has every member look every key up.
func (d *Demo) lookUp(ctx context.Context) error {
	d.Say("\n2. Every member is asked who is responsible for a key")
	slowest, misses, err := d.round(ctx)
	if err != nil {
		return err
	}
	for _, key := range sampleKeys {
		d.Say("   %-8s -> %-7s %s", key, d.truth(key).Name, d.agree(misses[key]))
		for _, m := range misses[key] {
			d.Wrong("%s", m)
		}
	}
	d.Say("   The slowest answer took %s.", ms(slowest))
	return nil
}

func (d *Demo) agree(misses []string) string {
	n := len(d.members)
	if len(misses) == 0 {
		return fmt.Sprintf("all %d agree", n)
	}
	return fmt.Sprintf("%d of %d agree", n-len(misses), n)
}

// lose kills a member and watches the others get over it.
func (d *Demo) lose(ctx context.Context) error {
	key := sampleKeys[0]
	i := slices.IndexFunc(d.members, func(c *child.Child) bool { return c.Self == d.truth(key) })
	victim := d.members[i]
	d.Say("\n3. %s, which has %q, is killed with kill -9", victim.Name, key)
	d.members = slices.Delete(slices.Clone(d.members), i, i+1)
	d.gone = append(d.gone, victim)
	d.sum.Killed = victim.Name
	victim.Kill()

	began := time.Now()
	slowest := time.Duration(0)
	for {
		took := time.Since(began)
		slow, misses, err := d.round(ctx)
		if err != nil {
			return err
		}
		slowest = max(slowest, slow)
		n := 0
		for _, m := range misses {
			n += len(m)
		}
		if n == 0 {
			d.sum.LookupsHeal = took
			break
		}
		d.sum.Early += n
		if took > healTime {
			d.Wrong("lookups are not right %s after the kill: %v", ms(took), misses)
			return nil
		}
	}
	if d.sum.Early == 0 {
		d.Say("   No lookup failed or named %s after its end.", victim.Name)
		d.Say("   The slowest took %s.", ms(slowest))
	} else {
		d.Say("   All lookups were right again %s after its end; none failed meanwhile,", ms(d.sum.LookupsHeal))
		d.Say("   %d still named %s, the slowest took %s.", d.sum.Early, victim.Name, ms(slowest))
	}
	if _, err := d.heal(ctx); err != nil {
		return err
	}
	d.sum.RingHeal = time.Since(began)
	d.Say("   The others took over its keys, and %s has %q now", d.truth(key).Name, key)
	d.Say("   (seen %s after the end of %s):", ms(d.sum.RingHeal), victim.Name)
	return d.show(ctx)
}

// part lets a member leave politely.
func (d *Demo) part(ctx context.Context) error {
	last := len(d.members) - 1
	if d.members[last].Page == d.page {
		last-- // somebody may be looking
	}
	leaver := d.members[last]
	d.Say("\n4. %s leaves politely", leaver.Name)
	d.members = slices.Delete(slices.Clone(d.members), last, last+1)
	d.gone = append(d.gone, leaver)
	d.sum.Left = leaver.Name
	began := time.Now()
	leaving, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := leaver.Leave(leaving); err != nil {
		d.Wrong("%v", err)
		leaver.Kill()
	}
	d.sum.Leave = time.Since(began)
	took, err := d.heal(ctx)
	if err != nil {
		return err
	}
	_, misses, err := d.round(ctx)
	if err != nil {
		return err
	}
	for _, of := range misses {
		for _, m := range of {
			d.Wrong("%s", m)
		}
	}
	d.Say("   It told its neighbours and ended within %s.", ms(d.sum.Leave))
	d.Say("   The others had all of its ranges %s later,", ms(took))
	d.Say("   and every lookup named a member that is there.")
	return nil
}

// Stay answers keys typed at the terminal.
func (d *Demo) Stay(ctx context.Context, in io.Reader) {
	d.Say("\nSee the ring at %s", d.page)
	d.Say("Type keys, one a line; Ctrl-D or Ctrl-C ends the demo.")
	keys := make(chan string)
	go func() { // not waited for: nothing ends a read from a terminal
		defer close(keys)
		for s := bufio.NewScanner(in); s.Scan(); {
			select {
			case keys <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for i := 0; ; i++ {
		var key string
		var ok bool
		select {
		case key, ok = <-keys:
		case <-ctx.Done():
		}
		if !ok {
			return
		}
		if key = strings.TrimSpace(key); key == "" {
			continue
		}
		c := d.members[i%len(d.members)]
		a, err := d.ask(ctx, c, "lookup "+key)
		if err != nil {
			d.Say("%s, asked %s: %v", key, c.Name, err)
			continue
		}
		d.Say("%s -> %s (%d) %s   asked %s, %s", key, a.Server.Name, a.Server.Id, a.Server.Address, c.Name, ms(a.Took))
	}
}

// End ends all processes, politely where that does not take long.
func (d *Demo) End() {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	var ending sync.WaitGroup
	for _, c := range d.members {
		ending.Go(func() {
			_ = c.Leave(ctx) // all at once, so that not all can be told
			c.Kill()
		})
	}
	ending.Wait()
}

func (d *Demo) ask(ctx context.Context, c *child.Child, command string) (child.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return c.Ask(ctx, command)
}

// truth is the owner of a key among the members alive.
func (d *Demo) truth(key string) concord.Server {
	id := concord.New(concord.Config{Name: key}).Id()
	var first *end
	for i := range d.ends { // they are sorted, and start again after the end
		e := &d.ends[i]
		if !slices.ContainsFunc(d.members, func(c *child.Child) bool { return c.Self == e.of }) {
			continue
		}
		if e.at >= id {
			return e.of
		}
		if first == nil {
			first = e
		}
	}
	return first.of
}

// round has every member look every key up, all members at once. It returns the
// longest time that one took and, for each key, which answers were not the
// truth. A lookup that fails, or takes too long, is wrong at any time; the error
// is for a member that cannot be asked.
func (d *Demo) round(ctx context.Context) (slowest time.Duration, misses map[string][]string, err error) {
	type answer struct {
		child.Answer
		err error
	}
	all := make([][]answer, len(d.members))
	var asking sync.WaitGroup
	for i, c := range d.members {
		all[i] = make([]answer, len(sampleKeys))
		asking.Go(func() {
			for k, key := range sampleKeys {
				all[i][k].Answer, all[i][k].err = d.ask(ctx, c, "lookup "+key)
			}
		})
	}
	asking.Wait()
	misses = map[string][]string{}
	for i, c := range d.members {
		for k, key := range sampleKeys {
			a := all[i][k]
			var own child.MemberError
			if a.err != nil && !errors.As(a.err, &own) {
				return 0, nil, a.err
			}
			d.sum.Lookups++
			slowest = max(slowest, a.Took)
			if a.Took > slowLookup {
				d.Wrong("%s took %s for a lookup of %q", c.Name, ms(a.Took), key)
			}
			switch want := d.truth(key); {
			case a.err != nil:
				d.Wrong("%s: lookup of %q: %v", c.Name, key, a.err)
			case *a.Server != want:
				misses[key] = append(misses[key], fmt.Sprintf("%s says that %q belongs to %s, it is %s's",
					c.Name, key, a.Server.Name, want.Name))
			}
		}
	}
	return slowest, misses, nil
}

// statuses asks every member for its state.
func (d *Demo) statuses(ctx context.Context) ([]concord.Status, error) {
	out := make([]concord.Status, len(d.members))
	for i, c := range d.members {
		a, err := d.ask(ctx, c, "status")
		if err != nil {
			return nil, err
		}
		out[i] = *a.Status
	}
	return out, nil
}

// heal waits until the ranges of all members are the circle, and all of them name the right
// owners. Not in time is wrong; the error is for a member that cannot be asked.
func (d *Demo) heal(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		took := time.Since(began)
		all, err := d.statuses(ctx)
		if err != nil {
			return took, err
		}
		not := child.NotWhole(all)
		if not == "" {
			d.note(all)
			if not, err = d.disagreement(ctx); err != nil {
				return took, err
			}
		}
		if not == "" {
			return time.Since(began), nil
		}
		if took > healTime {
			d.Wrong("the ring is not right after %s: %s", ms(took), not)
			return took, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return took, ctx.Err()
		}
	}
}

// disagreement is what a member answers that does not know of the last change yet, empty if
// there is none.
func (d *Demo) disagreement(ctx context.Context) (string, error) {
	_, misses, err := d.round(ctx)
	for _, of := range misses {
		for _, m := range of {
			return m, err
		}
	}
	return "", err
}

// note keeps where the members stand.
func (d *Demo) note(all []concord.Status) {
	d.ends = nil
	for _, s := range all {
		for _, r := range s.Ranges {
			d.ends = append(d.ends, end{r.End, s.Self})
		}
	}
	slices.SortFunc(d.ends, func(a, b end) int { return cmp.Compare(a.at, b.at) })
}

// show tells what share each member has.
func (d *Demo) show(ctx context.Context) error {
	all, err := d.statuses(ctx)
	if err != nil {
		return err
	}
	d.Say("   %-7s %6s  its share of all keys", "member", "ranges")
	for _, s := range all {
		line := fmt.Sprintf("   %-7s %6d  %5.1f %% %s", s.Self.Name, len(s.Ranges), 100*s.Share, strings.Repeat("#", int(s.Share*40+0.5)))
		d.Say("%s", strings.TrimRight(line, " "))
	}
	return nil
}

// ms is a duration for people.
func ms(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Millisecond:
		return "less than 1 ms"
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}
