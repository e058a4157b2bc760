package attack

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/transport/attacktest"
)

// framed is a connection to m on which frames are written.
func framed(t *testing.T, m *concord.Concord) *attacktest.Frames {
	t.Helper()
	f, err := attacktest.DialFrames(m.Address(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// read reads what comes on f, until the connection ends, in a goroutine of its own. wanted
// is told of each frame.
func read(t *testing.T, f *attacktest.Frames, wanted func(http2.Frame)) {
	t.Helper()
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if wanted != nil {
				wanted(frame)
			}
		}
	})
	t.Cleanup(func() { f.Close(); reading.Wait() })
}

// served waits until m answers somebody else. While it has too much to do it may refuse.
func (r *target) served(m *concord.Concord) {
	r.t.Helper()
	c := client(r.t, m)
	r.await(m.Name()+" answers others", func() bool {
		_, err := c.GetRing(bounded(r.t, patience), &pb.RingReq{Request: world.Request(nil, server(m))})
		if err != nil && status.Code(err) != codes.ResourceExhausted {
			r.t.Fatalf("%s does not answer others: %v", m.Name(), err)
		}
		return err == nil
	})
}

// raw are n connections to m on which nothing is said yet.
func raw(t *testing.T, m *concord.Concord, n int) (conns []net.Conn) {
	t.Helper()
	for range n {
		c, err := net.DialTimeout("tcp", m.Address(), patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		conns = append(conns, c)
	}
	return conns
}

// closed waits until the other side has closed c.
func closed(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); err != nil {
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Errorf("a connection is open after %v", patience)
		}
	}
}

func TestSilentConnections(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	r.unmoved(1, func() {
		for _, c := range raw(t, m, 40) {
			closed(t, c)
		}
	})
}

// A slow loris: what a client says first, a byte now and then.
func TestConnectionsThatSpeakSlowly(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	r.unmoved(1, func() {
		conns := raw(t, m, 8)
		again := time.NewTicker(300 * time.Millisecond)
		defer again.Stop()
		for i := range len(http2.ClientPreface) {
			for _, c := range conns {
				c.Write([]byte{http2.ClientPreface[i]}) // it may be closed by now
			}
			<-again.C
		}
		for _, c := range conns {
			closed(t, c)
		}
	})
}

func TestOtherProtocolsAtTheMembersPort(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	r.unmoved(1, func() {
		said := []string{
			"GET / HTTP/1.1\r\nHost: m0\r\n\r\n", "SSH-2.0-OpenSSH_9.9\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "EHLO there\r\n",
			strings.Repeat("\x00", 4096), "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
		}
		conns := raw(t, m, len(said))
		for i, c := range conns {
			c.Write([]byte(said[i]))
		}
		for _, c := range conns {
			closed(t, c)
		}
	})
	r.served(m)
}

// Streams are opened and reset at once, as many as go into the connection.
func TestRapidReset(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	f := framed(t, m)
	read(t, f, nil)
	r.unmoved(1, func() {
		for i := range uint32(20_000) {
			if f.Open(2*i+1, "GetRing") != nil || f.WriteRSTStream(2*i+1, http2.ErrCodeCancel) != nil {
				break // it has been closed, which is as good
			}
		}
		r.served(m)
	})
}

func TestHeadersBeyondTheBound(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	r.unmoved(1, func() {
		ctx := bounded(t, patience)
		for _, size := range []int{17 << 10, 100 << 10} {
			_, err := client(t, m).GetRing(withHeader(ctx, size), &pb.RingReq{Request: world.Request(nil, server(m))})
			if err == nil {
				t.Errorf("headers of %d bytes are taken", size)
			}
		}
	})
	r.served(m)
}

// A CONTINUATION flood: the headers of one request, which never end.
func TestHeadersThatNeverEnd(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	f := framed(t, m)
	r.unmoved(1, func() {
		err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.Headers("GetRing")})
		more := f.Headers("GetRing", hpack.HeaderField{Name: "x", Value: strings.Repeat("x", 4<<10)})
		for range 20_000 {
			if err != nil {
				break
			}
			err = f.WriteContinuation(1, false, more)
		}
		if _, err := f.Ended(); err != nil {
			t.Errorf("the connection is not ended: %v", err)
		}
	})
	r.served(m)
}

func TestStreamsBeyondTheBound(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	f := framed(t, m)
	turnedAway := make(chan struct{})
	var once sync.Once
	read(t, f, func(frame http2.Frame) {
		if reset, ok := frame.(*http2.RSTStreamFrame); ok && reset.ErrCode == http2.ErrCodeRefusedStream {
			once.Do(func() { close(turnedAway) })
		}
	})
	r.unmoved(1, func() {
		for i := range uint32(2_000) {
			if f.Open(2*i+1, "GetRing") != nil { // its message never comes
				return // closed
			}
		}
		select {
		case <-turnedAway:
		case <-time.After(patience):
			t.Error("2,000 requests are open on one connection")
		}
		r.served(m)
	})
}

func TestPingFlood(t *testing.T) {
	r := attacked(t, 2)
	m := r.member(0)
	f := framed(t, m)
	r.unmoved(1, func() {
		for i := range 2_000 {
			var data [8]byte
			binary.BigEndian.PutUint64(data[:], uint64(i))
			if f.WritePing(false, data) != nil {
				break
			}
		}
		if code, err := f.Ended(); err != nil || code != http2.ErrCodeEnhanceYourCalm && code != 0 {
			t.Errorf("the connection ends with %v, %v", code, err)
		}
	})
}

func TestSettingsFlood(t *testing.T) {
	r := attacked(t, 2)
	m := r.member(0)
	f := framed(t, m) // whose answers are not read
	r.unmoved(1, func() {
		for i := range uint32(30_000) {
			if f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: i}) != nil {
				break
			}
			if i == 20_000 {
				f.Close() // the member has long ceased to read
				break
			}
		}
		r.served(m)
	})
}

// Frames that break HTTP/2, one a connection.
func TestFramesThatBreakTheProtocol(t *testing.T) {
	r := attacked(t, 2)
	m := r.member(0)
	for name, write := range map[string]func(*attacktest.Frames) error{
		"data of no stream":    func(f *attacktest.Frames) error { return f.WriteRawFrame(http2.FrameData, 0, 0, []byte("x")) },
		"an even stream":       func(f *attacktest.Frames) error { return f.Open(2, "GetRing") },
		"a short window frame": func(f *attacktest.Frames) error { return f.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, []byte{1}) },
		"headers that are none": func(f *attacktest.Frames) error {
			return f.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		},
		"a window of 2^31": func(f *attacktest.Frames) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
		},
		"a stream again": func(f *attacktest.Frames) error {
			if err := f.Open(3, "GetRing"); err != nil {
				return err
			}
			return f.Open(1, "GetRing")
		},
	} {
		f := framed(t, m)
		if err := write(f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := ended(f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.stands()
}

// ended waits until f has ended, or what was sent on it has.
func ended(f *attacktest.Frames) error {
	for {
		frame, err := f.ReadFrame()
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			return err
		}
		if err != nil {
			return nil //nolint:nilerr // that is the end waited for
		}
		switch frame.(type) {
		case *http2.GoAwayFrame, *http2.RSTStreamFrame:
			return nil
		}
	}
}

// Requests are sent, and their answers never read.
func TestAnswersThatAreNeverRead(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	f := framed(t, m)
	r.unmoved(1, func() {
		if err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
			t.Fatal(err)
		}
		for i := range uint32(1_000) {
			if f.Open(2*i+1, "GetRing") != nil || f.WriteData(2*i+1, true, make([]byte, 5)) != nil {
				break
			}
		}
		r.served(m)
	})
}

// Members that nobody has are introduced, as fast as they can be.
func TestFloodOfIntroductions(t *testing.T) {
	r := attacked(t, 4)
	m := r.member(0)
	r.unmoved(3, func() {
		var flood sync.WaitGroup
		for w := range 4 {
			c := client(t, m)
			ctx := bounded(t, 2*time.Second)
			flood.Go(func() {
				for i := range 250 {
					x := world.Server(fmt.Sprintf("ghost-%d-%d", w, i), fmt.Sprintf("127.0.0.1:%d", 1+i%9), attacktest.Now())
					_, err := c.Introduce(ctx, &pb.IntroduceReq{Subject: x, Request: world.Request(x, server(m))})
					switch status.Code(err) {
					case codes.OK, codes.ResourceExhausted, codes.DeadlineExceeded:
					default:
						t.Errorf("an introduction: %v", err)
						return
					}
				}
			})
		}
		flood.Wait()
	})
	if n := len(m.Status().Acquaintances); n > 16 {
		t.Errorf("%d acquaintances", n)
	}
}

// Joiners ask for a place at addresses where nobody answers, so that a member tries them;
// an honest one joins meanwhile.
func TestJoinersThatCannotBeReached(t *testing.T) {
	r := attacked(t, 3)
	var mute []net.Listener
	for range 8 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		mute = append(mute, l) // nothing is accepted: connections wait
	}
	stop, cancel := context.WithCancel(bounded(t, patience))
	defer cancel()
	var flood sync.WaitGroup
	defer flood.Wait()
	defer cancel()
	for i, m := range r.Members() {
		c := client(t, m)
		for w := range 16 {
			flood.Go(func() {
				for k := 0; stop.Err() == nil; k++ {
					x := world.Server(fmt.Sprintf("ghost-%d-%d-%d", i, w, k), mute[w%len(mute)].Addr().String(), attacktest.Now())
					_, _ = c.Notify(stop, &pb.NotifyReq{
						Id: x.GetId(), Name: x.GetName(), Address: x.GetAddress(), Incarnation: x.GetIncarnation(),
						Joining: true, Request: world.Request(nil, server(m)),
					})
				}
			})
		}
	}
	began := time.Now()
	if _, err := r.Add(bounded(t, patience)); err != nil {
		t.Fatal(err)
	}
	t.Logf("an honest member joined in %v", time.Since(began))
	r.stands()
	cancel()
	flood.Wait()
	r.stands()
}
