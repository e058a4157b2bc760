package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/examples/kv/kvpb"
)

// This file moves items between members: when a range gets another owner, when the members change
// that keep copies, and when copies were lost.

// versions are those of the items of a range at one store, by keys.
type versions map[string]*kvpb.Version

// take is the Take of the Handler. Before the member owns the range it copies what the owner has,
// so that little is left for catchUp. That does it all if the owner does not answer.
func (n *node) take(ctx context.Context, gained concord.Range, from []concord.Server, epoch uint64) error {
	owned := slices.ContainsFunc(n.member.Ranges(), func(r concord.Range) bool { return r.Contains(gained.End) })
	if owned || len(from) == 0 {
		return n.catchUp(ctx, gained, from, epoch)
	}
	owner := from[0]
	claim := &kvpb.Claim{Owner: owner.Name, Epoch: epoch, Start: gained.Start, End: gained.End}
	listed, err := n.list(ctx, owner, claim, false)
	if err == nil {
		err = n.fetch(ctx, owner, claim, listed)
	}
	if err != nil {
		return concord.ErrNotJoined
	}
	return nil
}

// catchUp is the CatchUp of the Handler. It asks everybody that may have copies, seals the range at
// them, gets the newest value of each key, and sees to it that all copies have it.
//
// Of the members that keep a key, one is enough to have every write that was acknowledged. All that
// are in the ring must answer.
func (n *node) catchUp(ctx context.Context, gained concord.Range, from []concord.Server, epoch uint64) error {
	claim := n.claim(gained, epoch)
	asked, err := n.others(ctx, gained, holders, 0)
	if err != nil {
		return err
	}
	for _, s := range from {
		// One that has left does not answer, and need not: it has handed over.
		if !has(asked, s.Name) && n.ask(ctx, s, func(ctx context.Context, r kvpb.ReplicaClient) error {
			_, err := r.Digest(ctx, &kvpb.DigestRequest{Claim: claim})
			return err
		}) == nil {
			asked = append(asked, s)
		}
	}
	if err := n.disk.seal(claim); err != nil {
		return err
	}
	var mu sync.Mutex
	have := make(map[string]versions)
	if err := all(asked, func(s concord.Server) error {
		listed, err := n.list(ctx, s, claim, true)
		if err != nil {
			return err
		}
		mu.Lock()
		have[s.Name] = listed
		mu.Unlock()
		return n.fetch(ctx, s, claim, listed)
	}); err != nil {
		return err
	}
	others, err := n.others(ctx, gained, n.copies, 1)
	if err != nil {
		return err
	}
	return all(others, func(s concord.Server) error { return n.push(ctx, s, claim, have[s.Name]) })
}

// release is the Release of the Handler. It gives the next members what they do not have yet, so
// that there are as many copies when this member has left.
func (n *node) release(ctx context.Context, lost concord.Range, _ []concord.Server, epoch uint64) {
	claim := n.claim(lost, epoch)
	next, err := n.others(ctx, lost, n.copies+1, 0)
	if err != nil {
		return // the next owner takes what it needs
	}
	_ = all(next, func(s concord.Server) error {
		listed, err := n.list(ctx, s, claim, false)
		if err != nil {
			return err
		}
		return n.push(ctx, s, claim, listed)
	})
}

// list are the versions that another store has of a range.
func (n *node) list(ctx context.Context, s concord.Server, claim *kvpb.Claim, seal bool) (versions, error) {
	out := make(versions)
	err := n.ask(ctx, s, func(ctx context.Context, r kvpb.ReplicaClient) error {
		pages, err := r.List(ctx, &kvpb.ListRequest{Claim: claim, Seal: seal})
		for err == nil {
			var page *kvpb.Items
			page, err = pages.Recv()
			for _, item := range page.GetItems() {
				out[string(item.GetKey())] = item.GetVersion()
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	})
	return out, err
}

// fetch gets what is newer at another store than here.
func (n *node) fetch(ctx context.Context, s concord.Server, claim *kvpb.Claim, theirs versions) error {
	var keys [][]byte
	for key, v := range theirs {
		mine, err := n.disk.get([]byte(key))
		if err != nil {
			return err
		}
		if compare(mine.GetVersion(), v) < 0 {
			keys = append(keys, []byte(key))
		}
	}
	for part := range slices.Chunk(keys, batch) {
		if err := n.ask(ctx, s, func(ctx context.Context, r kvpb.ReplicaClient) error {
			got, err := r.Fetch(ctx, &kvpb.FetchRequest{Keys: part})
			if err != nil {
				return err
			}
			if err := n.disk.store(claim, got.GetItems()...); !errors.Is(err, errNewer) {
				return err
			}
			return nil // from another store, meanwhile
		}); err != nil {
			return err
		}
	}
	return nil
}

// push gives another store what is newer here.
func (n *node) push(ctx context.Context, s concord.Server, claim *kvpb.Claim, theirs versions) error {
	items, err := n.newer(claim, theirs)
	if err != nil {
		return err
	}
	return n.send(ctx, s, claim, items...)
}

// newer are the items of a range that are newer here than at another store.
func (n *node) newer(claim *kvpb.Claim, theirs versions) (items []*kvpb.Item, err error) {
	err = n.disk.scan(span(claim), func(item *kvpb.Item) error {
		if compare(theirs[string(item.GetKey())], item.GetVersion()) < 0 {
			items = append(items, item)
		}
		return nil
	})
	return items, err
}

// repair compares the copies of what this member serves, and makes them alike. What fails is tried
// in the next round.
func (n *node) repair(ctx context.Context) {
	for _, r := range n.service.Load().Status().Served {
		if others, err := n.others(ctx, r, n.copies, 0); err == nil {
			_ = all(others, func(s concord.Server) error { return n.align(ctx, s, r) })
		}
	}
}

// align makes another store and this one have the same of a range that this member serves.
func (n *node) align(ctx context.Context, s concord.Server, of concord.Range) error {
	claim := n.claim(of, 0) // whoever only reads needs no epoch
	if same, err := n.same(ctx, s, claim); err != nil || same {
		return err
	}
	theirs, err := n.list(ctx, s, claim, false)
	if err != nil {
		return err
	}
	items, err := n.newer(claim, theirs)
	if err != nil {
		return err
	}
	if len(items) > 0 {
		epoch, ok := n.serves(items[0].GetKey()) // that of the whole range
		if !ok {
			return nil
		}
		err = n.send(ctx, s, n.claim(of, epoch), items...)
	}
	return errors.Join(err, n.pull(ctx, s, theirs))
}

// pull adopts what another store has that is newer than here.
func (n *node) pull(ctx context.Context, s concord.Server, theirs versions) error {
	for key, v := range theirs {
		mine, err := n.disk.get([]byte(key))
		if err != nil {
			return err
		}
		if compare(mine.GetVersion(), v) >= 0 {
			continue
		}
		if err := n.ask(ctx, s, func(ctx context.Context, r kvpb.ReplicaClient) error {
			got, err := r.Fetch(ctx, &kvpb.FetchRequest{Keys: [][]byte{[]byte(key)}})
			if err != nil || len(got.GetItems()) == 0 {
				return err
			}
			return n.adopt(ctx, got.GetItems()[0])
		}); err != nil {
			return err
		}
	}
	return nil
}

// sweep offers items to their owners that this member does not keep copies of any more, and
// forgets them. It had them when the ring was another, or has written them while it was taken for
// dead.
func (n *node) sweep(ctx context.Context) {
	var items []*kvpb.Item
	if err := n.disk.scan(concord.Range{Start: 1, End: 1}, func(item *kvpb.Item) error {
		items = append(items, item)
		return nil
	}); err != nil {
		return
	}
	byOwner := make(map[concord.Server][]*kvpb.Item)
	for _, item := range items {
		if keepers, err := n.member.LookupN(ctx, item.GetKey(), n.copies); err == nil && !has(keepers, n.member.Name()) {
			byOwner[keepers[0]] = append(byOwner[keepers[0]], item)
		}
	}
	for owner, items := range byOwner {
		n.giveAway(ctx, owner, items)
	}
}

func (n *node) giveAway(ctx context.Context, owner concord.Server, items []*kvpb.Item) {
	for part := range slices.Chunk(items, batch) {
		err := n.ask(ctx, owner, func(ctx context.Context, r kvpb.ReplicaClient) error {
			reply, err := r.Offer(ctx, &kvpb.OfferRequest{From: n.member.Name(), Items: part})
			if err != nil || reply.GetKeep() {
				return err
			}
			return n.disk.drop(part)
		})
		if err != nil {
			return // in the next round
		}
	}
}
