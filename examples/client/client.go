// Client asks a ring, without being a member of it, who is responsible for keys:
// those of its arguments, or else those of standard input, one a line.
//
//	go run examples/client/client.go -ring localhost:7946 apple pear
//	go run examples/client/client.go -ring localhost:7946 -copies 3 apple
//	ls | go run examples/client/client.go -ring localhost:7946,localhost:7947
//
// examples/node is a member to try it with.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/ollelogdahl/concord"
)

const (
	dialTimeout   = 10 * time.Second
	lookupTimeout = 10 * time.Second
)

func main() {
	addrs := flag.String("ring", "localhost:7946", "`addresses` of members, separated by commas; one that answers suffices")
	copies := flag.Int("copies", 1, "`how many` servers to name for each key: its own and those after it")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Stdin, strings.Split(*addrs, ","), *copies, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

// run prints the servers of the keys, or of those that in holds if there are none.
func run(ctx context.Context, out io.Writer, in io.Reader, addrs []string, copies int, keys []string) error {
	if copies < 1 {
		return errors.New("-copies is at least 1")
	}
	if len(keys) == 0 {
		for lines := bufio.NewScanner(in); lines.Scan(); {
			keys = append(keys, lines.Text())
		}
	}
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	client, err := concord.Dial(dialing, concord.ClientConfig{}, addrs...)
	if err != nil {
		return err
	}
	defer client.Close()

	looking, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	if copies > 1 {
		for _, key := range keys {
			servers, err := client.LookupN(looking, []byte(key), copies)
			if err != nil {
				return err
			}
			show(out, key, servers...)
		}
		return nil
	}
	// All at once: one request for each server, however many the keys are.
	all := make([][]byte, len(keys))
	for i, key := range keys {
		all[i] = []byte(key)
	}
	servers, err := client.LookupAll(looking, all)
	if err != nil {
		return err
	}
	for i, key := range keys {
		show(out, key, servers[i])
	}
	return nil
}

func show(out io.Writer, key string, servers ...concord.Server) {
	for _, s := range servers {
		fmt.Fprintf(out, "%s -> %s (%d) %s\n", key, s.Name, s.Id, s.Address)
	}
}
