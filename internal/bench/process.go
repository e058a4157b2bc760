package bench

import (
	"runtime"
	"time"
)

// Usage is what the process has used since it started.
type Usage struct {
	At        time.Time
	Allocs    uint64        // objects on the heap
	Processor time.Duration // of all cores; 0 where it is not known
}

// Used reads it. The world stops for that, some ten microseconds.
func Used() Usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Usage{At: time.Now(), Allocs: m.Mallocs, Processor: processorTime()}
}

// Rate is usage in a second.
type Rate struct {
	Allocs    float64
	Processor float64 // nanoseconds
}

// Since is the rate from an earlier usage to this one.
func (u Usage) Since(before Usage) Rate {
	secs := u.At.Sub(before.At).Seconds()
	if secs <= 0 {
		return Rate{}
	}
	return Rate{
		Allocs:    float64(u.Allocs-before.Allocs) / secs,
		Processor: float64(u.Processor-before.Processor) / secs,
	}
}

// Memory is what the process holds.
type Memory struct {
	Heap   uint64 // bytes of objects on the heap that are reachable
	Spans  uint64 // bytes of the spans that these are in; what is free there, others can use
	Stacks uint64 // bytes of the spans of goroutines' stacks
}

// Held collects garbage and reads it.
func Held() Memory {
	runtime.GC() // the second collects what finalizers of the first let go
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Memory{Heap: m.HeapAlloc, Spans: m.HeapInuse, Stacks: m.StackInuse}
}

// each is the share of each of n in what m is more than before.
func (m Memory) each(before Memory, n int) Memory {
	share := func(m, before uint64) uint64 {
		if n <= 0 || m < before {
			return 0
		}
		return (m - before) / uint64(n)
	}
	return Memory{
		Heap:   share(m.Heap, before.Heap),
		Spans:  share(m.Spans, before.Spans),
		Stacks: share(m.Stacks, before.Stacks),
	}
}
