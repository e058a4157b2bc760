package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/ollelogdahl/concord/internal/bootstrap"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// joinReportEvery is how often the log is told what has become of a join so far.
const joinReportEvery = 10 * time.Second

// joinReport is when the log is to be told of a join. The zero joinReport is never.
type joinReport struct {
	due   <-chan time.Time
	began time.Time
}

// JoinError is why a join did not succeed: the causes of the last attempt, and
// the error of the context if that ended it.
type JoinError struct {
	Causes []protocol.JoinCause
	Ctx    error // nil: trying again cannot help
	// Given says of addresses which name given they were resolved from.
	Given map[string]string
}

// newJoinError is the error of a join by self, or by a client, with the most telling cause first.
func newJoinError(causes []protocol.JoinCause, self ring.Member, ctx error) *JoinError {
	return &JoinError{Causes: protocol.MostTelling(causes, self), Ctx: ctx}
}

func (e *JoinError) Error() string {
	var b strings.Builder
	b.WriteString("join")
	if e.Ctx != nil {
		fmt.Fprintf(&b, ": %v", e.Ctx)
	}
	for _, c := range e.Causes {
		fmt.Fprintf(&b, "; %s", describe(c))
	}
	return b.String()
}

// describe says in words why a join through one member did not succeed.
func describe(c protocol.JoinCause) string {
	at := c.At.Whom()
	switch {
	case c.Failure != nil:
		return fmt.Sprintf("%s: %v", at, c.Failure)
	case c.Refusal.Detail != "":
		return fmt.Sprintf("%s: %v: %s", at, c.Refusal.Reason, c.Refusal.Detail)
	case !c.Refusal.Other.IsZero():
		return fmt.Sprintf("%s: %v by %s", at, c.Refusal.Reason, c.Refusal.Other.Whom())
	}
	return fmt.Sprintf("%s: %v", at, c.Refusal.Reason)
}

// Join makes the node a member of the ring that the addresses lead to. What can
// get better is tried again until ctx ends.
func (n *Node) Join(ctx context.Context, addrs []string) error {
	return n.JoinOrFound(ctx, addrs, nil, 0)
}

// JoinOrFound is Join by the addresses or names given, resolved anew for each
// attempt, and by addresses recalled from an earlier incarnation. With found above zero,
// where there is no ring, those that look for one agree on who founds it, or this
// member does after that time; see protocol.Join.
func (n *Node) JoinOrFound(ctx context.Context, given, recalled []string, found time.Duration) error {
	err := n.joinOrFound(ctx, given, recalled, found)
	if je, ok := errors.AsType[*JoinError](err); ok && n.origins.Load() != nil {
		je.Given = map[string]string{}
		for addr, from := range *n.origins.Load() {
			je.Given[addr] = from.given
		}
	}
	return err
}

func (n *Node) joinOrFound(ctx context.Context, given, recalled []string, found time.Duration) error {
	join := protocol.Join{Found: found, Seeds: slices.Concat(given, recalled)}
	if found > 0 {
		join.Recalled, join.Given = recalled, given
		n.founding.Store(true)
		defer n.founding.Store(false)
	}
	var made protocol.Attempts
	var report joinReport
	if n.log != nil && n.first == nil { // what becomes of the others is logged once for all
		ticker := time.NewTicker(joinReportEvery)
		defer ticker.Stop()
		report = joinReport{due: ticker.C, began: time.Now()}
	}
	for {
		via, open := n.places(ctx, given)
		join.Via, join.Open = via, open || n.mayBeMore(given)
		if found == 0 {
			join.Via = slices.Concat(via, recalled)
		}
		join.Attempt = made.Failed
		if n.cfg.Takeover != nil {
			join.Takeover = n.cfg.Takeover(ctx)
		}
		causes, err := n.joinOnce(ctx, join, given, made, report)
		if err != nil {
			return newJoinError(causes, n.Snapshot().Self, err)
		}
		if causes == nil {
			return nil
		}
		before := made
		var hopeless bool
		if made, hopeless = made.Fail(causes, n.newcomer(), n.now()); hopeless {
			return newJoinError(made.Causes, n.Snapshot().Self, nil)
		}
		if n.first == nil && made.Unreached() && !before.Unreached() && n.followsName() {
			n.Note(slog.LevelWarn, "not reachable by the advertised name yet", slog.Any("err", newJoinError(made.Causes, n.Snapshot().Self, nil)))
		}
		n.counters.joinRetries.Add(1)
		for again := time.After(made.Pause(rand.Float64())); again != nil; {
			select {
			case <-again:
				again = nil
			case <-report.due:
				n.logJoining(made, report)
			case <-ctx.Done():
				return newJoinError(made.Causes, n.Snapshot().Self, ctx.Err())
			case <-n.ctx.Done():
				return ErrClosed
			}
		}
	}
}

// prepare has the program take over what the member will own, and tells the machine when
// it has.
func (n *Node) prepare(e protocol.Prepare) {
	n.wg.Go(func() {
		n.cfg.Prepare(n.ctx, n, e.Arc, e.From, e.Epoch)
		n.step(protocol.Prepared{Arc: e.Arc})
	})
}

// newcomer is this member as one that tries to join.
func (n *Node) newcomer() protocol.Newcomer {
	return protocol.Newcomer{Self: n.Snapshot().Self, Named: n.followsName()}
}

// followsName reports whether the address at which this member is reached is a name,
// which may come to lead here.
func (n *Node) followsName() bool {
	return n.cfg.Resolver != nil && n.cfg.Resolver.DNS != nil && bootstrap.IsName(n.cfg.Self.Addr)
}

// joinOnce makes one attempt. Causes are nil if it succeeded; err is that of a
// context that ended it, and the causes are then those of the attempt before too.
func (n *Node) joinOnce(ctx context.Context, join protocol.Join, given []string, made protocol.Attempts, report joinReport) ([]protocol.JoinCause, error) {
	done := make(chan []protocol.JoinCause, 1)
	n.mu.Lock()
	if n.stopped() {
		n.mu.Unlock()
		return nil, ErrClosed
	}
	n.joinDone = done
	n.stepLocked(join)
	if join.Found > 0 && n.resolver != nil && slices.ContainsFunc(given, bootstrap.IsName) {
		bootstrapping, end := context.WithCancel(n.ctx)
		defer end()
		n.wg.Go(func() { n.redirect(bootstrapping, given) })
	}
	n.mu.Unlock()
	for ctx.Err() == nil {
		select {
		case causes := <-done:
			return causes, nil
		case <-report.due:
			n.logJoining(made, report)
		case <-ctx.Done():
		case <-n.ctx.Done():
			return nil, ErrClosed
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.joinDone == nil {
		return <-done, nil // it ended at the same moment
	}
	n.joinDone = nil
	if n.view.Phase.InRing() {
		return nil, nil // a member already; only the one before is not told yet
	}
	causes := n.joinCauses(made)
	if !n.stopped() {
		n.stepLocked(protocol.GiveUp{})
	}
	return causes, ctx.Err()
}

// joinCauses are why the open join has not succeeded yet, those of the attempt
// before among them. Callers hold mu.
func (n *Node) joinCauses(made protocol.Attempts) []protocol.JoinCause {
	return made.Open(n.machine.JoinCauses())
}

// logJoining logs what has become of a join so far, after these attempts.
func (n *Node) logJoining(made protocol.Attempts, report joinReport) {
	n.mu.Lock()
	causes, phase := n.joinCauses(made), n.view.Phase
	n.mu.Unlock()
	n.Note(slog.LevelWarn, "in no ring yet", slog.String("phase", phase.String()), slog.Duration("for", time.Since(report.began).Truncate(time.Second)),
		slog.Int("attempt", made.Failed+1), slog.String("answers", answers(causes)))
}

// logFounding logs that a ring was founded though some of the addresses given have
// not answered: there may be another ring there.
func (n *Node) logFounding(unanswered []protocol.JoinCause) {
	if len(unanswered) > 0 {
		n.Note(slog.LevelWarn, "ring founded, though not every address has answered", slog.String("answers", answers(unanswered)))
	}
}
