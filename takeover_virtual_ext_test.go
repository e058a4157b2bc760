package concord_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordtest"
)

// A Take ends that was called for an identifier with which the member has not come to join: it
// would keep those waiting that are called for the same keys later.
func TestTakeForAnIdentifierThatDoesNotJoinEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := concordtest.New(t, concordtest.Options{Config: concord.Config{VirtualNodes: 2}})
		members := r.Start(6, nil)
		joiner := concord.New(r.Config("joiner"))
		if err := joiner.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = joiner.Stop() })
		var takes atomic.Int64
		ended := make(chan struct{}) // that Take
		joiner.Serve(t.Context(), concord.Handler{Take: func(ctx context.Context, _ concord.Range, _ []concord.Server, _ uint64) error {
			switch takes.Add(1) {
			case 1:
				return nil
			case 2:
				defer close(ended)
			}
			<-ctx.Done() // no answer from the owner, say
			return ctx.Err()
		}})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := joiner.Join(ctx, r.Addresses()...); err != nil {
			t.Fatal(err)
		}
		r.Adopt(joiner)
		for _, m := range members { // from its owner alone does not do: it may join through another
			r.Cut(joiner, m)
		}
		time.Sleep(time.Minute)
		select {
		case <-ended:
		default:
			t.Errorf("the Take has not ended; owned are %v, and the weight is %d", joiner.Ranges(), joiner.Status().Weight)
		}
	})
}
