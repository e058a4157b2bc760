// Package child runs members as processes of their own, by the command
// "concord run --control", and asks them over their standard input. The demo,
// the measurements and the chaos tests use it.
package child

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ollelogdahl/concord"
)

// Answer is what a member answers to one command, as one line of JSON.
type Answer struct {
	// Call is the number that the command bore, 0 if none.
	Call   uint64          `json:"call,omitempty"`
	Server *concord.Server `json:"server,omitempty"`
	Status *concord.Status `json:"status,omitempty"`
	Took   time.Duration   `json:"took_ns"`
	// Age and Source are those of concord.Trace.
	Age    time.Duration  `json:"age_ns,omitempty"`
	Source concord.Source `json:"source,omitempty"`
	Error  string         `json:"error,omitempty"`
}

// MemberError is what a member itself gave as the error of a command. Every
// other error of Ask says that there was no answer.
type MemberError string

func (e MemberError) Error() string { return string(e) }

// Options say how a member is started.
type Options struct {
	Binary     string // of the command concord
	Name       string
	Bind       string        // "": a free port of 127.0.0.1
	Join       []string      // addresses of members; none: found a ring
	Interval   time.Duration // 0: the default
	Successors int           // 0: the default
	// VirtualNodes is at how many identifiers the member stands; 0: 1.
	VirtualNodes int
	Args         []string  // further flags of "concord run"
	Log          io.Writer // also takes the member's log, of which the end is always kept
	// On runs the function that starts the process where it is to be started,
	// on a thread with a network of its own, say. nil: here.
	On func(start func() error) error
}

// Child is one member. Its methods may be called concurrently.
type Child struct {
	Name string
	Self concord.Server // from when it is ready on
	Page string         // the address of its page, likewise, if it has one
	// Admin is the host and port of its listener for operators, likewise.
	Admin string

	cmd   *exec.Cmd
	ready chan string // its first line
	logs  *tail       // of its standard error
	ended chan struct{}

	writing sync.Mutex
	in      io.WriteCloser

	mu    sync.Mutex
	calls uint64
	open  map[uint64]chan Answer
}

// Start starts the process of a member and waits until it is in the ring.
func Start(ctx context.Context, o Options) (*Child, error) {
	c, err := Launch(o)
	if err != nil {
		return nil, err
	}
	if err := c.Ready(ctx); err != nil {
		c.Kill()
		return nil, err
	}
	return c, nil
}

// Launch starts the process of a member. Before anything is asked of it, Ready
// must have returned nil.
func Launch(o Options) (*Child, error) {
	if o.Bind == "" {
		o.Bind = "127.0.0.1:0"
	}
	args := []string{"run", "--control", "--name", o.Name, "--bind", o.Bind}
	for _, addr := range o.Join {
		args = append(args, "--join", addr)
	}
	if o.Interval != 0 {
		args = append(args, "--interval", o.Interval.String())
	}
	args = append(args, "--virtual-nodes", strconv.Itoa(max(1, o.VirtualNodes)))
	if o.Successors != 0 {
		args = append(args, "--successors", strconv.Itoa(o.Successors))
	}
	c := &Child{
		Name:  o.Name,
		cmd:   exec.Command(o.Binary, append(args, o.Args...)...),
		ready: make(chan string, 1),
		logs:  &tail{also: o.Log},
		ended: make(chan struct{}),
		open:  map[uint64]chan Answer{},
	}
	c.cmd.SysProcAttr = attr()
	// What is set there for this process is not meant for its members.
	c.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CONCORD_") })
	c.cmd.Stderr = c.logs
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	c.in = in
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	on := o.On
	if on == nil {
		on = func(start func() error) error { return start() }
	}
	if err := on(c.cmd.Start); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	go c.read(out)
	return c, nil
}

// Ready waits until the member is in the ring.
func (c *Child) Ready(ctx context.Context) error {
	var line string
	var err error
	select {
	case line = <-c.ready:
	case <-c.ended:
		err = errors.New("the process has ended")
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err == nil && !strings.HasPrefix(line, "ready ") {
		err = fmt.Errorf("said %q instead of being ready", line)
	}
	_, rest, _ := strings.Cut(line, " page=")
	c.Page, _, _ = strings.Cut(rest, " ")
	_, rest, _ = strings.Cut(line, " admin=")
	c.Admin, _, _ = strings.Cut(rest, " ")
	if err == nil {
		var s concord.Status
		if s, err = c.Status(ctx); err == nil {
			c.Self = s.Self
		}
	}
	if err != nil {
		return fmt.Errorf("%s is not in the ring: %w; its log ends:\n%s", c.Name, err, c.logs)
	}
	return nil
}

// read hands on what the process prints, and reaps it.
func (c *Child) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	if lines.Scan() {
		c.ready <- lines.Text()
	}
	for lines.Scan() {
		var a Answer
		if json.Unmarshal(lines.Bytes(), &a) != nil {
			continue // whoever waits for it gives up in time
		}
		c.mu.Lock()
		ch := c.open[a.Call]
		delete(c.open, a.Call)
		c.mu.Unlock()
		if ch != nil {
			ch <- a
		}
	}
	_, _ = io.Copy(io.Discard, out) // a line too long has ended the scanner
	_ = c.cmd.Wait()                // its state tells what there is to know
	close(c.ended)
}

// Ask gives the member a command, see cmd/concord/control.go, and waits for its
// answer. Commands of concurrent calls are worked on at the same time.
func (c *Child) Ask(ctx context.Context, command string) (Answer, error) {
	ch := make(chan Answer, 1)
	c.mu.Lock()
	c.calls++
	call := c.calls
	c.open[call] = ch
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.open, call)
		c.mu.Unlock()
	}()

	c.writing.Lock()
	_, err := fmt.Fprintf(c.in, "%d %s\n", call, command)
	c.writing.Unlock()
	if err != nil {
		return Answer{}, fmt.Errorf("%s, asked %q: %w", c.Name, command, err)
	}
	select {
	case a := <-ch:
		if a.Error != "" {
			return a, MemberError(a.Error)
		}
		return a, nil
	case <-c.ended:
		return Answer{}, fmt.Errorf("%s, asked %q: the process has ended", c.Name, command)
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("%s, asked %q: no answer: %w", c.Name, command, ctx.Err())
	}
}

// Status asks the member for its state.
func (c *Child) Status(ctx context.Context) (concord.Status, error) {
	a, err := c.Ask(ctx, "status")
	if err != nil {
		return concord.Status{}, err
	}
	if a.Status == nil {
		return concord.Status{}, fmt.Errorf("%s gave no status", c.Name)
	}
	return *a.Status, nil
}

// Pid is the number of the process.
func (c *Child) Pid() int { return c.cmd.Process.Pid }

// Log is the end of what the member has logged.
func (c *Child) Log() string { return c.logs.String() }

// Signal sends the process a signal.
func (c *Child) Signal(s os.Signal) error { return c.cmd.Process.Signal(s) }

// Kill ends the process with SIGKILL, or what is like it, and waits until it
// has ended.
func (c *Child) Kill() {
	_ = c.cmd.Process.Kill() // fails only if it has ended
	<-c.ended
}

// Leave lets the member leave, by ending its input, and waits for its end.
func (c *Child) Leave(ctx context.Context) error {
	c.writing.Lock()
	err := c.in.Close()
	c.writing.Unlock()
	if err != nil {
		return err
	}
	return c.End(ctx)
}

// End waits for the end of a process that was told to leave.
func (c *Child) End(ctx context.Context) error {
	select {
	case <-c.ended:
	case <-ctx.Done():
		return fmt.Errorf("%s has not left: %w", c.Name, ctx.Err())
	}
	if !c.cmd.ProcessState.Success() {
		return fmt.Errorf("%s: %v; its log ends:\n%s", c.Name, c.cmd.ProcessState, c.logs)
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct {
	also io.Writer

	mu  sync.Mutex
	buf []byte
}

const maxTail = 2048

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.also != nil {
		if n, err := t.also.Write(b); err != nil {
			return n, err
		}
	}
	t.buf = append(t.buf, b...)
	if drop := len(t.buf) - maxTail; drop > 0 {
		t.buf = bytes.Clone(t.buf[drop:])
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
