package concord_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordtest"
)

// A store that takes the keys of a range over from the member that held it, and serves a key only
// after that.
func ExampleConcord_Serve() {
	network := concordtest.New(nil, concordtest.Options{}).Config("").Network
	stores := map[string]map[string]string{ // by address; stands for a service of the application
		"node1.example.com:7946": {"apple": "red", "lemon": "yellow", "plum": "blue"},
		"node2.example.com:7946": {},
	}

	start := func(name string) (*concord.Concord, *concord.Service) {
		node := concord.New(concord.Config{Name: name, BindAddr: ":7946", AdvAddr: name + ".example.com:7946", Network: network})
		if err := node.Start(); err != nil {
			log.Fatal(err)
		}
		return node, node.Serve(context.Background(), concord.Handler{
			Take: func(_ context.Context, gained concord.Range, from []concord.Server, _ uint64) error {
				for _, s := range from {
					for key, value := range stores[s.Address] {
						if gained.Contains(node.KeyID([]byte(key))) {
							stores[node.Address()][key] = value
						}
					}
				}
				return nil
			},
		})
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	node1, store1 := start("node1")
	if err := node1.Create(); err != nil {
		log.Fatal(err)
	}
	if err := store1.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	node2, store2 := start("node2")
	if err := node2.Join(ctx, node1.Address()); err != nil {
		log.Fatal(err)
	}
	if err := store2.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	for _, key := range []string{"apple", "lemon", "plum"} {
		if _, ok := store2.Serves([]byte(key)); ok {
			fmt.Println("node2 serves", key, stores[node2.Address()][key])
		} else {
			fmt.Println("node1 serves", key, stores[node1.Address()][key])
		}
	}
	for _, node := range []*concord.Concord{node2, node1} {
		node.Stop()
	}
	<-store1.Done()
	<-store2.Done()
	// Output:
	// node1 serves apple red
	// node2 serves lemon yellow
	// node2 serves plum blue
}
