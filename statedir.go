package concord

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/internal/bootstrap"
	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/ring"
)

// keeper keeps what a member knows of its ring in Config.StateDir, for one incarnation. A
// nil keeper keeps nothing.
type keeper struct {
	state *bootstrap.State

	mu     sync.Mutex
	memory bootstrap.Memory
}

// openKeeper opens the directory, if one is configured, and reads what is
// remembered. What keeps that from being used is returned as notes.
func openKeeper(cfg *Config) (k *keeper, notes []error, err error) {
	if cfg.StateDir == "" {
		return nil, nil, nil
	}
	state, err := bootstrap.Open(cfg.StateDir, bootstrap.Identity{Name: cfg.Name, Cluster: cfg.Cluster})
	if errors.Is(err, bootstrap.ErrInUse) {
		return nil, nil, &ConfigError{Field: "StateDir", Err: err}
	}
	if err != nil {
		notes = append(notes, err)
	}
	k = &keeper{state: state}
	now := time.Now()
	if k.memory, err = state.Load(now); err != nil {
		notes = append(notes, err)
	}
	// A clock that went back since makes no incarnation impossible.
	if now = k.latest(now); !node.Plausible(k.memory.Incarnation, now) {
		n := k.memory.Incarnation
		k.memory.Incarnation = 0 // the members remembered are of use all the same
		notes = append(notes, fmt.Errorf("incarnation %d is more than a day ahead of the clock, %s; only the remembered members are used", n, now.UTC().Format(time.RFC3339)))
	}
	return k, notes, nil
}

// latest is the latest that the clock has shown in this and earlier incarnations. Callers
// hold mu, or are alone.
func (k *keeper) latest(now time.Time) time.Time {
	if k.memory.Saved.After(now) {
		return k.memory.Saved
	}
	return now
}

// incarnation is the highest earlier one, 0 if none is known.
func (k *keeper) incarnation() uint64 {
	if k == nil {
		return 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.memory.Incarnation
}

// origin is that of the ring that it was in, nil if none is known.
func (k *keeper) origin() *ring.Origin {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.memory.Origin
}

// variants are those of where it stood, nil if none are known.
func (k *keeper) variants() []uint8 {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.memory.Variants
}

// remember is what takes note of the members known, nil if nothing does.
func (k *keeper) remember() func(incarnation uint64, origin *ring.Origin, members []ring.Member, variants []uint8) error {
	if k == nil {
		return nil
	}
	return func(incarnation uint64, origin *ring.Origin, members []ring.Member, variants []uint8) error {
		var now []bootstrap.Recalled
		for _, m := range members {
			now = append(now, bootstrap.Recalled{Name: m.Name, Address: m.Addr})
		}
		k.mu.Lock()
		k.memory.Incarnation = max(incarnation, k.memory.Incarnation)
		k.memory.Members = bootstrap.Merge(now, k.memory.Members)
		if len(members) > 0 { // it is in a ring
			k.memory.Origin = origin
		}
		if len(variants) > 0 {
			k.memory.Variants = variants
		}
		k.memory.Saved = k.latest(time.Now())
		memory := k.memory
		k.mu.Unlock()
		return k.state.Save(memory, memory.Saved)
	}
}

// end lets others use the directory.
func (k *keeper) end() {
	if k != nil {
		_ = k.state.Close() // the lock ends with the file, whatever Close says
	}
}

// recalled are the addresses of the members remembered, the member's own among
// them if it was in the ring.
func (c *Concord) recalled() []string {
	c.mu.Lock()
	k, own := c.kept, c.addr
	c.mu.Unlock()
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []string
	for _, m := range k.memory.Members {
		if m.Name == c.cfg.Name {
			out = append(out, own) // it may have moved
		} else if m.Address != own {
			out = append(out, m.Address)
		}
	}
	return out
}
