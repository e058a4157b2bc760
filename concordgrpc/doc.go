// Package concordgrpc sends gRPC calls to the members of a ring that own their keys.
//
// A [Router] is the client's side. It is a grpc.ClientConnInterface, so it is what the constructor
// of a generated client takes. It finds the owner of each call's key, calls it, and goes on to
// another member if that one refuses:
//
//	ring, err := concord.Dial(ctx, concord.ClientConfig{}, "node1.example.com:7946")
//	...
//	client := pb.NewCartsClient(&concordgrpc.Router{Ring: ring})
//	ctx = concordgrpc.WithKey(ctx, []byte("alice"))
//	reply, err := client.Get(ctx, &pb.GetRequest{User: "alice"})
//
// A [Guard] is the server's side. Its interceptors let only those calls through whose key the
// member owns, and refuse or forward the others:
//
//	guard := &concordgrpc.Guard{Member: node, Forward: true}
//	server := grpc.NewServer(append(node.ServerOptions(),
//		grpc.ChainUnaryInterceptor(guard.Unary), grpc.ChainStreamInterceptor(guard.Stream))...)
//
// # Who is right
//
// What a lookup says is advice, so both sides are needed: the Router finds the member that is
// probably the owner, and the Guard of that member decides. While a range changes hands, nobody may
// own a key for a moment. A Router then pauses and tries again. Everything is bounded: a call is
// tried [Router].Tries times and is forwarded [Guard].Forwards times. Two members that each take
// the other for the owner cause an error and no loop.
//
// A call is tried again only if no handler has seen it: if a Guard has refused it, or if it could
// not be sent. A call whose connection broke may have been handled. Its error is returned.
//
// # Why it is not a balancer of gRPC
//
// A picker of package balancer chooses among connections by address, may not wait for a lookup, and
// is not asked again when the server refuses. The connections of [concord.Concord.Conn] lead to a
// member of a certain name or fail, which matters when an address is used by another member now.
package concordgrpc
