package sim

import (
	"cmp"
	"slices"
	"time"
)

// Summary is what many runs of one Config came to.
type Summary struct {
	Members    int      `json:"members"`
	Successors int      `json:"successors"`
	Start      string   `json:"start"`
	Faults     string   `json:"faults"`
	Seeds      int      `json:"seeds"`
	Violations int      `json:"violations"` // seeds with one
	Failed     []uint64 `json:"failed,omitempty"`
	// Rounds from the end of the faults until the ring was ideal.
	RoundsMedian float64 `json:"rounds_median"`
	Rounds99     float64 `json:"rounds_p99"`
	RoundsMax    float64 `json:"rounds_max"`
	WorstSeed    uint64  `json:"worst_seed"`
	Apart        int     `json:"apart"` // seeds that ended in several rings, none knowing of the others
	FaultsMade   int     `json:"faults_made"`
	// Lookups while there were faults: how many, failed, naming another than
	// the owner, and the members asked on average. After: in the ideal ring.
	Lookups int     `json:"lookups"`
	Errors  int     `json:"errors"`
	Wrong   int     `json:"wrong"`
	Hops    float64 `json:"hops"`
	After   int     `json:"lookups_after"`
	HopsTo  float64 `json:"hops_after"`
	Most    int     `json:"most_hops_after"`
	// Maps are lookups in the maps of members.
	Maps MapCount `json:"maps"`
	// Requests in the ideal ring, per member and round.
	Idle       float64       `json:"idle_messages"`
	IdleFinger float64       `json:"idle_finger_messages"`
	Requests   int           `json:"requests"`
	Events     int           `json:"events"`
	Virtual    time.Duration `json:"virtual_ns"`
	Seconds    float64       `json:"seconds"` // of real time
	Trace      string        `json:"trace,omitempty"`
	// Siege sums up the sieges of all runs, if there were any. Its Rounds are the most.
	Siege *SiegeResult `json:"siege,omitempty"`

	rounds []float64
}

// Summarize begins a Summary of runs of cfg.
func Summarize(cfg Config) (*Summary, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Summary{Members: cfg.Members, Successors: cfg.Successors, Start: cfg.Start, Faults: cfg.Faults.String()}, nil
}

// Add counts one more run.
func (s *Summary) Add(r Result) {
	s.Seeds++
	n := float64(s.Seeds)
	if len(r.Violations) > 0 {
		s.Violations++
		s.Failed = append(s.Failed, r.Seed)
	} else {
		if r.Rounds > s.RoundsMax {
			s.RoundsMax, s.WorstSeed = r.Rounds, r.Seed
		}
		i, _ := slices.BinarySearchFunc(s.rounds, r.Rounds, cmp.Compare[float64])
		s.rounds = slices.Insert(s.rounds, i, r.Rounds)
		s.RoundsMedian = s.rounds[len(s.rounds)/2]
		s.Rounds99 = s.rounds[len(s.rounds)*99/100]
	}
	if r.Rings > 1 {
		s.Apart++
	}
	s.FaultsMade += r.Faults
	average := func(sum *float64, count *int, l LookupCount) {
		if total := *count + l.Count; total > 0 {
			*sum = (*sum*float64(*count) + float64(l.Hops)) / float64(total)
			*count = total
		}
	}
	average(&s.Hops, &s.Lookups, r.Lookups)
	average(&s.HopsTo, &s.After, r.After)
	s.Errors += r.Lookups.Errors
	s.Maps.Right += r.Maps.Right
	s.Maps.Wrong += r.Maps.Wrong
	s.Maps.Asked += r.Maps.Asked
	s.Wrong += r.Lookups.Wrong
	s.Most = max(s.Most, r.After.MostHops)
	s.Idle += (r.Maintenance - s.Idle) / n
	s.IdleFinger += (r.Steps - s.IdleFinger) / n
	if r.Siege != nil {
		if s.Siege == nil {
			s.Siege = &SiegeResult{}
		}
		s.Siege.add(r.Siege)
	}
	s.Requests += r.Requests
	s.Events += r.Events
	s.Virtual += r.Virtual
}

// Distribution is the rounds of all runs without a violation, in order.
func (s *Summary) Distribution() []float64 { return s.rounds }
