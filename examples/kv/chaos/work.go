//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/ollelogdahl/concord/concordgrpc"
	"github.com/ollelogdahl/concord/examples/internal/herd"
	"github.com/ollelogdahl/concord/examples/kv/kvpb"
)

const (
	callTimeout  = 4 * time.Second
	between      = 20 * time.Millisecond // of the calls of a client
	checkers     = 8
	judgeTimeout = 20 * time.Second // of the history of a key
)

// call is one that a client has made.
type call struct {
	client     int
	key        string
	write      bool
	value      string // written or read; "" if there is none
	begin, end int64  // nanoseconds; end is the greatest if it is not known whether a write happened
}

func (c call) unknown() bool { return c.end == math.MaxInt64 }

// work are the clients of the store, and what they have seen.
type work struct {
	client kvpb.KVClient
	plan   plan
	began  time.Time

	mu     sync.Mutex
	calls  []call
	cold   map[string][]string // the values that a cold key may have: the last that was acknowledged first
	made   int
	result result
}

func newWork(client kvpb.KVClient, p plan) *work {
	return &work{client: client, plan: p, began: time.Now(), cold: make(map[string][]string), result: result{ByFault: make(map[string]int)}}
}

func (w *work) now() int64 { return int64(time.Since(w.began)) }

// put writes a value, or deletes the key if it is empty. Happened is false if it is not known
// whether it did; never is true if it did not.
func (w *work) put(ctx context.Context, key, value string) (happened, never bool) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var err error
	if value == "" {
		_, err = w.client.Delete(ctx, &kvpb.DeleteRequest{Key: []byte(key)})
	} else {
		_, err = w.client.Put(ctx, &kvpb.PutRequest{Key: []byte(key), Value: []byte(value)})
	}
	_, unhandled := errors.AsType[*concordgrpc.RouteError](err)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		w.result.Writes++
	case !unhandled:
		w.result.WritesUnknown++
	}
	return err == nil, unhandled
}

func (w *work) get(ctx context.Context, key string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reply, err := w.client.Get(ctx, &kvpb.GetRequest{Key: []byte(key)})
	return string(reply.GetValue()), err
}

// fresh is a value that no other write has.
func (w *work) fresh() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made++
	return fmt.Sprintf("value %d", w.made)
}

// fill writes the cold keys, once the store serves.
func (w *work) fill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	w.each(ctx, func(key string) {
		for ctx.Err() == nil && !w.renew(ctx, key) {
			_ = herd.Sleep(ctx, between)
		}
	})
	return ctx.Err()
}

// each calls f for the cold keys, for some at once.
func (w *work) each(ctx context.Context, f func(key string)) {
	keys := make(chan string)
	var wg sync.WaitGroup
	for range checkers {
		wg.Go(func() {
			for key := range keys {
				f(key)
			}
		})
	}
	for i := range w.plan.cold {
		select {
		case keys <- fmt.Sprint("cold", i):
		case <-ctx.Done():
		}
	}
	close(keys)
	wg.Wait()
}

// renew gives a cold key a new value, and reports whether that was acknowledged.
func (w *work) renew(ctx context.Context, key string) bool {
	value := w.fresh()
	happened, never := w.put(ctx, key, value)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case happened:
		w.cold[key] = []string{value}
	case !never:
		w.cold[key] = append(w.cold[key], value)
	}
	return happened
}

// check waits until a fault is so long ago that all keys are to be readable, reads them, and writes
// a tenth of them.
func (w *work) check(ctx context.Context) error {
	if err := herd.Sleep(ctx, w.plan.settle); err != nil {
		return err
	}
	w.each(ctx, func(key string) {
		value, err := w.get(ctx, key)
		w.mu.Lock()
		w.result.Checked++
		switch possible := w.cold[key]; {
		case err != nil:
			w.result.Unreadable++
			log.Printf("%s is unreadable: %v", key, err)
		case !slices.Contains(possible, value):
			w.result.Lost++
			log.Printf("%s is %q, and has to be one of %q", key, value, possible)
		}
		w.mu.Unlock()
	})
	w.each(ctx, func(key string) {
		if rand.IntN(10) == 0 {
			w.renew(ctx, key)
		}
	})
	return ctx.Err()
}

// start starts the clients of the hot keys. The channel is closed when they have ended with ctx.
func (w *work) start(ctx context.Context) <-chan struct{} {
	var wg sync.WaitGroup
	for i := range w.plan.clients {
		wg.Go(func() {
			for herd.Sleep(ctx, between) == nil {
				w.one(ctx, i)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	return done
}

// one makes a call of a client.
func (w *work) one(ctx context.Context, client int) {
	c := call{client: client, key: fmt.Sprint("hot", rand.IntN(w.plan.hot)), write: rand.IntN(2) == 0, begin: w.now()}
	if c.write {
		if rand.IntN(10) > 0 {
			c.value = w.fresh()
		}
		happened, never := w.put(ctx, c.key, c.value)
		c.end = w.now()
		if never {
			return
		}
		if !happened {
			c.end = math.MaxInt64
		}
	} else {
		value, err := w.get(ctx, c.key)
		c.value, c.end = value, w.now()
		w.mu.Lock()
		w.result.Reads++
		if err != nil {
			w.result.ReadsFailed++
		}
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
	w.mu.Lock()
	w.calls = append(w.calls, c)
	w.mu.Unlock()
}

// register is a key, as porcupine sees it.
var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		if c := input.(call); c.write {
			return true, c.value
		}
		return output.(string) == state.(string), state
	},
	Equal: func(a, b any) bool { return a.(string) == b.(string) },
}

// judge judges the histories of the hot keys.
func (w *work) judge() {
	byKey := make(map[string][]call)
	for _, c := range w.calls {
		byKey[c.key] = append(byKey[c.key], c)
	}
	for key, calls := range byKey {
		w.result.Stale += staleReads(calls)
		switch porcupine.CheckOperationsTimeout(register, history(calls), judgeTimeout) {
		case porcupine.Illegal:
			w.result.NotLinearizable++
			log.Printf("the history of %s is not linearizable", key)
		case porcupine.Unknown:
			w.result.Undecided++
		}
	}
}

// history are the calls for one key. A write of which nobody knows whether it happened, and whose
// value nobody has read, can have happened after all others: it is left out.
func history(calls []call) []porcupine.Operation {
	read := make(map[string]bool)
	for _, c := range calls {
		if !c.write {
			read[c.value] = true
		}
	}
	var out []porcupine.Operation
	for _, c := range calls {
		if c.write && c.unknown() && !read[c.value] {
			continue
		}
		out = append(out, porcupine.Operation{ClientId: c.client, Input: c, Call: c.begin, Output: c.value, Return: c.end})
	}
	return out
}

// staleReads counts the reads of a value that another had replaced before: its write had ended when
// another began, which had been acknowledged when the read began. Only values that are written once
// are looked at.
func staleReads(calls []call) (n int) {
	wrote := make(map[string]call)
	var acknowledged []call
	for _, c := range calls {
		if !c.write {
			continue
		}
		if c.value != "" {
			wrote[c.value] = c
		}
		if !c.unknown() {
			acknowledged = append(acknowledged, c)
		}
	}
	for _, c := range calls {
		by, ok := wrote[c.value]
		if c.write || !ok || by.unknown() {
			continue
		}
		if slices.ContainsFunc(acknowledged, func(x call) bool { return x.begin > by.end && x.end < c.begin }) {
			n++
		}
	}
	return n
}
