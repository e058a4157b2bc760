package bootstrap

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

const (
	// stateFile is the name of the file in the directory, and lockFile that of
	// the file that is locked while a member uses the directory.
	stateFile = "ring.json"
	lockFile  = "ring.lock"
	// stateVersion is the form of the file that is written, and read.
	stateVersion = 1
	// maxState bounds what is read, in bytes. The largest file that is written,
	// of the longest names with every byte escaped, is less than half of it.
	maxState = 256 << 10
	// MaxRecalled bounds the members that are remembered.
	MaxRecalled = 32
)

// ErrInUse: another member uses the directory.
var ErrInUse = errors.New("another member uses this directory")

// Identity is whose state it is. The state of another is of no use.
type Identity struct {
	Name    string
	Cluster string
}

// Memory is what a member remembers of its ring over a restart.
type Memory struct {
	// Incarnation is the one that the member had last, 0 if none is known. The
	// next must be higher, whatever the clock says.
	Incarnation uint64
	// Members are those last known, at most MaxRecalled; the member itself is
	// among them if it was in the ring.
	Members []Recalled
	// Origin is that of the ring, nil if none is known.
	Origin *ring.Origin
	// Variants are those of the places, by slots, at which the member stood, if those were
	// several; see ring.Choice.
	Variants []uint8
	// Saved is when it was saved, by the clock of that time; set by Load, not read by
	// Save.
	Saved time.Time
}

// Recalled is a member that is remembered.
type Recalled struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// file is a Memory as it is written.
type file struct {
	Version     int        `json:"version"`
	Name        string     `json:"name"`
	Cluster     string     `json:"cluster"`
	Incarnation uint64     `json:"incarnation"`
	Saved       time.Time  `json:"saved"`
	Members     []Recalled `json:"members"`
	Origin      *origin    `json:"origin,omitempty"`
	Variants    []int      `json:"variants,omitempty"`
}

// origin is a ring.Origin as it is written: numbers of JSON have too few digits.
type origin struct {
	ID    string   `json:"id"`
	Marks []string `json:"marks"`
}

func newOrigin(o *ring.Origin) *origin {
	if o == nil {
		return nil
	}
	out := &origin{ID: hexadecimal(o.ID)}
	for _, x := range o.Marks {
		out.Marks = append(out.Marks, hexadecimal(x))
	}
	return out
}

func hexadecimal(x uint64) string { return fmt.Sprintf("%016x", x) }

// read is the origin that was written.
func (o *origin) read() (*ring.Origin, error) {
	if o == nil {
		return nil, nil
	}
	id, err := strconv.ParseUint(o.ID, 16, 64)
	if err != nil || id == 0 {
		return nil, fmt.Errorf("origin: the id %q is no number above 0 in hexadecimal", o.ID)
	}
	if n := len(o.Marks); n > ring.MaxMarks {
		return nil, fmt.Errorf("origin: has %d marks, at most %d are kept", n, ring.MaxMarks)
	}
	var marks []uint64
	for _, s := range o.Marks {
		x, err := strconv.ParseUint(s, 16, 64)
		if err != nil {
			return nil, fmt.Errorf("origin: the mark %q is no number in hexadecimal", s)
		}
		marks = append(marks, x)
	}
	return ring.NewOrigin(id, marks), nil
}

// State is a directory in which one member keeps its Memory. Its methods may not
// be called concurrently.
type State struct {
	dir  string
	who  Identity
	lock io.Closer // nil if the directory could not be locked
}

// Open makes the directory if need be, and keeps others from using it until
// Close. The error matches ErrInUse if another does; after any other, say that the
// directory is read-only, what is in it can be loaded all the same.
func Open(dir string, who Identity) (*State, error) {
	who.Cluster = string([]rune(who.Cluster)) // as JSON gives it back: it need not be UTF-8
	s := &State{dir: dir, who: who}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return s, err
	}
	lock, err := acquire(filepath.Join(dir, lockFile))
	if err == nil {
		s.lock = lock
	}
	return s, err
}

// Close lets others use the directory.
func (s *State) Close() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

// Damage is why a file could not be used, and where it was put.
type Damage struct {
	File  string
	Aside string // "" if it could not be set aside
	Err   error
}

func (d *Damage) Error() string {
	if d.Aside == "" {
		return fmt.Sprintf("%s: %v", d.File, d.Err)
	}
	return fmt.Sprintf("%s: %v; it was set aside as %s", d.File, d.Err, d.Aside)
}

// Unwrap returns Err.
func (d *Damage) Unwrap() error { return d.Err }

// Load reads what was saved last, the zero Memory if nothing was. A file that was
// read and cannot be used, which the error says as a *Damage, is set aside under
// the name of the time now.
func (s *State) Load(now time.Time) (Memory, error) {
	path := filepath.Join(s.dir, stateFile)
	data, err := read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Memory{}, nil
	case err != nil:
		return Memory{}, err
	}
	m, err := s.decode(data)
	if err == nil {
		return m, nil
	}
	d := &Damage{File: path, Err: err}
	aside := path + ".damaged-" + now.UTC().Format("20060102T150405.000Z")
	if err := os.Rename(path, aside); err == nil {
		d.Aside = aside
	} else {
		d.Err = errors.Join(d.Err, err)
	}
	return Memory{}, d
}

// read is the file at path, or as much of it as shows that it is too long.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, maxState+1))
}

func (s *State) decode(data []byte) (Memory, error) {
	if len(data) > maxState {
		return Memory{}, fmt.Errorf("has more than %d bytes", maxState)
	}
	var in file
	if err := json.Unmarshal(data, &in); err != nil {
		return Memory{}, fmt.Errorf("is damaged: %w", err)
	}
	switch {
	case in.Version != stateVersion:
		return Memory{}, fmt.Errorf("has version %d, this program knows %d", in.Version, stateVersion)
	case in.Name != s.who.Name:
		return Memory{}, fmt.Errorf("belongs to member %q, not to %q", in.Name, s.who.Name)
	case in.Cluster != s.who.Cluster:
		return Memory{}, fmt.Errorf("belongs to cluster %q, not to %q", in.Cluster, s.who.Cluster)
	case len(in.Members) > MaxRecalled:
		return Memory{}, fmt.Errorf("names %d members, at most %d are kept", len(in.Members), MaxRecalled)
	}
	for _, x := range in.Members {
		if err := ring.CheckAddress(x.Address); err != nil {
			return Memory{}, fmt.Errorf("member %q: %w", x.Name, err)
		}
	}
	o, err := in.Origin.read()
	if err != nil {
		return Memory{}, err
	}
	variants, err := readVariants(in.Variants)
	if err != nil {
		return Memory{}, err
	}
	return Memory{Incarnation: in.Incarnation, Members: in.Members, Origin: o, Variants: variants, Saved: in.Saved}, nil
}

// readVariants are those that were written.
func readVariants(in []int) (out []uint8, err error) {
	if n := len(in); n > ring.MaxIdentifiers {
		return nil, fmt.Errorf("variants: are of %d identifiers, at most %d are possible", n, ring.MaxIdentifiers)
	}
	for i, v := range in {
		if v < 0 || v >= ring.Variants {
			return nil, fmt.Errorf("variants: identifier %d has variant %d, there are 0 to %d", i, v, ring.Variants-1)
		}
		out = append(out, uint8(v))
	}
	return out, nil
}

// Save replaces what was saved before, at once or not at all: whenever the machine
// stops, the file is the one before or this one.
func (s *State) Save(m Memory, now time.Time) (err error) {
	data, err := json.MarshalIndent(file{
		Version: stateVersion, Name: s.who.Name, Cluster: s.who.Cluster,
		Incarnation: m.Incarnation, Saved: now.UTC().Truncate(time.Millisecond), Members: m.Members,
		Origin: newOrigin(m.Origin), Variants: numbers(m.Variants),
	}, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(s.dir, stateFile+".new"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.dir, stateFile))
	}
	if err == nil {
		err = syncDir(s.dir)
	}
	return err
}

// numbers are variants as they are written: a list of bytes would be text.
func numbers(variants []uint8) (out []int) {
	for _, v := range variants {
		out = append(out, int(v))
	}
	return out
}

// Merge is now, the members known now, followed by those of before that are not
// among them, as far as there is room. A member is told by its name.
func Merge(now, before []Recalled) []Recalled {
	var out []Recalled
	for _, x := range slices.Concat(now, before) {
		known := slices.ContainsFunc(out, func(y Recalled) bool { return y.Name == x.Name })
		if !known && len(out) < MaxRecalled {
			out = append(out, x)
		}
	}
	return out
}
