package grpctransport

import (
	"bytes"
	"errors"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/transport"
)

// This file has the two sides of a stream remember the Request fields that were sent on it,
// so that each is sent once. A process at several identifiers asks as many members in turn.

const (
	// maxRequests is how many are remembered. The one that was sent first makes room.
	maxRequests = 64
	// maxRequest is the length of the longest that is remembered.
	maxRequest = 512
)

// sentRequests is what the asking side remembers. The zero value is that of a new stream.
type sentRequests struct {
	now  []byte // the last
	all  [][]byte
	next int // place of the next once there are maxRequests
}

// brief leaves the Request field of f out if the other side remembers it.
func (s *sentRequests) brief(f *frame) {
	r := f.request
	if len(r) == 0 {
		return
	}
	if bytes.Equal(r, s.now) {
		f.request = nil
		return
	}
	s.now = r
	if i := slices.IndexFunc(s.all, func(x []byte) bool { return bytes.Equal(x, r) }); i >= 0 {
		f.request, f.again = nil, uint32(i+1)
		return
	}
	s.all, s.next = remember(s.all, s.next, r, len(r))
}

// remember puts a Request of n bytes in its place.
func remember[T any](all []T, next int, r T, n int) ([]T, int) {
	switch {
	case n > maxRequest:
		return all, next
	case len(all) < maxRequests:
		return append(all, r), 0
	}
	all[next] = r
	return all, (next + 1) % maxRequests
}

// heardRequests is what the answering side remembers. The zero value is that of a new stream.
type heardRequests struct {
	now  *heardRequest // the last; nil: there was none
	all  []*heardRequest
	next int
}

// heardRequest is a Request field, which is read once.
type heardRequest struct {
	*pb.Request

	once sync.Once
	env  transport.Envelope
	err  error
}

func (r *heardRequest) envelope() (transport.Envelope, error) {
	r.once.Do(func() { r.env, r.err = envelope(r.Request) })
	return r.env, r.err
}

// errNotSent reports a frame that names a Request that is not remembered.
var errNotSent = errors.New("a request says who asks whom by a place at which nothing is remembered")

// take takes the Request field of f, from then on in now.
func (h *heardRequests) take(f *frame) error {
	switch {
	case len(f.request) > 0:
		r := &heardRequest{Request: new(pb.Request)}
		err := proto.Unmarshal(f.request, r.Request)
		if err != nil {
			r = nil
		}
		h.now = r
		h.all, h.next = remember(h.all, h.next, r, len(f.request))
		return err
	case f.again > 0:
		if h.now = nil; int(f.again) <= len(h.all) {
			h.now = h.all[f.again-1]
		}
		if h.now == nil {
			return errNotSent
		}
	}
	if h.now == nil {
		return errors.New("the first request of a stream does not say who asks whom")
	}
	return nil
}
