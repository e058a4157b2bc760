package memory

import (
	"context"
	"time"
)

// Delay makes every packet take between min and max, evenly drawn, where
// DelayBetween says nothing else. A max below min counts as min.
func (n *Network) Delay(min, max time.Duration) { n.set(func() { n.delay = span{min, max} }) }

// DelayBetween is Delay for packets that from sends to to; the way back keeps
// its own.
func (n *Network) DelayBetween(from, to string, min, max time.Duration) {
	n.set(func() { n.delays[pair{from, to}] = span{min, max} })
}

// Lose makes each packet vanish with probability p. A request or a reply is one
// packet, and so is either half of a round trip of ConnectDelay.
func (n *Network) Lose(p float64) { n.set(func() { n.loss = p }) }

// ConnectDelay makes a request without a connection wait for n round trips
// first: 2 is like TCP and HTTP/2. Requests that find none at the same time
// each wait for their own.
func (n *Network) ConnectDelay(trips int) { n.set(func() { n.trips = trips }) }

// Cut makes every packet from from to to vanish, those on their way included.
// The way back stays.
func (n *Network) Cut(from, to string) { n.set(func() { n.cuts[pair{from, to}] = true }) }

// Heal undoes Cut for one direction, whoever cut it.
func (n *Network) Heal(from, to string) { n.set(func() { delete(n.cuts, pair{from, to}) }) }

// HealAll undoes every Cut and Partition, and nothing else.
func (n *Network) HealAll() { n.set(func() { clear(n.cuts) }) }

// Partition cuts both directions between any two addresses of different groups.
// It adds to the cuts that there are; an address in no group is not affected.
func (n *Network) Partition(groups ...[]string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, group := range groups {
		for j, other := range groups {
			if i == j {
				continue
			}
			for _, from := range group {
				for _, to := range other {
					n.cuts[pair{from, to}] = true
				}
			}
		}
	}
}

// Pause does to the process at addr what SIGSTOP does, as far as the network
// shows it: what is sent to it waits, handled by nobody, and it sends nothing,
// until Resume. A request that waited is then handled even if its asker has
// given up, with a context that has ended. A handler at work goes on, and its
// reply waits.
//
// The pause is the address's: a transport that listens there later finds it.
func (n *Network) Pause(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.paused[addr] == nil {
		n.paused[addr] = make(chan struct{})
	}
}

// Resume undoes Pause.
func (n *Network) Resume(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if wake := n.paused[addr]; wake != nil {
		close(wake)
		delete(n.paused, addr)
	}
}

// Refuse makes addr look as if nobody listened there: connections to it break,
// and requests are refused, until Accept. What listens there can still ask.
func (n *Network) Refuse(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refusing[addr] = true
	if t := n.listeners[addr]; t != nil {
		n.reset(t)
	}
}

// Accept undoes Refuse.
func (n *Network) Accept(addr string) { n.set(func() { delete(n.refusing, addr) }) }

// set changes a fault.
func (n *Network) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// travel takes one packet from from to to and reports whether it arrived before
// ctx ended. What a kernel would send again is not lost: lossy is false for it.
func (n *Network) travel(ctx context.Context, from, to string, lossy bool) bool {
	p := pair{from, to}
	n.mu.Lock()
	gone := n.cuts[p]
	if lossy && n.loss > 0 && n.rng.Float64() < n.loss {
		gone = true
	}
	between, ok := n.delays[p]
	if !ok {
		between = n.delay
	}
	wait := between.min
	if extra := between.max - between.min; extra > 0 {
		wait += time.Duration(n.rng.Int64N(int64(extra) + 1))
	}
	n.mu.Unlock()
	if gone {
		return false
	}
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	return !n.severed(from, to)
}

// severed reports whether packets from from to to vanish.
func (n *Network) severed(from, to string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cuts[pair{from, to}]
}

// awake waits until addr is not paused and reports whether that came before ctx
// ended.
func (n *Network) awake(ctx context.Context, addr string) bool {
	for {
		n.mu.Lock()
		wake := n.paused[addr]
		n.mu.Unlock()
		if wake == nil {
			return true
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return false
		}
	}
}
