package legacytest

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// The base contract's messages. They are put on the wire by hand, because two
// generated copies of one contract cannot live in the same program.

type server struct {
	id            uint64
	name, address string
}

type findReq struct{ id uint64 }

type findResp struct{ server *server }

type ringMsg struct {
	predecessor *server
	successors  []*server
}

type empty struct{}

type message interface {
	append(b []byte) []byte
	// field reads one field; unknown ones are skipped, as proto3 wants.
	field(num protowire.Number, varint uint64, bytes []byte) error
}

func (s *server) append(b []byte) []byte {
	if s.id != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), s.id)
	}
	if s.name != "" {
		b = protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), s.name)
	}
	if s.address != "" {
		b = protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), s.address)
	}
	return b
}

func (s *server) field(num protowire.Number, varint uint64, bytes []byte) error {
	switch num {
	case 1:
		s.id = varint
	case 2:
		s.name = string(bytes)
	case 3:
		s.address = string(bytes)
	}
	return nil
}

func appendServer(b []byte, num protowire.Number, s *server) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), s.append(nil))
}

func (r *findReq) append(b []byte) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), r.id)
}

func (r *findReq) field(num protowire.Number, varint uint64, _ []byte) error {
	if num == 1 {
		r.id = varint
	}
	return nil
}

func (r *findResp) append(b []byte) []byte {
	if r.server == nil {
		return b
	}
	return appendServer(b, 1, r.server)
}

func (r *findResp) field(num protowire.Number, _ uint64, bytes []byte) error {
	if num != 1 {
		return nil
	}
	r.server = new(server)
	return decode(bytes, r.server)
}

func (r *ringMsg) append(b []byte) []byte {
	if r.predecessor != nil {
		b = appendServer(b, 1, r.predecessor)
	}
	for _, s := range r.successors {
		b = appendServer(b, 2, s)
	}
	return b
}

func (r *ringMsg) field(num protowire.Number, _ uint64, bytes []byte) error {
	switch num {
	case 1:
		r.predecessor = new(server)
		return decode(bytes, r.predecessor)
	case 2:
		s := new(server)
		r.successors = append(r.successors, s)
		return decode(bytes, s)
	}
	return nil
}

func (*empty) append(b []byte) []byte { return b }

func (*empty) field(protowire.Number, uint64, []byte) error { return nil }

func decode(b []byte, m message) error {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		var varint uint64
		var bytes []byte
		switch kind {
		case protowire.VarintType:
			varint, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, kind, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if err := m.field(num, varint, bytes); err != nil {
			return err
		}
	}
	return nil
}

// codec puts a message on the wire under the name of the standard codec.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(message)
	if !ok {
		return nil, fmt.Errorf("%T is no message of the base contract", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(m.append(nil))}, nil
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(message)
	if !ok {
		return errors.New("not a message of the base contract")
	}
	return decode(data.Materialize(), m)
}
