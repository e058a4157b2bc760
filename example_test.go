package concord_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordtest"
)

// Two members form a ring, and each names the same server for a key. The members of
// these examples are in one process, on a Network of package concordtest; a program
// leaves Config.Network out.
func Example() {
	network := concordtest.New(nil, concordtest.Options{}).Config("").Network

	node1 := concord.New(concord.Config{
		Name:     "node1",                  // unique in the ring
		BindAddr: "0.0.0.0:7946",           // where it listens
		AdvAddr:  "node1.example.com:7946", // where the others reach it
		Network:  network,
	})
	if err := node1.Start(); err != nil {
		log.Fatal(err)
	}
	defer node1.Stop()
	if err := node1.Create(); err != nil {
		log.Fatal(err)
	}

	node2 := concord.New(concord.Config{
		Name:     "node2",
		BindAddr: "0.0.0.0:7946",
		AdvAddr:  "node2.example.com:7946",
		Network:  network,
	})
	if err := node2.Start(); err != nil {
		log.Fatal(err)
	}
	defer node2.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := node2.Join(ctx, "node1.example.com:7946"); err != nil {
		log.Fatal(err)
	}

	for _, node := range []*concord.Concord{node1, node2} {
		server, err := node.LookupContext(ctx, []byte("my-key"), concord.Fresh())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: my-key is at %s, %s\n", node.Name(), server.Name, server.Address)
	}
	// Output:
	// node1: my-key is at node1, node1.example.com:7946
	// node2: my-key is at node1, node1.example.com:7946
}

// The first member of a ring creates it. Alone, it owns every key.
func ExampleConcord_Create() {
	network := concordtest.New(nil, concordtest.Options{}).Config("").Network // in a program, none

	node := concord.New(concord.Config{Name: "node1", BindAddr: "node1.example.com:7946", Network: network})
	if err := node.Start(); err != nil { // lists every mistake in the Config
		log.Fatal(err)
	}
	defer node.Stop()
	if err := node.Create(); err != nil {
		log.Fatal(err)
	}

	r := node.Range()
	fmt.Println("owns my-key:", node.Owns([]byte("my-key")))
	fmt.Println("owns everything:", r.Start == r.End)
	// Output:
	// owns my-key: true
	// owns everything: true
}

// A member joins through any address that answers. The error says what was wrong
// with each.
func ExampleConcord_Join() {
	ring := concordtest.New(nil, concordtest.Options{})
	defer ring.Close()
	ring.Start(3, nil) // a ring to be joined

	network := ring.Config("").Network // in a program, none

	node := concord.New(concord.Config{Name: "node1", BindAddr: "node1.example.com:7946", Network: network})
	if err := node.Start(); err != nil {
		log.Fatal(err)
	}
	defer node.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()

	err := node.Join(ctx, "gone.example.com:7946")
	var failed *concord.JoinError
	if errors.As(err, &failed) && errors.Is(err, context.DeadlineExceeded) {
		fmt.Println("no answer from", failed.Attempts[0].Address)
	}
	err = node.Join(context.Background(), "gone.example.com:7946", ring.Addresses()[0])
	fmt.Println("joined:", err == nil && node.Joined())
	// Output:
	// no answer from gone.example.com:7946
	// joined: true
}

// Members that are all started alike agree on who creates the ring, whatever the
// order in which they start.
func ExampleConcord_JoinOrCreate() {
	network := concordtest.New(nil, concordtest.Options{}).Config("").Network // in a program, none
	addrs := []string{"node1.example.com:7946", "node2.example.com:7946", "node3.example.com:7946"}

	nodes := make([]*concord.Concord, len(addrs))
	var started sync.WaitGroup
	for i, addr := range addrs { // each in a process of its own
		started.Go(func() {
			nodes[i] = concord.New(concord.Config{Name: addr, BindAddr: addr, Network: network})
			if err := nodes[i].Start(); err != nil {
				log.Fatal(err)
			}
			if err := nodes[i].JoinOrCreate(context.Background(), addrs...); err != nil {
				log.Fatal(err)
			}
		})
	}
	started.Wait()

	members := 0
	for _, err := range nodes[0].Members(context.Background()) {
		if err == nil {
			members++
		}
	}
	fmt.Println(members, "members in one ring")
	for _, node := range nodes {
		node.Stop()
	}
	// Output:
	// 3 members in one ring
}

// A lookup is answered from memory where the owner itself has answered less than a
// second ago. Options ask for more.
func ExampleConcord_LookupContext() {
	ring := concordtest.New(nil, concordtest.Options{
		Config: concord.Config{StabilizeInterval: 50 * time.Millisecond},
	})
	defer ring.Close()
	node := ring.Start(5, nil)[0]
	ring.Settle(context.Background())

	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, opts := range [][]concord.LookupOption{
		nil,                                     // the default
		{concord.Fresh()},                       // the owner's own word, given now
		{concord.MaxAge(10 * time.Millisecond)}, // its predecessor's will do, if it is that new
	} {
		server, err := node.LookupContext(ctx, []byte("my-key"), opts...)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(server.Name)
	}
	// Output:
	// member-3
	// member-3
	// member-3
}

// What belongs to a key is kept by its owner, with copies at the two members after
// it: when the owner fails, the first of these owns the key.
func ExampleConcord_LookupN() {
	ring := concordtest.New(nil, concordtest.Options{
		Config: concord.Config{StabilizeInterval: 50 * time.Millisecond},
	})
	defer ring.Close()
	node := ring.Start(5, nil)[0]
	ring.Settle(context.Background())

	servers, err := node.LookupN(context.Background(), []byte("pears"), 3)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("owner:", servers[0].Name)
	for _, s := range servers[1:] {
		fmt.Println("copy:", s.Name)
	}

	ring.Kill(ring.Owner([]byte("pears")))
	ring.Settle(context.Background())
	fmt.Println("owner now:", ring.Owner([]byte("pears")).Name())
	// Output:
	// owner: member-2
	// copy: member-3
	// copy: member-1
	// owner now: member-3
}

// A member is told how its range changes, and from whom to fetch what it has
// gained, or to whom to give what it has lost.
func ExampleConcord_Watch() {
	ring := concordtest.New(nil, concordtest.Options{})
	defer ring.Close()
	node := ring.Start(1, nil)[0]

	for e := range node.Watch(context.Background()) {
		fmt.Printf("%s: gained %d, lost %d to %q\n", e.Cause, len(e.Gained), len(e.Lost), e.To.Name)
		if len(e.Lost) > 0 {
			break
		}
		ring.Start(1, nil) // a second member joins
	}
	// Output:
	// created: gained 1, lost 0 to ""
	// predecessor joined: gained 0, lost 1 to "member-1"
}

// A member with VirtualNodes has a range at each of its identifiers. So a range is known by its
// Server and End, and a member is gone when its last range is.
func ExampleConcord_WatchRing() {
	ring := concordtest.New(nil, concordtest.Options{})
	defer ring.Close()
	node := ring.Start(3, func(_ int, c *concord.Config) { c.VirtualNodes = 4 })[0]

	type place struct {
		server concord.Server
		end    uint64
	}
	ranges := map[place]concord.Range{}
	for changes := range node.WatchRing(context.Background()) {
		for _, c := range changes {
			if c.Had {
				delete(ranges, place{c.Server, c.Old.End})
			}
			if c.Has {
				ranges[place{c.Server, c.New.End}] = c.New
			}
		}
		share := map[string]float64{}
		for at, r := range ranges {
			share[at.server.Name] += r.Share(0)
		}
		if len(ranges) == 12 { // all have told it of their ranges
			fmt.Println(len(share), "members have", len(ranges), "ranges")
			break
		}
	}
	// Output: 3 members have 12 ranges
}

// OnRangeChange is called with the newest range whenever it has changed.
func ExampleConfig_onRangeChange() {
	ring := concordtest.New(nil, concordtest.Options{})
	defer ring.Close()

	changed := make(chan concord.Range, 1)
	ring.Start(1, func(_ int, c *concord.Config) {
		c.OnRangeChange = func(r concord.Range) { changed <- r }
	})
	r := <-changed
	fmt.Println("everything:", r.Start == r.End)
	ring.Start(1, nil)
	r = <-changed
	fmt.Println("everything:", r.Start == r.End)
	// Output:
	// everything: true
	// everything: false
}

// A program that only looks keys up is a client: it is no member of the ring.
func ExampleDial() {
	ring := concordtest.New(nil, concordtest.Options{})
	defer ring.Close()
	ring.Start(5, nil)
	ring.Settle(context.Background())

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := concord.Dial(ctx, concord.ClientConfig{Network: ring.Config("").Network}, ring.Addresses()...)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	server, err := client.LookupContext(ctx, []byte("my-key"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(server.Name)
	// Output:
	// member-3
}

// A server that a lookup names may have handed the key on a moment ago. It checks,
// and a client that it turns away looks up again.
func ExampleConcord_Owns() {
	ring := concordtest.New(nil, concordtest.Options{
		Config: concord.Config{StabilizeInterval: 50 * time.Millisecond},
	})
	defer ring.Close()
	ring.Start(5, nil)
	ring.Settle(context.Background())
	client := ring.Client()

	// serve is what the application at a server does with a request.
	serve := func(s concord.Server, key []byte) error {
		for _, node := range ring.Members() {
			if node.Name() == s.Name && node.Owns(key) {
				return nil
			}
		}
		return errors.New("not mine")
	}

	key := []byte("my-key")
	for range 3 {
		server, err := client.Lookup(key)
		if err != nil {
			log.Fatal(err)
		}
		if err := serve(server, key); err != nil {
			client.Reject(key, server)
			continue
		}
		fmt.Println("served by", server.Name)
		break
	}
	// Output:
	// served by member-3
}
