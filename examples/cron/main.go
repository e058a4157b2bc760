// Cron runs jobs in several processes, each job in one of them at a time.
//
//	go run ./examples/cron -ledger localhost:8000 -keep-ledger
//	go run ./examples/cron -ledger localhost:8000 -name node1 -addr localhost:7946
//	go run ./examples/cron -ledger localhost:8000 -name node2 -addr localhost:7947 -join localhost:7946
//
// The first is the ledger: the record of which runs were done, which stands for a database that all
// processes share. Each of the others runs the jobs that its member owns. If one is killed, or
// hangs, another goes on with its jobs when the lease has ended, and makes up for what was not run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/ollelogdahl/concord"
)

const leaveTimeout = 10 * time.Second

// options are the flags.
type options struct {
	name, addr, join, zone, ledger, dir, journal string
	keepLedger, verbose                          bool
	jobs                                         int
	virtualNodes, members                        uint
	every, takes, interval, lease                time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.name, "name", "", "`name` of this member, unique in the ring")
	flag.StringVar(&o.addr, "addr", "localhost:7946", "`address` to listen on, where others reach it")
	flag.StringVar(&o.join, "join", "", "`addresses` of members, separated by commas; empty: create a ring")
	flag.UintVar(&o.virtualNodes, "virtual-nodes", 16, "at `how many` identifiers the member stands: with 16, shares are even")
	flag.StringVar(&o.zone, "zone", "", "`zone` of this member: what fails together")
	flag.StringVar(&o.ledger, "ledger", "localhost:8000", "`address` of the ledger")
	flag.BoolVar(&o.keepLedger, "keep-ledger", false, "be the ledger")
	flag.StringVar(&o.dir, "dir", ".", "`directory` of the ledger's file, which is made")
	flag.StringVar(&o.journal, "journal", "", "`file` to which each step of each run is appended; empty: standard output")
	flag.IntVar(&o.jobs, "jobs", 10, "`how many` jobs there are")
	flag.DurationVar(&o.every, "every", time.Second, "`period` of each job")
	flag.DurationVar(&o.takes, "takes", 200*time.Millisecond, "`duration` of a run, in ten steps")
	flag.UintVar(&o.members, "members", 0, "`how many` members must be there, more than half of all; 0: any number")
	flag.DurationVar(&o.interval, "interval", 250*time.Millisecond, "the member's StabilizeInterval")
	flag.DurationVar(&o.lease, "lease", 2*time.Second, "the members' Lease, at least 8 intervals, and more than a run takes")
	flag.BoolVar(&o.verbose, "v", false, "log what the member does")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	f := serve
	if o.keepLedger {
		f = keepLedger
	}
	err := f(ctx, os.Stdout, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cron:", err)
		os.Exit(1)
	}
}

// keepLedger is the ledger until ctx ends.
func keepLedger(ctx context.Context, out io.Writer, o options) error {
	l, err := openLedger(o.dir)
	if err != nil {
		return err
	}
	defer l.file.Close()
	lis, err := net.Listen("tcp", o.ledger)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: l, ReadHeaderTimeout: ledgerTimeout}
	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
	fmt.Fprintf(out, "the ledger serves at %s\n", lis.Addr())
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}

// serve runs a member until ctx ends.
func serve(ctx context.Context, out io.Writer, o options) error {
	if o.name == "" {
		return errors.New("-name is required")
	}
	steps := out
	if o.journal != "" {
		file, err := os.OpenFile(o.journal, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			return err
		}
		defer file.Close()
		steps = file
	}
	cfg := concord.Config{
		Name: o.name, BindAddr: o.addr, VirtualNodes: o.virtualNodes, Zone: o.zone, SuccessorCount: 4,
		StabilizeInterval: o.interval, Lease: o.lease, MinMembers: o.members,
	}
	if o.verbose {
		cfg.LogHandler = slog.NewTextHandler(os.Stderr, nil)
	}
	m := concord.New(cfg)
	if err := m.Start(); err != nil {
		return err
	}
	defer m.Stop()
	running, end := context.WithCancel(context.Background())
	_, done := start(running, m, overHTTP(o.ledger), jobs(o, steps))
	defer func() { end(); <-done }()
	var err error
	if o.join == "" {
		err = m.Create()
	} else {
		err = m.Join(ctx, strings.Split(o.join, ",")...)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s serves at %s\n", m.Name(), m.Address())
	<-ctx.Done()
	leaving, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	return m.Leave(leaving)
}

// jobs are jobs that write a line for each of ten steps, and one when the run is recorded.
func jobs(o options, steps io.Writer) []job {
	write := func(r runInfo, step int) {
		fmt.Fprintf(steps, "%d %s run %d of %s by epoch %d, step %d\n", time.Now().UnixNano(), o.name, r.tick, r.job, r.epoch, step)
	}
	var out []job
	for i := range o.jobs {
		out = append(out, job{
			name: fmt.Sprint("job", i), every: o.every, most: 2 * o.takes,
			do: func(r runInfo, may func() error) error {
				for step := range 10 {
					if err := may(); err != nil {
						return err
					}
					write(r, step)
					time.Sleep(o.takes / 10)
				}
				return nil
			},
			done: func(r runInfo) { write(r, 10) },
		})
	}
	return out
}
