package node

import "net/netip"

// hostCallbacks is how many notifications that come from one host the machine looks into
// at once. It looks into 32 in all, and asks the notifier or another member for each.
const hostCallbacks = 8

// callbacks holds the notifications that the machine looks into, by host. One that its
// sender has given up counts until the machine is done with it. The zero callbacks has
// none. Callers hold Node.mu.
type callbacks struct {
	open  map[uint64]string // host by token
	hosts map[string]int
}

// begin takes in a notification, and reports whether its host may have one more. An
// address on loopback, where all members of a test are, and one that is not known have no
// share of their own.
func (c *callbacks) begin(token uint64, from netip.Addr) bool {
	if !from.IsValid() || from.IsLoopback() {
		return true
	}
	host := network(from)
	if c.hosts[host] >= hostCallbacks {
		return false
	}
	if c.open == nil {
		c.open, c.hosts = map[uint64]string{}, map[string]int{}
	}
	c.open[token] = host
	c.hosts[host]++
	return true
}

// end says that the machine has answered.
func (c *callbacks) end(token uint64) {
	host, ok := c.open[token]
	if !ok {
		return
	}
	delete(c.open, token)
	if c.hosts[host]--; c.hosts[host] == 0 {
		delete(c.hosts, host)
	}
}
