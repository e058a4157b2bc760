package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ollelogdahl/concord"
)

// process is one member in a process of its own, asked over its standard input.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	mu      sync.Mutex
	answers chan answer
	name    string
	address string
}

// answer is what concord run --control answers to one command.
type answer struct {
	Server *concord.Server `json:"server"`
	Status *concord.Status `json:"status"`
	Error  string          `json:"error"`
}

// launch starts a member and waits until it is in the ring.
func launch(ctx context.Context, binary, name, join string) (*process, error) {
	args := []string{"run", "--control", "--name", name, "--bind", "127.0.0.1:0"}
	if join != "" {
		args = append(args, "--join", join)
	}
	p := &process{cmd: exec.CommandContext(ctx, binary, args...), name: name, answers: make(chan answer, 16)}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in = in
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(out)
	ready, err := lines.ReadString('\n')
	if err != nil {
		return p, fmt.Errorf("%s is not ready: %w", name, err)
	}
	for _, field := range strings.Fields(ready) {
		if a, ok := strings.CutPrefix(field, "address="); ok {
			p.address = a
		}
	}
	go func() {
		defer close(p.answers)
		for d := json.NewDecoder(lines); ; {
			var a answer
			if d.Decode(&a) != nil {
				return
			}
			p.answers <- a
		}
	}()
	return p, nil
}

// ask gives a command and waits for its answer.
func (p *process) ask(ctx context.Context, command string) (answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := io.WriteString(p.in, command+"\n"); err != nil {
		return answer{}, err
	}
	select {
	case a, ok := <-p.answers:
		if !ok {
			return a, fmt.Errorf("%s has ended", p.name)
		}
		return a, nil
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

func (p *process) end() {
	p.cmd.Process.Signal(syscall.SIGCONT)
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// ringOf says what keeps the processes from being one ideal ring.
func ringOf(ctx context.Context, ps []*process) string {
	var all []concord.Status
	for _, p := range ps {
		a, err := p.ask(ctx, "status")
		if err != nil || a.Status == nil {
			return fmt.Sprintf("%s: no status: %v", p.name, err)
		}
		all = append(all, *a.Status)
	}
	slices.SortFunc(all, func(a, b concord.Status) int {
		if a.Self.Id < b.Self.Id {
			return -1
		}
		return 1
	})
	n := len(all)
	for i, s := range all {
		if s.Predecessor == nil || *s.Predecessor != all[(i+n-1)%n].Self {
			return s.Self.Name + ": wrong predecessor"
		}
		if len(s.Successors) != min(3, n-1) {
			return s.Self.Name + ": wrong length of list"
		}
		for k, x := range s.Successors {
			if x != all[(i+1+k)%n].Self {
				return s.Self.Name + ": wrong successor"
			}
		}
	}
	return ""
}

func waitRing(ctx context.Context, ps []*process, limit time.Duration) (time.Duration, error) {
	began := time.Now()
	for {
		w := ringOf(ctx, ps)
		took := time.Since(began)
		if w == "" {
			return took, nil
		}
		if took > limit || ctx.Err() != nil {
			return took, fmt.Errorf("not ideal after %v: %s", took.Round(time.Millisecond), w)
		}
		pause(ctx, 5*time.Millisecond)
	}
}

// sigstop stops one of six processes, as a debugger or a swap storm would, and
// lets it go on half a minute later.
func sigstop(ctx context.Context) (result, error) {
	r := result{asked: "default interval; no lookup of the others over 2 s; they are ideal within 5 s; a member again within 5 s"}
	dir, err := os.MkdirTemp("", "figures")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "concord")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/ollelogdahl/concord/cmd/concord").CombinedOutput(); err != nil {
		return r, fmt.Errorf("build: %w: %s", err, out)
	}
	var ps []*process
	defer func() {
		for _, p := range ps {
			p.end()
		}
	}()
	for i := range 6 {
		join := ""
		if i > 0 {
			join = ps[0].address
		}
		p, err := launch(ctx, binary, fmt.Sprintf("p%d", i), join)
		if p != nil {
			ps = append(ps, p)
		}
		if err != nil {
			return r, err
		}
	}
	if _, err := waitRing(ctx, ps, 20*time.Second); err != nil {
		return r, err
	}
	pause(ctx, 6*time.Second)

	stopped := ps[2]
	others := slices.DeleteFunc(slices.Clone(ps), func(p *process) bool { return p == stopped })
	var slowest, lookups, errs atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i, p := range others {
		wg.Go(func() {
			for k := 0; ; k++ {
				select {
				case <-stop:
					return
				default:
				}
				began := time.Now()
				a, err := p.ask(ctx, fmt.Sprintf("lookup key %d %d", i, k))
				took := int64(time.Since(began))
				lookups.Add(1)
				if err != nil || a.Error != "" {
					errs.Add(1)
				}
				for old := slowest.Load(); took > old && !slowest.CompareAndSwap(old, took); old = slowest.Load() {
				}
				pause(ctx, 2*time.Millisecond)
			}
		})
	}
	stopped.cmd.Process.Signal(syscall.SIGSTOP)
	without, err := waitRing(ctx, others, 20*time.Second)
	if err == nil {
		pause(ctx, 30*time.Second)
	}
	close(stop)
	wg.Wait()
	if err != nil {
		return r, err
	}
	stopped.cmd.Process.Signal(syscall.SIGCONT)
	again, err := waitRing(ctx, ps, 20*time.Second)
	if err != nil {
		return r, err
	}
	r.measured = fmt.Sprintf("%d lookups, %d errors, slowest %v; ideal without it after %v; ideal with it %v after SIGCONT", lookups.Load(), errs.Load(),
		time.Duration(slowest.Load()).Round(time.Millisecond), without.Round(time.Millisecond), again.Round(time.Millisecond))
	r.reached = errs.Load() == 0 && time.Duration(slowest.Load()) <= 2*time.Second && without <= 5*time.Second && again <= 5*time.Second
	return r, nil
}
