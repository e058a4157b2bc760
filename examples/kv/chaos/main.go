//go:build unix

// Chaos runs the store of examples/kv in processes, kills them and wipes their disks, stops them,
// lets them leave and join, and judges what clients see meanwhile: whether a write is lost that was
// acknowledged, whether a key cannot be read some time after a fault, and whether the history of
// each key is linearizable.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordgrpc"
	"github.com/ollelogdahl/concord/examples/internal/herd"
	"github.com/ollelogdahl/concord/examples/kv/kvpb"
)

// plan says what a run does.
type plan struct {
	members int           // processes
	virtual uint          // identifiers of each
	cold    int           // keys that are written once in a while
	hot     int           // keys that clients write and read all the time
	clients int           // how many do
	length  time.Duration // of the run: no fault begins after that
	settle  time.Duration // from a fault until all keys are read
	seed    uint64
	faults  []*herd.Fault
	dir     string
	source  string // the directory of the store's program
}

// result is what a run has found.
type result struct {
	Faults          int            `json:"faults"`
	ByFault         map[string]int `json:"by_fault"`
	Writes          int            `json:"writes_acknowledged"`
	WritesUnknown   int            `json:"writes_unknown"`
	Reads           int            `json:"reads"`
	ReadsFailed     int            `json:"reads_failed"`
	Lost            int            `json:"acknowledged_writes_lost"`
	Unreadable      int            `json:"keys_unreadable"`
	Checked         int            `json:"keys_checked"`
	Stale           int            `json:"stale_reads"`
	NotLinearizable int            `json:"keys_not_linearizable"`
	Undecided       int            `json:"keys_undecided"`
}

func main() {
	p := plan{members: 6, clients: 8, source: "."}
	flag.UintVar(&p.virtual, "virtual-nodes", 16, "at `how many` identifiers each member stands")
	flag.DurationVar(&p.length, "for", 10*time.Minute, "`duration` of the run")
	flag.DurationVar(&p.settle, "settle", 15*time.Second, "`time` from a fault until all keys are read")
	flag.IntVar(&p.cold, "cold", 800, "`how many` keys are there besides those below")
	flag.IntVar(&p.hot, "hot", 40, "`how many` keys are read and written all the time")
	flag.Uint64Var(&p.seed, "seed", uint64(time.Now().UnixNano()), "`number` that faults are drawn with")
	flag.StringVar(&p.dir, "dir", "", "`directory` for data and logs; empty: a temporary one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	p.faults = herd.Faults()
	r, err := run(ctx, p)
	if err != nil {
		log.Fatal(err)
	}
	text, _ := json.Marshal(r)
	fmt.Println(string(text))
	if r.Lost+r.Unreadable+r.NotLinearizable+r.Stale > 0 {
		os.Exit(1)
	}
}

// run carries out a plan.
func run(ctx context.Context, p plan) (result, error) {
	if p.dir == "" {
		dir, err := os.MkdirTemp("", "kv-chaos")
		if err != nil {
			return result{}, err
		}
		p.dir = dir
	}
	log.Printf("seed %d, data and logs in %s", p.seed, p.dir)
	bin, err := herd.Build(ctx, p.source, p.dir)
	if err != nil {
		return result{}, err
	}
	var h *herd.Herd
	h, err = herd.New(bin, p.dir, func(s herd.Seat) []string {
		return []string{
			"-name", s.Name, "-addr", s.Addr, "-zone", s.Zone, "-virtual-nodes", fmt.Sprint(p.virtual), "-dir", filepath.Join(s.Dir, "data"),
			"-join", h.Others(s.Name), "-members", fmt.Sprint(p.members/2 + 1), "-v",
		}
	})
	if err != nil {
		return result{}, err
	}
	defer h.Close()
	for i := range p.members {
		if _, err := h.Add(ctx, herd.Zone(i)); err != nil {
			return result{}, err
		}
	}
	var addrs []string
	for _, s := range h.Running() {
		addrs = append(addrs, s.Addr)
	}
	ring, err := concord.Dial(ctx, concord.ClientConfig{}, addrs...)
	if err != nil {
		return result{}, err
	}
	defer ring.Close()
	w := newWork(kvpb.NewKVClient(&concordgrpc.Router{
		Ring: ring, Key: keyOf, Repeat: func(method string) bool { return method == kvpb.KV_Get_FullMethodName },
	}), p)
	if err := w.fill(ctx); err != nil {
		return result{}, err
	}
	working, stop := context.WithCancel(ctx)
	done := w.start(working)
	err = w.fail(ctx, h)
	stop()
	<-done
	w.judge()
	return w.result, err
}

func keyOf(_ context.Context, _ string, request any) ([]byte, bool) {
	r, ok := request.(interface{ GetKey() []byte })
	if !ok {
		return nil, false
	}
	return r.GetKey(), true
}

// fail lets faults happen until the run is over, and reads all keys after each.
func (w *work) fail(ctx context.Context, h *herd.Herd) error {
	p, r := w.plan, rand.New(rand.NewPCG(w.plan.seed, 0))
	began := time.Now()
	var queue []*herd.Fault
	for time.Since(began) < p.length {
		if len(queue) == 0 {
			queue = append(queue, p.faults...)
			r.Shuffle(len(queue), func(i, j int) { queue[i], queue[j] = queue[j], queue[i] })
		}
		f := queue[0]
		queue = queue[1:]
		what, err := f.Do(ctx, h, r)
		log.Printf("%4.0f s: %s: %s", time.Since(began).Seconds(), f.Name, what)
		if err != nil {
			return err
		}
		w.result.Faults++
		w.result.ByFault[f.Name]++
		if err := w.check(ctx); err != nil {
			return err
		}
		if f.Undo == nil {
			continue
		}
		if err := f.Undo(ctx, h, r); err != nil {
			return err
		}
		if err := w.check(ctx); err != nil {
			return err
		}
	}
	return nil
}
