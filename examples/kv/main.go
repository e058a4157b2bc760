// Kv is a replicated store of keys and values, in several processes.
//
//	go run . -name node1 -addr localhost:7946 -http localhost:8080 -copies 1
//	curl -X PUT -d red localhost:8080/kv/apple
//	curl localhost:8080/kv/apple
//
// With three copies, which is the default, three members and more are needed:
//
//	go run . -name node1 -addr localhost:7946 -http localhost:8080 -zone a
//	go run . -name node2 -addr localhost:7947 -http localhost:8081 -zone b -join localhost:7946
//	go run . -name node3 -addr localhost:7948 -http localhost:8082 -zone c -join localhost:7946
//
// Every process answers for every key, by calling its owner. README.md says what the store promises.
package main

//go:generate sh ../generate.sh

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordgrpc"
	"github.com/ollelogdahl/concord/examples/kv/kvpb"
)

const leaveTimeout = 10 * time.Second

// options are the flags.
type options struct {
	name, addr, http, join, dir, zone string
	copies                            int
	virtualNodes, members             uint
	interval, lease                   time.Duration
	verbose                           bool
}

func main() {
	var o options
	flag.StringVar(&o.name, "name", "", "`name` of this member, unique in the ring")
	flag.StringVar(&o.addr, "addr", "localhost:7946", "`address` to listen on, where others reach it")
	flag.StringVar(&o.http, "http", "", "`address` of the HTTP server; empty: none")
	flag.StringVar(&o.join, "join", "", "`addresses` of members, separated by commas; empty: create a ring")
	flag.StringVar(&o.dir, "dir", ".", "`directory` of the file with the data, which is made")
	flag.StringVar(&o.zone, "zone", "", "`zone` of this member: what fails together")
	flag.UintVar(&o.virtualNodes, "virtual-nodes", 16, "at `how many` identifiers the member stands: with 16, shares are even")
	flag.IntVar(&o.copies, "copies", 3, "`how many` members keep each key")
	flag.UintVar(&o.members, "members", 0, "`how many` members must be there, more than half of all; 0: any number")
	flag.DurationVar(&o.interval, "interval", 250*time.Millisecond, "the member's StabilizeInterval")
	flag.DurationVar(&o.lease, "lease", 2*time.Second, "the members' Lease, at least 8 intervals")
	flag.BoolVar(&o.verbose, "v", false, "log what the member does")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kv:", err)
		os.Exit(1)
	}
}

// run runs a member until ctx ends.
func run(ctx context.Context, out io.Writer, o options) error {
	if o.name == "" || o.copies < 1 {
		return errors.New("-name is required, and -copies is at least 1")
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	lis, err := net.Listen("tcp", o.addr)
	if err != nil {
		return err
	}
	cfg := concord.Config{
		Name: o.name, AdvAddr: lis.Addr().String(), VirtualNodes: o.virtualNodes, Zone: o.zone,
		SuccessorCount: 4, StabilizeInterval: o.interval, Lease: o.lease, MinMembers: o.members,
	}
	if o.verbose {
		cfg.LogHandler = slog.NewTextHandler(os.Stderr, nil)
	}
	m := concord.New(cfg)
	d, err := openDisk(o.dir, m.KeyID)
	if err != nil {
		return err
	}
	defer d.db.Close()
	n := newNode(m, d, o.copies)
	server := newServer(n, m.ServerOptions()...)
	if err := m.Register(server); err != nil {
		return err
	}
	served := make(chan error, 2)
	go func() { served <- server.Serve(lis) }()
	defer server.Stop()
	if err := m.Start(); err != nil {
		return err
	}
	defer m.Stop()
	if o.http != "" {
		front := &http.Server{Addr: o.http, Handler: newFront(m), ReadHeaderTimeout: opTimeout}
		go func() { served <- front.ListenAndServe() }()
		defer front.Close()
	}
	running, end := context.WithCancel(context.Background())
	defer end()
	var wg sync.WaitGroup
	wg.Go(func() { n.run(running) })
	defer wg.Wait()
	defer end()
	if o.join == "" {
		err = m.Create()
	} else {
		err = m.Join(ctx, strings.Split(o.join, ",")...)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s serves at %s\n", m.Name(), m.Address())
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	leaving, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	err = m.Leave(leaving)
	server.GracefulStop()
	return err
}

// newServer makes the gRPC server of n. Calls of clients reach the owner of their key.
func newServer(n *node, opts ...grpc.ServerOption) *grpc.Server {
	guard := &concordgrpc.Guard{Member: n.member, Serves: n.serves, Key: keyOf, Forward: true}
	server := grpc.NewServer(append(opts, grpc.ChainUnaryInterceptor(guard.Unary))...)
	kvpb.RegisterKVServer(server, n)
	kvpb.RegisterReplicaServer(server, n)
	return server
}

// keyOf is the key of a call of a client.
func keyOf(_ context.Context, _ string, request any) ([]byte, bool) {
	r, ok := request.(interface{ GetKey() []byte })
	if !ok {
		return nil, false
	}
	return r.GetKey(), true
}

// newClient is a client of the store.
func newClient(ring concordgrpc.Ring) kvpb.KVClient {
	return kvpb.NewKVClient(&concordgrpc.Router{
		Ring: ring, Key: keyOf, Repeat: func(method string) bool { return method == kvpb.KV_Get_FullMethodName },
	})
}
