package concordtest

import (
	"regexp"
	"runtime"
)

// inBubble finds the bubble in the first line of a goroutine's stack.
var inBubble = regexp.MustCompile(`^goroutine \d+ \[[^]\n]*synctest bubble (\d+)`)

// bubble tells which bubble of testing/synctest the calling goroutine runs in: "" outside of any,
// and if the runtime does not say.
func bubble() string {
	var stack [128]byte
	m := inBubble.FindSubmatch(stack[:runtime.Stack(stack[:], false)])
	if m == nil {
		return ""
	}
	return string(m[1])
}

// misplaced fails the test, and reports true, if the calling goroutine is not in the bubble that
// the ring was made in, or in one although the ring is on sockets. Without it the runtime would
// end the process, or the test would stand still.
func (r *Ring) misplaced() bool {
	r.tb.Helper()
	switch here := bubble(); {
	case here != r.bubble:
		r.fail("the ring is used in another testing/synctest bubble than New was called in")
	case here != "" && r.sockets:
		r.fail("a ring on sockets does not work inside a testing/synctest bubble")
	default:
		return false
	}
	return true
}
