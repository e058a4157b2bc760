package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/child"
)

// What the demo waits for, and what it calls wrong.
const (
	demoJoin   = 20 * time.Second // a process to be in the ring
	demoHeal   = 10 * time.Second // the ring to be right after a change
	demoAnswer = 10 * time.Second // a member to answer a command
	demoEnd    = 2 * time.Second  // the members to end by themselves
	slowLookup = 2 * time.Second  // no lookup may take longer, whatever happens
	maxMembers = 32
)

// demoKeys are looked up at every member.
var demoKeys = []string{"apple", "banana", "cherry", "lemon", "mango", "peach"}

type demoFlags struct {
	members  int
	interval time.Duration
	json     bool
	stay     bool
}

func newDemo() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch processes form a ring, lose one to kill -9, and heal",
		Long: `Start members as processes of their own on 127.0.0.1 and tell what they do: they
join, answer lookups, lose a member to kill -9, heal, and let one leave. The
first one's page, whose address is printed, shows it live. At a terminal the
ring then stays for keys to be typed, and with --stay in any case until SIGINT.
The exit status is not 0 if anything was wrong: a lookup that failed, or was not
right in time.`,
		Args: flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.members < 3 || f.members > maxMembers {
				return fmt.Errorf("--members %d: use 3 to %d, since one is killed and one leaves", f.members, maxMembers)
			}
			if f.interval < concord.MinStabilizeInterval {
				return fmt.Errorf("--interval %v: use at least %v", f.interval, concord.MinStabilizeInterval)
			}
			return f.run(cmd)
		},
	}
	cmd.Flags().IntVar(&f.members, "members", 5, "number of processes")
	cmd.Flags().DurationVar(&f.interval, "interval", concord.DefaultStabilizeInterval, "the members' --interval")
	cmd.Flags().BoolVar(&f.json, "json", false, "print a summary as JSON; the story goes to standard error")
	cmd.Flags().BoolVar(&f.stay, "stay", false, "let the ring stay until SIGINT or SIGTERM, also without a terminal")
	return cmd
}

func (f *demoFlags) run(cmd *cobra.Command) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	d := &demo{flags: *f, exe: exe, out: cmd.OutOrStdout()}
	if f.json {
		d.out = cmd.ErrOrStderr()
	}
	began := time.Now()
	err = d.tell(cmd.Context())
	d.sum.Took = time.Since(began)
	if in, ok := cmd.InOrStdin().(*os.File); ok && err == nil && len(d.sum.Wrong) == 0 && !f.json && terminal(in) && !f.stay {
		d.stay(cmd.Context(), in)
	}
	if err == nil && f.stay {
		d.say("\nThe ring stays, and its page at %s, until SIGINT or SIGTERM.", d.page)
		<-cmd.Context().Done()
	}
	d.end()
	if err != nil {
		d.wrong("%v", err)
	}
	if f.json {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		if err := enc.Encode(d.sum); err != nil {
			return err
		}
	}
	if n := len(d.sum.Wrong); n > 0 {
		if n == 1 {
			return fmt.Errorf("demo: %s", d.sum.Wrong[0])
		}
		return fmt.Errorf("demo: %d things were not as they should be; the first: %s", n, d.sum.Wrong[0])
	}
	return nil
}

// summary is what the demo measured.
type summary struct {
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

// demo is the teller of the story.
type demo struct {
	flags   demoFlags
	exe     string
	out     io.Writer
	members []*child.Child // alive, clockwise
	gone    []*child.Child
	page    string // of the first
	sum     summary
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// wrong notes what makes the demo fail.
func (d *demo) wrong(format string, args ...any) {
	msg := strings.TrimRight(fmt.Sprintf(format, args...), "\n")
	d.sum.Wrong = append(d.sum.Wrong, msg)
	d.say("   WRONG: %s", msg)
}

// tell tells the story. The error is why it could not be told to its end.
func (d *demo) tell(ctx context.Context) error {
	d.sum = summary{Members: d.flags.members, Wrong: []string{}}
	d.say("Concord: %d members, each a process of its own on this machine.", d.flags.members)
	for _, chapter := range []func(context.Context) error{d.form, d.lookUp, d.lose, d.part} {
		if err := chapter(ctx); err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			return err
		}
	}
	d.say("\nIn the end")
	if err := d.show(ctx); err != nil {
		return err
	}
	if n := len(d.sum.Wrong); n > 0 {
		d.say("   %d things were WRONG.", n)
		return nil
	}
	d.say("   All was right: %d lookups, none failed, none wrong once the ring had healed.", d.sum.Lookups)
	return nil
}

// form lets the members form a ring.
func (d *demo) form(ctx context.Context) error {
	d.say("\n1. A ring forms")
	var join []string
	for i := range d.flags.members {
		name := fmt.Sprintf("node%d", i+1)
		began := time.Now()
		starting, cancel := context.WithTimeout(ctx, demoJoin)
		c, err := child.Start(starting, child.Options{Binary: d.exe, Name: name, Join: join, Interval: d.flags.interval, Args: []string{"--http", "127.0.0.1:0"}})
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
		d.say("   %-7s %-21s process %-7d at %-15s %6s", name, how, c.Pid(), c.Self.Address, ms(took))
		if i == 0 {
			d.page = c.Page
			d.say("           the ring as a page, live: %s", d.page)
		}
		join = []string{c.Self.Address}
		d.members = append([]*child.Child{c}, d.members...) // the newest first, to be joined through
	}
	slices.SortFunc(d.members, func(a, b *child.Child) int { return cmp.Compare(a.Self.Id, b.Self.Id) })
	took, err := d.heal(ctx)
	if err != nil {
		return err
	}
	d.say("   %s later every member knows its place. Clockwise, it is a ring:", ms(took))
	return d.show(ctx)
}

// lookUp has every member look every key up.
func (d *demo) lookUp(ctx context.Context) error {
	d.say("\n2. Every member is asked who is responsible for a key")
	slowest, misses, err := d.round(ctx)
	if err != nil {
		return err
	}
	for _, key := range demoKeys {
		d.say("   %-8s -> %-7s %s", key, d.truth(key).Name, d.agree(misses[key]))
		for _, m := range misses[key] {
			d.wrong("%s", m)
		}
	}
	d.say("   The slowest answer took %s.", ms(slowest))
	return nil
}

func (d *demo) agree(misses []string) string {
	n := len(d.members)
	if len(misses) == 0 {
		return fmt.Sprintf("all %d agree", n)
	}
	return fmt.Sprintf("%d of %d agree", n-len(misses), n)
}

// lose kills a member and watches the others get over it.
func (d *demo) lose(ctx context.Context) error {
	key := demoKeys[0]
	i := slices.IndexFunc(d.members, func(c *child.Child) bool { return c.Self == d.truth(key) })
	victim, heir := d.members[i], d.members[(i+1)%len(d.members)]
	d.say("\n3. %s, which has %q, is killed with kill -9", victim.Name, key)
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
		if took > demoHeal {
			d.wrong("lookups are not right %s after the kill: %v", ms(took), misses)
			return nil
		}
	}
	d.say("   All lookups were right again %s after its end; none failed meanwhile,", ms(d.sum.LookupsHeal))
	d.say("   %d still named %s, the slowest took %s.", d.sum.Early, victim.Name, ms(slowest))
	if _, err := d.heal(ctx); err != nil {
		return err
	}
	d.sum.RingHeal = time.Since(began)
	d.say("   %s took over its keys, %q among them, and the ring is closed again", heir.Name, key)
	d.say("   (seen %s after the end of %s):", ms(d.sum.RingHeal), victim.Name)
	return d.show(ctx)
}

// part lets a member leave politely.
func (d *demo) part(ctx context.Context) error {
	last := len(d.members) - 1
	if d.members[last].Page == d.page {
		last-- // somebody may be looking
	}
	leaver := d.members[last]
	d.say("\n4. %s leaves politely", leaver.Name)
	d.members = slices.Delete(slices.Clone(d.members), last, last+1)
	d.gone = append(d.gone, leaver)
	d.sum.Left = leaver.Name
	began := time.Now()
	leaving, cancel := context.WithTimeout(ctx, demoAnswer)
	defer cancel()
	if err := leaver.Leave(leaving); err != nil {
		d.wrong("%v", err)
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
			d.wrong("%s", m)
		}
	}
	d.say("   It told its neighbours and ended within %s; %s later the ring was", ms(d.sum.Leave), ms(took))
	d.say("   seen closed, and every lookup named a member that is there.")
	return nil
}

// stay answers keys typed at the terminal.
func (d *demo) stay(ctx context.Context, in io.Reader) {
	d.say("\nThe ring is to be seen at %s", d.page)
	d.say("Type keys, one a line; Ctrl-D or Ctrl-C ends the demo.")
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
			d.say("%s, asked %s: %v", key, c.Name, err)
			continue
		}
		d.say("%s -> %s (%d) %s   asked %s, %s", key, a.Server.Name, a.Server.Id, a.Server.Address, c.Name, ms(a.Took))
	}
}

// end ends all processes, politely where that does not take long.
func (d *demo) end() {
	ctx, cancel := context.WithTimeout(context.Background(), demoEnd)
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

func (d *demo) ask(ctx context.Context, c *child.Child, command string) (child.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, demoAnswer)
	defer cancel()
	return c.Ask(ctx, command)
}

// truth is the owner of a key among the members alive.
func (d *demo) truth(key string) concord.Server {
	id := concord.New(concord.Config{Name: key}).Id()
	for _, c := range d.members {
		if c.Self.Id >= id { // they are sorted, and start again after the end
			return c.Self
		}
	}
	return d.members[0].Self
}

// round has every member look every key up, all members at once. It returns the
// longest time that one took and, for each key, which answers were not the
// truth. A lookup that fails, or takes too long, is wrong at any time; the error
// is for a member that cannot be asked.
func (d *demo) round(ctx context.Context) (slowest time.Duration, misses map[string][]string, err error) {
	type answer struct {
		child.Answer
		err error
	}
	all := make([][]answer, len(d.members))
	var asking sync.WaitGroup
	for i, c := range d.members {
		all[i] = make([]answer, len(demoKeys))
		asking.Go(func() {
			for k, key := range demoKeys {
				all[i][k].Answer, all[i][k].err = d.ask(ctx, c, "lookup "+key)
			}
		})
	}
	asking.Wait()
	misses = map[string][]string{}
	for i, c := range d.members {
		for k, key := range demoKeys {
			a := all[i][k]
			var own child.MemberError
			if a.err != nil && !errors.As(a.err, &own) {
				return 0, nil, a.err
			}
			d.sum.Lookups++
			slowest = max(slowest, a.Took)
			if a.Took > slowLookup {
				d.wrong("%s took %s for a lookup of %q", c.Name, ms(a.Took), key)
			}
			switch want := d.truth(key); {
			case a.err != nil:
				d.wrong("%s: lookup of %q: %v", c.Name, key, a.err)
			case *a.Server != want:
				misses[key] = append(misses[key], fmt.Sprintf("%s says that %q belongs to %s, it is %s's",
					c.Name, key, a.Server.Name, want.Name))
			}
		}
	}
	return slowest, misses, nil
}

// statuses asks every member for its state.
func (d *demo) statuses(ctx context.Context) ([]concord.Status, error) {
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

// heal waits until every pointer of every member is right. Not in time is wrong;
// the error is for a member that cannot be asked.
func (d *demo) heal(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		took := time.Since(began)
		all, err := d.statuses(ctx)
		if err != nil {
			return took, err
		}
		not := child.NotIdeal(all, concord.DefaultSuccessorCount)
		if not == "" {
			return took, nil
		}
		if took > demoHeal {
			d.wrong("the ring is not right after %s: %s", ms(took), not)
			return took, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return took, ctx.Err()
		}
	}
}

// show draws the ring as its members see it.
func (d *demo) show(ctx context.Context) error {
	all, err := d.statuses(ctx)
	if err != nil {
		return err
	}
	d.say("   %-7s %-16s  %-27s  %s", "member", "identifier", "its share of all keys", "next")
	for _, s := range all {
		share := 0.0
		if s.Range != nil {
			share = float64(s.Range.End-s.Range.Start-1) / (1 << 64) // End == Start is all
		}
		var next []string
		for _, x := range s.Successors {
			next = append(next, x.Name)
		}
		line := fmt.Sprintf("   %-7s %016x  %5.1f %% %-19s  %s", s.Self.Name, s.Self.Id, 100*share,
			strings.Repeat("#", int(share*19+0.5)), strings.Join(next, " "))
		d.say("%s", strings.TrimRight(line, " "))
	}
	return nil
}

// ms is a duration for people.
func ms(d time.Duration) string {
	if d >= time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

// terminal reports whether somebody may type at f.
func terminal(f *os.File) bool {
	is, err := f.Stat()
	if err != nil || is.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(is, null)
}
