package mapsim

import "time"

type event struct {
	at   time.Duration
	seq  uint64
	gen  uint32
	who  int32
	slot int32
	kind eventKind
}

type eventKind uint8

const (
	evTick    eventKind = iota + 1 // of a map
	evRound                        // a member stabilizes
	evRequest                      // a request arrives
	evReply                        // an answer arrives
	evTimeout                      // nobody waits for the answer any more
	evDetect                       // a member notices that its successor is gone
	evDeath
	evJoin
	evLookup
	evWatch // how far is a change known?
	evCut
	evHeal
)

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// queue gives events in the order of their times.
type queue struct {
	heap []event
	seq  uint64
}

func (q *queue) push(e event) {
	q.seq++
	e.seq = q.seq
	q.heap = append(q.heap, e)
	i := len(q.heap) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !e.before(&q.heap[up]) {
			break
		}
		q.heap[i] = q.heap[up]
		i = up
	}
	q.heap[i] = e
}

func (q *queue) pop() event {
	first := q.heap[0]
	n := len(q.heap) - 1
	e := q.heap[n]
	q.heap = q.heap[:n]
	if n == 0 {
		return first
	}
	i := 0
	for 4*i+1 < n {
		best := 4*i + 1
		for c := best + 1; c < min(4*i+5, n); c++ {
			if q.heap[c].before(&q.heap[best]) {
				best = c
			}
		}
		if !q.heap[best].before(&e) {
			break
		}
		q.heap[i] = q.heap[best]
		i = best
	}
	q.heap[i] = e
	return first
}
