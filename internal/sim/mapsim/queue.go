package mapsim

type event struct {
	gen  uint32
	who  int32
	slot int32
	kind eventKind
}

type eventKind uint8

const (
	evTick     eventKind = iota + 1 // of a map
	evRound                         // a member stabilizes
	evAskAgain                      // it asks its successor once more
	evRequest                       // a request arrives
	evReply                         // an answer arrives
	evTimeout                       // nobody waits for the answer any more
	evDetect                        // a member notices that its successor is gone
	evDeath
	evJoin
	evLookup
	evWatch // how far is a change known?
	evCut
	evHeal
	evMove        // a client subscribes at another member
	evFeed        // a feed has something to tell again
	evTold        // a message of a feed arrives
	evClientLooks // a client looks a key up
	evConfirmed   // the answer of an owner arrives at a client
)
