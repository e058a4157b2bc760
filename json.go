package concord

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// Identifiers, distances and incarnations have up to 64 bits. The numbers of jq and
// of JavaScript have 53, so in JSON they are strings of decimal digits: the fields
// are tagged ",string". Decoding takes numbers as well, which that tag alone does
// not. In each method below, the outer field hides the tagged one of the same name.

// digits is such a number.
type digits uint64

// UnmarshalJSON implements json.Unmarshaler.
func (d *digits) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	text := b
	if n := len(text); n > 1 && text[0] == '"' && text[n-1] == '"' {
		text = text[1 : n-1]
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return fmt.Errorf("concord: %s is not a whole number from 0 to 2^64-1, as digits with or without quotes", b)
	}
	*d = digits(n)
	return nil
}

// UnmarshalJSON implements json.Unmarshaler. The identifier may be a string of digits, as it is
// encoded, or a number. A struct that embeds a Server needs its own method, because this one
// decodes only the Server.
func (s *Server) UnmarshalJSON(b []byte) error {
	type fields Server
	return json.Unmarshal(b, &struct {
		*fields
		Id *digits `json:"id"`
	}{(*fields)(s), (*digits)(&s.Id)})
}

// UnmarshalJSON implements json.Unmarshaler. The identifiers may be strings of digits, as they are
// encoded, or numbers.
func (r *Range) UnmarshalJSON(b []byte) error {
	type fields Range
	return json.Unmarshal(b, &struct {
		*fields
		Start *digits `json:"start"`
		End   *digits `json:"end"`
	}{(*fields)(r), (*digits)(&r.Start), (*digits)(&r.End)})
}

// UnmarshalJSON implements json.Unmarshaler. The distances may be strings of digits, as they are
// encoded, or numbers.
func (f *Finger) UnmarshalJSON(b []byte) error {
	type fields Finger
	return json.Unmarshal(b, &struct {
		*fields
		Low  *digits `json:"low"`
		High *digits `json:"high"`
	}{(*fields)(f), (*digits)(&f.Low), (*digits)(&f.High)})
}

// UnmarshalJSON implements json.Unmarshaler. The incarnation may be a string of digits, as it is
// encoded, or a number.
func (s *Status) UnmarshalJSON(b []byte) error {
	type fields Status
	return json.Unmarshal(b, &struct {
		*fields
		Incarnation *digits `json:"incarnation"`
	}{(*fields)(s), (*digits)(&s.Incarnation)})
}

// UnmarshalJSON implements json.Unmarshaler. The incarnation may be a string of digits, as it is
// encoded, or a number. A struct that embeds a Member needs its own method, because this one
// decodes only the Member.
func (m *Member) UnmarshalJSON(b []byte) error {
	type fields Member
	return json.Unmarshal(b, &struct {
		*fields
		Incarnation *digits `json:"incarnation"`
	}{(*fields)(m), (*digits)(&m.Incarnation)})
}

// UnmarshalJSON implements json.Unmarshaler. The identifier may be a string of digits, as it is
// encoded, or a number.
func (t *Trace) UnmarshalJSON(b []byte) error {
	type fields Trace
	return json.Unmarshal(b, &struct {
		*fields
		Id *digits `json:"id"`
	}{(*fields)(t), (*digits)(&t.Id)})
}
