package node

import "github.com/ollelogdahl/concord/internal/ring"

// latest is the latest incarnation of the members that are the one meant.
type latest struct {
	is    func(ring.Member) bool
	found uint64
}

func (l *latest) see(list ...ring.Member) {
	for _, x := range list {
		if x.Incarnation > l.found && l.is(x) {
			l.found = x.Incarnation
		}
	}
}

// onMap looks on the map.
func (l *latest) onMap(fd *Finder) {
	if s := fd.chart.Load(); s != nil {
		for c := range s.All() {
			l.see(c.Owner())
		}
	}
}

// Incarnation is the latest that is known of the member for which is reports true: of the
// process itself, its neighbours, whom it remembers, and who is on the map.
func (n *Node) Incarnation(is func(ring.Member) bool) (uint64, bool) {
	l := latest{is: is}
	for _, x := range n.Nodes() {
		v := x.Snapshot().View
		l.see(v.Self, v.Pred)
		l.see(v.Succ...)
		l.see(v.Known...)
	}
	l.onMap(&n.lead().Finder)
	return l.found, l.found > 0
}

// Incarnation is the latest on the map of the member for which is reports true.
func (c *Client) Incarnation(is func(ring.Member) bool) (uint64, bool) {
	l := latest{is: is}
	l.onMap(&c.Finder)
	return l.found, l.found > 0
}
