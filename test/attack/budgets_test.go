package attack

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc/status"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/transport/attacktest"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// One host makes more connections than it may. Others are served.
func TestConnectionsOfOneHost(t *testing.T) {
	r := attacked(t, 3, func(_ int, cfg *concord.Config) { cfg.Limits.ConnectionsPerHost = 16 })
	m := r.member(0)
	turnedAway := func(c concord.Counters) uint64 { return c.ConnectionsRefused + c.IncomingRefused }
	r.unmoved(2, func() {
		r.counted(m, turnedAway, 100, func() {
			for range 200 {
				f, err := attacktest.DialFrames(m.Address(), patience)
				if err == nil {
					t.Cleanup(f.Close)
				}
			}
		})
		d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 77)}}
		conn, err := d.Dial("tcp", m.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		f := attacktest.FramesOn(conn)
		if err := f.Begin(); err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadFrame(); err != nil {
			t.Errorf("another host is not served: %v", err)
		}
	})
	r.logged(m, "connections")
}

// A stranger has a member find out what is at an address. It is told by category only: the
// same for a port where nobody listens, where something else does, and for a name that
// leads nowhere.
func TestPortScanner(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	stranger := transporttest.Stranger(t, cluster.Address(), "SSH-2.0-OpenSSH_9.9\r\n")
	told := map[string][]string{}
	c := client(t, m)
	r.unmoved(2, func() {
		for _, addr := range []string{"127.0.0.1:1", stranger, "no-such-host.invalid:80"} {
			x := world.Server(r.near(m, "scanner-"+addr), addr, attacktest.Now())
			resp, err := c.Notify(bounded(t, patience), &pb.NotifyReq{
				Id: x.GetId(), Name: x.GetName(), Address: x.GetAddress(), Incarnation: x.GetIncarnation(), Joining: true, Request: world.Request(nil, server(m)),
			})
			said := fmt.Sprint(resp.GetRing().GetRefusal().GetReason(), " ", resp.GetRing().GetRefusal().GetDetail(), " ", status.Convert(err).Message())
			said = strings.ReplaceAll(strings.ReplaceAll(said, x.GetName(), "NAME"), addr, "ADDR")
			told[said] = append(told[said], addr)
		}
	})
	if len(told) != 1 {
		t.Errorf("it is told apart: %q", told)
	}
}

// Strangers have a member ask at a listener, again and again, each time for another name. It
// asks there a few times.
func TestQuestionsThatStrangersCause(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	victim := peer(t, "victim", attacktest.Now(), func(p *attacktest.Peer) {
		p.OnRing = func(*pb.RingReq) (*pb.Ring, error) { return nil, status.Error(12, "no") }
	})
	c := client(t, m)
	dials := func(c concord.Counters) uint64 { return c.DialsRefused }
	const notified = 300
	r.unmoved(2, func() {
		r.counted(m, dials, 1, func() {
			for i := range notified {
				x := world.Server(r.near(m, fmt.Sprint("asked-", i)), victim.Addr(), attacktest.Now())
				_, _ = c.Notify(bounded(t, patience), &pb.NotifyReq{
					Id: x.GetId(), Name: x.GetName(), Address: x.GetAddress(), Incarnation: x.GetIncarnation(), Joining: true, Request: world.Request(nil, server(m)),
				})
			}
		})
	})
	if n := victim.Connections(); n > notified/2 {
		t.Errorf("%d connections for %d notifications", n, notified)
	}
}
