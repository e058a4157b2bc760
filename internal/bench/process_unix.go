//go:build unix

package bench

import (
	"syscall"
	"time"
)

// processorTime is what all threads of the process have used so far, in user
// mode and in the kernel.
func processorTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
