//go:build unix

package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs what testdata/script tells, each script with rings of its own.
// Besides testscript's own commands there are:
//
//	member NAME FLAGS...   starts "concord run --name NAME" at a free port, waits until
//	                       it is ready, and sets $NAME to its address, and
//	                       $NAME_admin to that of its admin listener
//	signal NAME term|stop|cont
//	ended NAME             waits until a member has ended by itself, without an error
//	begin NAME ARGS...     starts "concord ARGS..." and waits for its first line
//	rest NAME FILE         waits until that has ended, without an error, and writes to
//	                       FILE all it has printed
//	normalize FILE         writes to FILE what the last command has printed, with what
//	                       differs from run to run replaced, for cmp
//	narrow                 fails if a line of that is wider than 80 columns
//
// The condition [ipv6] holds where there is a loopback of it.
//
// With UPDATE_SCRIPTS=1 in the environment, golden files are written anew.
func TestScripts(t *testing.T) {
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			dir := filepath.Join(env.WorkDir, ".bin")
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			env.Setenv("PATH", dir+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Values["members"] = map[string]*exec.Cmd{}
			env.Values["begun"] = map[string]*begun{}
			return os.Symlink(bin, filepath.Join(dir, "concord"))
		},
		Condition: func(cond string) (bool, error) {
			if cond != "ipv6" {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			return hasIPv6(), nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"member": startMember, "signal": signalMember, "ended": awaitMember,
			"begin": begin, "rest": rest, "normalize": normalize, "narrow": narrow,
		},
	})
}

// hasIPv6 reports whether this machine has a loopback of IPv6.
func hasIPv6() bool {
	lis, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	lis.Close()
	return true
}

func membersOf(ts *testscript.TestScript) map[string]*exec.Cmd {
	return ts.Value("members").(map[string]*exec.Cmd)
}

func startMember(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: member NAME FLAGS...")
	}
	name := args[0]
	cmd := exec.Command(filepath.Join(ts.Getenv("WORK"), ".bin", "concord"), append([]string{"run", "--name", name, "--bind", "127.0.0.1:0", "--control"}, args[1:]...)...)
	cmd.Dir = ts.MkAbs(".")
	logs := new(strings.Builder)
	cmd.Stderr = logs
	in, err := cmd.StdinPipe() // a member ends with its input, so none outlives the test
	ts.Check(err)
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		in.Close()
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		_ = cmd.Wait()
		ts.Fatalf("%s has ended: %s", name, logs)
	}
	_, addr, ok := strings.Cut(lines.Text(), " address=")
	if !ok {
		ts.Fatalf("%s says %q", name, lines.Text())
	}
	addr, admin, _ := strings.Cut(addr, " admin=")
	ts.Setenv(name, addr)
	ts.Setenv(name+"_admin", admin)
	membersOf(ts)[name] = cmd
}

func signalMember(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"term": syscall.SIGTERM, "stop": syscall.SIGSTOP, "cont": syscall.SIGCONT}
	if neg || len(args) != 2 || membersOf(ts)[args[0]] == nil || signals[args[1]] == nil {
		ts.Fatalf("usage: signal NAME term|stop|cont")
	}
	process := membersOf(ts)[args[0]].Process
	ts.Check(process.Signal(signals[args[1]]))
	if args[1] == "stop" {
		// The signal only begins to stop it. Until it has stopped it may still answer.
		var status syscall.WaitStatus
		_, err := syscall.Wait4(process.Pid, &status, syscall.WUNTRACED, nil)
		ts.Check(err)
		if !status.Stopped() {
			ts.Fatalf("%s has ended: %v", args[0], status)
		}
	}
}

func awaitMember(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || membersOf(ts)[args[0]] == nil {
		ts.Fatalf("usage: ended NAME")
	}
	ts.Check(membersOf(ts)[args[0]].Wait())
}

// begun is a command that prints as it goes.
type begun struct {
	cmd   *exec.Cmd
	first string
	lines *bufio.Scanner
}

func begin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: begin NAME ARGS...")
	}
	cmd := exec.Command(filepath.Join(ts.Getenv("WORK"), ".bin", "concord"), args[1:]...)
	logs := new(strings.Builder)
	cmd.Stderr = logs
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		_ = cmd.Wait()
		ts.Fatalf("%s has ended: %s", args[0], logs)
	}
	ts.Value("begun").(map[string]*begun)[args[0]] = &begun{cmd, lines.Text(), lines}
}

func rest(ts *testscript.TestScript, neg bool, args []string) {
	all := ts.Value("begun").(map[string]*begun)
	if neg || len(args) != 2 || all[args[0]] == nil {
		ts.Fatalf("usage: rest NAME FILE")
	}
	b := all[args[0]]
	var text strings.Builder
	fmt.Fprintln(&text, b.first)
	for b.lines.Scan() {
		fmt.Fprintln(&text, b.lines.Text())
	}
	ts.Check(b.cmd.Wait())
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text.String()), 0o644))
}

// Names of what differs from run to run. Identifiers do not: they are hashes of
// names.
var varying = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "HOST:PORT"},
	{regexp.MustCompile(`\b1\d{12}\b`), "INCARNATION"},
	{regexp.MustCompile(`_ns":( ?)\d+`), `_ns":${1}N`},
	{regexp.MustCompile(`\b\d+(\.\d)? (µs|ms|s)\b`), "TIME"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\.\d{3}\b`), "CLOCK"},
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\d\b`), "DATE"},
	{regexp.MustCompile(`(?m)^(  [a-z_]+) +\d+$`), "$1 N"}, // a counter
	{regexp.MustCompile(` {2,}`), "  "},                    // columns are as wide as what is in them
}

func normalize(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: normalize FILE")
	}
	text := ts.ReadFile("stdout")
	for _, v := range varying {
		text = v.pattern.ReplaceAllString(text, v.name)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

func narrow(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: narrow")
	}
	text := ts.ReadFile("stdout")
	if text == "" {
		ts.Fatalf("nothing was printed")
	}
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
			ts.Fatalf("%d columns: %s", n, line)
		}
	}
}
