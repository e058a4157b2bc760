package transporttest

import (
	"context"
	"sync"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Widen makes a Listen for Run of one whose transports speak the wire contract. It
// supplies the two things that the suite asks for and the contract does not have: the
// state of who answers Changed, whose answer is empty, and an answer to Seek and Place
// without a verdict, which is malformed.
func Widen(listen Listen) Listen {
	w := &wider{changed: make(map[string]protocol.State)}
	return func(addr string) (transport.Transport, error) {
		tr, err := listen(addr)
		if err != nil {
			return nil, err
		}
		return &wide{tr, w}, nil
	}
}

type wider struct {
	mu      sync.Mutex
	changed map[string]protocol.State // what handlers answered to Changed, by address
}

type wide struct {
	transport.Transport

	w *wider
}

func (t *wide) Serve(h transport.Handler) { t.Transport.Serve(&wideHandler{h, t}) }

func (t *wide) Maintain(ctx context.Context, env transport.Envelope, req protocol.Request) (protocol.Reply, error) {
	reply, err := t.Transport.Maintain(ctx, env, req)
	if req.Kind == protocol.Changed && err == nil {
		t.w.mu.Lock()
		defer t.w.mu.Unlock()
		reply.State = t.w.changed[env.To.Addr]
	}
	return reply, err
}

type wideHandler struct {
	transport.Handler

	t *wide
}

func (h *wideHandler) Maintain(ctx context.Context, env transport.Envelope, req protocol.Request) (protocol.Reply, error) {
	reply, err := h.Handler.Maintain(ctx, env, req)
	switch req.Kind {
	case protocol.Changed:
		h.t.w.mu.Lock()
		defer h.t.w.mu.Unlock()
		h.t.w.changed[h.t.Addr()] = reply.State
	case protocol.Seek, protocol.Place:
		if reply.Verdict == 0 {
			reply.Verdict = protocol.Next
		}
	}
	return reply, err
}
