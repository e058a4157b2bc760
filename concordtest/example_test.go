package concordtest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordtest"
)

// shop is the program under test. Each of its processes sells the articles that its
// member owns.
type shop struct {
	mu   sync.Mutex
	mine concord.Range
}

// rangeChanged is the shop's OnRangeChange.
func (s *shop) rangeChanged(r concord.Range) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mine = r
}

// sells reports whether this shop is the one to sell the article.
func (s *shop) sells(article string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mine.Contains(concord.New(concord.Config{Name: article}).Id())
}

// A program that is told of a range change: when the shop that sells pears dies,
// another one does.
func Example_rangeChange() {
	// In a test: concordtest.New(t, …), inside of synctest.Test.
	ring := concordtest.New(nil, concordtest.Options{
		Config: concord.Config{StabilizeInterval: 50 * time.Millisecond},
	})
	defer ring.Close()

	var shops [4]shop
	members := ring.Start(len(shops), func(i int, c *concord.Config) {
		c.OnRangeChange = shops[i].rangeChanged
	})
	sellers := func() (names []string) {
		for i := range shops {
			if m := members[i]; m.Joined() && shops[i].sells("pears") {
				names = append(names, m.Name())
			}
		}
		return names
	}

	ring.Settle(context.Background())
	fmt.Println("pears are sold by", sellers())

	ring.Kill(ring.Owner([]byte("pears")))
	ring.Settle(context.Background())
	fmt.Println("and now by", sellers())
	// Output:
	// pears are sold by [member-2]
	// and now by [member-3]
}

// ask asks the process that owns the key, at most three times: one that hangs is
// reported and looked up again. It is the program under test; call is how it
// speaks to other processes.
func ask(client *concord.Client, key []byte, call func(concord.Server) error) (string, error) {
	var err error
	for range 3 {
		var s concord.Server
		if s, err = client.Lookup(key); err != nil {
			return "", err
		}
		if err = call(s); err == nil {
			return s.Name, nil
		}
		client.Reject(key, s)
	}
	return "", err
}

// A program that survives an owner that hangs: it is silent, and nobody has found
// out yet.
func Example_hungOwner() {
	ring := concordtest.New(nil, concordtest.Options{
		Config: concord.Config{StabilizeInterval: 50 * time.Millisecond},
	})
	defer ring.Close()
	ring.Start(4, nil)
	ring.Settle(context.Background())
	client := ring.Client()

	owner := ring.Owner([]byte("pears"))
	fmt.Println("asks", owner.Name())
	ring.Hang(owner)
	name, err := ask(client, []byte("pears"), func(s concord.Server) error {
		if s.Name == owner.Name() {
			return errors.New("no answer") // as the program's own connection would say
		}
		return nil
	})
	fmt.Println("served by", name, err)

	ring.Resume(owner)
	ring.Settle(context.Background())
	fmt.Println("asks", ring.Owner([]byte("pears")).Name(), "again")
	// Output:
	// asks member-2
	// served by member-3 <nil>
	// asks member-2 again
}

// A program that makes its member itself takes the configuration from the ring.
func ExampleRing_Adopt() {
	ring := concordtest.New(nil, concordtest.Options{
		Config: concord.Config{StabilizeInterval: 50 * time.Millisecond},
	})
	defer ring.Close()
	ring.Start(2, nil)

	// The program under test, given cfg and the addresses of others.
	program := func(cfg concord.Config, addrs []string) (*concord.Concord, error) {
		cfg.BindAddr, cfg.AdvAddr = "0.0.0.0:7946", "shop1.example.com:7946"
		m := concord.New(cfg)
		if err := m.Start(); err != nil {
			return nil, err
		}
		return m, m.Join(context.Background(), addrs...)
	}
	m, err := program(ring.Config("shop1"), ring.Addresses())
	if err != nil {
		fmt.Println(err)
		return
	}

	ring.Adopt(m)
	ring.Settle(context.Background())
	fmt.Println(len(ring.Members()), "members, one of them at", m.Address())
	// Output:
	// 3 members, one of them at shop1.example.com:7946
}
