package node

import (
	"os"
	"runtime"
	"testing"
)

// TestMain gives the tests one processor, if nothing else is asked for. In a bubble
// goroutines hand one another their turn, which a second processor makes twice as
// expensive under the race detector. It finds what it finds by the order of events, not
// by what happens at once.
func TestMain(m *testing.M) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	os.Exit(m.Run())
}
