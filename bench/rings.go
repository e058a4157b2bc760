package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/golang/groupcache/consistenthash"
	"github.com/serialx/hashring"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/bench"
)

// replicas is how often groupcache puts a member on its circle by default
// (HTTPPoolOptions.Replicas).
const replicas = 50

// lookupPlan says how lookups are timed.
type lookupPlan struct {
	Callers []int
	Rounds  int
	Window  time.Duration
}

// measure times lookups in a ring of n and in the local rings of others, with the
// same members, the same keys, in turns.
//
// The local rings are asked as they are: what an application needs around them,
// to keep them by the gossip while others read them, is not timed, which is in
// their favour. They are asked by string, and their keys are made strings before.
func (p lookupPlan) measure(ctx context.Context, n int) ([]bench.Timing, error) {
	c, _, err := bench.Build(ctx, n, concord.DefaultStabilizeInterval)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	l, err := bench.NewLookups(ctx, c)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	var names []string
	for _, m := range c.Members() {
		names = append(names, m.Name())
	}
	race := bench.Race{Cases: slices.Concat(l.Cases(), l.More(), localRings(names, l.Others)), Callers: p.Callers, Rounds: p.Rounds, Window: p.Window}
	timings, err := race.Run(ctx)
	for i := range timings {
		timings[i].Members = n
	}
	return timings, err
}

// localRings are the cases of the local rings of others.
func localRings(names []string, keys [][]byte) []bench.Case {
	text := make([]string, len(keys))
	for i, k := range keys {
		text[i] = string(k)
	}
	serialx := hashring.New(names)
	groupcache := func(name string, replicas int, hash consistenthash.Hash) bench.Case {
		m := consistenthash.New(replicas, hash)
		m.Add(names...)
		return bench.Case{Name: name, Batch: bench.Batch, Loop: func(_ context.Context, from, n int) error {
			for i := from; i < from+n; i++ {
				if m.Get(text[i%len(text)]) == "" {
					return errNoOwner
				}
			}
			return nil
		}}
	}
	return []bench.Case{
		{Name: "serialx-hashring", Batch: bench.Batch, Loop: func(_ context.Context, from, n int) error {
			for i := from; i < from+n; i++ {
				if _, ok := serialx.GetNode(text[i%len(text)]); !ok {
					return errNoOwner
				}
			}
			return nil
		}},
		groupcache("groupcache-crc32", replicas, nil),
		groupcache("groupcache-sha256", replicas, sum),
		groupcache("groupcache-sha256-1", 1, sum),
	}
}

var errNoOwner = errors.New("a key has no owner")

// sum is the hash that concord uses, as much of it as groupcache takes.
func sum(data []byte) uint32 {
	s := sha256.Sum256(data)
	return binary.BigEndian.Uint32(s[:4])
}
