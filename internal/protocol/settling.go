package protocol

// This file has a member know whether its pointers are right, as far as its neighbours have
// said by themselves. Nothing is decided by it.

// settling is what the neighbours have said of this member.
type settling struct {
	named  bool // the head, when it answered last, named this member as its predecessor
	points bool // the predecessor has asked or notified this member as its head since it is the predecessor
}

// settled reports whether both neighbours point here.
func (m *Machine) settled() bool {
	_, has := m.ownArc()
	if m.phase != Joined || !has || m.isolated() || m.doubts {
		return false
	}
	return m.alone && m.pred.IsZero() || m.settling.named && m.settling.points
}

// namedBy notes whom the head, which has answered so, has for its predecessor.
func (m *Machine) namedBy(st State) {
	if named := st.Pred == m.self; st.Self == m.head() && named != m.settling.named {
		m.settling.named = named
		m.dirty = true
	}
}

// pointedAt notes that the predecessor asks what members ask their heads.
func (m *Machine) pointedAt(a Asked) {
	k := a.Request.Kind
	if a.From == m.pred && !a.From.IsZero() && (k == AskRing || k == Notify && !a.Request.Joining) {
		m.pointsHere()
	}
}

// pointsHere notes that the predecessor takes this member for its head.
func (m *Machine) pointsHere() {
	if !m.settling.points {
		m.settling.points = true
		m.dirty = true
	}
}
