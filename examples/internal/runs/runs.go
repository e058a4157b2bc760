// Package runs judges what the jobs of examples/cron have done.
package runs

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"time"
)

// Verdict is what Judge has found.
type Verdict struct {
	// Runs is the number of runs that were done from the first step to the last.
	Runs int `json:"runs"`
	// Overlapping is the number of runs that began before another of the same job had ended, of
	// another member or by another epoch.
	Overlapping int `json:"overlapping"`
	// Double is the number of runs that were recorded more than once.
	Double int `json:"double"`
	// Repeated is the number of runs that were made to the end and not recorded, since the process
	// was killed or hung before that, and that were made again.
	Repeated int `json:"repeated"`
	// Missed is the number of runs that were not done.
	Missed int `json:"missed"`
	// Interrupted is the number of runs that have begun and were not done, and of which another
	// began afresh: the process was killed, or it hung until the lease had ended.
	Interrupted int `json:"interrupted"`
	// Late is the number of runs that began more than a second after they were due, and Latest the
	// longest of these delays in milliseconds.
	Late     int   `json:"late"`
	LatestMs int64 `json:"latest_ms"`
}

const (
	lastStep = 9  // of a run
	recorded = 10 // stands for the step in which a run is recorded
)

// run is one that was begun.
type run struct {
	tick         int64
	begun, ended int64 // nanoseconds, of the first and the last step that was made
	done         bool  // to the last step
	recorded     bool
}

// Judge reads lines as jobs write them, one for each step of each run. Runs with number n are due at
// n periods since 1970. Those due in the last part of the time that the lines cover may still have
// to be made, and are not missed.
func Judge(steps io.Reader, every, last time.Duration) Verdict {
	type id struct {
		job, member string
		tick        int64
		epoch       uint64
	}
	runs := make(map[id]*run)
	jobs := make(map[string][]*run)
	var newest int64
	for s := bufio.NewScanner(steps); s.Scan(); {
		var at int64
		var step int
		var x id
		if _, err := fmt.Sscanf(s.Text(), "%d %s run %d of %s by epoch %d, step %d", &at, &x.member, &x.tick, &x.job, &x.epoch, &step); err != nil {
			continue // cut short, by a kill
		}
		newest = max(newest, at)
		r := runs[x]
		if r == nil || step == 0 { // the same member may begin it again by the same epoch
			r = &run{tick: x.tick, begun: at}
			runs[x] = r
			jobs[x.job] = append(jobs[x.job], r)
		}
		if step == recorded {
			r.recorded = true
			continue
		}
		r.ended = max(r.ended, at)
		r.done = r.done || step == lastStep
	}
	var v Verdict
	for _, of := range jobs {
		v.judge(of, int64(every), (newest-int64(last))/int64(every))
	}
	return v
}

// judge judges the runs of one job, until the one with the number until.
func (v *Verdict) judge(of []*run, every, until int64) {
	slices.SortFunc(of, func(a, b *run) int { return int(min(1, max(-1, a.begun-b.begun))) })
	done, written := make(map[int64]int), make(map[int64]int)
	first, ended := int64(-1), int64(0)
	for _, r := range of {
		if r.begun < ended {
			v.Overlapping++
		}
		ended = max(ended, r.ended)
		if !r.done {
			v.Interrupted++
			continue
		}
		done[r.tick]++
		if r.recorded {
			written[r.tick]++
		}
		switch {
		case written[r.tick] > 1:
			v.Double++
			continue
		case done[r.tick] > 1:
			v.Repeated++
			continue
		}
		v.Runs++
		if first < 0 || r.tick < first {
			first = r.tick
		}
		if late := r.begun - r.tick*every; late > int64(time.Second) {
			v.Late++
			v.LatestMs = max(v.LatestMs, late/int64(time.Millisecond))
		}
	}
	for tick := first; tick <= until && first >= 0; tick++ {
		if done[tick] == 0 {
			v.Missed++
		}
	}
}
