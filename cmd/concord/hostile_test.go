//go:build unix

package main

import (
	"bytes"
	"errors"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// evil moves the cursor, ends lines, turns the writing direction, and begins records.
const evil = "x\x1b[2J\r\nlevel=ERROR msg=owned \u202e\u2066\u009b2J\u2028\x7f"

// harmless checks that output has no character that does not print as itself, and no line that
// somebody else has begun.
func harmless(t *testing.T, what string, output []byte) {
	t.Helper()
	for line := range strings.SplitSeq(string(output), "\n") {
		if strings.HasPrefix(line, "level=") || strings.ContainsFunc(line, func(r rune) bool { return !strconv.IsPrint(r) }) {
			t.Errorf("%s prints %q", what, line)
		}
	}
}

// escaped reports whether evil, escaped for a terminal or in JSON, is in what was printed.
func escaped(output string) bool {
	return strings.Contains(output, `x\x1b[2J\r\n`) || strings.Contains(output, `x\u001b[2J\r\n`)
}

// attempt runs a command that may fail, and returns what it prints.
func attempt(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := command(t, args...).CombinedOutput()
	if exit := (&exec.ExitError{}); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%q: %v", args, err)
	}
	return out
}

// What a member is called is up to whoever runs it.
func TestNamesOfOthersAreHarmless(t *testing.T) {
	for _, format := range []string{"--json=false", "--json"} {
		_, ready := runMember(t, "--name", "a", "--admin", ":0")
		fields := strings.Fields(ready)
		a, admin := strings.TrimPrefix(fields[len(fields)-2], "address="), strings.TrimPrefix(fields[len(fields)-1], "admin=")
		watch := command(t, "watch", "--admin", admin, format)
		var watched bytes.Buffer
		watch.Stdout = &watched
		if err := watch.Start(); err != nil {
			t.Fatal(err)
		}
		b := command(t, "run", "--name", evil, "--bind", "127.0.0.1:0", "--join", a, "--control", "--meta", evil, "--log-level", "debug", format)
		in, err := b.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		b.Stdout, b.Stderr = &said, &said
		if err := b.Start(); err != nil {
			t.Fatal(err)
		}
		harmless(t, "ring", attempt(t, "ring", "--addr", a, "--wait", "10s", format))
		shown := 0
		for _, args := range [][]string{
			{"ring", "--addr", a}, {"lookup", "k", "--n", "2", "--addr", a}, {"trace", "k", "--addr", a},
			{"trace", "l", "--fresh", "--addr", a}, {"status", "--admin", admin},
		} {
			out := attempt(t, append(args, format)...)
			harmless(t, args[0], out)
			if escaped(string(out)) {
				shown++
			}
		}
		if shown < 4 {
			t.Errorf("%s: the name is in what %d of 5 commands print", format, shown)
		}
		_ = in.Close()
		if err := b.Wait(); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		harmless(t, "run", said.Bytes())
		harmless(t, "leave", attempt(t, "leave", "--admin", admin, format))
		if err := watch.Wait(); err != nil {
			t.Error(err)
		}
		harmless(t, "watch", watched.Bytes())
		if !escaped(watched.String()) {
			t.Errorf("%s: the name is not in what watch prints:\n%s", format, &watched)
		}
	}
}

// So are the words of errors.
func TestErrorsOfOthersAreHarmless(t *testing.T) {
	if _, err := binary(); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup // they mostly wait, for an answer that can be used
	defer running.Wait()
	for i, code := range []codes.Code{codes.Internal, codes.FailedPrecondition, codes.Unavailable, codes.Unimplemented} {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return status.Error(code, evil) }))
		go func() { _ = srv.Serve(lis) }()
		t.Cleanup(srv.Stop)
		for _, args := range [][]string{
			{"lookup", "k", "--addr"}, {"trace", "k", "--addr"}, {"ring", "--addr"},
			{"status", "--admin"}, {"watch", "--admin"}, {"leave", "--admin"},
		} {
			args = append(args, lis.Addr().String(), []string{"--json=false", "--json"}[i%2])
			running.Go(func() {
				out, err := command(t, args...).CombinedOutput()
				harmless(t, args[0], out)
				if err == nil || len(out) == 0 {
					t.Errorf("%q: %v: %q", args, err, out)
				}
			})
		}
	}
}
