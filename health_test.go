package concord

import (
	"errors"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
)

func TestHowLongTheSuccessorMayBeSilent(t *testing.T) {
	view := func(edit func(*protocol.View)) *protocol.View {
		v := &protocol.View{Phase: protocol.Joined, Succ: []ring.Member{{Name: "b", Addr: "b:1"}}}
		edit(v)
		return v
	}
	joined := view(func(*protocol.View) {})
	for what, tc := range map[string]struct {
		interval, head time.Duration
		view           *protocol.View
		want           error
	}{
		"answered of late":    {time.Second, 10 * time.Second, joined, nil},
		"silent":              {time.Second, 10*time.Second + 1, joined, ErrUnconfirmed},
		"long intervals":      {time.Minute, 5 * time.Minute, joined, nil},
		"silent all the same": {time.Minute, 5*time.Minute + 1, joined, ErrUnconfirmed},
		"asked in every sixth round": {time.Minute, 11 * time.Minute, view(func(v *protocol.View) {
			v.Succ[0].Choice, v.Succ[0].Home = ring.Chosen(7, 0), 1
		}), nil},
		"silent, asked in every sixth round": {time.Minute, 12 * time.Minute, view(func(v *protocol.View) {
			v.Succ[0].Choice, v.Succ[0].Home = ring.Chosen(7, 0), 1
		}), ErrUnconfirmed},
		"alone":    {time.Second, time.Hour, view(func(v *protocol.View) { v.Succ, v.Alone = nil, true }), nil},
		"all lost": {time.Second, time.Hour, view(func(v *protocol.View) { v.Succ = nil }), ErrUnconfirmed},
		"leaving":  {time.Second, 0, view(func(v *protocol.View) { v.Phase = protocol.Leaving }), ErrStopped},
		"joining":  {time.Second, 0, view(func(v *protocol.View) { v.Phase = protocol.Joining }), ErrNotJoined},
		"isolated": {time.Second, 0, view(func(v *protocol.View) { v.Isolated = true }), ErrIsolated},
	} {
		c := New(Config{Name: "a", StabilizeInterval: tc.interval})
		if err := c.readiness(tc.view, tc.head); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", what, err, tc.want)
		}
	}
}

func TestHowLongAListenerMayAcceptNothing(t *testing.T) {
	c := New(Config{Name: "a"})
	for deaf, wrong := range map[time.Duration]bool{0: false, 10 * time.Second: false, 10*time.Second + 1: true} {
		cause := errors.New("too many open files")
		err := c.hearing(transport.Intake{Deaf: deaf, Err: cause})
		if (err != nil) != wrong || wrong && !errors.Is(err, cause) {
			t.Errorf("for %v: %v", deaf, err)
		}
	}
}

func TestHowLongALoopMayStandStill(t *testing.T) {
	c := New(Config{Name: "a"})
	for phase, needsSteps := range map[protocol.Phase]bool{
		protocol.Joined: true, protocol.Leaving: true, protocol.Bootstrapping: true,
		protocol.Outside: false, protocol.Joining: false, protocol.Superseded: false,
	} {
		if err := c.liveness(phase, 10*time.Second); err != nil {
			t.Errorf("%v: %v", phase, err)
		}
		if err := c.liveness(phase, time.Hour); (err != nil) != needsSteps {
			t.Errorf("%v, for an hour: %v", phase, err)
		}
	}
}
