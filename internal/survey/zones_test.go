package survey

import (
	"testing"

	"github.com/ollelogdahl/concord"
)

func TestReportOfAMapHasZones(t *testing.T) {
	a, b := concord.Server{Name: "a", Id: 1 << 62}, concord.Server{Name: "b", Id: 3 << 62}
	r := OfMap([]concord.RingChange{
		{Server: a, Incarnation: 5, Zone: "left", New: concord.Range{Start: b.Id, End: a.Id}, Has: true},
		{Server: b, New: concord.Range{Start: a.Id, End: b.Id}, Has: true},
	}, 64)
	if !r.Ideal || len(r.Members) != 2 || r.Members[0].Zone != "left" || r.Members[0].Incarnation != 5 || r.Members[1].Zone != "" {
		t.Errorf("%+v", r)
	}
}
