package main

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/examples/kv/kvpb"
)

var bucket = []byte("items")

// disk keeps items in a file, in the order of the identifiers of their keys. Deleted ones are kept
// as well, so that no older copy brings them back.
type disk struct {
	db    *bbolt.DB
	keyID func([]byte) uint64

	// mu guards seals. They are read and changed inside of transactions that write, of which there
	// is one at a time: what was stored by an earlier claim is seen by who seals, or is refused.
	mu    sync.Mutex
	seals []*kvpb.Claim
}

func openDisk(dir string, keyID func([]byte) uint64) (*disk, error) {
	db, err := bbolt.Open(filepath.Join(dir, "kv.db"), 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	db.MaxBatchDelay = time.Millisecond
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	return &disk{db: db, keyID: keyID}, err
}

// place is where an item is in the file.
func (d *disk) place(key []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, d.keyID(key)), key...)
}

// get is the item of a key, or nil.
func (d *disk) get(key []byte) (*kvpb.Item, error) {
	var item *kvpb.Item
	err := d.db.View(func(tx *bbolt.Tx) (err error) {
		item, err = decode(tx.Bucket(bucket).Get(d.place(key)))
		return err
	})
	return item, err
}

func decode(b []byte) (*kvpb.Item, error) {
	if b == nil {
		return nil, nil
	}
	var item kvpb.Item
	return &item, proto.Unmarshal(b, &item)
}

var errNewer = errors.New("there is a newer value")

// store keeps items that are newer than what is there. It refuses all if one lies in a range that
// another owner has claimed later. The error is errNewer if a newer one is there than one of them.
func (d *disk) store(claim *kvpb.Claim, items ...*kvpb.Item) error {
	newer := false
	err := d.db.Batch(func(tx *bbolt.Tx) error {
		newer = false
		b := tx.Bucket(bucket)
		for _, item := range items {
			if err := d.sealed(claim, d.keyID(item.GetKey())); err != nil {
				return err
			}
		}
		for _, item := range items {
			at := d.place(item.GetKey())
			old, err := decode(b.Get(at))
			if err != nil {
				return err
			}
			switch order := compare(old.GetVersion(), item.GetVersion()); {
			case order > 0:
				newer = true
				continue
			case order == 0:
				continue
			}
			text, err := proto.Marshal(item)
			if err != nil {
				return err
			}
			if err := b.Put(at, text); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && newer {
		return errNewer
	}
	return err
}

// compare orders versions. A nil one is the least.
func compare(a, b *kvpb.Version) int {
	for _, less := range [][2]uint64{{a.GetEpoch(), b.GetEpoch()}, {a.GetNumber(), b.GetNumber()}} {
		if less[0] != less[1] {
			if less[0] < less[1] {
				return -1
			}
			return 1
		}
	}
	switch {
	case a.GetWriter() < b.GetWriter():
		return -1
	case a.GetWriter() > b.GetWriter():
		return 1
	}
	return 0
}

// after is the version of a value that owner writes by an epoch, after one of another version. When
// all members have restarted, epochs begin again at small numbers; versions do not.
func after(v *kvpb.Version, epoch uint64, owner string) *kvpb.Version {
	if v.GetEpoch() < epoch {
		return &kvpb.Version{Epoch: epoch, Number: 1, Writer: owner}
	}
	return &kvpb.Version{Epoch: v.GetEpoch(), Number: v.GetNumber() + 1, Writer: owner}
}

// seal refuses from now on what comes by an earlier claim for keys of the range.
func (d *disk) seal(claim *kvpb.Claim) error {
	tx, err := d.db.Begin(true)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written: it only keeps writers out
	return d.addSeal(claim)
}

func (d *disk) addSeal(claim *kvpb.Claim) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	of := span(claim)
	var kept []*kvpb.Claim
	for _, s := range d.seals {
		if len(span(s).Intersect(of)) == 0 {
			kept = append(kept, s)
			continue
		}
		if later(s, claim) {
			return status.Errorf(codes.FailedPrecondition, "%s has claimed the range by epoch %d", s.GetOwner(), s.GetEpoch())
		}
		for _, left := range span(s).Minus(of) {
			kept = append(kept, &kvpb.Claim{Owner: s.GetOwner(), Epoch: s.GetEpoch(), Start: left.Start, End: left.End})
		}
	}
	d.seals = append(kept, claim)
	return nil
}

// sealed is an error if another than who makes the claim has claimed the identifier later.
func (d *disk) sealed(claim *kvpb.Claim, id uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.seals {
		if span(s).Contains(id) && later(s, claim) {
			return status.Errorf(codes.FailedPrecondition, "%s has claimed the key by epoch %d, %s by %d",
				s.GetOwner(), s.GetEpoch(), claim.GetOwner(), claim.GetEpoch())
		}
	}
	return nil
}

// later reports whether a comes after b, or by the same epoch from another.
func later(a, b *kvpb.Claim) bool {
	return a.GetEpoch() > b.GetEpoch() || a.GetEpoch() == b.GetEpoch() && a.GetOwner() != b.GetOwner()
}

func span(c *kvpb.Claim) concord.Range { return concord.Range{Start: c.GetStart(), End: c.GetEnd()} }

// scan calls f for all items of a range, until f returns an error.
func (d *disk) scan(of concord.Range, f func(*kvpb.Item) error) error {
	return d.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucket).Cursor()
		if of.Start < of.End {
			return walk(c, of.Start+1, of.End, f)
		}
		if err := walk(c, 0, of.End, f); err != nil || of.Start == math.MaxUint64 {
			return err
		}
		return walk(c, of.Start+1, math.MaxUint64, f)
	})
}

// walk calls f for the items from one identifier to another.
func walk(c *bbolt.Cursor, first, last uint64, f func(*kvpb.Item) error) error {
	at, text := c.Seek(binary.BigEndian.AppendUint64(nil, first))
	for ; at != nil && binary.BigEndian.Uint64(at) <= last; at, text = c.Next() {
		item, err := decode(text)
		if err != nil {
			return err
		}
		if err := f(item); err != nil {
			return err
		}
	}
	return nil
}

// digest tells whether two stores have the same versions of a range.
func (d *disk) digest(of concord.Range) ([]byte, error) {
	h := sha256.New()
	err := d.scan(of, func(item *kvpb.Item) error {
		v := item.GetVersion()
		_, err := fmt.Fprintf(h, "%q %d %d %q\n", item.GetKey(), v.GetEpoch(), v.GetNumber(), v.GetWriter())
		return err
	})
	return h.Sum(nil), err
}

// drop forgets items, unless they have changed.
func (d *disk) drop(items []*kvpb.Item) error {
	return d.db.Batch(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		for _, item := range items {
			at := d.place(item.GetKey())
			now, err := decode(b.Get(at))
			if err != nil {
				return err
			}
			if now == nil || compare(now.GetVersion(), item.GetVersion()) != 0 {
				continue
			}
			if err := b.Delete(at); err != nil {
				return err
			}
		}
		return nil
	})
}
