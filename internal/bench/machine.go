package bench

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"

	"google.golang.org/grpc"
)

// Machine is what figures were measured on.
type Machine struct {
	Name string `json:"name"` // machine
	Go   string `json:"go"`
	GRPC string `json:"grpc"`
	OS   string `json:"os"`
	Arch string `json:"arch"`
	CPU  string `json:"cpu,omitempty"` // as the system calls it
	CPUs int    `json:"cpus"`          // that this process may use at once
	// Load is how many threads wanted a CPU in the minute before, where that is
	// known: of a figure taken on a busy machine only the ratios mean something.
	Load *float64 `json:"load,omitempty"`
}

// ThisMachine describes it.
func ThisMachine() Machine {
	m := Machine{
		Name: "machine", Go: runtime.Version(), GRPC: grpc.Version, OS: runtime.GOOS, Arch: runtime.GOARCH,
		CPU: processor(), CPUs: runtime.GOMAXPROCS(0),
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		var load float64
		if _, err := fmt.Sscan(string(b), &load); err == nil {
			m.Load = &load
		}
	}
	return m
}

// processor is the model of the first CPU, empty where it is not known.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
