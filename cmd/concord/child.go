package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/ollelogdahl/concord"
)

// child is one member of the demo: a process of its own that runs
// "concord run --control".
type child struct {
	name string
	self concord.Server

	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // of its standard output, closed at the end
	logs  *tail       // of its standard error
	ended chan struct{}

	asking sync.Mutex // one command at a time
	lost   error      // guarded by asking: why it can be asked no more
}

// startChild starts the process of a member, which founds a ring if join is
// empty, and waits until it is in the ring.
func startChild(ctx context.Context, exe, name, join string, interval time.Duration) (*child, error) {
	args := []string{"run", "--control", "--name", name, "--bind", "127.0.0.1:0", "--interval", interval.String()}
	if join != "" {
		args = append(args, "--join", join)
	}
	c := &child{
		name:  name,
		cmd:   exec.Command(exe, args...),
		lines: make(chan string, 1),
		logs:  &tail{},
		ended: make(chan struct{}),
	}
	c.cmd.SysProcAttr = childAttr()
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
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go c.read(out)

	line, err := c.line(ctx)
	if err == nil && !strings.HasPrefix(line, "ready ") {
		err = fmt.Errorf("said %q instead of being ready", line)
	}
	if err == nil {
		var a controlAnswer
		if a, err = c.ask(ctx, "status"); err == nil {
			c.self = a.Status.Self
		}
	}
	if err != nil {
		c.kill()
		return nil, fmt.Errorf("%s is not in the ring: %w; its log ends:\n%s", name, err, c.logs)
	}
	return c, nil
}

// read hands on what the process prints, and reaps it.
func (c *child) read(out io.Reader) {
	for s := bufio.NewScanner(out); s.Scan(); {
		c.lines <- s.Text()
	}
	close(c.lines)
	_ = c.cmd.Wait() // its state tells what there is to know
	close(c.ended)
}

func (c *child) line(ctx context.Context) (string, error) {
	select {
	case l, ok := <-c.lines:
		if !ok {
			return "", errors.New("the process has ended")
		}
		return l, nil
	case <-ctx.Done():
		return "", fmt.Errorf("no answer: %w", ctx.Err())
	}
}

// ask puts one command to the member. An error of the member is an error.
func (c *child) ask(ctx context.Context, command string) (controlAnswer, error) {
	c.asking.Lock()
	defer c.asking.Unlock()
	if c.lost != nil {
		return controlAnswer{}, c.lost
	}
	var a controlAnswer
	_, err := fmt.Fprintln(c.in, command)
	if err == nil {
		var line string
		if line, err = c.line(ctx); err == nil {
			err = json.Unmarshal([]byte(line), &a)
		}
	}
	if err != nil {
		// A late answer would be taken for that of the next command.
		c.lost = fmt.Errorf("%s, asked %q: %w", c.name, command, err)
		return controlAnswer{}, c.lost
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// kill ends the process with SIGKILL, or what is like it, and waits until it
// has ended.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // fails only if it has ended
	go func() {
		for range c.lines { // whatever it still had to say
		}
	}()
	<-c.ended
}

// leave lets the member leave, by ending its input, and waits for its end.
func (c *child) leave(ctx context.Context) error {
	if err := c.in.Close(); err != nil {
		return err
	}
	select {
	case <-c.ended:
	case <-ctx.Done():
		return fmt.Errorf("%s has not left: %w", c.name, ctx.Err())
	}
	if !c.cmd.ProcessState.Success() {
		return fmt.Errorf("%s: %v; its log ends:\n%s", c.name, c.cmd.ProcessState, c.logs)
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const maxTail = 2048

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
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
