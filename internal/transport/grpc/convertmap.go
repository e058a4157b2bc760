package grpctransport

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/ringmap"
)

// maxClaims bounds the claims of one message of a map.
const maxClaims = 2048

// mapReq has the kinds of ringmap.Kind under the same numbers.
func mapReq(who *pb.Request, r *ringmap.Request) *pb.MapReq {
	out := &pb.MapReq{
		Kind: pb.MapReq_Kind(r.Kind), Beat: r.Beat,
		From: r.From, To: r.To, Sum: r.Sum, Level: uint32(r.Level), Hashes: r.Hashes, Skip: r.Skip, Request: who,
	}
	for i := range r.Parts {
		out.Parts = append(out.Parts, &pb.MapPart{To: r.Parts[i].To, Claims: claims(r.Parts[i].Claims)})
	}
	return out
}

func mapRequest(r *pb.MapReq) (*ringmap.Request, error) {
	if r.GetLevel() > math.MaxUint8 || r.GetKind() < 0 || r.GetKind() > math.MaxUint8 {
		return nil, fmt.Errorf("kind %d or level %d is unknown", r.GetKind(), r.GetLevel())
	}
	out := &ringmap.Request{
		Kind: ringmap.Kind(r.GetKind()), Beat: r.GetBeat(),
		From: r.GetFrom(), To: r.GetTo(), Sum: r.GetSum(), Level: uint8(r.GetLevel()), Hashes: r.GetHashes(), Skip: r.GetSkip(),
	}
	left := maxClaims
	for i, p := range r.GetParts() {
		list, err := announcements(fmt.Sprintf("parts[%d].claims", i), p.GetClaims(), left)
		if err != nil {
			return nil, err
		}
		left -= len(list)
		out.Parts = append(out.Parts, ringmap.Part{To: p.GetTo(), Claims: list})
	}
	return out, out.Check()
}

func mapResp(r *ringmap.Reply) *pb.MapResp {
	out := &pb.MapResp{
		Answer: &pb.Answer{},
		Beat:   r.Beat, Same: r.Same, Claims: claims(r.Claims), Through: r.Through, Skip: r.Skip,
	}
	if r.Aged {
		out.AgeNs1 = uint64(max(0, r.Age)) + 1
	}
	for _, s := range r.Stretches {
		out.Stretches = append(out.Stretches, &pb.MapStretch{To: s.To, Sum: s.Sum})
	}
	for _, i := range r.Lacks {
		out.Lacks = append(out.Lacks, uint32(i))
	}
	return out
}

func mapReply(r *pb.MapResp) (ringmap.Reply, error) {
	out := ringmap.Reply{Beat: r.GetBeat(), Same: r.GetSame(), Through: r.GetThrough(), Skip: r.GetSkip()}
	if age := r.GetAgeNs1(); age > 0 {
		if age > math.MaxInt64 {
			return out, errors.New("age_ns1 is out of range")
		}
		out.Age, out.Aged = time.Duration(age-1), true
	}
	for _, s := range r.GetStretches() {
		out.Stretches = append(out.Stretches, ringmap.Stretch{To: s.GetTo(), Sum: s.GetSum()})
	}
	for _, i := range r.GetLacks() {
		if i > math.MaxUint16 {
			return out, fmt.Errorf("lacks names place %d", i)
		}
		out.Lacks = append(out.Lacks, uint16(i))
	}
	var err error
	if out.Claims, err = announcements("claims", r.GetClaims(), maxClaims); err != nil {
		return out, err
	}
	return out, out.Check()
}

func claims(list []ringmap.Announcement) []*pb.Claim {
	if len(list) == 0 {
		return nil
	}
	all := make([]pb.Claim, len(list))
	out := make([]*pb.Claim, len(list))
	for i := range list {
		a, c := &list[i], &all[i]
		c.Id, c.After, c.Epoch, c.Incarnation = a.ID, a.After, a.Epoch, a.Incarnation
		if a.Of != nil {
			c.Name, c.Address, c.Choice, c.Home = a.Of.Name, a.Of.Addr, uint32(a.Of.Choice), a.Of.Home
			if a.Zoned {
				c.Zone = &a.Zone
			}
		}
		out[i] = c
	}
	return out
}

func announcements(field string, list []*pb.Claim, most int) ([]ringmap.Announcement, error) {
	if len(list) > most {
		return nil, fmt.Errorf("%s has %d entries (at most %d)", field, len(list), most)
	}
	if len(list) == 0 {
		return nil, nil
	}
	out := make([]ringmap.Announcement, len(list))
	for i, c := range list {
		out[i] = ringmap.Announcement{ID: c.GetId(), After: c.GetAfter(), Epoch: c.GetEpoch(), Incarnation: c.GetIncarnation()}
		if _, err := epoch("epoch", c.GetEpoch()); err != nil {
			return nil, fmt.Errorf("%s[%d].%w", field, i, err)
		}
		if c.GetName() == "" && c.GetAddress() == "" {
			continue
		}
		of, err := member(fmt.Sprintf("%s[%d]", field, i), &pb.Server{Id: c.GetId(), Name: c.GetName(), Address: c.GetAddress(), Incarnation: c.GetIncarnation(), Choice: c.GetChoice(), Home: c.GetHome()})
		if err != nil {
			return nil, err
		}
		if out[i].Zone, err = zone(fmt.Sprintf("%s[%d]", field, i), c.GetZone()); err != nil {
			return nil, err
		}
		out[i].Zoned = c.Zone != nil
		out[i].Of = &of
	}
	return out, nil
}
