package grpctransport

import (
	"sync"

	"github.com/ollelogdahl/concord/internal/pb"
)

// outbox is what waits to be sent on one side of a link stream. What waits is sent
// together, and frames of the ring's maintenance go before those of lookups. Its
// methods may be called concurrently.
type outbox struct {
	send func(*pb.Frames) error

	mu      sync.Mutex
	urgent  []parcel // of maintenance
	waiting []parcel // of lookups
	sending bool     // somebody is in flush
	err     error    // why nothing can be sent any more
	held    int      // bytes that wait, see parcel.held
	// roomy is closed when few wait, or nothing can be sent any more; nil: nobody wants
	// to know.
	roomy chan struct{}

	// Of whoever is in flush.
	batch    []parcel
	buf      []byte
	message  pb.Frames
	requests sentRequests
}

// parcel is a frame that waits, and the buffer that its body is in.
type parcel struct {
	frame
	buf *[]byte // from bodies; nil: none
}

// held is what f takes while it waits, in bytes.
func (f *parcel) held() int { return f.length() + parcelOverhead }

// length is at least what f takes in a message, in bytes.
func (f *parcel) length() int {
	return len(f.body) + len(f.request) + len(f.status) + frameOverhead + headersSize(f.headers)
}

const (
	// frameOverhead is at least what a frame takes in a message beside its bytes and headers.
	frameOverhead = 48
	// parcelOverhead is about what a parcel takes in memory beside them.
	parcelOverhead = 256
	// fewHeld is how many bytes that wait are few.
	fewHeld = maxMessage
)

// full reports whether more than a few wait.
func (o *outbox) full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.held > fewHeld
}

// room waits until few wait or nothing can be sent any more. It reports false if done is
// closed before.
func (o *outbox) room(done <-chan struct{}) bool {
	for {
		o.mu.Lock()
		if o.held <= fewHeld || o.err != nil {
			o.mu.Unlock()
			return true
		}
		if o.roomy == nil {
			o.roomy = make(chan struct{})
		}
		roomy := o.roomy
		o.mu.Unlock()
		select {
		case <-roomy:
		case <-done:
			return false
		}
	}
}

// less notes that n bytes do not wait any more. Callers hold mu.
func (o *outbox) less(n int) {
	o.held -= n
	if o.roomy != nil && o.held <= fewHeld {
		close(o.roomy)
		o.roomy = nil
	}
}

// bodies are buffers for bodies of frames.
var bodies = sync.Pool{New: func() any { return new(make([]byte, 0, 256)) }}

// put has f wait to be sent. It reports whether the caller is to call flush, since
// nobody else is sending.
func (o *outbox) put(f parcel, urgent bool) (flush bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return false, o.err
	}
	if urgent {
		o.urgent = append(o.urgent, f)
	} else {
		o.waiting = append(o.waiting, f)
	}
	o.held += f.held()
	flush = !o.sending
	o.sending = true
	return flush, nil
}

// flush sends what waits. With once it sends only what fits into one message; it reports
// whether more waits, in which case the caller sees to it that flush is called again.
func (o *outbox) flush(once bool) (more bool) {
	for o.take() {
		o.message.Frames = o.buf
		err := o.send(&o.message)
		if cap(o.buf) > 4<<10 {
			o.buf = nil
		}
		if err != nil {
			o.fail(err)
			return false
		}
		if once {
			return o.unfinished()
		}
	}
	return false
}

// unfinished reports whether more waits. If not, nobody is in flush from now on.
func (o *outbox) unfinished() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sending = len(o.urgent)+len(o.waiting) > 0 && o.err == nil
	return o.sending
}

// take encodes what is to be sent next, and reports whether there is anything. If
// not, nobody is in flush from now on.
func (o *outbox) take() bool {
	o.mu.Lock()
	o.batch = o.batch[:0]
	size, held := 0, 0
	for _, queue := range []*[]parcel{&o.urgent, &o.waiting} {
		n := 0
		for ; n < len(*queue); n++ {
			f := &(*queue)[n]
			if size += f.length(); n+len(o.batch) > 0 && size > maxFrame {
				break
			}
			held += f.held()
		}
		o.batch = append(o.batch, (*queue)[:n]...)
		left := copy(*queue, (*queue)[n:])
		clear((*queue)[left:])
		*queue = (*queue)[:left]
		if left > 0 {
			break
		}
	}
	o.less(held)
	o.sending = len(o.batch) > 0 && o.err == nil
	more := o.sending
	o.mu.Unlock()
	if more {
		o.encode()
	}
	return more
}

func headersSize(hs []header) (n int) {
	for i := range hs {
		n += hs[i].size() + 4
	}
	return n
}

// encode writes the batch to buf, and gives its buffers back.
func (o *outbox) encode() {
	o.buf = o.buf[:0]
	for i := range o.batch {
		f := &o.batch[i]
		o.requests.brief(&f.frame)
		o.buf = f.append(o.buf)
		if f.buf != nil {
			bodies.Put(f.buf)
		}
	}
	clear(o.batch)
}

// fail ends the outbox: nothing is sent any more, for the reason err.
func (o *outbox) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.urgent, o.waiting, o.sending = nil, nil, false
	o.less(o.held)
	if o.err == nil {
		o.err = err
	}
}
