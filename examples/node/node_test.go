package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = 20 * time.Second

// process is a node that runs as a process of its own.
type process struct {
	*exec.Cmd
	in    io.WriteCloser
	lines chan string // both outputs, closed at their end
}

func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "node.exe")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "node.go").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

func start(t *testing.T, bin string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), bin, args...), lines: make(chan string, 1024)}
	in, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in, p.Stdout, p.Stderr = in, w, w
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() {
		defer close(p.lines)
		defer r.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		p.Process.Kill()
		p.Wait()
	})
	return p
}

// line waits for a line that matches and returns the groups.
func (p *process) line(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(patience)
	var seen []string
	for {
		select {
		case l, ok := <-p.lines:
			if !ok {
				t.Fatalf("ended without a line like %q; said:\n%s", pattern, strings.Join(seen, "\n"))
			}
			if m := re.FindStringSubmatch(l); m != nil {
				return m
			}
			seen = append(seen, l)
		case <-timeout:
			t.Fatalf("no line like %q; said:\n%s", pattern, strings.Join(seen, "\n"))
		}
	}
}

// end waits until the process has ended and returns its exit code.
func (p *process) end(t *testing.T) int {
	t.Helper()
	timer := time.AfterFunc(patience, func() {
		t.Errorf("%v does not end", p.Args)
		p.Process.Kill()
	})
	defer timer.Stop()
	p.Wait()
	return p.ProcessState.ExitCode()
}

const ready = `is in the ring at (localhost:\d+), with \d+ % of the keys;`

func TestNodesFormARingAndLeave(t *testing.T) {
	bin := build(t)
	first := start(t, bin, "-name", "node1", "-addr", ":0")
	addr := first.line(t, ready)[1]
	nodes := []*process{first}
	for i := 2; i <= 3; i++ {
		n := start(t, bin, "-name", fmt.Sprintf("node%d", i), "-addr", ":0", "-join", addr)
		n.line(t, ready)
		nodes = append(nodes, n)
	}

	var owner string
	for _, n := range nodes {
		fmt.Fprintf(n.in, "some key\n")
		got := n.line(t, `^some key -> (node[123] \(\d+\) localhost:\d+)$`)[1]
		if owner == "" {
			owner = got
		}
		if got != owner {
			t.Errorf("one says %s, another %s", owner, got)
		}
	}

	// The end of the input is not the end of the node.
	nodes[1].in.Close()
	for _, n := range nodes[1:] {
		if err := n.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		n.line(t, "^left the ring$")
		if code := n.end(t); code != 0 {
			t.Errorf("exit code %d after SIGTERM", code)
		}
	}
	fmt.Fprintf(first.in, "some key\n")
	if got := first.line(t, `^some key -> (node\d)`)[1]; got != "node1" {
		t.Errorf("all others have left, yet %s is named", got)
	}
	if err := first.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := first.end(t); code != 0 {
		t.Errorf("exit code %d after SIGINT", code)
	}
}

func TestNodeSaysWhatIsWrong(t *testing.T) {
	bin := build(t)
	taken := start(t, bin, "-name", "node1", "-addr", ":0")
	addr := taken.line(t, ready)[1]
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no name":    {nil, "-name node1"},
		"no address": {[]string{"-name", "n", "-addr", "7946"}, "BindAddr"},
		"name taken": {[]string{"-name", "node1", "-addr", ":0", "-join", addr}, "name taken"},
		"port taken": {[]string{"-name", "n", "-addr", addr}, "in use"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, bin, c.args...)
			p.line(t, c.want)
			if code := p.end(t); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
		})
	}
}
