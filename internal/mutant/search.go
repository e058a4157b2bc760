package mutant

import (
	"fmt"
	"strings"
	"time"

	"github.com/ollelogdahl/concord/internal/explore"
	"github.com/ollelogdahl/concord/internal/sim"
	"github.com/ollelogdahl/concord/internal/sim/mapsim"
)

// Search is one run of the model checker, or some seeds of the simulator, that
// finds nothing in what ships.
type Search struct {
	Name string
	Says string // what is run, with the flags of the command that runs it
	// One of these is set.
	Check *explore.Config // for explore.Run, with the rules that hold
	Every *explore.Config // for explore.Every
	Sim   *sim.Config
	Maps  *mapsim.Config
	// Seeds is how many seeds the simulator tries, from First on: those before find nothing in
	// any mutant either.
	Seeds int
	First uint64
}

// Finding is what came of a search. But for Seconds it is the same every time.
type Finding struct {
	Search  string  `json:"search"`
	Found   bool    `json:"found"`
	Rule    string  `json:"rule,omitempty"` // that was broken
	How     string  `json:"how,omitempty"`
	States  int     `json:"states,omitempty"` // seen so far
	Seed    uint64  `json:"seed"`             // that found it, or the last
	Trace   uint64  `json:"trace"`            // transitions, or the hashes of all runs
	Seconds float64 `json:"seconds"`
}

const un = explore.Unlimited

// Searches are all there are.
var Searches = []Search{
	{
		Name: "ring", Says: "grain 1 from a ring; one quiet round must suffice (`--members 4 --start ring --quiet 1`)",
		Check: &explore.Config{Members: 4, Successors: 2, Memory: explore.Abstract, Grain: explore.Instant, Joins: un, Fails: un, Quiet: 1},
	},
	{
		Name: "founder", Says: "grain 1 from one founder; two quiet rounds must suffice (`--members 4 --start founder --quiet 2`)",
		Check: &explore.Config{
			Members: 4, Successors: 2, Start: explore.Founder, Memory: explore.Abstract, Grain: explore.Instant, Joins: un, Fails: un, Quiet: 2,
		},
	},
	{
		Name: "apart", Says: "grain 2 from a ring (`--members 4 --start ring --grain 2 --max-states 10000`)",
		Check: &explore.Config{
			Members: 4, Successors: 2, Memory: explore.Abstract, Grain: explore.Apart, Joins: un, Fails: un, Quiet: 30, MaxStates: 10000,
		},
	},
	{
		Name: "pairs", Says: "grain 1 from a ring of three processes at two identifiers each (`--members 6 --pairs --start ring --quiet 2`)",
		Check: &explore.Config{Members: 6, Successors: 2, Pairs: true, Memory: explore.Abstract, Grain: explore.Instant, Joins: un, Fails: un, Quiet: 2},
	},
	{
		Name: "lists of one", Says: "grain 2 from a ring; r = 1 (`--members 4 --successors 1 --start ring --grain 2 --assume successor --joins 2 --fails 1 --quiet 0 --max-states 20000`)",
		Check: &explore.Config{
			Members: 4, Successors: 1, Memory: explore.Abstract, Grain: explore.Apart, Assume: explore.LiveSuccessor, Joins: 2, Fails: 1, MaxStates: 20000,
		},
	},
	{
		Name: "lost lists", Says: "grain 1 from a ring; whole lists may die, real memories (`--members 4 --start ring --memory 0 --assume nothing --joins 1 --fails 2 --max-states 5000`)",
		Check: &explore.Config{
			Members: 4, Successors: 2, Grain: explore.Instant, Assume: explore.Nothing, Joins: 1, Fails: 2, Quiet: 30, MaxStates: 5000,
		},
	},
	{
		Name: "lost lists of one", Says: "as *lost lists*, with r = 1 (`--successors 1 --joins 2 --max-states 1000`)",
		Check: &explore.Config{
			Members: 4, Successors: 1, Grain: explore.Instant, Assume: explore.Nothing, Joins: 2, Fails: 2, Quiet: 30, MaxStates: 1000,
		},
	},
	{
		Name: "leaves", Says: "grain 2 from a ring; one may leave, real memories (`--members 4 --start ring --grain 2 --memory 0 --joins 1 --fails 1 --leaves 1 --max-states 50000`)",
		Check: &explore.Config{
			Members: 4, Successors: 2, Grain: explore.Apart, Joins: 1, Fails: 1, Leaves: 1, Quiet: 30, MaxStates: 50000,
		},
	},
	{
		Name: "all drain", Says: "grain 1 from a ring; all three members drain (`--members 3 --start ring --assume nothing --joins 0 --fails 0 --leaves 3 --drain --quiet 0`)",
		Check: &explore.Config{
			Members: 3, Successors: 2, Memory: explore.Abstract, Grain: explore.Instant, Assume: explore.Nothing, Drain: true, Leaves: 3,
		},
	},
	{
		Name: "all drain apart", Says: "as *all drain*, at grain 2 (`--grain 2 --max-states 300000`)",
		Check: &explore.Config{
			Members: 3, Successors: 2, Memory: explore.Abstract, Grain: explore.Apart, Assume: explore.Nothing, Drain: true, Leaves: 3, MaxStates: 300000,
		},
	},
	{
		Name: "every", Says: "every weakly connected state (`--members 3 --every`)",
		Every: &explore.Config{Members: 3, Successors: 2, Quiet: 30},
	},
	{
		Name: "taken for dead", Says: "grain 1 from a ring; three members may be taken for dead by mistake (`--members 4 --start ring --assume nothing --joins 0 --fails 0 --suspicions 3`)",
		Check: &explore.Config{
			Members: 4, Successors: 2, Memory: explore.Abstract, Grain: explore.Instant, Assume: explore.Nothing, Suspicions: 3, Quiet: 30,
		},
	},
	{
		Name: "strangers", Says: "grain 1 from every two rings with nothing in common (`--members 3 --start strangers --assume nothing --joins 1 --fails 1`)",
		Check: &explore.Config{
			Members: 3, Successors: 2, Start: explore.Strangers, Memory: explore.Abstract, Grain: explore.Instant, Assume: explore.Nothing, Joins: 1, Fails: 1, Quiet: 30,
		},
	},
	{
		Name: "akin", Says: "grain 1 from every two rings with something in common; real memories (`--members 3 --start akin --memory 0 --assume nothing --joins 1 --fails 1 --max-states 5000`)",
		Check: &explore.Config{
			Members: 3, Successors: 2, Start: explore.Akin, Grain: explore.Instant, Assume: explore.Nothing, Joins: 1, Fails: 1, Quiet: 30, MaxStates: 5000,
		},
	},
	{
		Name: "taking over", Says: "grain 2 from a founder; joiners take over before they own (`--members 4 --start founder --grain 2 --takeover --joins 3 --fails 0 --quiet 0 --max-states 50000`)",
		Check: &explore.Config{
			Members: 4, Successors: 2, Start: explore.Founder, Memory: explore.Abstract, Grain: explore.Apart, Takeover: true, Joins: 3, MaxStates: 50000,
		},
	},
	{
		Name: "joiners", Says: "15 members join one at once",
		Sim: &sim.Config{Members: 16, Start: "joiners"}, Seeds: 10,
	},
	{
		Name: "random", Says: "32 members with random pointers",
		Sim: &sim.Config{Members: 32, Start: "random"}, Seeds: 10,
	},
	{
		Name: "two rings", Says: "two rings of 16 must be one after three rounds",
		Sim: &sim.Config{Members: 32, Start: "two-rings", Bound: 3}, Seeds: 10,
	},
	{
		Name: "strangers meet", Says: "two rings of 8 with nothing in common, half a minute of crashes and joins (`--members 16 --start strangers --duration 30s --faults crash,join`)",
		Sim: &sim.Config{Members: 16, Start: "strangers", Duration: 30 * time.Second, Faults: sim.Crash | sim.Joins}, Seeds: 20,
	},
	{
		Name: "akin meet", Says: "four rings of 4, each with something in common with the next (`--members 16 --start akin`)",
		Sim: &sim.Config{Members: 16, Start: "akin"}, Seeds: 10,
	},
	{
		Name: "hub", Says: "32 members; one knows fifteen that know nobody, each of the others knows one of these",
		Sim: &sim.Config{Members: 32, Start: "hub"}, Seeds: 10,
	},
	{
		Name: "crashes", Says: "16 members, half a minute of crashes (`--members 16 --duration 30s --faults crash`)",
		Sim: &sim.Config{Members: 16, Duration: 30 * time.Second, Faults: sim.Crash}, Seeds: 10,
	},
	{
		Name: "founders", Says: "8 members bootstrap behind one load balancer",
		Sim: &sim.Config{Members: 8, Start: "founders", NoFingers: true, Lookups: -1, Idle: -1}, Seeds: 200,
	},
	{
		Name: "founders stalled", Says: "as *founders*, and the one that would found never does (`--members 8 --start founders-stalled`)",
		Sim: &sim.Config{Members: 8, Start: "founders-stalled", NoFingers: true, Lookups: -1, Idle: -1}, Seeds: 20,
	},
	{
		Name: "founders cut apart", Says: "as *founders*, with cuts, losses and hung members (`--members 8 --start founders --duration 20s --faults loss,cut,pause`)",
		Sim: &sim.Config{Members: 8, Start: "founders", Duration: 20 * time.Second, Faults: sim.Loss | sim.Cut | sim.Pause, NoFingers: true, Lookups: -1, Idle: -1}, Seeds: 200,
	},
	{
		Name: "founders by lists", Says: "8 members look for a ring by lists of addresses, with losses, and some crash (`--members 8 --start founders-listed --duration 20s --faults loss,crash`)",
		Sim: &sim.Config{Members: 8, Start: "founders-listed", Duration: 20 * time.Second, Faults: sim.Loss | sim.Crash, NoFingers: true, Lookups: -1, Idle: -1}, Seeds: 200,
	},
	{
		Name: "clients", Says: "8 members and 4 clients, half a minute of crashes (`--members 8 --clients 4 --duration 30s --faults crash`)",
		Sim: &sim.Config{Members: 8, Clients: 4, Duration: 30 * time.Second, Faults: sim.Crash}, Seeds: 20,
	},
	{
		Name: "too few", Says: "4 members, of which 3 have to live, are cut apart (`--members 4 --min-members 3 --duration 30s --faults cut,crash`)",
		Sim: &sim.Config{Members: 4, MinMembers: 3, Duration: 30 * time.Second, Faults: sim.Cut | sim.Crash}, Seeds: 20,
	},
	{
		Name: "too few processes", Says: "16 identifiers of processes at 1 and 4, of which 4 have to live, are cut apart (`--members 16 --identifiers 1,4 --min-members 4 --duration 30s --faults cut,crash`)",
		Sim: &sim.Config{Members: 16, Identifiers: []int{1, 4}, MinMembers: 4, Duration: 30 * time.Second, Faults: sim.Cut | sim.Crash}, Seeds: 20,
	},
	{
		Name: "comings and goings", Says: "16 members, half a minute of crashes, vanishing hosts, joins and leaves (`--members 16 --duration 30s --faults crash,vanish,join,leave`)",
		Sim: &sim.Config{Members: 16, Duration: 30 * time.Second, Faults: sim.Crash | sim.Vanish | sim.Joins | sim.Leaves}, Seeds: 10,
	},
	{
		Name: "churn and lookups", Says: "as *comings and goings*, with many lookups (`--lookups 64`)",
		Sim: &sim.Config{Members: 16, Duration: 30 * time.Second, Faults: sim.Crash | sim.Vanish | sim.Joins | sim.Leaves, Lookups: 64}, Seeds: 10,
	},
	{
		Name: "sessions", Says: "16 members, each of which stays for half a minute (`--members 16 --faults none --session 30s`)",
		Sim: &sim.Config{Members: 16, Duration: time.Minute, Sessions: sim.Sessions{Mean: 30 * time.Second, Shape: 0.6}}, Seeds: 10,
	},
	{
		Name: "maps", Says: "as *churn and lookups*, with losses, and every member keeps a map (`--faults loss,crash,vanish,join,leave --lookups 64 --maps`)",
		Sim: &sim.Config{Members: 16, Duration: 30 * time.Second, Faults: sim.Loss | sim.Crash | sim.Vanish | sim.Joins | sim.Leaves, Lookups: 64, Maps: true}, Seeds: 20,
	},
	{
		Name: "processes", Says: "42 identifiers of processes at 1, 4 and 16, half a minute in which some crash, vanish and hang (`--members 42 --identifiers 1,4,16 --duration 30s --faults crash,vanish,pause`)",
		Sim: &sim.Config{Members: 42, Identifiers: []int{1, 4, 16}, Duration: 30 * time.Second, Faults: sim.Crash | sim.Vanish | sim.Pause}, Seeds: 20,
	},
	{
		Name: "clients of processes", Says: "three processes at 16 identifiers each and 16 clients, half a minute in which processes crash and vanish (`--members 48 --clients 16 --identifiers 16 --duration 30s --faults crash,vanish`)",
		Sim: &sim.Config{Members: 48, Clients: 16, Identifiers: []int{16}, Duration: 30 * time.Second, Faults: sim.Crash | sim.Vanish}, First: 20, Seeds: 20,
	},
	{
		Name: "maps of two rings", Says: "as *two rings*, and every member keeps a map (`--members 32 --start two-rings --maps`)",
		Sim: &sim.Config{Members: 32, Start: "two-rings", Maps: true}, Seeds: 200,
	},
	{
		Name: "maps of processes", Says: "as *maps*, the members those of processes at 1, 4 and 8 identifiers (`--members 26 --identifiers 1,4,8`)",
		Sim: &sim.Config{Members: 26, Identifiers: []int{1, 4, 8}, Duration: 30 * time.Second, Faults: sim.Loss | sim.Crash | sim.Vanish | sim.Joins | sim.Leaves, Lookups: 64, Maps: true}, Seeds: 60,
	},
	{
		Name: "epochs of processes", Says: "42 identifiers of processes at 1, 4 and 16 that keep maps, 20 s of crashes, vanishing hosts, joins and leaves (`--members 42 --clients 8 --identifiers 1,4,16 --duration 20s --faults crash,vanish,join,leave --maps`)",
		Sim: &sim.Config{Members: 42, Clients: 8, Identifiers: []int{1, 4, 16}, Duration: 20 * time.Second, Faults: sim.Crash | sim.Vanish | sim.Joins | sim.Leaves, Maps: true}, First: 40, Seeds: 20,
	},
	{
		Name: "pauses", Says: "16 members, half a minute in which some hang (`--members 16 --duration 30s --faults pause`)",
		Sim: &sim.Config{Members: 16, Duration: 30 * time.Second, Faults: sim.Pause}, Seeds: 200,
	},
	{
		Name: "cuts", Says: "as *pauses*, and the network is cut in two (`--faults pause,cut,oneway,links`)",
		Sim: &sim.Config{Members: 16, Duration: 30 * time.Second, Faults: sim.Pause | sim.Cut | sim.OneWay | sim.Links}, Seeds: 200,
	},
	{
		Name: "leases", Says: "7 members, of which 4 have to live, own by leases for a minute of all faults and of clocks that leap (`concord sim leases`)",
		Sim: &sim.Config{Members: 7, MinMembers: 4, Lease: 9 * time.Second, Duration: time.Minute, Faults: sim.All | sim.Jump, NoFingers: true, Lookups: -1}, Seeds: 30,
	},
	{
		Name: "leases and pauses", Says: "as *leases*, with 16 members, without a number of them, and they hang, crash, join and leave (`--members 16 --min-members 0 --faults pause,crash,join,leave,jump`)",
		Sim: &sim.Config{Members: 16, Lease: 9 * time.Second, Duration: time.Minute, Faults: sim.Pause | sim.Crash | sim.Joins | sim.Leaves | sim.Jump, NoFingers: true, Lookups: -1}, Seeds: 30,
	},
	{
		Name: "leases and joiners", Says: "as *leases*, with 12 members and lists of 4, without a number of them, and they hang and join (`--members 12 --successors 4 --min-members 0 --faults pause,join`)",
		Sim: &sim.Config{Members: 12, Successors: 4, Lease: 9 * time.Second, Duration: time.Minute, Faults: sim.Pause | sim.Joins, NoFingers: true, Lookups: -1}, Seeds: 140,
	},
	{
		Name: "leases of processes", Says: "5 processes at eight identifiers, of which 3 have to live, own by leases; pairs of them cannot reach each other, and the network is cut in two (`--members 40 --identifiers 8 --min-members 3 --successors 2 --faults links,oneway,cut`)",
		Sim: &sim.Config{Members: 40, Identifiers: []int{8}, Successors: 2, MinMembers: 3, Lease: 9 * time.Second, Duration: time.Minute, Faults: sim.Links | sim.OneWay | sim.Cut, NoFingers: true, Lookups: -1}, Seeds: 20,
	},
	{
		Name: "leases and leaps", Says: "as *leases*, with 5 members, of which 3 have to live, and leases of 30 s; they hang and their clocks leap (`--members 5 --min-members 3 --lease 30s --duration 2m --faults pause,jump`)",
		Sim: &sim.Config{Members: 5, MinMembers: 3, Lease: 30 * time.Second, Duration: 2 * time.Minute, Faults: sim.Pause | sim.Jump, NoFingers: true, Lookups: -1}, Seeds: 100,
	},
	{
		Name: "waits and leaps", Says: "as *leases and leaps*, without a number of members that have to live (`--min-members 0`)",
		Sim: &sim.Config{Members: 5, Lease: 30 * time.Second, Duration: 2 * time.Minute, Faults: sim.Pause | sim.Jump, NoFingers: true, Lookups: -1}, Seeds: 20,
	},
	{
		Name: "restarts", Says: "8 members leave for a minute, to return or not, and others join (`--members 8 --duration 1m --faults join,leave,restart`)",
		Sim: &sim.Config{Members: 8, Duration: time.Minute, Faults: sim.Returns | sim.Joins | sim.Leaves, NoFingers: true, Lookups: -1}, Seeds: 40,
	},
	{
		Name: "restarts of processes", Says: "42 identifiers of processes at 1, 4 and 16 that leave for a minute, to return or not (`--members 42 --identifiers 1,4,16 --duration 1m --faults restart`)",
		Sim: &sim.Config{Members: 42, Identifiers: []int{1, 4, 16}, Duration: time.Minute, Faults: sim.Returns, NoFingers: true, Lookups: -1}, First: 20, Seeds: 60,
	},
	{
		Name: "drains", Says: "4 members drain and come back for half a minute, all of them at times (`--members 4 --duration 30s --faults drain`)",
		Sim: &sim.Config{Members: 4, Duration: 30 * time.Second, Faults: sim.Drains}, Seeds: 20,
	},
	{
		Name: "growth", Says: "42 identifiers of processes at 1, 4 and 16 that keep maps drain, or go down to half, and grow again for half a minute (`--members 42 --identifiers 1,4,16 --duration 30s --faults drain --maps`)",
		Sim: &sim.Config{Members: 42, Identifiers: []int{1, 4, 16}, Duration: 30 * time.Second, Faults: sim.Drains, Maps: true}, Seeds: 40,
	},
	{
		Name: "takeovers", Says: "16 members; others join that take over before they own, and members leave and crash (`--members 16 --duration 30s --faults crash,join,leave --takeover 2s`)",
		Sim: &sim.Config{Members: 16, Duration: 30 * time.Second, Faults: sim.Crash | sim.Joins | sim.Leaves, Takeover: 2 * time.Second, NoFingers: true, Lookups: -1}, Seeds: 20,
	},
	{
		Name: "busy", Says: "16 members, half a minute in which some have too much to do and others join (`--members 16 --duration 30s --faults busy,join`)",
		Sim: &sim.Config{Members: 16, Duration: 30 * time.Second, Faults: sim.Busy | sim.Joins}, Seeds: 20,
	},
	{
		Name: "hostile", Says: "24 members, some of which lie, with identities (`--members 24 --duration 10s --faults none --hostile 0.1 --identity`)",
		Sim: &sim.Config{Members: 24, Duration: 10 * time.Second, Hostile: 0.1, Identity: true}, Seeds: 20,
	},
	{
		Name: "false owners", Says: "as *hostile*, and all that they do is to name others as owners (`--lies owners`)",
		Sim: &sim.Config{Members: 24, Duration: 10 * time.Second, Hostile: 0.1, Identity: true, Lies: sim.WrongOwners}, Seeds: 20,
	},
	{
		Name: "ghosts", Says: "as *hostile*, and all that they do is to introduce members that never were and to forge, without identities (`--lies ghosts,forge`)",
		Sim: &sim.Config{Members: 24, Duration: 10 * time.Second, Hostile: 0.1, Lies: sim.Ghosts | sim.Forgeries}, Seeds: 20,
	},
	{
		Name: "hostile owners", Says: "32 members, of which three in ten own all that they are asked for, with identities (`--members 32 --duration 5s --faults none --hostile 0.3 --identity --lies arcs`)",
		Sim: &sim.Config{Members: 32, Duration: 5 * time.Second, Hostile: 0.3, Identity: true, Lies: sim.WideArcs}, Seeds: 20,
	},
	{
		Name: "hostile to maps", Says: "20 members keep maps, and some of them lie about arcs, with identities; others join and crash (`--members 20 --duration 10s --faults crash,join --hostile 0.1 --identity --maps --lies claims`)",
		Sim: &sim.Config{Members: 20, Duration: 10 * time.Second, Faults: sim.Crash | sim.Joins, Hostile: 0.1, Identity: true, Maps: true, Lies: sim.FalseClaims}, Seeds: 20,
	},
	{
		Name: "hostile processes", Says: "42 identifiers of processes at 1, 4 and 16, of which some name one of their own as the owner, with identities (`--members 42 --identifiers 1,4,16 --duration 5s --faults none --hostile 0.1 --identity --lies owners`)",
		Sim: &sim.Config{Members: 42, Identifiers: []int{1, 4, 16}, Duration: 5 * time.Second, Hostile: 0.1, Identity: true, Lies: sim.WrongOwners}, First: 10, Seeds: 20,
	},
	{
		Name: "copies", Says: "24 members keep maps and come and go; 8 clients subscribe at one after another, and messages to members and clients are lost (`concord sim map --members 24 --session 30s --duration 30s --loss 0.05 --clients 8 --drops 0.02 --lookups 100`)",
		Maps: &mapsim.Config{Members: 24, Session: 30 * time.Second, Duration: 30 * time.Second, Loss: 0.05, Clients: 8, Drops: 0.02, Lookups: 100}, Seeds: 20,
	},
	{
		Name: "sweeps", Says: "24 members keep maps, and nothing happens (`concord sim map --members 24 --session 0 --duration 30s --lookups 100`)",
		Maps: &mapsim.Config{Members: 24, Duration: 30 * time.Second, Lookups: 100}, Seeds: 10,
	},
	{
		Name: "hasty sweeps", Says: "as *sweeps*, and one member has a tenth of the interval (`--hasty 1`)",
		Maps: &mapsim.Config{Members: 24, Duration: 30 * time.Second, Lookups: 100, Hasty: 1}, Seeds: 10,
	},
}

// All are all seeds of s.
func (s Search) All() []uint64 {
	var all []uint64
	for seed := s.First; seed < s.First+uint64(s.Seeds); seed++ {
		all = append(all, seed)
	}
	return all
}

// Run searches until something is found, or to the end of the seeds, which the model checker has
// none of.
func (s Search) Run(seeds []uint64) (Finding, error) {
	began := time.Now()
	out := Finding{Search: s.Name}
	explored := func(r explore.Result) {
		out.States, out.Trace = r.States, uint64(r.Transitions)
		if v := r.Violation; v != nil {
			out.Found, out.Rule, out.How = true, v.Rule, v.How
		}
	}
	switch {
	case s.Check != nil:
		cfg := *s.Check
		cfg.Rules, cfg.Steps = explore.Holding(cfg), explore.HoldingSteps(cfg)
		if err := cfg.Validate(); err != nil {
			return out, err
		}
		explored(explore.Run(cfg))
	case s.Every != nil:
		explored(explore.Every(*s.Every, 0, 1))
	case s.Sim != nil:
		for _, seed := range seeds {
			r, err := sim.Run(*s.Sim, seed)
			if err != nil {
				return out, err
			}
			out.Seed, out.Trace = seed, out.Trace*31+r.Trace
			if len(r.Violations) > 0 {
				v := r.Violations[0]
				out.Found, out.Rule, out.How = true, v.Rule, v.What
				break
			}
		}
	case s.Maps != nil:
		for _, seed := range seeds {
			r, err := mapsim.Run(*s.Maps, seed)
			if err != nil {
				return out, err
			}
			out.Seed, out.Trace = seed, out.Trace*31+r.Trace
			if len(r.Violations) > 0 {
				out.Found = true
				_, what, _ := strings.Cut(r.Violations[0], ": ") // when
				out.Rule, out.How, _ = strings.Cut(what, ": ")
				break
			}
		}
	default:
		return out, fmt.Errorf("the search %q is of nothing", s.Name)
	}
	out.Seconds = time.Since(began).Seconds()
	return out, nil
}
