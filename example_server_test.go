package concord_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/ollelogdahl/concord"
)

// Each program has one port, on which its gRPC server serves both its own service and its
// member. The service of the health of gRPC stands for the program's own here. A program
// asks the one that is responsible for a key on the connection that Conn gives.
func ExampleConcord_Register() {
	run := func(name string) (*concord.Concord, *grpc.Server) {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		node := concord.New(concord.Config{Name: name, AdvAddr: lis.Addr().String()})
		server := grpc.NewServer(node.ServerOptions()...)
		grpc_health_v1.RegisterHealthServer(server, health.NewServer())
		if err := node.Register(server); err != nil {
			log.Fatal(err)
		}
		go server.Serve(lis)
		if err := node.Start(); err != nil {
			log.Fatal(err)
		}
		return node, server
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	node1, server1 := run("node1")
	if err := node1.Create(); err != nil {
		log.Fatal(err)
	}
	node2, server2 := run("node2")
	if err := node2.Join(ctx, node1.Address()); err != nil {
		log.Fatal(err)
	}

	owner, err := node2.LookupContext(ctx, []byte("my-key"), concord.Fresh())
	if err != nil {
		log.Fatal(err)
	}
	conn, err := node2.Conn(owner)
	if err != nil {
		log.Fatal(err)
	}
	reply, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("node2 asks %s, which owns my-key: %s\n", owner.Name, reply.Status)

	// The member leaves first, and then the server stops.
	if err := node2.Leave(ctx); err != nil {
		log.Fatal(err)
	}
	server2.GracefulStop()
	node1.Stop()
	server1.GracefulStop()
	// Output:
	// node2 asks node1, which owns my-key: SERVING
}
