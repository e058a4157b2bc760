package child

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/ollelogdahl/concord"
)

// Build builds the command concord of this module into a directory, and returns its name.
func Build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "concord")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/ollelogdahl/concord/cmd/concord").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return binary, nil
}

// Ring starts a ring of n members, each with the options given; all but the first join
// through that. If one does not start, the others are killed.
func Ring(ctx context.Context, n int, options func(i int) Options) ([]*Child, error) {
	var ring []*Child
	for i := range n {
		o := options(i)
		if i > 0 {
			o.Join = []string{ring[0].Self.Address}
		}
		c, err := Start(ctx, o)
		if err != nil {
			Kill(ring)
			return nil, err
		}
		ring = append(ring, c)
	}
	return ring, nil
}

// Kill kills members.
func Kill(ring []*Child) {
	for _, c := range ring {
		c.Kill()
	}
}

// BuildRing builds the command and starts a ring of n members of it, each with so many
// VirtualNodes, which end kills.
func BuildRing(ctx context.Context, n, virtualNodes int) (ring []*Child, end func(), err error) {
	dir, err := os.MkdirTemp("", "concord")
	if err != nil {
		return nil, nil, err
	}
	binary, err := Build(ctx, dir)
	if err == nil {
		ring, err = Ring(ctx, n, func(i int) Options {
			return Options{Binary: binary, Name: fmt.Sprintf("p%d", i), VirtualNodes: virtualNodes}
		})
	}
	end = func() {
		Kill(ring)
		os.RemoveAll(dir)
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	return ring, end, nil
}

// Statuses asks all members for their status, in their order.
func Statuses(ctx context.Context, ring []*Child) ([]concord.Status, error) {
	out := make([]concord.Status, 0, len(ring))
	for _, c := range ring {
		s, err := c.Status(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}
