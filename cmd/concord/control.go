package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/child"
)

// With --control, run reads commands from standard input, one a line, and
// answers each with one child.Answer as a line of JSON on standard output, after
// the ready line:
//
//	lookup KEY   the rest of the line is the key     Answer with server, age and source
//	status                                           Answer with status
//
// What cannot be answered has error instead. Commands are answered in order. One
// that begins with a number, "7 lookup KEY", is answered as soon as it can be,
// with that number as call, beside others. The end of the input lets the member
// leave, so a member does not outlive whoever controls it.

// maxControl is how many numbered commands are worked on at once; the next is
// read when one of them has been answered.
const maxControl = 64

// serveControl answers commands until in ends.
func serveControl(node *concord.Concord, in io.Reader, out io.Writer) error {
	var writing sync.Mutex
	answers := json.NewEncoder(out)
	answer := func(a child.Answer) error {
		writing.Lock()
		defer writing.Unlock()
		return answers.Encode(a)
	}
	var open sync.WaitGroup
	defer open.Wait()
	room := make(chan struct{}, maxControl)
	commands := bufio.NewScanner(in)
	for commands.Scan() {
		line := commands.Text()
		first, rest, _ := strings.Cut(line, " ")
		call, err := strconv.ParseUint(first, 10, 64)
		if err != nil {
			if err := answer(control(node, line)); err != nil {
				return err
			}
			continue
		}
		room <- struct{}{}
		open.Go(func() {
			a := control(node, rest)
			a.Call = call
			_ = answer(a) // if nobody reads any more, the input ends soon
			<-room
		})
	}
	return commands.Err()
}

func control(node *concord.Concord, line string) child.Answer {
	began := time.Now()
	var a child.Answer
	switch command, rest, _ := strings.Cut(line, " "); command {
	case "lookup":
		t, err := node.Trace(context.Background(), []byte(rest))
		if err != nil {
			a.Error = err.Error()
			break
		}
		a.Server, a.Age, a.Source = &t.Owner, t.Age, t.Source
	case "status":
		s := node.Status()
		a.Status = &s
	default:
		a.Error = fmt.Sprintf("unknown command %q", command)
	}
	a.Took = time.Since(began)
	return a
}
