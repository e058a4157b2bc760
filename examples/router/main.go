// Router is a rate limiter in several processes. Each user's requests are counted by the process
// that owns the user's name, whichever process is asked.
//
//	go run ./examples/router -name node1 -addr localhost:7946
//	go run ./examples/router -name node2 -addr localhost:7947 -join localhost:7946
//	go run ./examples/router -ask localhost:7946,localhost:7947 alice bob alice
//
// The third is a client. It finds the owner of each user and calls it. Clients that know nothing of
// the ring may call any process: with -forward it forwards the call, and otherwise it refuses with
// the name of the owner.
package main

//go:generate sh ../generate.sh

import (
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

	"google.golang.org/grpc"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordgrpc"
	"github.com/ollelogdahl/concord/examples/router/limiterpb"
)

const (
	askTimeout   = 10 * time.Second
	leaveTimeout = 10 * time.Second
)

// options are the flags.
type options struct {
	name, addr, join, zone, ask string
	forward                     bool
	virtualNodes                uint
	interval                    time.Duration
	burst, rate                 float64
}

func main() {
	var o options
	flag.StringVar(&o.name, "name", "", "`name` of this member, unique in the ring")
	flag.StringVar(&o.addr, "addr", "localhost:7946", "`address` to listen on, where others reach it")
	flag.StringVar(&o.join, "join", "", "`addresses` of members, separated by commas; empty: create a ring")
	flag.UintVar(&o.virtualNodes, "virtual-nodes", 16, "at `how many` identifiers the member stands: with 16, shares are even")
	flag.StringVar(&o.zone, "zone", "", "`zone` of this member: what fails together")
	flag.StringVar(&o.ask, "ask", "", "`addresses` of members: be a client, and ask for the users that are the arguments")
	flag.BoolVar(&o.forward, "forward", false, "forward calls for users of others, do not refuse them")
	flag.DurationVar(&o.interval, "interval", time.Second, "the member's StabilizeInterval")
	flag.Float64Var(&o.burst, "burst", 5, "requests that a user may make at once")
	flag.Float64Var(&o.rate, "rate", 1, "requests a second that a user may make in the long run")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	run := serve
	if o.ask != "" {
		run = ask
	}
	err := run(ctx, os.Stdout, o, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "router:", err)
		os.Exit(1)
	}
}

// serve runs a member until ctx ends.
func serve(ctx context.Context, out io.Writer, o options, _ []string) error {
	if o.name == "" {
		return errors.New("-name is required")
	}
	lis, err := net.Listen("tcp", o.addr)
	if err != nil {
		return err
	}
	node := concord.New(concord.Config{
		Name: o.name, AdvAddr: lis.Addr().String(), VirtualNodes: o.virtualNodes, Zone: o.zone, StabilizeInterval: o.interval,
	})
	server := newServer(node, newLimiter(o.name, o.burst, o.rate), o.forward, node.ServerOptions()...)
	if err := node.Register(server); err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
	defer server.Stop()
	if err := node.Start(); err != nil {
		return err
	}
	defer node.Stop()
	if o.join == "" {
		err = node.Create()
	} else {
		err = node.Join(ctx, strings.Split(o.join, ",")...)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s serves at %s\n", node.Name(), node.Address())

	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	// First the member leaves, so that new calls go to the next owner, and then the server ends
	// when it has answered those that it has.
	leaving, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	err = node.Leave(leaving)
	server.GracefulStop()
	return err
}

// newServer makes a server of the limiter, which handles the calls for users that node owns. The
// name of the user is in the request: what the caller says in a header does not count.
func newServer(node concordgrpc.Member, l *limiter, forward bool, opts ...grpc.ServerOption) *grpc.Server {
	guard := &concordgrpc.Guard{Member: node, Key: userOf, Forward: forward}
	server := grpc.NewServer(append(opts, grpc.ChainUnaryInterceptor(guard.Unary))...)
	limiterpb.RegisterLimiterServer(server, l)
	return server
}

// userOf is the key of a call, for both sides.
func userOf(_ context.Context, _ string, request any) ([]byte, bool) {
	r, ok := request.(*limiterpb.AllowRequest)
	return []byte(r.GetUser()), ok
}

// ask asks the owner of each user whether a request is allowed.
func ask(ctx context.Context, out io.Writer, o options, users []string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	ring, err := concord.Dial(ctx, concord.ClientConfig{}, strings.Split(o.ask, ",")...)
	if err != nil {
		return err
	}
	defer ring.Close()
	client := limiterpb.NewLimiterClient(&concordgrpc.Router{Ring: ring, Key: userOf})
	for _, user := range users {
		reply, err := client.Allow(ctx, &limiterpb.AllowRequest{User: user})
		if err != nil {
			return err
		}
		verdict := "no"
		if reply.GetAllowed() {
			verdict = "yes"
		}
		fmt.Fprintf(out, "%s: %s, %d left, says %s\n", user, verdict, reply.GetLeft(), reply.GetMember())
	}
	return nil
}
