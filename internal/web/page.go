package web

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/ollelogdahl/concord"
)

// ID is an identifier. In JSON it is a string of decimal digits, since numbers of
// JavaScript have 53 bits.
type ID uint64

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(id), 10), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 10, 64)
	*id = ID(n)
	return err
}

// Page is all that the page shows: the HTML is made of it, it is the JSON, and the
// stream of events sends its fields as they change.
type Page struct {
	// Bits is the width of the circle, which has 2^Bits identifiers.
	Bits uint `json:"hash_bits"`
	Self Self `json:"self"`
	Ring Ring `json:"ring"`
	Walk Walk `json:"walk"`
	// Events are the latest, the oldest first.
	Events []Event `json:"events"`
}

// Ring is what the last walk has found.
type Ring struct {
	// Members are in the order of their identifiers.
	Members []Member `json:"members"`
	// Wrong is what is wrong with the ring as a whole. What is wrong with one
	// member is said there.
	Wrong []Finding `json:"wrong"`
}

// Finding is one thing that is wrong, as "concord ring" finds it.
type Finding struct {
	// Name is that of the rule which is broken.
	Name string `json:"name"`
	// Says is what is wrong, in words that follow the member's name.
	Says string `json:"says"`
}

// Walk is how the members were found.
type Walk struct {
	// At is when the last walk ended, zero before the first.
	At time.Time `json:"at,omitzero"`
	// Took is how long it took.
	Took time.Duration `json:"took_ns"`
	// Error is why it did not come round, empty if it did.
	Error string `json:"error,omitempty"`
}

// Server is a member as the others know it.
type Server struct {
	Name    string `json:"name"`
	ID      ID     `json:"id"`
	Address string `json:"address"`
}

// Range is the identifiers after Start, up to and including End.
type Range struct {
	Start ID `json:"start"`
	End   ID `json:"end"`
}

// Arc is a Range and the part of all keys that is in it, 0 … 1.
type Arc struct {
	Range
	Share float64 `json:"share"`
}

// State is whether a member was there when it was last looked for.
type State string

// The states of a member.
const (
	Here   State = "here"
	Silent State = "silent" // others name it, and it does not answer
	Gone   State = "gone"   // it was here, and nobody names it any more
)

// Member is a member of the ring.
type Member struct {
	Server
	State State `json:"state"`
	// Share is the part of all keys that belongs to it by the walk, 0 … 1.
	Share float64 `json:"share"`
	// Range is what belongs to it by the walk. Nil if it is not here.
	Range *Range `json:"range,omitempty"`
	// Ranges are all that belong to it if it has several identifiers; Range is the first of
	// them then.
	Ranges []Arc `json:"ranges,omitempty"`
	// Predecessor and Successors are what it says they are, if Asked.
	Asked       bool     `json:"asked"`
	Predecessor *Server  `json:"predecessor,omitempty"`
	Successors  []Server `json:"successors"`
	// Wrong is what is wrong with it.
	Wrong []Finding `json:"wrong"`
}

// Finger is one of the fingers of the page's own member.
type Finger struct {
	Server Server `json:"server"`
	Low    ID     `json:"low"`
	High   ID     `json:"high"`
}

// Self is the state of the page's own member. Its fields are those of
// [concord.Status].
type Self struct {
	Server        Server           `json:"server"`
	Incarnation   ID               `json:"incarnation"`
	Phase         concord.Phase    `json:"phase"`
	Isolated      bool             `json:"isolated"`
	Range         *Range           `json:"range,omitempty"`
	Predecessor   *Server          `json:"predecessor,omitempty"`
	Successors    []Server         `json:"successors"`
	Fingers       []Finger         `json:"fingers"`
	Acquaintances []Server         `json:"acquaintances"`
	Silent        int              `json:"silent"`
	Pending       int              `json:"pending"`
	Size          int              `json:"size_estimate"`
	Connections   int              `json:"connections"`
	Counters      concord.Counters `json:"counters"`
}

// Kind is what sort of thing an Event is.
type Kind string

// The kinds of events.
const (
	Found  Kind = "found"  // the first walk, or the first after a while
	Joined Kind = "joined" // a member that was not there before
	Hushed Kind = "silent" // a member that others name does not answer
	Left   Kind = "gone"   // a member that was there before: it left, or failed
	Moved  Kind = "range"  // the own member's range has changed
	Phase  Kind = "phase"  // the own member has joined, leaves, …
	Broken Kind = "wrong"  // something is wrong with the ring
	Healed Kind = "right"  // nothing is any more
)

// Event is one thing that has happened.
type Event struct {
	// Seq counts the events of this page from 1.
	Seq uint64 `json:"seq"`
	// At is when it was noticed; it happened after After, zero if that is not
	// known.
	At    time.Time `json:"at"`
	After time.Time `json:"after,omitzero"`
	Kind  Kind      `json:"kind"`
	// Member is whom it is about, nil if it is about the ring.
	Member *Server `json:"member,omitempty"`
	// Text says it in words.
	Text string `json:"text"`
}

// Lookup is the path of one lookup; see [concord.Trace].
type Lookup struct {
	Key string `json:"key"`
	// KeyBase64 is the key if that is not UTF-8, of which Key then is a likeness.
	KeyBase64 []byte `json:"key_base64,omitempty"`

	ID     ID            `json:"id"`
	Owner  *Server       `json:"owner,omitempty"`
	Source string        `json:"source,omitempty"`
	Range  *Range        `json:"range,omitempty"`
	Age    time.Duration `json:"age_ns"`
	Took   time.Duration `json:"took_ns"`
	Hops   []Hop         `json:"hops"`
	Error  string        `json:"error,omitempty"`
}

// Hop is one member asked; see [concord.Hop].
type Hop struct {
	Server Server          `json:"server"`
	Why    concord.Reason  `json:"why"`
	Said   concord.Verdict `json:"said,omitempty"`
	Named  []Server        `json:"named"`
	Took   time.Duration   `json:"took_ns"`
	Error  string          `json:"error,omitempty"`
}

func server(s concord.Server) Server { return Server{Name: s.Name, ID: ID(s.Id), Address: s.Address} }

func servers(in []concord.Server) []Server {
	out := make([]Server, len(in))
	for i, s := range in {
		out[i] = server(s)
	}
	return out
}

func span(r *concord.Range) *Range {
	if r == nil {
		return nil
	}
	return &Range{Start: ID(r.Start), End: ID(r.End)}
}

func self(s concord.Status) Self {
	out := Self{
		Server: server(s.Self), Incarnation: ID(s.Incarnation), Phase: s.Phase, Isolated: s.Isolated, Range: span(s.Range),
		Successors: servers(s.Successors), Fingers: []Finger{}, Acquaintances: servers(s.Acquaintances),
		Silent: s.Silent, Pending: s.Pending, Size: s.Size, Connections: s.Connections, Counters: s.Counters,
	}
	if s.Predecessor != nil {
		p := server(*s.Predecessor)
		out.Predecessor = &p
	}
	for _, f := range s.Fingers {
		out.Fingers = append(out.Fingers, Finger{Server: server(f.Server), Low: ID(f.Low), High: ID(f.High)})
	}
	return out
}

func lookup(t concord.Trace, err error) Lookup {
	out := Lookup{
		Key: string(t.Key), ID: ID(t.Id), Source: t.Source.String(), Range: span(t.Range),
		Age: t.Age, Took: t.Took, Hops: []Hop{},
	}
	if !utf8.Valid(t.Key) {
		out.KeyBase64 = t.Key
	}
	if err != nil {
		out.Error = err.Error()
	} else {
		owner := server(t.Owner)
		out.Owner = &owner
	}
	for _, h := range t.Hops {
		hop := Hop{Server: server(h.Server), Why: h.Why, Said: h.Said, Named: servers(h.Named), Took: h.Took}
		if h.Err != nil {
			hop.Error = h.Err.Error()
		}
		out.Hops = append(out.Hops, hop)
	}
	return out
}
