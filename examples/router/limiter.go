package main

import (
	"context"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/examples/router/limiterpb"
)

// limiter counts the requests of the users whose names its member owns. What it knows of a user is
// lost when the user's name gets another owner: that one begins with a full bucket, which a limiter
// can afford. A program that can not takes its data along; see examples/kv.
type limiter struct {
	limiterpb.UnimplementedLimiterServer

	member string
	burst  float64 // requests allowed at once
	rate   float64 // and a second

	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

// maxBuckets bounds the users that are remembered.
const maxBuckets = 1 << 16

func newLimiter(member string, burst, rate float64) *limiter {
	return &limiter{member: member, burst: burst, rate: rate, buckets: make(map[string]bucket)}
}

// Allow implements limiterpb.LimiterServer.
func (l *limiter) Allow(_ context.Context, in *limiterpb.AllowRequest) (*limiterpb.AllowReply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b, ok := l.buckets[in.GetUser()]
	if !ok {
		b = bucket{left: l.burst, at: now}
		l.makeRoom(now)
	}
	b.left = min(l.burst, b.left+l.rate*now.Sub(b.at).Seconds())
	b.at = now
	allowed := b.left >= 1
	if allowed {
		b.left--
	}
	l.buckets[in.GetUser()] = b
	return &limiterpb.AllowReply{Allowed: allowed, Left: uint32(b.left), Member: l.member}, nil
}

// makeRoom forgets users whose buckets are full again, or all if there are none.
func (l *limiter) makeRoom(now time.Time) {
	if len(l.buckets) < maxBuckets {
		return
	}
	for user, b := range l.buckets {
		if b.left+l.rate*now.Sub(b.at).Seconds() >= l.burst {
			delete(l.buckets, user)
		}
	}
	if len(l.buckets) >= maxBuckets {
		clear(l.buckets)
	}
}
