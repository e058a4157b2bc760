package interop_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/ring"
)

// ringMember is s as the legacy side knows it.
func (s member) ringMember() ring.Member { return ring.Member{ID: s.Id, Name: s.Name, Addr: s.Address} }

// To a legacy member any answer to GetRing is a sign of life in the ring. One of ours
// that comes back where it was, and does not join, gives none, so that the ring goes on
// without it and every lookup with it.
func TestOursThatHasNotJoinedIsNotAliveToLegacyMembers(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"-+", "--+", "-+-+", "---+--"} {
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			members := newRing(t, pattern)
			gone := members[strings.IndexByte(pattern, '+')]
			gone.stop()
			began := time.Now()
			again := startOursAt(t, gone.Name, gone.Address)
			rest := without(members, gone)
			eventually(t, func() error { return wrong(rest) })
			t.Logf("%v after it was killed the others are a ring", time.Since(began).Round(time.Millisecond))

			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			eventually(t, func() error { return wrongLookups(ctx, rest) })
			for end := time.Now().Add(10 * interval); time.Now().Before(end); {
				if err := wrongLookups(ctx, rest); err != nil {
					t.Fatal(err)
				}
			}
			if err := wrong(rest); err != nil {
				t.Error(err)
			}
			again.join(t, rest[0])
			settle(t, append(rest, again))
		})
	}
}

// A legacy member passes a lookup on to whoever a dead finger or a stale list names,
// and hands on what that one says: in the end the joiner's own words.
func TestOursJoinsThroughLegacyMembersThatAskTheJoiner(t *testing.T) {
	t.Parallel()
	const limit = 3 * time.Second
	for _, via := range []int{0, 1, 2} {
		t.Run(fmt.Sprint(via), func(t *testing.T) {
			t.Parallel()
			members := newRing(t, "----+")
			dead, gone := members[3], members[4]
			dead.stop()
			gone.stop()
			rest := without(members, dead, gone)
			for _, s := range rest {
				s.legacy.SetFinger(dead.ringMember())
			}
			again := startOursAt(t, gone.Name, gone.Address)
			<-time.After(5 * interval)
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			began := time.Now()
			if err := again.ours.Join(ctx, rest[via].Address); err != nil {
				t.Fatalf("after %v: %v", time.Since(began), err)
			}
			t.Logf("joined in %v", time.Since(began).Round(time.Millisecond))
			eventually(t, func() error { return wrong(append(rest, again)) })
		})
	}
}

// What the last member asked has said is not the word of the one that passes it on:
// the joiner's own refusal and that of one that is in no ring least of all.
func TestWhatALegacyMemberPassesOnIsNotItsOwnAnswer(t *testing.T) {
	t.Parallel()
	in := names(t, 3)
	outside := startOurs(t, "outside")
	joiner := startOurs(t, in[2])
	caller := newCaller(t)
	a, b := startScripted(t, in[0], ""), startScripted(t, in[1], "")
	a.shows(b.Server, b.Server, a.Server)
	b.shows(a.Server, a.Server, b.Server)
	for what, to := range map[string]member{"the joiner": joiner, "another": outside} {
		for _, p := range []*scripted{a, b} {
			p.finds(func(ctx context.Context, id uint64) (s concord.Server, err error) {
				return caller.findSuccessor(ctx, to.Address, id)
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		err := joiner.ours.Join(ctx, a.Address)
		cancel()
		if err != nil {
			t.Fatalf("%s is asked in the end: %v", what, err)
		}
		joiner.stop()
		joiner = startOursAt(t, joiner.Name, joiner.Address)
	}
}
