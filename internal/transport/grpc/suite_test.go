package grpctransport

import (
	"testing"

	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// conform runs the suite, without the cases named, over transports that are changed by tweak
// before they serve.
func conform(t *testing.T, tweak func(*Transport), except ...string) {
	transporttest.Run(t, func(*testing.T) transporttest.Listen {
		return transporttest.Widen(func(addr string) (transport.Transport, error) {
			if addr == "" {
				addr = "127.0.0.1:0"
			}
			tr, err := Listen(ConfigOf(transport.Options{Bind: addr}))
			if err != nil {
				return nil, err
			}
			tweak(tr)
			return tr, nil
		})
	}, except...)
}

func TestConformance(t *testing.T) { conform(t, func(*Transport) {}) }

// Over a stream from the first request on, and without streams.
func TestConformanceOfStreams(t *testing.T) {
	conform(t, func(tr *Transport) { tr.pool.streams = always })
}

// Over a stream, by members that answer a Route, and questions about the ring, before they read
// on. In the cases left out a Route waits.
func TestConformanceOfPromptStreams(t *testing.T) {
	conform(t, func(tr *Transport) { tr.pool.streams, tr.cfg.Prompt = always, true },
		"requests are answered concurrently", "giving up is Cancelled",
		"a handler's context ends with the asker's patience")
}

func TestConformanceOfUnaryCalls(t *testing.T) {
	conform(t, func(tr *Transport) { tr.pool.streams = never })
}
