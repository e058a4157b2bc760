package cluster

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
)

// Ports that Address gives out. They are below those that systems pick themselves.
const (
	firstPort = 10000
	lastPort  = 30000
)

var addresses atomic.Int64 // given out so far

// Address is a loopback address to listen at that no member in this or another process
// has had: a member that is killed in one test is asked for by its neighbours for a
// while, and whoever listens at its address by then would be taken into their ring. On
// Linux each process has a host of its own in 127.0.0.0/8. Elsewhere there is but one
// host, and the system picks the port.
func Address() string {
	n := addresses.Add(1) - 1
	pid := os.Getpid()
	if runtime.GOOS != "linux" || pid >= 1<<22 || n > lastPort-firstPort {
		return "127.0.0.1:0"
	}
	return fmt.Sprintf("127.%d.%d.%d:%d", 64+pid>>16, pid>>8&255, pid&255, firstPort+n)
}
