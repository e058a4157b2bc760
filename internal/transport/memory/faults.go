package memory

// ConnectDelay makes a request without a connection wait for n round trips
// first: 2 is like TCP and HTTP/2. Requests that find none at the same time
// each wait for their own.
func (n *Network) ConnectDelay(trips int) { n.set(func() { n.trips = trips }) }

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
