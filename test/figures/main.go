//go:build unix

// Command figures measures what docs/PERFORMANCE.md states of joining, healing,
// churn and rest: on this machine, over real sockets on loopback, now.
//
//	go run ./test/figures            # all of them
//	go run ./test/figures -only churn
//
// Each figure prints one line of a Markdown table: what was asked for, what was
// measured. The exit status is 1 if one is not reached.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"time"
)

// figure is one thing to be measured.
type figure struct {
	name    string
	what    string
	measure func(ctx context.Context) (result, error)
}

// result is what was measured, in words, and whether that is what was asked.
type result struct {
	asked    string
	measured string
	reached  bool
}

var figures = []figure{
	{"storm64", "64 members join at once through one, to an ideal ring that stays so for 3 intervals", storm(64, 10)},
	{"storm128", "the same with 128", storm(128, 12)},
	{"join", "one join into a ring of 8 on loopback, median of 100", joins},
	{"kill2", "two adjacent members of 32 killed, lookups going on", killTwo},
	{"two", "ring of two, one killed: the other owns everything", killOneOfTwo},
	{"sigstop", "SIGSTOP of one of 6 processes, then SIGCONT", sigstop},
	{"resumed", "one of four processes hangs (SIGSTOP) and wakes: it is told that others answered for its range", resumed},
	{"rpcs", "requests of one lookup, ring of 64, half of the members killed", lookupRequests},
	{"churn", "32 members, one leaves by Stop and one joins each 500 ms for 60 s", churn},
	{"vjoin", "a member with 16 VirtualNodes joins 16 such members, median of 20", virtualJoins},
	{"vkill", "one of 16 such members is killed, to an ideal ring", virtualKill},
	{"vstop", "SIGSTOP of one of 6 processes with 16 VirtualNodes, worst of 5: the others own everything", virtualStop},
	{"vrest", "64 members with 1 and 16 VirtualNodes at rest, default interval", virtualRest},
	{"idle", "idle, default interval, per member", idle},
}

func main() {
	only := flag.String("only", "", "measure only the figures whose names are given, separated by commas")
	list := flag.Bool("list", false, "list the names of the figures")
	flag.Parse()
	if *list {
		for _, f := range figures {
			fmt.Printf("%-10s %s\n", f.name, f.what)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	reached := measure(ctx, *only)
	stop()
	if !reached {
		os.Exit(1)
	}
}

// measure prints a table of the figures that only names, of all if it is empty. It reports whether
// each of them has reached what is asked of it.
func measure(ctx context.Context, only string) bool {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	fmt.Printf("%s, %d CPUs, interval %v unless said\n\n", runtime.Version(), runtime.NumCPU(), interval)
	fmt.Println("| figure | what | asked | measured | reached |\n|---|---|---|---|---|")
	reached := true
	for _, f := range figures {
		if only != "" && !strings.Contains(","+only+",", ","+f.name+",") {
			continue
		}
		r, err := f.measure(ctx)
		if err != nil {
			r.measured = "error: " + strings.ReplaceAll(err.Error(), "\n", "; ")
			r.reached = false
		}
		fmt.Printf("| %s | %s | %s | %s | %s |\n", f.name, f.what, r.asked, r.measured, map[bool]string{true: "yes", false: "**no**"}[r.reached])
		reached = reached && r.reached
	}
	return reached
}
