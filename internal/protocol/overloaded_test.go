package protocol

import (
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
)

// A member that has too much to do lives. However long that lasts, nobody drops it.
func TestOverloadedMemberIsNotDropped(t *testing.T) {
	self, head, pred, rival := named(100, "m", 1), named(300, "h", 1), named(50, "p", 1), named(40, "r", 1)
	overloaded := &Failure{Kind: Overloaded, Detail: "too many questions about the ring at work"}
	m := machineOf(self)
	m.setSucc([]ring.Member{head, named(400, "u", 1), named(500, "v", 1)})
	m.setPred(pred, CausePredecessorJoined)
	asked := map[ring.Member]int{}
	var refusals []Refusal
	carry := func(effects []Effect) {
		for len(effects) > 0 {
			e := effects[0]
			effects = effects[1:]
			switch e := e.(type) {
			case Ask:
				asked[e.To]++
				effects = append(effects, m.Step(0, Answer{Call: e.Call, Failure: overloaded})...)
			case Respond:
				refusals = append(refusals, e.Reply.Refusal)
			}
		}
	}
	const rounds = 100
	for range rounds {
		carry(m.Step(0, Tick{}))
	}
	// The rival is farther than the predecessor: it fits only if that is dead.
	carry(m.Step(0, Asked{Token: 1, From: rival, Request: Request{Kind: Notify}}))
	if m.head() != head || m.pred != pred {
		t.Errorf("the head is %v, the predecessor %v; want those of before", m.head(), m.pred)
	}
	for _, x := range []ring.Member{head, pred} {
		if !m.responsive(x) {
			t.Errorf("%s counts as silent", x.Name)
		}
	}
	if asked[head] < rounds || asked[head] > 3*rounds || asked[pred] == 0 {
		t.Errorf("in %d rounds the head was asked %d times, the predecessor %d times", rounds, asked[head], asked[pred])
	}
	if len(refusals) != 1 || refusals[0].Reason != Busy {
		t.Errorf("the rival is told %+v; want that it is to ask again", refusals)
	}
}
