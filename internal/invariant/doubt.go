package invariant

import (
	"fmt"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
)

// Wakes is what is known of the times at which one member hung, by whoever has it hang.
// The zero Wakes is of one that never did.
type Wakes struct {
	asleep bool          // it has not been named by its head since
	at     time.Duration // when it woke
}

// DoubtsAfterHang is the rule that Wakes holds steps against: a member that has hung owns
// nothing until its head, asked since, has named it as its predecessor.
const DoubtsAfterHang = "doubts-after-hang"

// Woken notes that the member finds at that time that it has hung.
func (k *Wakes) Woken(at time.Duration) { k.asleep, k.at = true, at }

// Named notes that the head of the member v has said this of itself, to a question asked
// at that time.
func (k *Wakes) Named(v *protocol.View, head *protocol.State, asked time.Duration) {
	if head.Self == v.Head() && head.Pred == v.Self && asked >= k.at {
		k.asleep = false
	}
}

// Step says how a step that has led to v breaks the rule; empty if it does not. Nobody can
// name a ring of one.
func (k *Wakes) Step(v *protocol.View) (broken string) {
	if v.Alone || v.Phase != protocol.Joined {
		k.asleep = false
	}
	if k.asleep && v.HasArc && !v.Isolated && !v.Doubts {
		return fmt.Sprintf("%s has hung, owns %v, and its head has not named it since", v.Self.Name, v.Arc)
	}
	return ""
}
