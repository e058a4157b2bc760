package grpctransport

import (
	"testing"

	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(*testing.T) transporttest.Listen {
		return transporttest.Widen(func(addr string) (transport.Transport, error) {
			if addr == "" {
				addr = "127.0.0.1:0"
			}
			return TCP{}.OpenMember(transport.Options{Bind: addr})
		})
	})
}
