package ring

// Epochs are the times of logical clocks, and a clock goes on by what others say.

const (
	// MaxLeap bounds by how much a clock goes on in a round because of what others say, so that one
	// mistaken or lying member does not use it up. If they say more, it goes on by so much all the
	// same: a clock that stayed behind for good could never claim again what others have
	// claimed. All clocks go on as fast, so that one which lies have driven on is reached as soon
	// as they end.
	MaxLeap = 1 << 32
	// smallLeap is by how much it goes on at once without that counting.
	smallLeap = 1 << 20
)

// Leaps are those that a clock has made in a round.
type Leaps struct{ made uint64 }

// Begin says that a round begins.
func (l *Leaps) Begin() { l.made = 0 }

// Toward is by how much a clock goes on that hears of a time.
func (l *Leaps) Toward(clock, at uint64) uint64 {
	if at <= clock {
		return 0
	}
	leap := at - clock
	if leap > smallLeap {
		leap = min(leap, MaxLeap-l.made)
		l.made += leap
	}
	return leap
}
