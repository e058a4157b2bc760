//go:build unix

// Chaos runs examples/cron in processes, kills them, stops them, lets them leave and join, and
// judges whether runs of jobs overlapped, were done twice, were missed or were late.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/ollelogdahl/concord/examples/internal/herd"
	"github.com/ollelogdahl/concord/examples/internal/runs"
)

// plan says what a run does.
type plan struct {
	members, jobs int
	virtualNodes  uint // of each member
	every, takes  time.Duration
	length        time.Duration // of the run: no fault begins after that
	between       time.Duration // faults
	seed          uint64
	faults        []*herd.Fault
	dir           string
	source        string // the directory of the program
}

// result is what a run has found.
type result struct {
	runs.Verdict

	Faults  int            `json:"faults"`
	ByFault map[string]int `json:"by_fault"`
}

const timeToCatchUp = 15 * time.Second

func main() {
	p := plan{members: 6, source: "examples/cron"}
	flag.UintVar(&p.virtualNodes, "virtual-nodes", 16, "at `how many` identifiers each member stands")
	flag.DurationVar(&p.length, "for", 10*time.Minute, "`duration` of the run")
	flag.DurationVar(&p.between, "between", 5*time.Second, "`time` between two faults")
	flag.IntVar(&p.jobs, "jobs", 60, "`how many` jobs there are")
	flag.DurationVar(&p.every, "every", time.Second, "`period` of each job")
	flag.DurationVar(&p.takes, "takes", 200*time.Millisecond, "`duration` of a run of a job")
	flag.Uint64Var(&p.seed, "seed", uint64(time.Now().UnixNano()), "`number` that faults are drawn with")
	flag.StringVar(&p.dir, "dir", "", "`directory` for journals and logs; empty: a temporary one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	p.faults = herd.Faults()
	r, err := carryOut(ctx, p)
	if err != nil {
		log.Fatal(err)
	}
	text, _ := json.Marshal(r)
	fmt.Println(string(text))
	if r.Overlapping+r.Double+r.Missed > 0 {
		os.Exit(1)
	}
}

// carryOut carries out a plan.
func carryOut(ctx context.Context, p plan) (result, error) {
	r := result{ByFault: make(map[string]int)}
	if p.dir == "" {
		dir, err := os.MkdirTemp("", "cron-chaos")
		if err != nil {
			return r, err
		}
		p.dir = dir
	}
	log.Printf("seed %d, journals and logs in %s", p.seed, p.dir)
	bin, err := herd.Build(ctx, p.source, p.dir)
	if err != nil {
		return r, err
	}
	ledger, err := herd.Start(io.Discard, bin, "-keep-ledger", "-ledger", "127.0.0.1:0", "-dir", p.dir)
	if err != nil {
		return r, err
	}
	defer ledger.Kill()
	at, err := ledger.Await(ctx, `serves at (\S+)`)
	if err != nil {
		return r, err
	}
	var h *herd.Herd
	h, err = herd.New(bin, p.dir, func(s herd.Seat) []string {
		return []string{
			"-name", s.Name, "-addr", s.Addr, "-zone", s.Zone, "-virtual-nodes", fmt.Sprint(p.virtualNodes),
			"-join", h.Others(s.Name), "-members", fmt.Sprint(p.members/2 + 1), "-ledger", at[1],
			"-journal", filepath.Join(p.dir, s.Name+".journal"), "-v",
			"-jobs", fmt.Sprint(p.jobs), "-every", p.every.String(), "-takes", p.takes.String(),
		}
	})
	if err != nil {
		return r, err
	}
	defer h.Close()
	for i := range p.members {
		if _, err := h.Add(ctx, herd.Zone(i)); err != nil {
			return r, err
		}
	}
	if err := r.fail(ctx, h, p); err != nil {
		return r, err
	}
	h.Close()
	return r, r.judge(p)
}

// fail lets faults happen until the run is over, and leaves time to catch up.
func (r *result) fail(ctx context.Context, h *herd.Herd, p plan) error {
	random := rand.New(rand.NewPCG(p.seed, 0))
	began := time.Now()
	var queue []*herd.Fault
	for {
		if time.Since(began) > p.length {
			return herd.Sleep(ctx, timeToCatchUp)
		}
		if err := herd.Sleep(ctx, p.between); err != nil {
			return err
		}
		if len(queue) == 0 {
			queue = append(queue, p.faults...)
			random.Shuffle(len(queue), func(i, j int) { queue[i], queue[j] = queue[j], queue[i] })
		}
		f := queue[0]
		queue = queue[1:]
		what, err := f.Do(ctx, h, random)
		log.Printf("%4.0f s: %s: %s", time.Since(began).Seconds(), f.Name, what)
		if err != nil {
			return err
		}
		r.Faults++
		r.ByFault[f.Name]++
		if f.Undo == nil {
			continue
		}
		if err := herd.Sleep(ctx, p.between); err != nil {
			return err
		}
		if err := f.Undo(ctx, h, random); err != nil {
			return err
		}
	}
}

func (r *result) judge(p plan) error {
	files, err := filepath.Glob(filepath.Join(p.dir, "*.journal"))
	if err != nil {
		return err
	}
	var all strings.Builder
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		all.Write(text)
		all.WriteByte('\n')
	}
	r.Verdict = runs.Judge(strings.NewReader(all.String()), p.every, timeToCatchUp/2)
	return nil
}
