package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// Latency is how long a message takes, one way. The zero Latency is Uniform
// from 1 to 20 ms.
type Latency struct {
	Kind LatencyKind
	// Low and High have the meaning that the kind gives them.
	Low, High time.Duration
}

// LatencyKind is the shape of a Latency.
type LatencyKind uint8

const (
	Uniform   LatencyKind = iota // between Low and High
	Constant                     // Low
	LogNormal                    // median Low; one in six takes more than High
	Pareto                       // at least Low, twice that on average: a heavy tail, cut at High
	Distance                     // Low, and up to High by the distance of the two on a plane
)

var latencyNames = [...]string{"uniform", "constant", "lognormal", "pareto", "distance"}

func (l Latency) String() string {
	l = l.orDefault()
	if l.Kind == Constant {
		return fmt.Sprintf("constant:%v", l.Low)
	}
	return fmt.Sprintf("%s:%v-%v", latencyNames[l.Kind], l.Low, l.High)
}

// ParseLatency reads what String writes: a kind, a colon and one or two
// durations.
func ParseLatency(s string) (Latency, error) {
	name, rest, ok := strings.Cut(s, ":")
	var l Latency
	known := false
	for i, n := range latencyNames {
		if n == name {
			l.Kind, known = LatencyKind(i), true
		}
	}
	if !ok || !known {
		return l, fmt.Errorf("latency %q: use a kind of %s, a colon and durations, as in uniform:1ms-20ms", s, strings.Join(latencyNames[:], ", "))
	}
	low, high, two := strings.Cut(rest, "-")
	var err error
	if l.Low, err = time.ParseDuration(low); err != nil {
		return l, fmt.Errorf("latency %q: %w", s, err)
	}
	l.High = l.Low
	if two {
		if l.High, err = time.ParseDuration(high); err != nil {
			return l, fmt.Errorf("latency %q: %w", s, err)
		}
	}
	if l.Low <= 0 || l.High < l.Low || two == (l.Kind == Constant) {
		return l, fmt.Errorf("latency %q: durations above 0, the greater last; one for constant, else two", s)
	}
	return l, nil
}

func (l Latency) orDefault() Latency {
	if l == (Latency{}) {
		return Latency{Uniform, time.Millisecond, 20 * time.Millisecond}
	}
	return l
}

// paretoShape has a mean of twice the least value and no finite variance.
const paretoShape = 2

// draw is the time of one message between a and b.
func (l Latency) draw(rng *rand.Rand, a, b *host) time.Duration {
	switch l.Kind {
	case Constant:
		return l.Low
	case LogNormal:
		sigma := math.Log(float64(l.High) / float64(l.Low))
		return time.Duration(float64(l.Low) * math.Exp(sigma*rng.NormFloat64()))
	case Pareto:
		return min(l.High, time.Duration(float64(l.Low)/math.Pow(1-rng.Float64(), 1.0/paretoShape)))
	case Distance:
		d := math.Hypot(float64(a.x-b.x), float64(a.y-b.y)) / math.Sqrt2
		// A tenth more or less, so that messages overtake each other.
		return l.Low + time.Duration(float64(l.High-l.Low)*d*(0.9+0.2*rng.Float64()))
	}
	return l.Low + time.Duration(rng.Int64N(int64(l.High-l.Low)+1))
}

// Draw is the time of one message between two members that are nowhere in particular.
func (l Latency) Draw(rng *rand.Rand) time.Duration {
	if l.Kind == Distance {
		return l.draw(rng, &host{x: rng.Float32(), y: rng.Float32()}, &host{})
	}
	return l.draw(rng, nil, nil)
}
