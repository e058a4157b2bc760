package grpctransport

import (
	"fmt"
	"math"
	"time"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/voting"
)

func pbLease(l protocol.Lease) *pb.Lease {
	if l.Length == 0 {
		return nil
	}
	out := &pb.Lease{LengthNs: uint64(l.Length), Granted: l.Granted, Linked: l.Linked}
	if l.Given {
		out.After = &l.After
	}
	if l.Waits {
		out.WaitsAfter, out.WaitNs = &l.From, uint64(max(0, l.Wait))
	}
	for _, g := range l.Others {
		out.Others = append(out.Others, &pb.Granted{
			Range: &pb.Arc{After: g.Arc.After, To: g.Arc.To}, Incarnation: g.To.Incarnation, AgeNs: uint64(max(0, g.Age)),
		})
	}
	for _, age := range l.Chain {
		out.ChainNs = append(out.ChainNs, uint64(max(0, age)))
	}
	if l.Stake.Number > 0 {
		out.Stake = pbStake(l.Stake)
	}
	for _, v := range l.Votes {
		x := &pb.Vote{}
		if v.Given {
			x.After = &v.After
		}
		out.Votes = append(out.Votes, x)
	}
	return out
}

// leaseOf reads what a member says of leases.
func leaseOf(field string, l *pb.Lease) (protocol.Lease, error) {
	if l == nil {
		return protocol.Lease{}, nil
	}
	out := protocol.Lease{
		Granted: l.GetGranted(), Linked: l.GetLinked(),
		Given: l.After != nil, After: l.GetAfter(), Waits: l.WaitsAfter != nil, From: l.GetWaitsAfter(),
	}
	var err error
	if out.Wait, err = duration(field+".wait_ns", l.GetWaitNs()); err != nil {
		return protocol.Lease{}, err
	}
	if out.Length, err = length(field, l.GetLengthNs()); err != nil {
		return protocol.Lease{}, err
	}
	if len(l.GetChainNs()) > maxMembers || len(l.GetOthers()) > maxMembers {
		return protocol.Lease{}, fmt.Errorf("%s has more than %d ages or grants", field, maxMembers)
	}
	for _, g := range l.GetOthers() {
		age, err := duration(field+".others.age_ns", g.GetAgeNs())
		if err != nil {
			return protocol.Lease{}, err
		}
		arc := ring.Arc{After: g.GetRange().GetAfter(), To: g.GetRange().GetTo()}
		out.Others = append(out.Others, protocol.Granted{To: ring.Instance{ID: arc.To, Incarnation: g.GetIncarnation()}, Arc: arc, Age: age})
	}
	for _, ns := range l.GetChainNs() {
		age, err := duration(field+".chain_ns", ns)
		if err != nil {
			return protocol.Lease{}, err
		}
		out.Chain = append(out.Chain, age)
	}
	if l.GetStake() != nil {
		if out.Stake, err = stake(field+".stake", l.GetStake()); err != nil {
			return protocol.Lease{}, err
		}
	}
	if n := len(l.GetVotes()); n > voting.MaxStakes {
		return protocol.Lease{}, fmt.Errorf("%s.votes has %d entries (at most %d)", field, n, voting.MaxStakes)
	}
	for _, v := range l.GetVotes() {
		out.Votes = append(out.Votes, voting.Vote{Given: v.After != nil, After: v.GetAfter()})
	}
	return out, nil
}

func pbStake(s voting.Stake) *pb.Stake {
	out := &pb.Stake{Id: s.Who.ID, Incarnation: s.Who.Incarnation, Number: s.Number}
	if s.Has {
		out.After = &s.Arc.After
	}
	return out
}

func stake(field string, s *pb.Stake) (voting.Stake, error) {
	if s.GetNumber() == 0 {
		return voting.Stake{}, fmt.Errorf("%s.number is 0", field)
	}
	out := voting.Stake{Who: ring.Instance{ID: s.GetId(), Incarnation: s.GetIncarnation()}, Number: s.GetNumber(), Has: s.After != nil}
	if out.Has {
		out.Arc = ring.Arc{After: s.GetAfter(), To: s.GetId()}
	}
	return out, nil
}

func pbStakes(list []voting.Stake) (out []*pb.Stake) {
	for _, s := range list {
		out = append(out, pbStake(s))
	}
	return out
}

func stakes(field string, list []*pb.Stake) (out []voting.Stake, err error) {
	if n := len(list); n > voting.MaxStakes {
		return nil, fmt.Errorf("%s has %d entries (at most %d)", field, n, voting.MaxStakes)
	}
	for i, s := range list {
		x, err := stake(fmt.Sprintf("%s[%d]", field, i), s)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

func pbLeaseReq(a protocol.Asks) *pb.LeaseReq {
	if a.Length == 0 {
		return nil
	}
	out := &pb.LeaseReq{LengthNs: uint64(a.Length), Claims: pbStakes(a.Claims), Words: pbStakes(a.Words)}
	if a.Has {
		out.Arc = &pb.Arc{After: a.Arc.After, To: a.Arc.To}
	}
	return out
}

func leaseAsked(r *pb.LeaseReq) (protocol.Asks, error) {
	if r == nil {
		return protocol.Asks{}, nil
	}
	var out protocol.Asks
	var err error
	if out.Length, err = length("lease", r.GetLengthNs()); err != nil {
		return protocol.Asks{}, err
	}
	if a := r.GetArc(); a != nil {
		out.Arc, out.Has = ring.Arc{After: a.GetAfter(), To: a.GetTo()}, true
	}
	if out.Claims, err = stakes("lease.claims", r.GetClaims()); err != nil {
		return protocol.Asks{}, err
	}
	if out.Words, err = stakes("lease.words", r.GetWords()); err != nil {
		return protocol.Asks{}, err
	}
	return out, nil
}

// maxAge bounds lengths and ages, so that they can be added.
const maxAge = math.MaxInt64 / 16

// length reads how long a lease is.
func length(field string, ns uint64) (time.Duration, error) {
	if ns == 0 {
		return 0, fmt.Errorf("%s.length_ns is 0", field)
	}
	return duration(field+".length_ns", ns)
}

func duration(field string, ns uint64) (time.Duration, error) {
	if ns > maxAge {
		return 0, fmt.Errorf("%s is %d (at most %d)", field, ns, uint64(maxAge))
	}
	return time.Duration(ns), nil
}
