package grpctransport

import (
	"strings"
	"testing"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
)

// The marks of an origin are sent until the peer has named the same number.
func TestMarksAreSentToWhomTheyMayBeNews(t *testing.T) {
	one := ring.NewOrigin(7, []uint64{7, 9})
	two := one.And(ring.NewOrigin(5, []uint64{5, 9}))
	env := transport.Envelope{To: ring.Member{ID: 1, Addr: "a:1"}, Origin: one}
	var l link
	marks := func(step string, env transport.Envelope, want int) {
		t.Helper()
		r := l.request(env)
		var id uint64
		if env.Origin != nil {
			id = env.Origin.ID
		}
		if len(r.GetMarks()) != want || r.GetRing() != id {
			t.Errorf("%s: ring %d with %d marks, want %d with %d", step, r.GetRing(), len(r.GetMarks()), id, want)
		}
	}
	marks("at first", env, 2)
	l.notes(one)
	marks("known there", env, 0)
	env.Origin = two
	marks("two rings have become one", env, 3)
	l.notes(two)
	marks("known there too", env, 0)
	l.notes(nil)
	marks("the peer is in no ring", env, 3)
	env.Origin = nil
	marks("of a request that names none", env, 0)
}

func TestMalformedOriginsAreRefused(t *testing.T) {
	many := make([]uint64, ring.MaxMarks+1)
	for name, tc := range map[string]struct {
		request *pb.Request
		want    string
	}{
		"too many marks":         {&pb.Request{Ring: 1, Marks: many}, "request has 33 marks (at most 32)"},
		"marks without a number": {&pb.Request{Marks: many[:1]}, "request has marks of a ring without a number"},
	} {
		if _, err := envelope(tc.request); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	ringOf := func(o *pb.Origin) *pb.Ring { return &pb.Ring{Answer: &pb.Answer{}, Origin: o} }
	if _, err := state(ringOf(&pb.Origin{Marks: many[:1]})); err == nil || err.Error() != "ring.origin.id is 0" {
		t.Errorf("an answer with an origin without a number: %v", err)
	}
	if _, err := state(ringOf(&pb.Origin{Id: 1, Marks: many})); err == nil || err.Error() != "ring.origin has 33 marks (at most 32)" {
		t.Errorf("an answer with too many marks: %v", err)
	}
}
