package protocol

// operation is something that a member does by asking others and waiting for what
// they answer. How an answer finds its operation stands here and nowhere else.
type operation interface {
	// question returns the call number of question i of the operation, counted from
	// 0, and whether the operation has that many. Call 0: that one is not open.
	question(i int) (call uint64, ok bool)
	// answered goes on with the answer to question i.
	answered(m *Machine, i int, a Answer)
	// encode writes what the operation knows to the machine's canonical form.
	encode(m *Machine, f *form)
}

// question is one that an operation waits for the answer to.
type question struct {
	op   operation
	i    int // which one of the operation
	call uint64
	role byte
}

// The roles of questions begin, for each operation, at these numbers. See Machine.Role.
const (
	// RoleStabilize is that of a question about the head.
	RoleStabilize byte = 1
	rolePlacing   byte = 2
	roleJoin      byte = 3
	roleRectify   byte = 16
	roleDepart    byte = 64
	roleFarewell  byte = 96
	roleContest   byte = 112
	roleBootstrap byte = 128
)

// operations lists what may wait for answers, in the order of the canonical form, each
// with the role of its first question.
func (m *Machine) operations() [8]struct {
	operation
	role byte
} {
	return [...]struct {
		operation
		role byte
	}{
		{&m.stabilization, RoleStabilize},
		{&m.rects, roleRectify},
		{&m.placing, rolePlacing},
		{m.join, roleJoin},
		{&m.bootstrap, roleBootstrap},
		{&m.depart, roleDepart},
		{&m.farewells, roleFarewell},
		{&m.contest, roleContest},
	}
}

// questions yields every question that is open.
func (m *Machine) questions(yield func(question) bool) {
	for _, op := range m.operations() {
		for i := 0; ; i++ {
			call, ok := op.question(i)
			if !ok {
				break
			}
			if call != 0 && !yield(question{op: op.operation, i: i, call: call, role: op.role + byte(i%128)}) {
				return
			}
		}
	}
}

// Role tells what the machine asked a question for: equal questions of equal
// machines have equal roles, whatever their call numbers. 0: the answer is not
// waited for.
func (m *Machine) Role(call uint64) byte {
	for q := range m.questions {
		if q.call == call {
			return q.role
		}
	}
	return 0
}

// Call is the inverse of Role: the number of the question that the machine has
// open in that role, 0 if it has none.
func (m *Machine) Call(role byte) uint64 {
	for _, op := range m.operations() {
		if i := int(role) - int(op.role); i >= 0 {
			if call, ok := op.question(i); ok {
				return call
			}
		}
	}
	return 0
}
