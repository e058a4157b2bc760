package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The ledger is the record of which runs of each job were done last. It has to outlive every
// member, so it is not kept by them: it stands for the database that the members of a real program
// share. It is one process with a file. Whoever writes says by which epoch it owns the job, and the
// ledger refuses who comes with a lesser one than it has seen.

// record is what the ledger knows of a job.
type record struct {
	Job string `json:"job"`
	// Owner is the member that has claimed the job last, and Epoch by which epoch.
	Owner string `json:"owner"`
	Epoch uint64 `json:"epoch"`
	// Last is the number of the last run that was done.
	Last int64 `json:"last"`
	// Run is the run that has begun, if Run.Tick is not zero.
	Run run `json:"run,omitzero"`
}

// run is one run of a job.
type run struct {
	Tick  int64     `json:"tick"`
	Owner string    `json:"owner"`
	Epoch uint64    `json:"epoch"`
	Until time.Time `json:"until"` // by the ledger's clock: nothing of the run happens later
}

// request is what a member asks of the ledger.
type request struct {
	Do    string        `json:"do"` // claim, begin, done or aborted
	Job   string        `json:"job"`
	Owner string        `json:"owner"`
	Epoch uint64        `json:"epoch"`
	Tick  int64         `json:"tick"`
	For   time.Duration `json:"for"` // begin: how long the run has
}

// answer is that of the ledger.
type answer struct {
	// Verdict is ok; stale, if a later epoch has been seen; past, if the run was done; or busy, if
	// an earlier run goes on.
	Verdict string        `json:"verdict"`
	Last    int64         `json:"last"`
	Wait    time.Duration `json:"wait"` // busy: the longest that it can take
}

const (
	ok    = "ok"
	stale = "stale"
	past  = "past"
	busy  = "busy"
)

// ledger keeps the records in a file, to which each change is appended.
type ledger struct {
	mu      sync.Mutex
	records map[string]record
	file    *os.File
}

func openLedger(dir string) (*ledger, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "ledger"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	l := &ledger{records: make(map[string]record), file: file}
	for s := bufio.NewScanner(file); s.Scan(); {
		var r record
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			break // the last line, of a write that was cut short
		}
		l.records[r.Job] = r
	}
	return l, nil
}

// ask answers a request.
func (l *ledger) ask(q request) (answer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, known := l.records[q.Job]
	if !known {
		r = record{Job: q.Job, Last: q.Tick - 1}
	}
	a := decide(&r, q, time.Now())
	a.Last = r.Last
	if a.Verdict != ok {
		return a, nil
	}
	text, err := json.Marshal(r)
	if err != nil {
		return answer{}, err
	}
	if _, err := l.file.Write(append(text, '\n')); err != nil {
		return answer{}, err
	}
	l.records[q.Job] = r
	return a, nil
}

// decide changes a record as a request asks, or refuses that.
func decide(r *record, q request, now time.Time) answer {
	if q.Do == "done" || q.Do == "aborted" {
		// The run that was begun may end, even if another has claimed the job meanwhile: that one
		// waits. Once the next has begun, it may not.
		if r.Run.Tick != q.Tick || r.Run.Owner != q.Owner || r.Run.Epoch != q.Epoch {
			return answer{Verdict: stale}
		}
		if q.Do == "done" {
			r.Last = q.Tick
		}
		r.Run = run{}
		return answer{Verdict: ok}
	}
	if q.Epoch < r.Epoch || q.Epoch == r.Epoch && q.Owner != r.Owner {
		return answer{Verdict: stale}
	}
	if q.Do == "begin" {
		if q.Tick <= r.Last {
			return answer{Verdict: past}
		}
		if left := r.Run.Until.Sub(now); r.Run.Tick != 0 && left > 0 {
			return answer{Verdict: busy, Wait: left}
		}
		r.Run = run{Tick: q.Tick, Owner: q.Owner, Epoch: q.Epoch, Until: now.Add(q.For)}
	}
	r.Owner, r.Epoch = q.Owner, q.Epoch
	return answer{Verdict: ok}
}

// ServeHTTP answers a request that is posted as JSON.
func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a, err := l.ask(q)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a)
}

// asker is the ledger as a member sees it.
type asker func(ctx context.Context, q request) (answer, error)

const ledgerTimeout = 2 * time.Second

// overHTTP asks the ledger at an address.
func overHTTP(addr string) asker {
	client := &http.Client{Timeout: ledgerTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	return func(ctx context.Context, q request) (a answer, err error) {
		text, err := json.Marshal(q)
		if err != nil {
			return a, err
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr, bytes.NewReader(text))
		if err != nil {
			return a, err
		}
		reply, err := client.Do(r)
		if err != nil {
			return a, err
		}
		defer reply.Body.Close()
		if reply.StatusCode != http.StatusOK {
			return a, fmt.Errorf("the ledger says %s", reply.Status)
		}
		err = json.NewDecoder(reply.Body).Decode(&a)
		if err == nil && a.Verdict == "" {
			err = errors.New("the ledger gives no verdict")
		}
		return a, err
	}
}
