//go:build linux

// Command overload measures what a member does under more requests than it can answer: on
// this machine, over real sockets on loopback, now.
//
//	go run ./test/overload                      # steps of lookups, then lookups for others
//	go run ./test/overload -only Route -for 10s
//
// A ring of processes runs with default settings. Another process asks one of them, first
// as fast as it answers, which is its capacity, and then three times as much. Each table
// row says what was asked for and what was measured. The exit status is 1 if something
// was not reached.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"time"

	"github.com/ollelogdahl/concord/internal/transport/attacktest"
)

// What is asked for.
const (
	times       = 3    // of the capacity
	leastServed = 0.90 // of the capacity
	// A question about the ring may take a quarter of the shortest time that it is allowed.
	mostRing = 300 * time.Millisecond / 4
	// mostMemory is what the member may grow by, in MiB; see docs/SECURITY.md.
	mostMemory = 128
)

type plan struct {
	members, conns int
	parts          int
	length         time.Duration // of one part
	calibration    time.Duration
}

func main() {
	only := flag.String("only", "Route,FindSuccessor", "methods to measure, separated by commas")
	var p plan
	flag.IntVar(&p.members, "members", 8, "members of the ring")
	flag.IntVar(&p.conns, "conns", 64, "connections of the flood")
	flag.IntVar(&p.parts, "parts", 1, "number of floods, with a measurement of the capacity before and after each")
	flag.DurationVar(&p.length, "for", time.Minute, "length of each flood")
	flag.DurationVar(&p.calibration, "calibration", 5*time.Second, "length of each measurement of the capacity")
	flood := flag.String("flood", "", "a flood, as JSON, to be run in place of all else")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *only, *flood, p)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only, flood string, p plan) error {
	if flood != "" {
		return runFlood(ctx, flood)
	}
	fmt.Printf("%s, %d CPUs, %d processes on loopback, one flooded by another process %d times for %v over %d connections\n\n",
		runtime.Version(), runtime.NumCPU(), p.members, p.parts, p.length, p.conns)
	fmt.Println("| method | what | asked | measured | reached |\n|---|---|---|---|---|")
	reached := true
	for method := range strings.SplitSeq(only, ",") {
		rows, err := measure(ctx, method, p)
		if err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		for _, r := range rows {
			fmt.Printf("| %s | %s | %s | %s | %s |\n", method, r.what, r.asked, r.measured, r.word())
			reached = reached && r.word() != "no"
		}
	}
	if !reached {
		return errors.New("not everything was reached")
	}
	return nil
}

// row is one figure.
type row struct {
	what, asked, measured string
	reached               bool
}

func (r row) word() string {
	switch {
	case r.asked == "":
		return ""
	case r.reached:
		return "yes"
	}
	return "no"
}

// runFlood is what the process that floods does.
func runFlood(ctx context.Context, spec string) error {
	var f attacktest.Flood
	if err := json.Unmarshal([]byte(spec), &f); err != nil {
		return err
	}
	out, err := f.Run(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// flooding runs a flood in a process of its own.
func flooding(ctx context.Context, f attacktest.Flood) (out attacktest.Flooded, err error) {
	spec, err := json.Marshal(f)
	if err != nil {
		return out, err
	}
	self, err := os.Executable()
	if err != nil {
		return out, err
	}
	cmd := exec.CommandContext(ctx, self, "-flood", string(spec))
	cmd.Stderr = os.Stderr
	said, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("the flood: %w", err)
	}
	err = json.Unmarshal(said, &out)
	out.Processor = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return out, err
}
