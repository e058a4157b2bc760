//go:build unix

// Package herd runs the examples as processes, and makes them fail: it kills them, stops them for a
// while, lets them leave, and starts them again.
package herd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Build compiles the program in dir, into the directory to, and returns the path of the binary.
func Build(ctx context.Context, dir, to string) (string, error) {
	bin := filepath.Join(to, "program")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build in %s: %w\n%s", dir, err, out)
	}
	return bin, nil
}

// Process is a program that runs. Its methods may be called concurrently.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of its end; set before done is closed

	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed at the next line, and at the end
}

// maxLines bounds the lines of a process that are kept for Await.
const maxLines = 1000

// Start starts a program. Its standard output is kept for Await, and both outputs go to log.
func Start(log io.Writer, bin string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(bin, args...), done: make(chan struct{}), more: make(chan struct{})}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stderr = log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		for s := bufio.NewScanner(out); s.Scan(); {
			fmt.Fprintln(log, s.Text())
			p.add(s.Text())
		}
		p.err = p.cmd.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		close(p.more)
		p.more = nil
	}()
	return p, nil
}

func (p *Process) add(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
	if len(p.lines) > maxLines {
		p.lines = p.lines[1:]
	}
	close(p.more)
	p.more = make(chan struct{})
}

// Await waits for a line of the standard output that matches, and returns its groups.
func (p *Process) Await(ctx context.Context, pattern string) ([]string, error) {
	re := regexp.MustCompile(pattern)
	for {
		p.mu.Lock()
		lines, more := p.lines, p.more
		p.mu.Unlock()
		for _, line := range lines {
			if m := re.FindStringSubmatch(line); m != nil {
				return m, nil
			}
		}
		if more == nil {
			return nil, fmt.Errorf("%s has ended (%w) without a line like %q; it said:\n%s", p, p.err, pattern, strings.Join(lines, "\n"))
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: no line like %q: %w; it said:\n%s", p, pattern, ctx.Err(), strings.Join(lines, "\n"))
		}
	}
}

// String is the command.
func (p *Process) String() string { return strings.Join(p.cmd.Args, " ") }

// Kill ends the process at once, as kill -9 does, and waits for that.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Stop stops the process where it is, until Continue.
func (p *Process) Stop() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// Continue undoes Stop.
func (p *Process) Continue() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// Terminate asks the process to end, and waits until it has ended. It is killed if ctx ends before.
func (p *Process) Terminate(ctx context.Context) error {
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("%s does not end: %w", p, ctx.Err())
	}
}

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.done }

// Sleep waits for d, or until ctx ends, and returns the error of ctx.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
