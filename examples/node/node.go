// Node is a member of a ring to try things with. It reads keys from standard
// input, one a line, and prints who is responsible for each:
//
//	go run examples/node/node.go -name node1 -addr :7946
//	go run examples/node/node.go -name node2 -addr :7947 -join localhost:7946
//	go run examples/node/node.go -name node3 -addr :7948 -join localhost:7946
//
// SIGINT (Ctrl-C) and SIGTERM let it leave the ring. The end of the input does
// not, so that it can run without a terminal.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/ollelogdahl/concord"
)

const (
	joinTimeout  = 30 * time.Second
	leaveTimeout = 5 * time.Second
)

func main() {
	name := flag.String("name", "", "`name` of the member, unique in the ring")
	addr := flag.String("addr", ":0", "`host:port` to listen at; without a host the others are told localhost")
	join := flag.String("join", "", "`addresses` of members of a ring, separated by commas; none founds a ring")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	err := run(ctx, *name, *addr, addresses(*join))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

// run is the life of the member: it ends when ctx does.
func run(ctx context.Context, name, addr string, join []string) error {
	if name == "" {
		return errors.New("give the member a name: -name node1")
	}
	node := concord.New(concord.Config{
		Name:         name,
		BindAddr:     addr,
		AdvAddr:      advertised(addr),
		VirtualNodes: 16, // even shares of the keys
	})
	if err := node.Start(); err != nil {
		return err
	}
	defer node.Stop()

	if len(join) == 0 {
		if err := node.Create(); err != nil {
			return err
		}
	} else {
		joining, cancel := context.WithTimeout(ctx, joinTimeout)
		err := node.Join(joining, join...)
		cancel()
		if err != nil {
			return fmt.Errorf("%w\nis a member running at %s?", err, strings.Join(join, " or "))
		}
	}
	fmt.Printf("%s (%d) is in the ring at %s, with %.0f %% of the keys; type keys, one a line\n",
		node.Name(), node.Id(), node.Address(), 100*node.Status().Share)

	// Not waited for: nothing ends a read from a terminal.
	go answer(node, os.Stdin)
	<-ctx.Done()

	leaving, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if err := node.Leave(leaving); err != nil {
		fmt.Fprintln(os.Stderr, "node: left without a word to all neighbours:", err)
	}
	fmt.Println("left the ring")
	return nil
}

// answer looks up the keys that in holds, one a line.
func answer(node *concord.Concord, in io.Reader) {
	keys := bufio.NewScanner(in)
	for keys.Scan() {
		key := strings.TrimSpace(keys.Text())
		if key == "" {
			continue
		}
		server, err := node.Lookup([]byte(key))
		if err != nil {
			fmt.Fprintln(os.Stderr, "node:", err)
			continue
		}
		fmt.Printf("%s -> %s (%d) %s\n", key, server.Name, server.Id, server.Address)
	}
	if err := keys.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "node: reads no more keys:", err)
	}
}

// advertised is the address that the others are told: localhost with the port
// of addr, or, if addr names a definite host, that as it is.
func advertised(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("localhost", port)
	}
	return ""
}

func addresses(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
