package grpctransport

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Bounds of frames that are received. A stream with a frame beyond them is ended.
const (
	maxFrame        = maxMessage - 64 // so that it fits into one message of the stream
	maxFrameHeaders = 32              // of one request
)

// frame is one pb.Frame. It is written and read here rather than by generated code, so
// that it need not be allocated. The slices of a frame that was read are those of the
// message that it came in.
type frame struct {
	call    uint64
	method  uint32
	body    []byte
	request []byte
	timeout uint64 // ns
	headers []header
	// withdrawn: the asker does not wait any longer.
	withdrawn bool
	status    []byte
	again     uint32 // the place of the request among those that are remembered, from 1
}

type header struct{ key, value string }

// The fields of pb.Frame.
const (
	frameCall protowire.Number = iota + 1
	frameMethod
	frameBody
	frameRequest
	frameTimeout
	frameHeaders
	frameWithdrawn
	frameStatus
	frameAgain
)

// size is the length of f as appended by append, without its own length before it.
func (f *frame) size() int {
	n := sizeVarint(frameCall, f.call) + sizeVarint(frameMethod, uint64(f.method)) +
		sizeBytes(f.body) + sizeBytes(f.request) + sizeVarint(frameTimeout, f.timeout) + sizeBytes(f.status) +
		sizeVarint(frameAgain, uint64(f.again))
	for _, h := range f.headers {
		n += protowire.SizeTag(frameHeaders) + protowire.SizeBytes(h.size())
	}
	if f.withdrawn {
		n += sizeVarint(frameWithdrawn, 1)
	}
	return n
}

func sizeVarint(field protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return protowire.SizeTag(field) + protowire.SizeVarint(v)
}

func sizeBytes(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(len(b)) // the tag of a field below 16 is one byte
}

// size is the length of h as an entry of a map.
func (h *header) size() int {
	return 1 + protowire.SizeBytes(len(h.key)) + 1 + protowire.SizeBytes(len(h.value))
}

// append appends f, with its length before it.
func (f *frame) append(b []byte) []byte {
	b = protowire.AppendVarint(b, uint64(f.size()))
	b = appendVarint(b, frameCall, f.call)
	b = appendVarint(b, frameMethod, uint64(f.method))
	b = appendBytes(b, frameBody, f.body)
	b = appendBytes(b, frameRequest, f.request)
	b = appendVarint(b, frameTimeout, f.timeout)
	for i := range f.headers {
		h := &f.headers[i]
		b = protowire.AppendTag(b, frameHeaders, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(h.size()))
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendString(b, h.key)
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendString(b, h.value)
	}
	if f.withdrawn {
		b = appendVarint(b, frameWithdrawn, 1)
	}
	b = appendBytes(b, frameStatus, f.status)
	return appendVarint(b, frameAgain, uint64(f.again))
}

func appendVarint(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

// errFrame reports a message of a stream that is not a sequence of frames.
var errFrame = errors.New("the frames are cut off or malformed")

// nextFrame reads the first frame of b, and returns what follows it.
func nextFrame(b []byte) (f frame, rest []byte, err error) {
	own, n := protowire.ConsumeBytes(b)
	if n < 0 {
		return frame{}, nil, errFrame
	}
	if err := f.read(own); err != nil {
		return frame{}, nil, err
	}
	return f, b[n:], nil
}

// read sets f to the frame of which b is the serialized form.
func (f *frame) read(b []byte) error {
	if len(b) > maxFrame {
		return fmt.Errorf("a frame has %d bytes (at most %d)", len(b), maxFrame)
	}
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errFrame
		}
		b = b[n:]
		switch kind {
		case protowire.VarintType:
			n = f.readVarint(field, b)
		case protowire.BytesType:
			var err error
			if n, err = f.readBytes(field, b); err != nil {
				return err
			}
		default:
			n = protowire.ConsumeFieldValue(field, kind, b) // of a later version
		}
		if n < 0 {
			return errFrame
		}
		b = b[n:]
	}
	if f.call == 0 {
		return errors.New("a frame has no call")
	}
	return nil
}

func (f *frame) readVarint(field protowire.Number, b []byte) int {
	v, n := protowire.ConsumeVarint(b)
	switch field {
	case frameCall:
		f.call = v
	case frameMethod:
		f.method = uint32(min(v, 1<<32-1))
	case frameTimeout:
		f.timeout = v
	case frameWithdrawn:
		f.withdrawn = v != 0
	case frameAgain:
		f.again = uint32(min(v, 1<<32-1))
	}
	return n
}

func (f *frame) readBytes(field protowire.Number, b []byte) (int, error) {
	v, n := protowire.ConsumeBytes(b)
	if n < 0 {
		return n, nil
	}
	switch field {
	case frameBody:
		f.body = v
	case frameRequest:
		f.request = v
	case frameStatus:
		f.status = v
	case frameHeaders:
		if len(f.headers) >= maxFrameHeaders {
			return n, fmt.Errorf("a frame has more than %d headers", maxFrameHeaders)
		}
		var h header
		if err := h.read(v); err != nil {
			return n, err
		}
		f.headers = append(f.headers, h)
	}
	return n, nil
}

// read sets h to the entry of a map of which b is the serialized form.
func (h *header) read(b []byte) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errFrame
		}
		b = b[n:]
		if kind == protowire.BytesType && (field == 1 || field == 2) {
			var v []byte
			if v, n = protowire.ConsumeBytes(b); n < 0 {
				return errFrame
			}
			if field == 1 {
				h.key = string(v)
			} else {
				h.value = string(v)
			}
		} else if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
			return errFrame
		}
		b = b[n:]
	}
	return nil
}
