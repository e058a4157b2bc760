package routing

import (
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

func TestRenewedTableIsTheOneMadeAnew(t *testing.T) {
	at := func(id uint64) ring.Member { return ring.Member{ID: id, Name: string(rune('a' + id)), Addr: "x"} }
	before := Known{Self: at(0), Pred: at(9), Succ: []ring.Member{at(2), at(4)}, Bits: 8, Full: 2}
	others := []ring.Member{at(7), at(5)}
	for _, tc := range []struct {
		what   string
		change func(k *Known, others []ring.Member) []ring.Member
		shared bool
	}{
		{"nothing", func(_ *Known, o []ring.Member) []ring.Member { return o }, true},
		{"a time", func(k *Known, o []ring.Member) []ring.Member { k.Certain = time.Second; return o }, true},
		{"the epoch", func(k *Known, o []ring.Member) []ring.Member { k.Epoch = 7; return o }, true},
		{"self", func(k *Known, o []ring.Member) []ring.Member { k.Self.Incarnation = 2; return o }, false},
		{"predecessor", func(k *Known, o []ring.Member) []ring.Member { k.Pred = at(8); return o }, false},
		{"successors", func(k *Known, o []ring.Member) []ring.Member { k.Succ = []ring.Member{at(2), at(3)}; return o }, false},
		{"fewer others", func(_ *Known, o []ring.Member) []ring.Member { return o[:1] }, false},
		{"more others", func(_ *Known, o []ring.Member) []ring.Member { return append(o, at(6)) }, false},
		{"another", func(_ *Known, o []ring.Member) []ring.Member { o[1].Incarnation = 3; return o }, false},
		{"none", func(*Known, []ring.Member) []ring.Member { return nil }, false},
	} {
		var none *Table
		was := none.Renew(before, others)
		k := before
		now := tc.change(&k, slices.Clone(others))
		got := was.Renew(k, now[:len(now)/2], nil, now[len(now)/2:])
		k.Others = now
		want := NewTable(k)
		if !slices.Equal(got.Near(), want.Near()) || !slices.Equal(got.Others, now) ||
			got.Self != k.Self || got.Pred != k.Pred || got.Certain != k.Certain || got.Epoch != k.Epoch {
			t.Errorf("%s has changed: %+v, want %+v", tc.what, got, want)
		}
		if shared := &got.Near()[0] == &was.Near()[0]; shared != tc.shared {
			t.Errorf("%s has changed: shared %v", tc.what, shared)
		}
	}
}
