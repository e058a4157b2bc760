package memory

import (
	"context"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Subscribe implements transport.Transport. Messages come in order, one at a time, and none is
// lost. One that is sent while the way is cut is the last: nothing comes until the
// subscription ends.
func (t *Transport) Subscribe(ctx context.Context, env transport.Envelope, sub *ringmap.Subscription, f func(*ringmap.Update) error) error {
	asked := sub.Clone()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	updates := make(chan *ringmap.Update)
	ended := make(chan outcome, 1)
	go func() {
		ended <- t.askAdmitted(ctx, env, func() { t.sent.Subscribe++ },
			func(ctx context.Context, at *Transport, env transport.Envelope) outcome {
				err := at.handler.Subscribe(ctx, env, &asked, func(u *ringmap.Update) error {
					return t.hear(ctx, at, u, updates)
				})
				if err == nil {
					return failed(protocol.Cancelled, "the subscription has ended")
				}
				return outcome{failure: failureOf(err)}
			})
	}()
	for {
		select {
		case u := <-updates:
			if err := f(u); err != nil {
				cancel()
				<-ended
				return err
			}
		case o := <-ended:
			return o.failure
		}
	}
}

// hear has a message of the member at another transport arrive here. The context is that of
// the member.
func (t *Transport) hear(ctx context.Context, at *Transport, u *ringmap.Update, updates chan<- *ringmap.Update) error {
	told := u.Clone()
	if !t.net.Awake(ctx, at.addr) || !t.net.Travel(ctx, at.addr, t.addr, false) || !t.net.Awake(ctx, t.addr) {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case updates <- &told:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
