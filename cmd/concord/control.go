package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ollelogdahl/concord"
)

// With --control, run reads commands from standard input, one a line, and
// answers each in order with one JSON object a line on standard output, after
// the ready line:
//
//	lookup KEY   the rest of the line is the key     controlAnswer with server
//	status                                           controlAnswer with status
//
// What cannot be answered has error instead. The end of the input lets the
// member leave, so a member does not outlive whoever controls it.

// controlAnswer is the answer to one command.
type controlAnswer struct {
	Server *concord.Server `json:"server,omitempty"`
	Status *concord.Status `json:"status,omitempty"`
	Took   time.Duration   `json:"took_ns"`
	Error  string          `json:"error,omitempty"`
}

// serveControl answers commands until in ends.
func serveControl(node *concord.Concord, in io.Reader, out io.Writer) error {
	answers := json.NewEncoder(out)
	commands := bufio.NewScanner(in)
	for commands.Scan() {
		if err := answers.Encode(control(node, commands.Text())); err != nil {
			return err
		}
	}
	return commands.Err()
}

func control(node *concord.Concord, line string) controlAnswer {
	began := time.Now()
	var a controlAnswer
	switch command, rest, _ := strings.Cut(line, " "); command {
	case "lookup":
		s, err := node.Lookup([]byte(rest))
		if err != nil {
			a.Error = err.Error()
			break
		}
		a.Server = &s
	case "status":
		s := node.Status()
		a.Status = &s
	default:
		a.Error = fmt.Sprintf("unknown command %q", command)
	}
	a.Took = time.Since(began)
	return a
}
