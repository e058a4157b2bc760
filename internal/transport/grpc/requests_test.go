package grpctransport

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/ollelogdahl/concord/internal/pb"
)

// requestOfName is the Request field of a sender of that name.
func requestOfName(t *testing.T, name string) []byte {
	t.Helper()
	b, err := proto.Marshal(&pb.Request{Sender: &pb.Server{Id: 7, Name: name, Address: "a:1"}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Whatever is sent in whatever order, the other side knows who asks whom, and each of a few
// is sent once.
func TestRequestsAreRemembered(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{1, 2, maxRequests, maxRequests + 1, 3 * maxRequests} {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf("m%d", i)
		}
		names[n-1] += strings.Repeat("x", rng.IntN(2*maxRequest))
		var sent sentRequests
		var heard heardRequests
		full := 0
		for range 2000 {
			name := names[rng.IntN(n)]
			f := frame{call: 1, method: 4, request: requestOfName(t, name)}
			sent.brief(&f)
			if len(f.request) > 0 {
				full++
			}
			g, rest, err := nextFrame(f.append(nil))
			if err != nil || len(rest) > 0 {
				t.Fatal(err)
			}
			if err := heard.take(&g); err != nil {
				t.Fatalf("of %d: %v", n, err)
			}
			if got := heard.now.GetSender().GetName(); got != name {
				t.Fatalf("of %d: %q is taken for %q", n, name, got)
			}
		}
		if n <= maxRequests && len(requestOfName(t, names[n-1])) <= maxRequest && full != n {
			t.Errorf("of %d, %d were sent", n, full)
		}
		if len(sent.all) > maxRequests || len(heard.all) > maxRequests {
			t.Errorf("of %d, %d and %d are remembered", n, len(sent.all), len(heard.all))
		}
	}
}

// A place at which nothing is, or what could not be read, is refused; nothing else changes.
func TestRequestsThatAreNotRemembered(t *testing.T) {
	var heard heardRequests
	good := requestOfName(t, "m")
	for i, step := range []struct {
		f  frame
		ok bool
	}{
		{frame{}, false},
		{frame{again: 1}, false},
		{frame{request: good}, true},
		{frame{}, true},
		{frame{request: []byte{0xff}}, false},
		{frame{}, false},
		{frame{again: 2}, false},
		{frame{again: 1 << 31}, false},
		{frame{again: 1}, true},
		{frame{}, true},
		{frame{request: bytes.Repeat([]byte{0xff}, maxRequest+1)}, false},
		{frame{again: 3}, false},
		{frame{again: 1}, true},
	} {
		if err := heard.take(&step.f); (err == nil) != step.ok {
			t.Errorf("step %d: %v", i, err)
		}
	}
}
