package remote

import (
	"math"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/remote/adminpb"
)

// Whatever a listener says of its member, reading it does not panic, and what is read can
// be written and read again.
func FuzzStatus(f *testing.F) {
	m, err := pbStatus(concord.Status{Phase: concord.PhaseJoined, Range: &concord.Range{Start: 1, End: 2}, Successors: []concord.Server{{Name: "a", Address: "h:1"}}})
	if err != nil {
		f.Fatal(err)
	}
	b, err := proto.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(adminpb.StatusResp)
		if proto.Unmarshal(b, m) != nil {
			return
		}
		s, err := readStatus(m)
		if err != nil {
			return
		}
		again, err := pbStatus(s)
		if err != nil {
			t.Fatalf("%+v cannot be written: %v", s, err)
		}
		s2, err := readStatus(again)
		if err != nil || s2.Self != s.Self || s2.Counters != s.Counters || len(s2.Failures) != len(s.Failures) ||
			s2.Share != s.Share && !math.IsNaN(s.Share) {
			t.Errorf("%+v was written and read as %+v, %v", s, s2, err)
		}
	})
}
