package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordgrpc"
	"github.com/ollelogdahl/concord/examples/kv/kvpb"
)

const (
	maxKey   = 1 << 10
	maxValue = 64 << 10
	batch    = 32 // items in one message

	opTimeout   = 5 * time.Second       // of a request of a client
	askTimeout  = time.Second           // of one replica that is asked
	retryPause  = 50 * time.Millisecond // before replicas are asked again
	repairEvery = time.Second           // replicas are compared
	sweepEvery  = 5 * time.Second       // items of others are given away
	holders     = 24                    // members that may have copies; see LookupN
)

// member is what the store needs of its member. *concord.Concord is one.
type member interface {
	concordgrpc.Member
	KeyID(key []byte) uint64
	Ranges() []concord.Range
	LookupN(ctx context.Context, key []byte, n int, opts ...concord.LookupOption) ([]concord.Server, error)
	LookupRange(ctx context.Context, r concord.Range, n int, opts ...concord.LookupOption) ([]concord.Server, error)
	Serve(ctx context.Context, h concord.Handler) *concord.Service
}

// node is one process of the store: it decides about the keys that its member owns, and keeps
// copies of what others own.
//
// The owner of a key is the only one that writes it, while it has the lease. A write is
// acknowledged when all copies have it, and the owner has owned the key by one epoch all the time.
// So the next owner, which asks everybody that may have a copy before it serves, finds every write
// that was acknowledged at any one of them.
type node struct {
	kvpb.UnimplementedKVServer
	kvpb.UnimplementedReplicaServer

	member  member
	disk    *disk
	copies  int
	service atomic.Pointer[concord.Service]

	locks [256]chan struct{} // of keys, by their identifiers
	// torn are keys whose last value may not be at all copies, since a write failed. Their next
	// use copies it first: what a reader has seen is not lost any more.
	torn sync.Map
}

func newNode(m member, d *disk, copies int) *node {
	n := &node{member: m, disk: d, copies: copies}
	for i := range n.locks {
		n.locks[i] = make(chan struct{}, 1)
	}
	return n
}

// run takes ranges over and keeps the copies alike until ctx ends and the member has ended.
func (n *node) run(ctx context.Context) {
	n.service.Store(n.member.Serve(ctx, concord.Handler{Take: n.take, CatchUp: n.catchUp, Release: n.release}))
	var wg sync.WaitGroup
	wg.Go(func() { every(ctx, repairEvery, n.repair) })
	wg.Go(func() { every(ctx, sweepEvery, n.sweep) })
	wg.Wait()
	<-n.service.Load().Done()
}

func every(ctx context.Context, d time.Duration, f func(context.Context)) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			f(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// serves is Service.Serves, and false before there is a Service.
func (n *node) serves(key []byte) (uint64, bool) {
	if s := n.service.Load(); s != nil {
		return s.Serves(key)
	}
	return 0, false
}

// own calls f while nobody else uses the key here, with the epoch by which it is owned. It fails
// unless the key was owned by this epoch from the beginning to the end of f: then nobody else has
// owned it meanwhile.
func (n *node) own(ctx context.Context, key []byte, f func(ctx context.Context, epoch uint64) error) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	lock := n.locks[n.member.KeyID(key)%uint64(len(n.locks))]
	select {
	case lock <- struct{}{}:
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
	defer func() { <-lock }()
	epoch, ok := n.serves(key)
	if !ok {
		return status.Error(codes.Unavailable, "the key is not served here any more")
	}
	if err := f(ctx, epoch); err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	if now, ok := n.serves(key); !ok || now != epoch {
		return status.Error(codes.Unavailable, "the key has got another owner meanwhile")
	}
	return nil
}

// Get implements kvpb.KVServer.
func (n *node) Get(ctx context.Context, in *kvpb.GetRequest) (*kvpb.GetReply, error) {
	var item *kvpb.Item
	err := n.own(ctx, in.GetKey(), func(ctx context.Context, epoch uint64) (err error) {
		if item, err = n.disk.get(in.GetKey()); err != nil {
			return err
		}
		return n.mend(ctx, epoch, item)
	})
	if err != nil {
		return nil, err
	}
	return &kvpb.GetReply{Found: item != nil && !item.GetDeleted(), Value: item.GetValue()}, nil
}

// mend copies an item again if a write of it has failed.
func (n *node) mend(ctx context.Context, epoch uint64, item *kvpb.Item) error {
	if _, torn := n.torn.Load(string(item.GetKey())); !torn || item == nil {
		return nil
	}
	return n.spread(ctx, epoch, item)
}

// Put implements kvpb.KVServer.
func (n *node) Put(ctx context.Context, in *kvpb.PutRequest) (*kvpb.PutReply, error) {
	if len(in.GetKey()) == 0 || len(in.GetKey()) > maxKey || len(in.GetValue()) > maxValue {
		return nil, status.Errorf(codes.InvalidArgument, "a key has 1 to %d bytes, and a value at most %d", maxKey, maxValue)
	}
	return &kvpb.PutReply{}, n.write(ctx, &kvpb.Item{Key: in.GetKey(), Value: in.GetValue()})
}

// Delete implements kvpb.KVServer.
func (n *node) Delete(ctx context.Context, in *kvpb.DeleteRequest) (*kvpb.DeleteReply, error) {
	return &kvpb.DeleteReply{}, n.write(ctx, &kvpb.Item{Key: in.GetKey(), Deleted: true})
}

func (n *node) write(ctx context.Context, item *kvpb.Item) error {
	return n.own(ctx, item.GetKey(), func(ctx context.Context, epoch uint64) error {
		old, err := n.disk.get(item.GetKey())
		if err != nil {
			return err
		}
		item.Version = after(old.GetVersion(), epoch, n.member.Name())
		return n.spread(ctx, epoch, item)
	})
}

// spread stores an item at all copies of the key, of which one is here. It tries until ctx ends,
// since the copies change when a member does not answer any more.
func (n *node) spread(ctx context.Context, epoch uint64, item *kvpb.Item) error {
	key := string(item.GetKey())
	n.torn.Store(key, true)
	id := n.member.KeyID(item.GetKey())
	only := concord.Range{Start: id - 1, End: id}
	claim := n.claim(only, epoch)
	if err := n.disk.store(claim, item); err != nil {
		return err
	}
	for try := 0; ; try++ {
		others, err := n.others(ctx, only, n.copies, try)
		if err == nil {
			err = all(others, func(s concord.Server) error { return n.send(ctx, s, claim, item) })
		}
		if err == nil {
			n.torn.Delete(key)
			return nil
		}
		if now, ok := n.serves(item.GetKey()); !ok || now != epoch || !wait(ctx, retryPause) {
			return fmt.Errorf("not all copies have the value: %w", err)
		}
	}
}

// claim is what this member says when it owns a range by an epoch.
func (n *node) claim(of concord.Range, epoch uint64) *kvpb.Claim {
	return &kvpb.Claim{Owner: n.member.Name(), Epoch: epoch, Start: of.Start, End: of.End}
}

// others are the members, but for this one, that keep copies of a range of this member. There are
// count-1, or it is an error. The first try may rely on what is known, the next ones ask.
func (n *node) others(ctx context.Context, of concord.Range, count, try int) ([]concord.Server, error) {
	var opts []concord.LookupOption
	if try > 0 {
		opts = append(opts, concord.MaxAge(askTimeout))
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	servers, err := n.member.LookupRange(ctx, of, count, opts...)
	switch {
	case err != nil:
		return nil, err
	case servers[0].Name != n.member.Name():
		return nil, fmt.Errorf("%s owns the range", servers[0].Name)
	case len(servers) < count && count <= n.copies:
		return nil, fmt.Errorf("%d of %d members are there to keep copies", len(servers), count)
	}
	return servers[1:], nil
}

// send stores items at another member. That it has a newer one is an error.
func (n *node) send(ctx context.Context, s concord.Server, claim *kvpb.Claim, items ...*kvpb.Item) error {
	for len(items) > 0 {
		part := items[:min(batch, len(items))]
		items = items[len(part):]
		if err := n.ask(ctx, s, func(ctx context.Context, r kvpb.ReplicaClient) error {
			_, err := r.Store(ctx, &kvpb.StoreRequest{Claim: claim, Items: part})
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// ask asks the store of another member.
func (n *node) ask(ctx context.Context, s concord.Server, f func(context.Context, kvpb.ReplicaClient) error) error {
	conn, err := n.member.Conn(s)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := f(ctx, kvpb.NewReplicaClient(conn)); err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	return nil
}

// all calls f for all servers at once, and joins the errors.
func all(servers []concord.Server, f func(concord.Server) error) error {
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		wg.Go(func() { errs[i] = f(s) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// List implements kvpb.ReplicaServer.
func (n *node) List(in *kvpb.ListRequest, out kvpb.Replica_ListServer) error {
	if in.GetSeal() {
		if err := n.disk.seal(in.GetClaim()); err != nil {
			return err
		}
	}
	var page []*kvpb.Item
	err := n.disk.scan(span(in.GetClaim()), func(item *kvpb.Item) error {
		page = append(page, &kvpb.Item{Key: item.GetKey(), Version: item.GetVersion()})
		if len(page) < 16*batch {
			return nil
		}
		err := out.Send(&kvpb.Items{Items: page})
		page = nil
		return err
	})
	if err != nil {
		return err
	}
	return out.Send(&kvpb.Items{Items: page})
}

// Fetch implements kvpb.ReplicaServer.
func (n *node) Fetch(_ context.Context, in *kvpb.FetchRequest) (*kvpb.Items, error) {
	var out kvpb.Items
	for _, key := range in.GetKeys() {
		item, err := n.disk.get(key)
		if err != nil {
			return nil, err
		}
		if item != nil {
			out.Items = append(out.Items, item)
		}
	}
	return &out, nil
}

// Store implements kvpb.ReplicaServer.
func (n *node) Store(_ context.Context, in *kvpb.StoreRequest) (*kvpb.StoreReply, error) {
	err := n.disk.store(in.GetClaim(), in.GetItems()...)
	if errors.Is(err, errNewer) {
		err = status.Error(codes.FailedPrecondition, err.Error())
	}
	return &kvpb.StoreReply{}, err
}

// Digest implements kvpb.ReplicaServer.
func (n *node) Digest(_ context.Context, in *kvpb.DigestRequest) (*kvpb.DigestReply, error) {
	sum, err := n.disk.digest(span(in.GetClaim()))
	return &kvpb.DigestReply{Sum: sum}, err
}

// Offer implements kvpb.ReplicaServer.
func (n *node) Offer(ctx context.Context, in *kvpb.OfferRequest) (*kvpb.OfferReply, error) {
	keep := false
	for _, item := range in.GetItems() {
		if err := n.adopt(ctx, item); err != nil {
			return nil, err
		}
		keepers, err := n.member.LookupN(ctx, item.GetKey(), n.copies)
		if err != nil {
			return nil, status.Error(codes.Unavailable, err.Error())
		}
		keep = keep || has(keepers, in.GetFrom())
	}
	return &kvpb.OfferReply{Keep: keep}, nil
}

// has reports whether a member of a name is among servers.
func has(servers []concord.Server, name string) bool {
	return slices.ContainsFunc(servers, func(s concord.Server) bool { return s.Name == name })
}

// adopt sees to it that all copies of an item are at least as new as one that was found. That is
// the value of a write that was not acknowledged, or that more copies had than are left.
func (n *node) adopt(ctx context.Context, found *kvpb.Item) error {
	return n.own(ctx, found.GetKey(), func(ctx context.Context, epoch uint64) error {
		item, err := n.disk.get(found.GetKey())
		switch {
		case err != nil:
			return err
		case compare(item.GetVersion(), found.GetVersion()) >= 0:
			return n.mend(ctx, epoch, item)
		}
		return n.spread(ctx, epoch, found)
	})
}

// same reports whether a store has the same versions of a range as this one.
func (n *node) same(ctx context.Context, s concord.Server, claim *kvpb.Claim) (bool, error) {
	mine, err := n.disk.digest(span(claim))
	if err != nil {
		return false, err
	}
	var theirs []byte
	err = n.ask(ctx, s, func(ctx context.Context, r kvpb.ReplicaClient) error {
		reply, err := r.Digest(ctx, &kvpb.DigestRequest{Claim: claim})
		theirs = reply.GetSum()
		return err
	})
	return bytes.Equal(mine, theirs), err
}
